"""Files of questions: what they say, and what is wrong with one."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.advisor.kept import ledger
from autollm.core.errors import QuestionError
from autollm.core.places import resolve
from autollm.stages import advice_runs
from autollm.stages.questions import (
    COLUMNS,
    Answered,
    Question,
    answer_all,
    question_files,
    read_question,
)
from tests.unit.advisor.test_ledger import advice


def written(tmp_path, text):
    path = tmp_path / "q.toml"
    path.write_text(text)
    return path


def test_read_question__target_alone__has_the_usual_rest(tmp_path):
    found = read_question(written(tmp_path, 'target = "params=7B"\n'))
    assert found == Question(target="params=7B")
    assert (found.source, found.trials, found.policies) == ("", 3, None)


def test_read_question__every_field__is_taken(tmp_path):
    text = """
source = "team"
target = "params=7B,tokens=140B"
trials = 5
constraints = ["lr <= 0.01", "batch_size < 99"]
policies = []
[context]
tokenizer = "bpe"
"""
    found = read_question(written(tmp_path, text))
    assert found.constraints == ["lr <= 0.01", "batch_size < 99"]
    assert found.context == {"tokenizer": "bpe"} and found.policies == []
    assert (
        found.asked["context"] == "tokenizer=bpe" and found.asked["runs"] == []
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "target: Field required"),
        ('target = "a=1"\ntrails = 3\n', "trails: Extra inputs"),
        ('target = "a=1"\ntrials = 0\n', "trials: Input should be greater"),
        ('target = "a=1"\ntrials = 21\n', "trials: Input should be less"),
        ("target = 7\n", "target: Input should be a valid string"),
        ('target = "a=1"\nconstraints = "lr<1"\n', "constraints"),
        ("target = ", "is no TOML"),
    ],
)
def test_read_question__wrong_file__says_which_field(tmp_path, text, words):
    with pytest.raises(QuestionError, match=r"q\.toml") as caught:
        read_question(written(tmp_path, text))
    assert words in str(caught.value)


def test_read_question__bytes_that_are_no_text__is_no_toml(tmp_path):
    path = tmp_path / "q.toml"
    path.write_bytes(b'target = "\xff"')
    with pytest.raises(QuestionError, match="is no TOML"):
        read_question(path)


def test_read_question__folder_of_that_name__says_what_to_do(tmp_path):
    (tmp_path / "q.toml").mkdir()
    with pytest.raises(QuestionError, match="cannot be read"):
        read_question(tmp_path / "q.toml")


def test_answer_all__nothing_has_landed__each_says_why_and_the_next_is_asked(
    tmp_path,
):
    places = resolve(str(tmp_path / "home")).prepare()
    folder = places.local / "questions"
    folder.mkdir()
    (folder / "a.toml").write_text('target = "params=7B"\n')
    (folder / "b.toml").mkdir()
    (folder / "c.toml").write_text("target = ")
    (folder / "notes.txt").write_text("no question")
    said = []
    found = answer_all(places, said.append)
    assert [p.name for p in question_files(places)] == [
        "a.toml",
        "b.toml",
        "c.toml",
    ]
    assert said == ["question a", "question b", "question c"]
    assert "nothing has landed" in found[0].problem
    assert "cannot be read" in found[1].problem
    assert "is no TOML" in found[2].problem
    assert [one.row()["question"] for one in found] == ["a", "b", "c"]
    assert set(found[0].row()) == set(COLUMNS)


WORDS = st.text(min_size=1, max_size=12)


@given(WORDS, WORDS, st.lists(WORDS, max_size=2))
def test_command__any_words__are_each_one_word_for_a_shell(
    source, target, constraints
):
    question = Question(source=source, target=target, constraints=constraints)
    words = shlex.split(question.command)
    assert words[:2] == ["autollm", "recommend"]
    assert words[words.index("--source") + 1] == source
    assert words[words.index("--target") + 1] == target
    assert words.count("--constraint") == len(constraints)


def entry_of(home, **changes):
    told = {"decided_by": {"policy": "known", "backtest": []}} | changes
    advice_id = ledger.save(home, advice(**told), {})
    return ledger.load(home, advice_id)


def test_row__answered__is_what_a_person_reads(tmp_path):
    entry = entry_of(str(tmp_path))
    row = Answered("q", Question(target="a=1"), entry, is_new=True).row()
    assert row["answer"] == "lr 0.001" and row["target"] == "params 1e+09"
    assert row["expected"] == "2 (1.9 to 2.1)" and row["new"] == "yes"
    assert row["advice"] == entry.advice_id


def test_row__nothing_was_left_to_propose__has_no_answer(tmp_path):
    entry = entry_of(str(tmp_path), recommendations=())
    row = Answered("q", Question(target="a=1"), entry).row()
    assert row["answer"] == "" and row["expected"] == "-"


def test_params__of_an_advice__are_what_mlflow_compares(tmp_path):
    entry = entry_of(str(tmp_path))
    assert advice_runs._params(entry.answer) == {
        "source": "runs",
        "objective": "val_loss",
        "basis": "evidence",
        "policy": "known",
        "target": {"params": 1e9},
        "configuration": {"lr": 0.001},
    }
    empty = entry_of(str(tmp_path), recommendations=())
    assert advice_runs._params(empty.answer)["configuration"] == {}


@pytest.mark.parametrize(
    ("told", "metrics"),
    [
        (
            ledger.ReportedRun({}, 2.05, rank=1),
            {"rank": 1.0, "outcome": 2.05, "inside": 1.0},
        ),
        (
            ledger.ReportedRun({}, 2.2, rank=1),
            {"rank": 1.0, "outcome": 2.2, "inside": 0.0},
        ),
        (ledger.ReportedRun({}, 2.2), {"rank": 0.0, "outcome": 2.2}),
        (ledger.ReportedRun({}, 2.2, "killed", 1), {"rank": 1.0}),
        (ledger.ReportedRun({}, None, "diverged", 1), {"rank": 1.0}),
    ],
)
def test_told__one_run__is_its_outcome_and_whether_it_was_foretold(
    tmp_path, told, metrics
):
    answer = entry_of(str(tmp_path)).answer
    assert advice_runs._told(answer, told) == metrics


def test_mirror__home_without_a_store__writes_nothing(tmp_path):
    places = resolve(str(tmp_path))
    entry_of(places.home)
    assert advice_runs.mirror(places) == []
    assert not (places.mlflow / "mlflow.db").exists()
