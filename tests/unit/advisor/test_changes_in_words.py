"""What would change an advice, in sentences, for an advice made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autollm.advisor.answer import Answerable, Help, Interval
from autollm.advisor.answering.changes import MOST_CONSTANTS, what_would_change
from autollm.advisor.answering.influence import Influence
from tests.unit.advisor.test_ledger import advice


def sentences(moved=(), **changes):
    """The study is not read beyond what the advice holds."""
    return what_would_change(None, advice(**changes), moved)


def proposal(**changes):
    return replace(advice().recommendations[0], **changes)


def influence(left_out, leaves, **configuration):
    return Influence(left_out, 5, configuration, None, {}, tuple(leaves))


def test_what_would_change__prediction__says_which_outcome_contradicts_it():
    told = sentences()[0]
    assert "val_loss outside of 1.9 to 2.1" in told
    assert f"autollm tell {advice().advice_id[:8]}" in told


@pytest.mark.parametrize("entries", [(), (proposal(predicted=None),)])
def test_what_would_change__nothing_predicted__no_outcome_contradicts_it(
    entries,
):
    assert sentences(recommendations=entries) == []


def test_what_would_change__experiments_that_agree__are_said_together():
    first = proposal(
        configuration={"lr": 0.001, "bs": 64},
        acceptable={"lr": [0.0009, 0.0011]},
        predicted=None,
    )
    moved = [
        influence("N=1e8", ["lr"], lr=0.004, bs=64),
        influence("N=2e8", [], lr=0.001, bs=64),
        influence("N=4e8", ["lr"], lr=0.004, bs=64),
        influence("N=8e8", ["lr"], lr=0.0002, bs=64),
    ]
    found = sentences(moved, recommendations=(first,))
    assert found == [
        "lr would be 0.004 instead of 0.001, outside of its acceptable range, without "
        "the runs of N=1e8 or N=4e8.",
        "lr would be 0.0002 instead of 0.001, outside of its acceptable range, without "
        "the runs of N=8e8.",
    ]


def test_what_would_change__no_experiment_matters__is_said():
    first = proposal(acceptable={"lr": [0.0009, 0.0011]}, predicted=None)
    moved = [influence("a", [], lr=0.001), influence("b", [], lr=0.001)]
    (found,) = sentences(moved, recommendations=(first,))
    assert found.startswith("No single experiment")


def test_what_would_change__no_range_is_known__claims_nothing_of_it():
    first = proposal(acceptable=None, predicted=None)
    moved = [influence("a", [], lr=0.001)]
    assert sentences(moved, recommendations=(first,)) == []


def help_with(lr, **experiment):
    return Help({"lr": lr}, {"flops": None, "device_hours": None}, experiment)


def test_what_would_change__one_run_for_two_questions__is_said_once():
    rows = (
        Answerable("rate", "no", "x", (help_with(0.1, params=1e8),)),
        Answerable("batch", "yes", "x"),
        Answerable(
            "noise", "no", "x", (help_with(0.1, params=1e8), help_with(0.9))
        ),
        Answerable("mixture", "no", "x", (help_with(0.2),)),
    )
    found = sentences(
        recommendations=(proposal(predicted=None),), can_answer=rows
    )
    assert found == [
        "A run with lr 0.1 at params 100M: it would tell more of rate, noise.",
        "A run with lr 0.2: it would tell more of mixture.",
    ]


def test_what_would_change__run_without_settings__is_another_configuration():
    empty = Help({}, {}, {"params": 1e8})
    rows = (Answerable("rate", "no", "x", (empty,)),)
    found = sentences(
        recommendations=(proposal(predicted=None),), can_answer=rows
    )
    assert "another configuration at params 100M" in found[0]


def test_what_would_change__constants__are_named_but_not_how_runs_ended():
    constants = {"state": "finished", "optimizer": "adamw", "wd": 0.1}
    (found,) = sentences(
        recommendations=(proposal(predicted=None),), constants=constants
    )
    assert "optimizer = adamw, wd = 0.1" in found
    assert "finished" not in found


def test_what_would_change__what_nobody_chose__is_no_setting():
    names = (
        "Notes",
        "Sweep",
        "User",
        "seed",
        "Runtime",
        "git_commit",
        "seq_len",
    )
    told = sentences(recommendations=(), constants=dict.fromkeys(names, 1))
    assert told[-1].startswith(
        "Another value of what never varied: seq_len = 1."
    )


def test_what_would_change__many_constants__only_the_first_few():
    constants = {f"c{i}": i for i in range(20)}
    (found,) = sentences(
        recommendations=(proposal(predicted=None),), constants=constants
    )
    assert found.count(" = ") == MOST_CONSTANTS


def test_what_would_change__everything_at_once__outcome_comes_first():
    rows = (Answerable("rate", "no", "x", (help_with(0.1),)),)
    first = proposal(
        acceptable={"lr": [0, 1]}, predicted=Interval(2.0, 1.9, 2.1)
    )
    found = sentences(
        [influence("a", [], lr=0.001)],
        recommendations=(first,),
        can_answer=rows,
        constants={"a": 1},
    )
    starts = [sentence.split(" ")[0] for sentence in found]
    assert starts == ["A", "No", "A", "Another"]
