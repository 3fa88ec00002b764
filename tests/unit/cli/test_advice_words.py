"""The commands of advice, asked in ways that need no fit: what is typed, told, written
and refused.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer

from autollm.advisor.kept import ledger
from autollm.cli import asking
from autollm.cli.asking import Ending, TypedQuestion
from autollm.core.errors import (
    AdviceError,
    QuestionError,
    SpaceError,
    UnknownNameError,
)
from tests.helpers.commands import call
from tests.unit.advisor.test_ledger import advice

TARGET = ("--target", "params=1B")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def saved(home, configuration=None, **changes):
    """Keep an advice of this configuration; returns its id."""
    first = advice().recommendations[0]
    if configuration is not None:
        first = replace(first, configuration=configuration)
    told = {"decided_by": {"policy": "known", "backtest": []}} | changes
    return ledger.save(
        str(home), advice(recommendations=(first,), **told), {"runs": ["a.csv"]}
    )


def tell(home, advice_id, run, *more):
    return call("tell", advice_id, "--run", run, *more, "--home", home)


def test_tell__settings_and_outcome__are_noted_and_followed(home):
    advice_id = saved(home, {"lr": 0.001, "opt": "adamw"})
    done = tell(home, advice_id, "lr=1e-3,opt=adamw,val_loss=2.05", "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row["n_followed"] == row["n_inside"] == 1
    assert row["best_outcome"] == 2.05
    (told,) = ledger.load(str(home), advice_id).told
    assert told.configuration == {"lr": 0.001, "opt": "adamw"}
    assert told.outcome == 2.05


def test_tell__beginning_of_an_id_and_a_name__is_enough(home):
    advice_id = saved(home, {"lr": 0.001})
    done = tell(home, advice_id[:6], "lr=0.002,val_loss=2", "--name", "night 7")
    assert done.code == 0, done.err
    assert advice_id in done.out and "1 run told, best 2" in done.out
    (told,) = ledger.load(str(home), advice_id).told
    assert told.run == "night 7" and told.rank == 0


def test_tell__file_that_write_made__is_followed(home, tmp_path):
    """Files are written without the prefixes of trackers, and nested."""
    advice_id = saved(home, {"config.optim.lr": 0.001, "config.bs": 64})
    path = tmp_path / "run.json"
    path.write_text(
        json.dumps({"optim": {"lr": 0.001}, "bs": 64, "val_loss": 2.0})
    )
    done = tell(home, advice_id, path, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["n_followed"] == 1


def test_tell__outcome_under_a_trackers_prefix__is_found(home):
    objective = {"name": "summary.val_loss", "direction": "min", "unit": ""}
    names = ("summary.val_loss", "val_loss")
    advice_id = saved(
        home, {"lr": 0.001}, objective=objective, objective_names=names
    )
    for number, words in enumerate(
        ("lr=0.001,summary.val_loss=2", "lr=0.001,val_loss=2"), 1
    ):
        done = tell(home, advice_id, words, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["n_told"] == 1
        assert ("replaced" in done.err) == (number == 2)


@pytest.mark.parametrize("other", ["train/loss", "loss", "accuracy"])
def test_tell__another_metric_than_the_objective__is_no_outcome(home, other):
    objective = {"name": "eval/loss", "direction": "min", "unit": ""}
    names = ("eval/loss", "eval_loss")
    advice_id = saved(
        home, {"lr": 0.001}, objective=objective, objective_names=names
    )
    done = tell(home, advice_id, f"lr=0.001,{other}=2.2")
    assert done.code == 2
    assert "the run lacks the outcome eval/loss" in done.err


def test_tell__word_of_a_tool_for_how_it_ended__is_understood(home):
    advice_id = saved(home, {"lr": 0.001})
    done = tell(home, advice_id, "lr=0.001", "--status", "crashed")
    assert done.code == 0, done.err
    (told,) = ledger.load(str(home), advice_id).told
    assert told.status == "failed"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("val_loss=2", "the run lacks lr. It needs: lr."),
        ("lr=0.1", "the run lacks the outcome val_loss"),
        ("lr=0.1,val_loss=good", "the run lacks the outcome val_loss"),
        ("lr=0.1,val_loss", "--run: 'val_loss', expected KEY=VALUE"),
        ("lr=0.1,val_loss=inf", "is no finite number"),
        ("lr=0.1,val_loss=nan", "is no finite number"),
    ],
)
def test_tell__run_that_says_too_little__is_code_2_and_a_remedy(
    home, run, words
):
    done = tell(home, saved(home, {"lr": 0.001}), run)
    assert done.code == 2 and not done.traceback
    assert words in done.err and done.out == ""


@pytest.mark.parametrize("outcome", ["nan", "inf", "-inf", ""])
def test_tell__diverged_with_what_was_logged_last__has_no_outcome(
    home, outcome
):
    advice_id = saved(home, {"lr": 0.001})
    done = tell(
        home,
        advice_id,
        f"lr=0.001,val_loss={outcome}",
        "--status",
        "diverged",
        "--json",
    )
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row["n_diverged"] == 1 and row["best_outcome"] is None
    assert ledger.load(str(home), advice_id).told[0].outcome is None


def test_tell__contradiction_then_forget__can_be_told_anew(home):
    advice_id = saved(home, {"lr": 0.001})
    assert tell(home, advice_id, "lr=0.001,val_loss=2.05").code == 0
    done = tell(home, advice_id, "lr=0.001", "--status", "diverged")
    assert done.code == 2 and "--forget" in done.err
    done = tell(home, advice_id, "lr=0.001", "--forget", "--json")
    assert done.code == 0 and json.loads(done.out)["n_told"] == 0
    done = tell(home, advice_id, "lr=0.001", "--status", "diverged", "--json")
    assert done.code == 0 and json.loads(done.out)["n_diverged"] == 1


def test_tell__diverged_with_an_outcome_as_good_as_expected__is_refused(home):
    advice_id = saved(home, {"lr": 0.001})
    run = "lr=0.001,val_loss=2.05"
    done = tell(home, advice_id, run, "--status", "diverged")
    assert done.code == 2 and "is as good as was expected" in done.err
    done = tell(home, advice_id, "lr=0.001,val_loss=9", "--status", "diverged")
    assert done.code == 0
    assert ledger.load(str(home), advice_id).told[0].outcome is None


def test_tell__status_nobody_knows__names_the_known(home):
    done = tell(
        home,
        saved(home, {"lr": 0.001}),
        "lr=0.1,val_loss=2",
        "--status",
        "crumpled",
    )
    assert done.code == 2 and "expected one of finished, diverged" in done.err


def test_tell__file_that_is_not_there__says_so(home, tmp_path):
    done = tell(home, saved(home, {"lr": 0.001}), tmp_path / "gone.yaml")
    assert done.code in (1, 2) and not done.traceback
    assert "gone.yaml" in done.err


def test_advice_list__nothing_saved__is_empty(home):
    assert (
        json.loads(call("advice", "list", "--json", "--home", home).out) == []
    )
    assert call("advice", "list", "--home", home).out == ""


def test_advice_show__saved_and_told__lists_proposals_and_runs(home):
    advice_id = saved(home, {"lr": 0.001})
    tell(home, advice_id, "lr=0.001,val_loss=2.05")
    tell(home, advice_id, "lr=0.002", "--status", "killed")
    done = call("advice", "show", advice_id, "--home", home)
    assert done.code == 0, done.err
    assert "1. lr = 0.001\n" in done.out
    assert "told: lr = 0.001: finished with 2.05" in done.out
    assert "told: lr = 0.002: killed" in done.out
    assert "page:" not in done.out


def test_advice_show__unknown__is_one_line_and_code_1(home):
    done = call("advice", "show", "ffff", "--home", home)
    assert done.code == 1 and done.err.startswith("error: ")
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "7 apples"), "--budget '7 apples', expected FLOPs"),
        (("--budget", "inf"), "expected FLOPs"),
        (("--budget", "0"), "expected FLOPs"),
        (("--budget", "5%"), "expected FLOPs"),
        (("--fidelity", "params"), "--fidelity: 'params', expected NAME=VALUE"),
        (("--fidelity", "params="), "expected NAME=VALUE"),
        (("--context", "=bpe"), "expected NAME=VALUE"),
        (("--context", "tokenizer"), "--context: 'tokenizer'"),
    ],
)
def test_recommend__option_that_says_nothing__is_code_2_and_an_object(
    tmp_path, options, words
):
    """Wrong words are said before any log is read."""
    where = () if options[0] == "--budget" else TARGET
    done = call("recommend", tmp_path / "no.csv", *where, *options, "--json")
    assert done.code == 2, done.err
    error = json.loads(done.out)["error"]
    assert error["code"] == "question" and words in error["text"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "1e21flops", *TARGET), "--budget"),
        (("--fix", "params=1B", *TARGET), "--fix"),
    ],
)
def test_recommend__words_that_would_be_dropped__are_refused(
    tmp_path, options, words
):
    done = call("recommend", tmp_path / "no.csv", *options, "--json")
    assert done.code == 2
    text = json.loads(done.out)["error"]["text"]
    assert words in text and "Fix" in text


def test_recommend__continue_of_an_unknown_advice__is_code_2(home):
    done = call("recommend", "--continue", "ffff", "--home", home, "--json")
    assert done.code == 2
    assert "unknown advice 'ffff'" in json.loads(done.out)["error"]["text"]


def test_check__plan_that_is_not_there__is_wrong_usage_that_names_it(tmp_path):
    done = call(
        "check", tmp_path / "plan.yaml", tmp_path / "no.csv", *TARGET, "--json"
    )
    assert done.code == 2 and not done.traceback
    assert "plan.yaml" in json.loads(done.out)["error"]["text"]


@pytest.fixture
def answered(monkeypatch):
    """Every question has the same advice, without a fit."""
    found = advice(
        decided_by={"policy": "known", "backtest": []},
        evidence={"n_runs": 3, "n_experiments": 1, "noise": {"sd": None}},
    )

    def explored(*_, **__):
        return None, found

    monkeypatch.setattr("autollm.cli.recommend.explored", explored)
    monkeypatch.setattr("autollm.cli.recommend._save", lambda *_: None)
    return found


def test_recommend__write_to_a_new_folder__makes_it(answered, tmp_path):
    path = tmp_path / "new" / "deep" / "next.json"
    done = call("recommend", *TARGET, "--write", path)
    assert done.code == 0, done.err
    assert json.loads(path.read_text()) == {"lr": 0.001}


def test_recommend__write_to_stdout__is_the_file_alone(answered):
    done = call("recommend", *TARGET, "--write", "-", "--style", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"lr": 0.001}


def test_recommend__style_nobody_knows__is_code_2_and_writes_nothing(
    answered, tmp_path
):
    path = tmp_path / "next.yaml"
    done = call("recommend", *TARGET, "--write", path, "--style", "xml")
    assert done.code == 2 and "no style 'xml'" in done.err
    assert not path.exists()


def test_recommend__write_where_a_folder_stands__is_no_missing_log(
    answered, tmp_path
):
    done = call("recommend", *TARGET, "--write", tmp_path)
    assert done.code == 1 and not done.traceback
    assert str(tmp_path) in done.err and "name logs" not in done.err


def ended(error, as_json=True):
    """Exit code of an ending for this error."""

    def work():
        raise error

    with pytest.raises(typer.Exit) as caught:
        Ending(as_json)(work)
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (QuestionError("a"), 2, "question"),
        (SpaceError("a"), 2, "question"),
        (UnknownNameError("knob", "x", ["y"]), 2, "question"),
        (AdviceError("infeasible", "a", "b"), 3, "infeasible"),
        (FileNotFoundError("a"), 3, "unreadable"),
    ],
)
def test_ending__error__has_its_code_and_object(capsys, error, code, name):
    assert ended(error) == code
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "autollm.recommendation/1"
    assert told["error"]["code"] == name and told["error"]["text"]


def test_ending__terminal__says_what_to_do_on_stderr(capsys):
    assert ended(AdviceError("x", "it is so.", "do that."), False) == 3
    told = capsys.readouterr()
    assert told.out == "" and told.err == "error: it is so. Fix: do that.\n"


def test_ending__direction_on_a_terminal__is_asked_for(monkeypatch):
    asked = []

    def work(said):
        asked.append(said.objective)
        if not said.objective:
            raise AdviceError("direction", "is it?", "say", "score")
        return "done"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: " MAX ")
    assert Ending(False)(work, TypedQuestion(("a.csv",), "params=1")) == "done"
    assert asked == ["", "score:max"]


def test_ending__direction_with_json__is_not_asked_for(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def work(said):
        raise AdviceError("direction", "is it?", "say", "score")

    with pytest.raises(typer.Exit) as caught:
        Ending(True)(work, TypedQuestion((), ""))
    assert caught.value.exit_code == 3


def test_paths_of__none_and_several__are_texts(tmp_path):
    assert asking.paths_of(None) == ()
    assert asking.paths_of([tmp_path]) == (str(tmp_path),)


def saved_nothing(home):
    """Keep an advice to which nothing was left to propose; returns its id."""
    empty = advice(
        recommendations=(), decided_by={"policy": "known", "backtest": []}
    )
    return ledger.save(str(home), empty, {"runs": ["a.csv"]})


def test_advice_list__nothing_was_left_to_propose__is_a_row_all_the_same(home):
    advice_id = saved_nothing(home)
    (row,) = json.loads(call("advice", "list", "--json", "--home", home).out)
    assert row["advice_id"] == advice_id
    assert row["configuration"] == {} and row["predicted"] is None
    shown = call("advice", "show", advice_id, "--home", home)
    assert shown.code == 0 and advice_id in shown.out


def test_tell__advice_that_proposed_nothing__says_where_to_tell_it(home):
    done = tell(home, saved_nothing(home), "lr=0.1,val_loss=2")
    assert done.code == 2 and not done.traceback
    assert "proposed nothing" in done.err and "Fix" in done.err


def test_recommend__nothing_left_to_write__is_no_answer_with_its_reason(
    monkeypatch, tmp_path
):
    empty = advice(
        recommendations=(),
        decided_by={"policy": "known", "backtest": []},
        evidence={"n_runs": 3, "n_experiments": 1, "noise": {"sd": None}},
    )
    monkeypatch.setattr("autollm.cli.recommend._save", lambda *_: None)
    monkeypatch.setattr(
        "autollm.cli.recommend.explored", lambda *_, **__: (None, empty)
    )
    path = tmp_path / "next.yaml"
    done = call("recommend", *TARGET, "--write", path, "--json")
    assert done.code == 3 and not path.exists()
    assert json.loads(done.out)["error"]["code"] == "nothing-left"
    plain = call("recommend", *TARGET)
    assert plain.code == 0 and "What to run" in plain.out
