"""Inputs of other people's, read in place where they lie beside the project."""

import os
from pathlib import Path

import pytest

from autollm.core.errors import RecordError
from autollm.logs.readers import file_readers
from tests.unit.logs.readers.opened import curve_of, opened_file, runs_of


def read_case(*parts):
    """The relation of a case's file by the first reader that knows it."""
    root = os.environ.get("AUTOLLM_DATA_DIR")
    if not root:
        pytest.skip(
            "AUTOLLM_DATA_DIR is unset: the cases lie beside that folder"
        )
    path = Path(root).parent.joinpath("cases", *parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not beside AUTOLLM_DATA_DIR")
    opened = opened_file(path)
    head = opened.data[: 2**16]
    reader = next(r for r in file_readers() if r.matches(opened.name, head))
    (relation,) = reader.read(opened)
    return relation


def test_lightning_metrics__one_run__is_a_curve_by_its_step():
    relation = read_case("curve-of-one-run", "lightning_metrics.csv")
    row = runs_of(relation)["lightning_metrics"]
    assert row["metrics.val_loss"] == 3.570486068725586
    losses = curve_of(relation, "lightning_metrics", "train_loss_step")
    assert losses[0] == (49, 7.628580570220947)


@pytest.mark.parametrize(
    "case",
    [
        ("curve-of-one-run", "result.jsonl"),
        ("logs-of-other-frameworks", "result.json"),
    ],
)
def test_ray_result__one_trial__has_its_settings_and_last_row(case):
    relation = read_case(*case)
    row = runs_of(relation)["36656_00000"]
    assert (row["config.lr"], row["config.model.layers"]) == (0.0001, 8)
    assert (row["metrics.loss"], row["runtime_s"]) == (2.5, 62.5)


def test_wandb_chart__two_runs_side_by_side__are_two_curves():
    relation = read_case("curve-of-one-run", "wandb_chart.csv")
    assert set(runs_of(relation)) == {"run-a", "run-b"}
    assert curve_of(relation, "run-b", "eval/loss")[0] == (
        256,
        113.50082397460938,
    )


def test_tensorboard_download__is_the_curve_that_its_name_tells():
    relation = read_case("curve-of-one-run", "run-exp1-tag-eval_loss.csv")
    assert runs_of(relation)["exp1"]["metrics.eval_loss"] == 2.4


def test_resumed_csv__second_header__is_named():
    relation = read_case("curve-of-one-run", "learning_stats.csv")
    assert "line 12 is a second header: it holds from there" in relation.notes
    assert curve_of(relation, "learning_stats", "val/ppl")[0] == (500, 12.81)


def test_trainer_state__with_nan__is_read():
    relation = read_case("logs-of-other-frameworks", "trainer_state.json")
    (row,) = relation.runs.to_pylist()
    assert (row["metrics.loss"], row["state"]) == (1.9, "finished")


def test_progress_without_header__says_what_is_missing():
    with pytest.raises(RecordError, match="the first line holds numbers"):
        read_case("logs-of-other-frameworks", "progress.csv")
