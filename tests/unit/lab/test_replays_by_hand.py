"""A raw log in the words of trackers, and as a row of a table, by hand."""

from __future__ import annotations

import csv
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.cli.lab import seconds
from autollm.cli.lab_runs import chosen_runs, logs_in
from autollm.core.errors import RecordError, SetupError, UnknownNameError
from autollm.core.records import RunEnd, RunHeader, RunStep, to_line
from autollm.lab.exports import FINAL, export, replay_of
from autollm.lab.families import FAMILIES
from autollm.lab.tasks import (
    ALPHABET,
    MAX_ANSWER,
    SHIFTED,
    SIZES,
    TASKS,
    is_right,
    is_well_formed,
    make,
    value,
)

HEAD = RunHeader(
    "toy-a1-000000000000",
    "lab-toy",
    "toy",
    {"lr": 0.1, "mix": {"a": 0.5, "b": 0.5}},
    {"params": 16.0, "tokens": 4096.0},
    3,
    model={"width": 16},
    created_at="2026-05-01T10:00:00+00:00",
)
STARTED_S = 1777629600.0
STEPS = [
    RunStep(1, {"train_loss": 6.0}, 512.0, 0.5),
    RunStep(4, {"train_loss": 5.0}, 2048.0, 2.0),
]
DONE = RunEnd("finished", {"val_loss": 4.5}, {"flops": 1.0})


