"""A table of one's own, with a column called `status` and odd names, in a home of an odd
name: from the file to a snapshot and a suite that is played.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.core.places import PROJECT
from autollm.gym.tables.snapshot import open_snapshot
from tests.unit.logs.proposals.tables import renamed, sweep
from tests.unit.logs.raw_logs import csv_bytes, write

SETTINGS = "public = false\nembedded = false\n"
WORDS = ("ok", "COMPLETED", "finished", "crashed")


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def publish(home: Path, settings: Path) -> None:
    """`autollm run --to published_snapshot`, without its terminal."""
    command = [sys.executable, "-m", "pipelines.run", "--home", str(home)]
    command += ["--settings", str(settings), "--to", "published_snapshot"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home in which both kinds of tables have landed and a snapshot is published."""
    folder = tmp_path_factory.mktemp("own")
    home = folder / "bob's runs [v2]"
    status = write(
        folder,
        "sweep.csv",
        csv_bytes(sweep(status=lambda i: WORDS[i % 4])),
    )
    call("ingest", status, "--home", home)
    odd = renamed(
        sweep(), lr="optimizer.lr (peak)", batch_size="β2 / top%", run="run *"
    )
    path = write(folder, "odd.csv", csv_bytes(odd))
    call("ingest", path, "--home", home, "--knobs", "optimizer.lr (peak),β2 / top%")  # fmt: skip
    settings = folder / "job.toml"
    settings.write_text(SETTINGS)
    publish(home, settings)
    return home


def test_own_logs__status_column__finished_runs_are_outcomes_and_crashed_ones_none(
    home,
):
    table = open_snapshot(str(home))
    n_outcomes = 0
    for index, experiment in enumerate(table.experiments):
        if experiment.source == "sweep":
            n_outcomes += table.offsets[index + 1] - table.offsets[index]
    assert n_outcomes == 21  # of 27, six of which crashed


def test_own_logs__home_and_names_of_any_kind__make_a_suite_that_is_played(
    home,
):
    for source in ("sweep", "odd"):
        made = json.loads(call("suites", "make", source, "--home", home, "--json"))  # fmt: skip
        suite = made["suite_id"]
        rows = json.loads(call("suites", "--home", home, "--json"))
        (row,) = (r for r in rows if r["suite_id"] == suite)
        assert row["playable"] and row["n_tasks"]["test"] >= 1
        scores = call(
            "evaluate", "--suite", suite, "--policies", "random,copy-nearest",
            "--seeds", 1, "--home", home, "--json",
        )  # fmt: skip
        for score in json.loads(scores)["rows"]:
            assert 0 <= score["regret_mean"] <= 1
