"""Runs whose loss is no number: they diverged, whatever their tool calls that."""

import pytest

from autollm.logs.choosing.guesses import Guesser
from autollm.logs.landing import ingest
from autollm.logs.proposals import TableOptions
from tests.unit.logs.landed import rows as rows_of
from tests.unit.logs.proposals.tables import proposed, sweep
from tests.unit.logs.raw_logs import csv_bytes, json_lines, write


def landed(home, folder, name, data):
    path = write(folder, name, data)
    guesser = Guesser(
        str(home), TableOptions(), lambda asked: [], lambda text: None
    )
    guesser.guess([path])
    ingest([path], str(home))
    return {run["run_id"]: run for run in rows_of(str(home), "runs")}


def with_endings(endings):
    """The sweep, its first runs ended as told: (state, loss)."""
    rows = [{**row, "state": "finished"} for row in sweep()]
    for row, (state, value) in zip(rows, endings, strict=False):
        row |= {"state": state, "val_loss": value}
    return rows


@pytest.mark.parametrize(
    ("state", "value", "status"),
    [
        ("crashed", "nan", "diverged"),
        ("failed", "inf", "diverged"),
        ("killed", "NaN", "diverged"),
        ("running", "nan", "diverged"),
        ("pruned", "-inf", "diverged"),
        ("finished", "nan", "diverged"),
        ("crashed", 2.9, "failed"),
        ("crashed", "", "failed"),
        ("OOM", "", "failed"),
        ("preempted", "", "killed"),
        ("pruned", 3.5, "pruned"),
        ("diverged", "", "diverged"),
    ],
)
def test_land__state_and_loss__a_loss_that_is_no_number_is_a_divergence(
    tmp_path, state, value, status
):
    data = csv_bytes(with_endings([(state, value)]))
    run = landed(tmp_path / "home", tmp_path, "t.csv", data)["r0"]
    assert run["status"] == status
    assert run["is_outcome"] == (status == "diverged")
    if status == "diverged" and value:
        assert str(value).lower() in run["status_reason"]


def test_land__nan_in_json_of_a_crashed_run__is_a_divergence(tmp_path):
    rows = with_endings([("crashed", float("nan")), ("crashed", None)])
    runs = landed(tmp_path / "home", tmp_path, "t.jsonl", json_lines(rows))
    assert [runs[name]["status"] for name in ("r0", "r1")] == [
        "diverged",
        "failed",
    ]


def test_propose__runs_that_did_not_finish__are_counted_as_they_will_land(
    tmp_path,
):
    endings = [("crashed", "nan"), ("crashed", "nan"), ("crashed", 2.9)]
    found = proposed(tmp_path, with_endings(endings))
    (note,) = [n for n in found.notes if n.code == "not-finished"]
    assert "3 runs did not finish (2 diverged, 1 failed)" in note.text
    assert "diverged count as the worst outcome, the others have" in note.text
    assert found.summary.statuses == {
        "finished": 24,
        "diverged": 2,
        "failed": 1,
    }
