from __future__ import annotations

import csv
import itertools
import json

import pytest

from autollm.advisor.judged.questions import draw, hidden_experiments
from autollm.advisor.judged.reading import (
    Reading,
    book_of,
    difference,
    few_of_each,
    own,
    readings,
)
from autollm.advisor.judged.rewriting import FORMATS, runs_of
from autollm.advisor.judged.summaries import format_summaries
from tests.unit.advisor.judged.sweep import table_of


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    table = table_of(tmp_path_factory.mktemp("reading"))
    return draw(hidden_experiments(table)[-1], 0)


def test_runs_of__unfinished_ones__are_added_and_change_no_outcome(drawn):
    runs = runs_of(drawn.evidence.runs)
    finished = [r.outcome for r in runs if r.state == "finished"]
    assert finished == [r["objective_value"] for r in drawn.evidence.runs]
    states = {r.state for r in runs} - {"finished"}
    assert states == {"running", "killed", "crashed"}
    for finished_run, run in itertools.pairwise(runs):
        if run.state != "finished":  # a loss stands above its end
            assert run.outcome == 1.25 * finished_run.outcome


def test_formats__every_one__holds_every_outcome(drawn, tmp_path):
    book = book_of(drawn)
    done = [r for r in book.runs if r.state == "finished"]
    outcomes = [r.outcome for r in done if r.outcome == r.outcome]
    for name, write in FORMATS.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        path = write(book, folder)
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        text = "\n".join(f.read_text() for f in files if f.is_file())
        assert all(str(v) in text for v in outcomes[:9]), name


def test_write_wandb__csv__has_people_s_columns(drawn, tmp_path):
    path = FORMATS["W&B export"](book_of(drawn), tmp_path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert {"Name", "State", "Runtime", "grad_norm", "val_loss"} <= set(rows[0])
    assert {row["State"] for row in rows} >= {"finished", "running"}


def test_readings__formats_of_a_plain_sweep__give_the_same_advice(drawn):
    assert readings(drawn) == dict.fromkeys(FORMATS, "")


def test_difference__says_what_is_missing_added_or_other():
    wanted = {"lr": 0.001, "mixture_code": 0.5}
    assert difference(wanted, {"config.lr": 0.001, "mixture.code": 0.5}) == ""
    assert difference(wanted, {"lr": 0.001}) == "no knob: mixture_code"
    added = {**wanted, "summary.grad_norm": 1.0}
    assert difference(wanted, added) == "taken for a knob: summary.grad_norm"
    other = difference(wanted, {"lr": 0.002, "mixture_code": 0.5})
    assert other == "lr 0.002 instead of 0.001"


def test_few_of_each__one_group_of_many_questions__gives_a_few(drawn):
    questions = hidden_experiments(drawn.hidden.table)
    many = [*questions, *questions]
    assert len(many) > 3 and few_of_each(many) == many[:3]


def test_runs_of__sizes_of_a_source__have_people_s_names(drawn):
    rows = []
    for row in drawn.evidence.runs[:3]:
        fidelity = json.dumps({"effective_params": 1e9})
        rows.append({**row, "fidelity_json": fidelity})
    assert all("params" in run.settings for run in runs_of(rows))


def test_own__prefixes_of_tools__are_no_part_of_a_name():
    known = ("lr", "mixture_tulu_v3.9_aya")
    columns = ("params_lr", "config.train.lr", "train/lr", "lr")
    assert {own(name, known) for name in columns} == {"lr"}
    assert own("params_mixture_tulu_v3.9_aya", known) == known[1]
    assert own("mlr", known) == "mlr"


def test_read_alike__formats__count_and_keep_reasons():
    found = format_summaries(
        [
            Reading("a", "q1", "MLflow table", ""),
            Reading("a", "q2", "MLflow table", "no knob: lr"),
        ]
    )
    assert [(f.n, f.n_same, f.reasons) for f in found] == [
        (2, 1, {"a": ["no knob: lr"]})
    ]
    assert json.dumps(found[0].reasons)