def row_of(folder, *records):
    """The row of a run's table."""
    export([list(records)], ["csv"], folder)
    with (folder / "csv" / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    return row


def test_replay_of__whole_log__has_its_points_in_order_and_a_clock():
    found = replay_of([HEAD, *STEPS, DONE])
    assert found.started_s == STARTED_S
    assert found.points == [
        (1, STARTED_S + 0.5, {"train_loss": 6.0, "tokens": 512.0}),
        (4, STARTED_S + 2.0, {"train_loss": 5.0, "tokens": 2048.0}),
        (4, STARTED_S + 2.0, {f"{FINAL}val_loss": 4.5}),
    ]
    assert (found.last_step, found.ended_s) == (4, STARTED_S + 2.0)
    assert not found.failed


def test_replay_of__settings__are_flat_and_named_by_kind():
    found = replay_of([HEAD, DONE])
    assert found.params == {
        "config.lr": 0.1,
        "config.mix.a": 0.5,
        "config.mix.b": 0.5,
        "fidelity.params": 16.0,
        "fidelity.tokens": 4096.0,
        "model.width": 16,
        "seed": 3,
    }
    assert found.tags["status"] == "finished"


def test_replay_of__no_step_and_no_clock__stands_at_nothing():
    found = replay_of([replace(HEAD, created_at=""), DONE])
    assert found.points == [(0, 0.0, {f"{FINAL}val_loss": 4.5})]
    assert (found.last_step, found.ended_s) == (0, 0.0)


def test_replay_of__nothing_at_all__has_no_point():
    found = replay_of([HEAD, RunEnd("failed", {}, {}, "time limit")])
    assert found.points == [] and found.failed
    assert found.ended_s == found.started_s == STARTED_S
    assert found.tags["reason"] == "time limit"


@pytest.mark.parametrize(
    ("records", "lacks"),
    [([HEAD, *STEPS], "end"), ([DONE], "header"), ([], "header")],
)
def test_replay_of__log_that_is_not_whole__says_what_it_lacks(records, lacks):
    with pytest.raises(RecordError, match=f"has no {lacks}. Fix: train"):
        replay_of(records)


def test_csv__whole_run__has_settings_fidelity_and_how_it_ended(tmp_path):
    assert row_of(tmp_path, HEAD, *STEPS, DONE) == {
        "run_id": HEAD.run_id,
        "status": "finished",
        "lr": "0.1",
        "mix.a": "0.5",
        "mix.b": "0.5",
        "params": "16.0",
        "tokens": "4096.0",
        "seed": "3",
        "val_loss": "4.5",
    }


def test_csv__run_that_ended_with_nothing__keeps_its_declared_tokens(tmp_path):
    """What it logged last on the way is no outcome, and no fidelity."""
    row = row_of(tmp_path, HEAD, *STEPS, RunEnd("diverged", {}, {}))
    assert row["tokens"] == "4096.0"
    assert "train_loss" not in row and row["status"] == "diverged"


def test_export__tool_named_twice__is_written_once(tmp_path):
    found = export([[HEAD, DONE]], ["csv", "csv"], tmp_path)
    assert found == [tmp_path / "csv"]


def test_export__no_run__is_an_empty_table(tmp_path):
    export([], ["csv"], tmp_path)
    assert (tmp_path / "csv" / "runs.csv").read_text() == "\n"


def test_export__folder_there__touches_nothing(tmp_path):
    (tmp_path / "csv").mkdir()
    with pytest.raises(RecordError, match="is there already"):
        export([[HEAD, DONE]], ["csv"], tmp_path)
    assert list((tmp_path / "csv").iterdir()) == []


def write_log(folder, *records):
    text = "".join(to_line(record) + "\n" for record in records)
    (folder / f"{records[0].run_id}.jsonl").write_text(text)


def test_logs_in__folder_of_logs__is_each_by_its_id(tmp_path):
    write_log(tmp_path, HEAD, *STEPS, DONE)
    assert logs_in(tmp_path) == {HEAD.run_id: [HEAD, *STEPS, DONE]}


def test_logs_in__no_log__says_what_makes_one(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SetupError, match="holds no log of a run") as caught:
        logs_in(tmp_path)
    assert "autollm lab run" in str(caught.value)


FAMILY = "pretraining"
LEVELS = FAMILIES[FAMILY].levels


def recorded(*levels, n=3):
    """Headers of the first runs of levels, by id."""
    found = {}
    for level in levels:
        for run in FAMILIES[FAMILY].runs(level)[:n]:
            head = RunHeader(
                run.run_id, "lab-x", FAMILY, run.config, {}, run.seed
            )
            found[run.run_id] = [head, DONE]
    return found


def chosen(runs, named=(), levels=(), sample=2, seed=0):
    return chosen_runs(FAMILY, runs, named, levels, sample, seed)


def test_chosen_runs__nothing_said__is_a_sample_that_the_seed_decides():
    runs = recorded(*LEVELS[:2], n=9)
    first = chosen(runs, sample=4)
    assert len(set(first)) == 4 and first == chosen(runs, sample=4)
    assert first != chosen(runs, sample=4, seed=1)
    assert chosen(runs, sample=1000) == sorted(runs)


def test_chosen_runs__level__is_all_of_its_runs_and_no_other():
    runs = recorded(*LEVELS[:2])
    wanted = sorted(recorded(LEVELS[0]))
    assert chosen(runs, levels=[LEVELS[0].name]) == wanted


def test_chosen_runs__run_named_that_is_of_the_level_too__comes_once():
    runs = recorded(LEVELS[0])
    first = sorted(runs)[0]
    found = chosen(runs, [first], [LEVELS[0].name])
    assert sorted(found) == sorted(runs)


def test_chosen_runs__level_without_a_run__is_no_sample_of_the_others():
    with pytest.raises(SetupError, match=LEVELS[1].name):
        chosen(recorded(LEVELS[0]), levels=[LEVELS[1].name])


def test_chosen_runs__unknown_run_or_level__names_the_nearest():
    runs = recorded(LEVELS[0])
    with pytest.raises(UnknownNameError, match="run"):
        chosen(runs, ["pretraining-a1-nothing"])
    with pytest.raises(UnknownNameError, match="level"):
        chosen(runs, levels=["zz9"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2h", 7200.0),
        ("30m", 1800.0),
        ("600s", 600.0),
        ("600", 600.0),
        (".5h", 1800.0),
    ],
)
def test_seconds__duration__is_in_seconds(text, wanted):
    assert seconds(text) == wanted


TASK = st.sampled_from(TASKS)


@settings(max_examples=60)
@given(TASK, st.integers(0, 10_000))
def test_make__any_task_and_seed__its_answer_is_right_and_fits(task, seed):
    rng = random.Random(seed)
    size = rng.choice((*SIZES[task], *SHIFTED[task]))
    found = make(task, size, rng)
    assert is_right(found.prompt, found.answer)
    assert set(found.prompt + found.answer) <= set(ALPHABET)
    assert len(found.answer) < MAX_ANSWER


@settings(max_examples=60)
@given(TASK, st.integers(0, 10_000), st.text("0123456789+-*", max_size=11))
def test_is_right__any_answer__is_well_formed_where_it_is_right(
    task, seed, answer
):
    found = make(task, SIZES[task][0], random.Random(seed))
    if is_right(found.prompt, answer):
        assert is_well_formed(found.prompt, answer)


@pytest.mark.parametrize(
    ("expression", "total"),
    [("7", 7), ("1+2*3", 9), ("9-9-9", -9), ("2*3*4-5", 19)],
)
def test_value__expression__is_read_from_left_to_right(expression, total):
    assert value(expression) == total


@pytest.mark.parametrize(
    ("prompt", "answer", "formed", "right"),
    [
        ("S312=", "123", True, True),
        ("S312=", "12", False, False),
        ("S312=", "321", True, False),
        ("S312=", "", False, False),
        ("A38+47=", "58", True, True),
        ("A38+47=", "85", True, False),
        ("A38+47=", "5 8", False, False),
        ("A05+05=", "01", True, True),
        ("C3,7,2=13=", "3*2+7", True, True),
        ("C3,7,2=13=", "7+3*2", True, False),
        ("C3,7,2=13=", "3*3+4", False, False),
        ("C3,7,2=7=", "7", True, True),
        ("C3,7,2=13=", "3*2+", False, False),
        ("C3,7,2=13=", "3/2+7", False, False),
        ("C3,3,2=9=", "3*3", True, True),
    ],
)
def test_is_right__answers_by_hand__are_judged(prompt, answer, formed, right):
    assert is_well_formed(prompt, answer) == formed
    assert is_right(prompt, answer) == right
