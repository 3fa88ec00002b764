"""Refusals of the operating system, as sentences."""

import errno
import os
import subprocess
import sys

import pytest

from autollm.core.refusals import CAUSES, sentence_in, sentence_of


@pytest.mark.parametrize("number", sorted(CAUSES))
def test_sentence_of__every_cause__names_file_and_one_action(number):
    error = OSError(number, os.strerror(number), "/home/x/file.npy")
    said = sentence_of(error)
    assert said.startswith("/home/x/file.npy: ") and said.count("Fix: ") == 1
    assert sentence_in(f"OSError: {error}\n") == said


def test_sentence_of__number_that_is_not_known__is_none():
    assert sentence_of(OSError(errno.EXDEV, "x")) is None
    assert sentence_of(OSError("no number")) is None
    assert sentence_in("ValueError: [Errno me]") is None


def ended(home, table, limit=""):
    """`autollm ingest` in a shell with a limit."""
    command = [sys.executable, "-m", "autollm.cli.main", "ingest", str(table)]
    return subprocess.run(
        [
            "sh",
            "-c",
            f'{limit}; exec "$@"',
            "sh",
            *command,
            "--home",
            str(home),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"kind":"nothing"}\n' * 2000)
    return path


@pytest.mark.parametrize(
    "limit", ["true", "ulimit -f 1"], ids=["a file", "no room"]
)
def test_ingest__home_that_cannot_be_written__ends_in_one_sentence(
    tmp_path, table, limit
):
    """A limit on files' sizes is what a test can have instead of a full disk."""
    home = tmp_path / "home"
    if limit == "true":
        home.write_text("a file where the home should be")
    done = ended(home, table, limit)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "Fix: " in last
    assert not list(home.rglob("*.part"))  # it would keep the disk full
