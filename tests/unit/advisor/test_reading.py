"""What `recommend FILE` reads: every table and folder that `ingest` reads, in the same
way, and what it says of costs that nobody knows.
"""

from __future__ import annotations

import json

import pytest

from autollm.advisor.evidence.evidence import (
    LogOptions,
    read_evidence,
    read_home,
)
from autollm.advisor.recommend import recommend
from autollm.core.errors import AdviceError, QuestionError
from autollm.logs.choosing.guesses import Guesser, nobody
from autollm.logs.landing import ingest
from autollm.logs.proposals import TableOptions as Words
from tests.unit.advisor.sweeps import mapping_text, rows_of, write_csv

TARGET = "params=1.6B,tokens=60B"
SAID = LogOptions(objective="val_loss:min")


@pytest.fixture
def rows():
    return rows_of(rates=[2.0**-11, 2.0**-10, 2.0**-9, 2.0**-8])


def test_read_evidence__json_lines__are_the_rows_of_the_same_csv(
    tmp_path, rows
):
    lines = [
        json.dumps(row) for row in rows if row["val_loss"] == row["val_loss"]
    ]
    (tmp_path / "runs.jsonl").write_text("\n".join(lines))
    finished = [row for row in rows if row["val_loss"] == row["val_loss"]]
    write_csv(tmp_path / "runs.csv", finished)
    read = [
        read_evidence([tmp_path / name], SAID)
        for name in ("runs.jsonl", "runs.csv")
    ]
    assert len(read[0].runs) == len(lines)
    assert read[0].table.points[5].tolist() == read[1].table.points[5].tolist()
    assert read[0].table.losses(5).tolist() == read[1].table.losses(5).tolist()


def test_read_evidence__folder_of_one_table_a_size__is_one_source(
    tmp_path, rows
):
    for size in sorted({row["params"] for row in rows}):
        mine = [row for row in rows if row["params"] == size]
        write_csv(tmp_path / f"sweep-{size}.csv", mine)
    found = read_evidence([tmp_path], SAID)
    assert len(found.table.experiments) == 6
    assert len(found.runs) == len(rows)


def test_read_evidence__mapping_kept_in_the_home__reads_the_file(
    tmp_path, rows
):
    path = write_csv(tmp_path / "runs.csv", rows)
    kept = tmp_path / "home" / "mappings"
    kept.mkdir(parents=True)
    knob = '[[knobs]]\nname = "peak_rate"\ncolumn = "lr"\nscale = "log"'
    text = mapping_text("mine", "runs.csv", 'columns = ["run_id"]', knob)
    (kept / "mine.toml").write_text(text)
    found = read_evidence([path], LogOptions(), str(tmp_path / "home"))
    assert found.source == "mine"
    assert found.table.experiments[0].space.names == ("peak_rate",)


@pytest.mark.parametrize(
    "said",
    [
        LogOptions(objective="accuracy:max"),
        LogOptions(knobs=("lrr",)),
        LogOptions(fidelity={"params": "width"}),
    ],
)
def test_read_evidence__what_is_said_is_not_there__no_kept_mapping_answers(
    tmp_path, rows, said
):
    path = write_csv(tmp_path / "runs.csv", rows)
    home = str(tmp_path / "home")
    guesser = Guesser(home, Words.parse("val_loss:min"), nobody, print)
    ingest([path], home, guesser.guess([str(path)])[0].mapping)
    with pytest.raises(QuestionError, match="expected a column that varies"):
        read_evidence([path], said, home)
    with pytest.raises(AdviceError, match="the mapping runs reads"):
        read_home(home, said)
    kept = LogOptions(
        "val_loss:min", ("lr", "batch_size"), {"params": "params"}
    )
    assert len(read_home(home, kept).runs) == len(rows)


def test_recommend__two_losses__only_the_objectives_names_tell_it(
    tmp_path, rows
):
    for row in rows:
        row["train/loss"] = row["eval/loss"] = row.pop("val_loss")
    path = write_csv(tmp_path / "runs.csv", rows)
    said = LogOptions(objective="eval/loss:min")
    names = recommend(path, TARGET, said=said).objective_names
    assert names[0] == "eval/loss" and "loss" not in names
    for row in rows:
        del row["train/loss"]
    write_csv(path, rows)
    names = recommend(path, TARGET, said=said).objective_names
    assert names[0] == "eval/loss" and names[-1] == "loss"


def test_read_evidence__direction_that_no_name_tells__is_asked(tmp_path, rows):
    for row in rows:
        row["eval_quality"] = row.pop("val_loss")
    path = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(AdviceError) as raised:
        read_evidence([path], LogOptions())
    assert raised.value.code == "direction"
    assert raised.value.about == "eval_quality"
    said = str(raised.value)
    assert "--objective eval_quality:min" in said
    assert said.count("Fix: ") == 1


def test_read_evidence__nothing_in_it__is_an_error_with_the_reason(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("remember to rerun the large one\n")
    with pytest.raises(AdviceError) as raised:
        read_evidence([path], LogOptions())
    assert raised.value.code == "unreadable"


def test_recommend__cost_is_a_guess__no_flops_are_told(tmp_path, rows):
    for row in rows:
        del row["tokens"]
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(path, "params=1.6B", said=SAID)
    assert advice.target.compute_flops is None
    assert advice.target.times_evidence == pytest.approx(2.0)
    helpful = [run for row in advice.can_answer for run in row.would_help]
    assert helpful
    assert all(run.cost["flops"] is None for run in helpful)


def test_recommend__cost_from_size_and_tokens__is_in_flops(tmp_path, rows):
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(path, TARGET, said=SAID)
    assert advice.target.compute_flops == pytest.approx(6 * 1.6e9 * 6e10)
