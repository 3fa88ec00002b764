"""What stands on the screen, for an advice made by hand."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autollm.advisor.answer import (
    Answerable,
    Checked,
    Help,
    Interval,
    PlannedRun,
    Warn,
)
from autollm.advisor.asking.target import NO_SIZE, parse_target
from autollm.advisor.showing.screen import show, show_check, show_plan
from tests.unit.advisor.test_ledger import advice

DECIDED = {"policy": "moving-bowl", "backtest": []}
EVIDENCE = {"n_runs": 30, "n_experiments": 3, "noise": {"sd": 0.1}}


def screen(function=show, **changes):
    """The screen of an advice, as plain text."""
    fields = {"decided_by": DECIDED, "evidence": EVIDENCE} | changes
    out = io.StringIO()
    console = Console(file=out, width=400, force_terminal=False)
    function(advice(**fields), console)
    return out.getvalue()


def line_of(text, words):
    (line,) = [row for row in text.split("\n") if words in row]
    return line


def proposal(**changes):
    return replace(advice().recommendations[0], **changes)


def target(fidelity, **changes):
    return replace(advice().target, fidelity=fidelity, **changes)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (7e9, "7B"),
        (6.25e7, "62.5M"),
        (1.4e11, "140B"),
        (1.5e13, "15T"),
        (1e6, "1M"),
        (250_000, "250000"),
        (12_345, "12345"),
        (999_999, "999999"),
        (2048, "2048"),
        (0.25, "0.25"),
        (1.0, "1"),
    ],
)
def test_show__size__is_written_as_people_write_it(size, shown):
    text = screen(target=target({"params": size}))
    assert line_of(text, "Next run at").strip().endswith(f"params {shown}")


@given(st.floats(1e-3, 1e15))
def test_show__any_size__is_read_back_to_four_digits(size):
    heading = screen(target=target({"params": size})).split("\n")[0]
    shown = heading.rsplit(" ", 1)[1]
    assert parse_target(f"params={shown}")["params"] == pytest.approx(
        size, rel=6e-4
    )


def test_show__runs_without_a_size__says_so():
    text = screen(target=target({NO_SIZE: 1.0}))
    assert "the size of your runs, which they do not tell" in text


def test_show__compute_that_is_not_known__says_how_far_all_the_same():
    text = screen(target=target({"params": 1e9}, compute_flops=None))
    assert "8 times your most expensive evidence (FLOPs are not known)" in text


def test_show__nothing_known_of_compute__says_nothing_of_it():
    text = screen(
        target=target({"params": 1e9}, compute_flops=None, times_evidence=None)
    )
    assert "times your" not in text and "FLOPs" not in text


@pytest.mark.parametrize(
    ("direction", "word"), [("min", "lower"), ("max", "higher")]
)
def test_show__direction__is_said_in_words(direction, word):
    objective = {"name": "val_loss", "direction": direction, "unit": ""}
    assert f"val_loss, {word} is better" in screen(objective=objective)


def test_show__prior__says_that_it_is_no_evidence():
    assert "a prior, not your evidence" in screen(basis="prior")
    assert "a prior, not your evidence" not in screen(basis="evidence")


def test_show__whole_and_small_numbers__are_as_a_file_has_them():
    settings = {"batch": 524288.0, "lr": 0.0003, "opt": "adamw", "n": 12}
    text = screen(recommendations=(proposal(configuration=settings),))
    for words in ("batch = 524288", "lr = 0.0003", "opt = adamw", "n = 12"):
        assert words in text


@pytest.mark.parametrize(
    ("value", "allowed", "shown"),
    [
        (0.001, [0.0005, 0.002], "0.0005 to 0.002"),
        (64, [64, 64], "no other within 1 %"),
        ("adamw", ["adamw"], "no other within 1 %"),
        ("adamw", ["adamw", "lion"], "adamw, lion"),
        (64, [32, 64, 128], "32, 64, 128"),
        (True, [True, False], "True, False"),
    ],
)
def test_show__what_is_as_good__stands_beside_the_setting(
    value, allowed, shown
):
    entry = proposal(
        configuration={"knob": value}, acceptable={"knob": allowed}
    )
    assert f"knob = {value}  ({shown})" in screen(recommendations=(entry,))


def test_show__one_value_was_tried__no_other_is_named():
    entry = proposal(
        configuration={"opt": "muon"}, acceptable={"opt": ["muon"]}
    )
    text = screen(recommendations=(entry,), one_valued=("opt",))
    assert "opt = muon  (no other tried)" in text


def test_show__run_of_the_evidence__is_told_with_what_it_gave():
    entry = proposal(known_outcome=1.10434)
    assert "you have this run: 1.104; val_loss" in screen(
        recommendations=(entry,)
    )


def test_show_check__mixture_of_90__says_how_it_is_judged():
    text = screen(show_check, checked=judged(sums={"mix": [90.0, 100.0]}))
    assert "mix sums to 90, in your runs to 100" in text


def test_show__two_numbers_that_are_categories__are_no_range():
    entry = proposal(configuration={"heads": 4}, acceptable={"heads": [4, 8]})
    entries = (entry,)
    assert "heads = 4  (4, 8)" in screen(
        recommendations=entries, categorical=("heads",)
    )
    assert "heads = 4  (4 to 8)" in screen(recommendations=entries)


def test_show__mixture_of_many_parts__the_largest_and_a_count():
    parts = {f"part{i}": i / 45 for i in range(10)}
    entry = proposal(configuration=parts, acceptable=None)
    text = screen(recommendations=(entry,))
    assert "... 4 more (--json, --write)" in text
    assert "part9" in text and "part4 " in text
    assert "part3 " not in text


def test_show__nothing_predicted__says_nothing_of_it_beside_what_is_known():
    entry = proposal(predicted=None, known_outcome=2.9)
    text = screen(recommendations=(entry,))
    assert (
        "you have this run: 2.9; regret" in text and "val_loss not" not in text
    )


def test_show__risk_of_divergence__is_in_percent():
    entry = proposal(p_diverge=0.034)
    assert "diverges 3.4%" in screen(recommendations=(entry,))


def split_advice():
    return {
        "flat_within": 1.5,
        "n_params": Interval(1e9, 5e8, 2e9),
        "n_tokens": Interval(2e10, 1e10, 4e10),
    }


def test_show__best_split__both_sizes_and_what_hardly_matters():
    line = line_of(screen(allocation=split_advice()), "best spent")
    assert "n_params 1B (500M to 2B)" in line
    assert "n_tokens 20B (10B to 40B)" in line
    assert "a factor of 1.5 off costs 1 % of it" in line


def test_show__twice__the_advice_is_as_it_was():
    given = advice(
        decided_by=DECIDED, evidence=EVIDENCE, allocation=split_advice()
    )
    console = Console(file=io.StringIO())
    before = given.to_json()
    show(given, console)
    show(given, console)
    assert given.to_json() == before


def helping(lr, hours=None):
    return Help(
        {"lr": lr}, {"flops": 2e18, "device_hours": hours}, {"params": 1e8}
    )


def test_show__runs_that_help__are_lettered_and_said_once():
    rows = (
        Answerable("rate", "no", "unseen", (helping(0.1),)),
        Answerable("batch", "partly", "few", (helping(0.2, 3.0),)),
        Answerable("noise", "no", "none", (helping(0.1),)),
        Answerable("outcome", "yes", "a law", (helping(0.4),)),
    )
    text = screen(can_answer=rows)
    assert "unseen [A]" in text and "few [B]" in text and "none [A]" in text
    assert line_of(text, "lr = 0.1").strip().startswith("[A]")
    assert ": 2e+18 FLOPs" in line_of(text, "lr = 0.1")
    assert ": 3 device hours" in line_of(text, "lr = 0.2")
    assert "lr = 0.4" not in text  # it is answered already


def test_show__nothing_would_help__has_no_such_title():
    rows = (Answerable("rate", "no", "unseen"),)
    assert "Cheap runs that would tell more" not in screen(can_answer=rows)


def planned(step, after, **changes):
    cost = {"flops": 1e18, "device_hours": None}
    run = PlannedRun(
        {"params": 1e8}, {"lr": 0.1 * step}, cost, 0.5, after, step, "why"
    )
    return replace(run, **changes)


def test_show_plan__runs_of_one_step__share_what_they_lower():
    plan = (
        planned(1, 0.4),
        planned(1, 0.3, configuration={"lr": 0.7}),
        planned(2, 0.2),
    )
    text = screen(show_plan, plan=plan)
    assert text.count("regret by the fit alone 0.500 to 0.300: why") == 1
    assert text.count("regret by the fit alone 0.500 to 0.200: why") == 1
    assert line_of(text, "lr = 0.7 at params 100M: 1e+18 FLOPs")


def test_show_plan__spend_nothing__is_said_without_a_run():
    nothing = planned(0, 0.5, experiment=None, configuration=None, why="no run")
    text = screen(show_plan, plan=(nothing,))
    assert "no run" in text and "regret 0.5" not in text
    assert "not told apart from a plain ladder" in " ".join(text.split())


def test_show_plan__run_without_a_size__tells_no_place():
    run = planned(1, 0.4, experiment={NO_SIZE: 1.0})
    assert " at " not in line_of(screen(show_plan, plan=(run,)), "lr = 0.1")


@pytest.mark.parametrize("function", [show, show_plan])
def test_show__warnings__stand_with_their_code(function):
    text = screen(function, warnings=(Warn("edge", "the optimum lies beyond"),))
    assert "! edge: the optimum lies beyond" in text


def test_show__own_backtests__their_mean_and_number():
    tests = [
        {"policy": "moving-bowl", "regret": 0.1},
        {"policy": "moving-bowl", "regret": 0.2},
        {"policy": "random", "regret": 0.9},
    ]
    text = screen(decided_by={"policy": "moving-bowl", "backtest": tests})
    assert "on 2 hidden experiments of yours its first pick lost 15.0%" in text


def test_show__no_backtest_of_the_decider__says_too_few_scales():
    tests = [{"policy": "random", "regret": 0.9}]
    text = screen(decided_by={"policy": "moving-bowl", "backtest": tests})
    assert "too few scales" in text and "90" not in text


def judged(**changes):
    fields = {
        "configuration": {"lr": 0.01},
        "predicted": Interval(2.0, 1.9, 2.1),
        "expected_regret": Interval(0.1, 0.0, 0.2),
        "loses": Interval(0.05, 0.01, 0.09),
        "compute_equivalent": 1.25,
        "p_diverge": 0.3,
        "nearest_diverged": None,
        "distance_to_optimum": {"lr": 1.5, "opt": None},
        "verdict": "risky",
        "advised_predicted": Interval(1.95, 1.8, 2.1),
        "optimum": {"lr": 0.0035},
        "beyond": {"lr": [0.001, 0.005]},
    }
    return Checked(**(fields | changes))


def test_show__plan_of_ones_own__verdict_loss_risk_and_distance():
    text = screen(show_check, checked=judged())
    for words in (
        "Your plan is risky",
        "expected val_loss 2 (1.9 to 2.1); of the advice 1.95",
        "loses 0.05 (0.01 to 0.09) against the advice, which gives the same with 80% of "
        "the compute",
        "diverges with probability 30.0%",
        "lr is 2.9 times its optimum there, 0.0035",
        "lr = 0.01 lies outside of what was tried (0.001 to 0.005)",
    ):
        assert words in text
    assert "opt:" not in text and "What your logs" not in text


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0, "loses nothing that can be told against the advice"),
        (1.0049, "loses nothing that can be told"),
        (2.0, "with 50% of the compute"),
        (2.0**60, "with less than 1 % of the compute"),
    ],
)
def test_show_check__factor_of_compute__is_a_share_of_it(factor, words):
    assert words in screen(
        show_check, checked=judged(compute_equivalent=factor)
    )


def test_show_check__number_that_is_missing__has_its_reason():
    missing = {"predicted": "no law", "loses": "no law", "p_diverge": "0 of 9"}
    plan = judged(predicted=None, loses=None, p_diverge=None, missing=missing)
    text = screen(show_check, checked=plan)
    assert "not known: outcome, loss against the advice; no law" in text
    assert "not known: probability of divergence; 0 of 9" in text


@pytest.mark.parametrize(
    ("optimum", "words"),
    [
        (0.01, "lr is at its optimum there"),
        (0.0, "lr: its optimum there is 0"),
        (0.02, "lr is 0.5 times its optimum there, 0.02"),
    ],
)
def test_show_check__optimum__is_told_as_a_multiple(optimum, words):
    assert words in screen(show_check, checked=judged(optimum={"lr": optimum}))


def test_show__numbers_missing_of_all__are_told_once():
    missing = {"p_diverge": "0 of 9 diverged", "predicted": "no law"}
    text = screen(recommendations=(proposal(missing=missing),) * 2)
    risk = "Not known: probability of divergence; 0 of 9 diverged."
    assert text.count(risk) == text.count("Not known: outcome; no law.") == 1


@pytest.mark.parametrize(
    "verdict", ["fine", "wasteful", "outside", "infeasible", "risky"]
)
def test_show__any_verdict__is_told(verdict):
    text = screen(
        show_check,
        checked=judged(
            verdict=verdict, predicted=None, loses=None, p_diverge=None
        ),
    )
    assert f"Your plan is {verdict}" in text
    assert "expected" not in text.split("The advice there")[0]


@pytest.mark.parametrize(
    ("opinion", "words"),
    [
        ({"configuration": {"lr": 0.1}}, "lr 0.1; regret 0.2 by the same fit"),
        ({"configuration": None, "problem": "no reply"}, "would run: no reply"),
        ({"configuration": None}, "proposed nothing that can be run"),
    ],
)
def test_show__second_opinion__is_one_line(opinion, words):
    regret = Interval(0.2, 0.1, 0.3) if opinion["configuration"] else None
    whole = {"policy": "chat:x", "problem": "", "expected_regret": regret}
    text = screen(opinions=(whole | opinion,))
    assert words in line_of(text, "chat:x would run")
