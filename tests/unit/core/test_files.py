"""Temporary folders, and what a killed process leaves."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autollm.core.files import scratch_folder

HOLD = """
from autollm.core.files import scratch_folder
with scratch_folder("held") as folder:
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def test_scratch_folder__block_over_or_broken__is_gone(temporary):
    with scratch_folder("x") as folder:
        assert folder.parent == temporary and folder.is_dir()
    with pytest.raises(ValueError), scratch_folder("x") as folder:
        (folder / "file").write_text("half")
        raise ValueError
    assert list(temporary.iterdir()) == []


def test_scratch_folder__owner_was_killed__next_one_removes_it(temporary):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    left = Path(child.stdout.readline().strip())
    with scratch_folder("x"):
        assert left.is_dir(), "its owner lives"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert left.is_dir()
    other = temporary / f"autollm-scratch-x-{os.getpid()}-mine"
    other.mkdir()
    with scratch_folder("x"):
        assert not left.exists() and other.is_dir()
