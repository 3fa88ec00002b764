"""Every doubt at its bound, on studies that hold nothing but what it reads."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.answering import doubts
from autollm.advisor.asking.distance import Distance
from autollm.advisor.deciding.decide import Backtest
from autollm.advisor.deciding.study import Noise
from autollm.advisor.statistics.laws import Ladder, Law
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

RATES = tuple(2.0**k for k in range(-12, -3))
SPACE = Space(
    (Knob("lr", "log", RATES, role="rate"), Knob("bs", "log", (32, 64, 128)))
)


def told(rule, **parts):
    """Warnings of one rule for a study with these parts."""
    known = {
        "native": lambda name: f"my-{name}",
        "place": lambda label: label,
        "has_choice": True,
        "octaves": np.array([-3.0, -1.0]),
        "ends": (),
    }
    return list(rule(SimpleNamespace(**(known | parts))))


def rows(*counts, label="level"):
    found = []
    for number, n in enumerate(counts):
        points = np.zeros((n, 2))
        loss = np.arange(float(n))
        found.append(
            SimpleNamespace(
                label=f"{label}{number}", points=points, loss=loss, bounds=None
            )
        )
    return tuple(found)


def levels(*edges):
    found = [SimpleNamespace(edge=np.array(sides)) for sides in edges]
    return SimpleNamespace(names=("lr",), levels=tuple(found), columns=(0,))


def run(
    name="r", cell="c", experiment="e", value=1.0, status="finished", **cells
):
    return {
        "run_id": name,
        "experiment_id": experiment,
        "config_id": cell,
        "objective_value": value,
        "status": status,
        "cells": cells,
    }


def evidence(runs, **more):
    return SimpleNamespace(runs=tuple(runs), columns={}, notes=(), **more)


@pytest.mark.parametrize(
    ("counts", "few"), [((11, 12, 40), 1), ((3, 4), 2), ((12, 12), 0)]
)
def test_few_rows__below_twelve__counts_the_experiments(counts, few):
    found = told(doubts.few_rows, rows=rows(*counts))
    assert len(found) == (few > 0)
    if few:
        assert f"{few} of {len(counts)} experiments" in found[0].text
        assert "level0" in found[0].text


def test_few_rows__nothing_to_choose__has_no_optimum_that_could_be_loose():
    assert told(doubts.few_rows, rows=rows(1, 1), has_choice=False) == []


def test_few_rows__many_experiments__names_three():
    (found,) = told(doubts.few_rows, rows=rows(*[2] * 9))
    assert "9 of 9" in found.text and found.text.count("level") == 3


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ([[1], [1], [1]], "above what was tried in 3 of 3"),
        ([[-1], [-1], [0]], "below what was tried in 2 of 3"),
        ([[0], [0], [0], [1]], "above what was tried in 1 of 4"),
        ([[1], [-1]], "above or below what was tried in 2 of 2"),
    ],
)
def test_edge__optima_beyond_the_rows__says_on_which_side(sides, words):
    (found,) = told(doubts.edge, response=levels(*sides))
    assert words in found.text and "my-lr" in found.text


@pytest.mark.parametrize(
    "sides", [[[0]], [[1], [0], [0], [0]], [[-1]] + 9 * [[0]]]
)
def test_edge__few_cheap_ones__is_no_doubt(sides):
    assert told(doubts.edge, response=levels(*sides)) == []


def test_collinear__coordinates_named__and_nothing_without():
    ladder = Ladder(("compute",), np.zeros((3, 1)), ("params", "tokens"))
    (found,) = told(doubts.collinear, ladder=ladder)
    assert "my-params and my-tokens grow together" in found.text
    apart = Ladder(("params",), np.zeros((3, 1)))
    assert told(doubts.collinear, ladder=apart) == []


def tied(first, second):
    """Levels whose rows have these values of two knobs."""
    points = np.column_stack([first, second])
    return SimpleNamespace(points=np.asarray(points, float))


ASKED = SimpleNamespace(space=SPACE)


@pytest.mark.parametrize("sign", [1, -1])
def test_together__knobs_in_step_everywhere__is_said(sign):
    n = np.arange(8.0)
    found = told(
        doubts.together,
        rows=(tied(n, sign * n), tied(n, sign * n**3)),
        question=ASKED,
    )
    assert (
        len(found) == 1 and "my-lr and my-bs changed together" in found[0].text
    )


def test_together__apart_in_one_experiment__is_no_doubt():
    n = np.arange(8.0)
    loose = tied(n, np.array([3.0, 1, 4, 1, 5, 9, 2, 6]))
    assert told(doubts.together, rows=(tied(n, n), loose), question=ASKED) == []


def test_together__knob_that_never_varies__is_no_doubt():
    n = np.arange(8.0)
    assert told(doubts.together, rows=(tied(n, 0 * n),), question=ASKED) == []


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((40, 20, 10), True),
        ((10, 20, 40), True),
        ((20, 19, 18), False),
        ((40, 10), False),
        ((20, 40, 20), False),
        ((10, 10, 10), False),
    ],
)
def test_effort__runs_that_change_with_cost__twice_as_many_at_least(
    counts, said
):
    found = told(doubts.effort, rows=rows(*counts))
    assert (len(found) == 1) == said
    if said:
        assert (
            f"from {counts[0]} at the cheapest to {counts[-1]}" in found[0].text
        )


def test_unfinished__stopped_runs__are_counted_by_how_they_ended():
    stopped = ["killed", "killed", "pruned", "running", "failed", "diverged"]
    runs = [run(status=status) for status in [*stopped, "finished"]]
    bounds = (np.zeros((2, 1)), np.zeros(2), np.ones(2))
    here = (SimpleNamespace(bounds=bounds), SimpleNamespace(bounds=None))
    (found,) = told(doubts.unfinished, evidence=evidence(runs), rows=here)
    assert "5 of 7 runs" in found.text
    assert "1 failed, 2 killed, 1 pruned, 1 running" in found.text
    assert "2 count as bounds" in found.text and "3 for nothing" in found.text


def test_unfinished__all_ended__is_no_doubt():
    runs = [run(status="finished"), run(status="diverged")]
    assert told(doubts.unfinished, evidence=evidence(runs), rows=()) == []


def repeated(*cells):
    """Two runs a cell, so far apart."""
    runs = []
    for number, gap in enumerate(cells):
        for value in (1.0, 1.0 + gap):
            runs.append(run(f"{number}{value}", f"c{number}", value=value))
    return evidence(runs, sd_replicas=0.1)


@pytest.mark.parametrize(
    ("gaps", "n_bad"),
    [
        ((0.1, 0.1, 0.1, 0.7), 1),
        ((0.1, 0.1, 0.1, 0.5), 0),
        ((0.1, 0.9), 0),
        ((0.1, 0.1, 0.1, 0.8, 0.9), 2),
        ((0.0, 0.0, 0.0, 0.9), 0),
    ],
)
def test_contradiction__six_times_what_is_usual__is_counted(gaps, n_bad):
    """Of three repeated configurations at least, and never against no spread."""
    found = told(doubts.contradiction, evidence=repeated(*gaps))
    assert len(found) == (n_bad > 0)
    if n_bad:
        assert found[0].text.startswith(f"{n_bad} configurations")
        assert f"{max(gaps):.3g}" in found[0].text


def test_contradiction__outcome_that_is_none__counts_for_nothing():
    given = repeated(0.1, 0.1, 0.1)
    bad = [run("x", "c0", value=None), run("y", "c0", value=float("nan"))]
    bad += [run("z", "c0", value=9.0, status="killed")]
    more = evidence([*given.runs, *bad], sd_replicas=0.1)
    assert told(doubts.contradiction, evidence=more) == []


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (Noise(0.5, "replicas"), True),
        (Noise(0.32, "replicas"), False),
        (Noise(0.5, "residual"), False),
        (Noise(None, "none"), False),
    ],
)
def test_noisy__a_third_of_the_spread__by_repeats_alone(noise, said):
    assert len(told(doubts.noisy, noise=noise, spread=1.0)) == said


def test_noted__known_codes__become_warnings_and_others_do_not():
    given = SimpleNamespace(
        notes=(
            ("changed-together", "a"),
            ("seeds", "b"),
            ("context-left-out", "c"),
            ("measured-or-chosen", "d"),
            ("confounded-context", "e"),
            ("confounded-context", "f"),
        )
    )
    found = told(doubts.noted, evidence=given)
    assert [(w.code, w.text) for w in found] == [
        ("together", "a"),
        ("context", "c"),
        ("measured", "d"),
        ("confounded", "e"),
    ]


def falling(*medians):
    return tuple(SimpleNamespace(loss=np.full(3, m)) for m in medians)


def asked(direction="min"):
    view = SimpleNamespace(objective="loss", direction=direction)
    return SimpleNamespace(view=view, space=SPACE)


@pytest.mark.parametrize(
    ("medians", "said"),
    [
        ((3.0, 2.0, 1.0), False),
        ((1.0, 2.0, 3.0), True),
        ((1.0, 2.0), False),
        ((2.0, 2.0, 2.0), False),
    ],
)
def test_direction__worse_with_scale__is_suspected(medians, said):
    octaves = np.arange(-len(medians), 0.0)
    found = told(
        doubts.direction,
        rows=falling(*medians),
        octaves=octaves,
        question=asked(),
        sign=1.0,
    )
    assert (len(found) == 1) == said
    if said:
        assert "--objective NAME:max" in found[0].text


@pytest.mark.parametrize(
    ("along", "across", "codes"),
    [
        (None, None, []),
        (4.0, 2.0, []),
        (4.1, 0.0, ["far-along"]),
        (0.0, 2.1, ["far-across"]),
        (9.0, 9.0, ["far-along", "far-across"]),
    ],
)
def test_far__beyond_the_bound__each_side_is_said(along, across, codes):
    found = told(doubts.far, distance=Distance(along, across))
    assert [w.code for w in found] == codes


@pytest.mark.parametrize(
    ("octaves", "codes"), [(0.9, []), (1.1, ["far-below"]), (20, ["far-below"])]
)
def test_far__cheaper_than_every_level__is_said(octaves, codes):
    found = told(
        doubts.far,
        distance=Distance(3.0, 0.0),
        octaves=np.array([octaves + 3, octaves]),
    )
    assert [w.code for w in found] == codes


def trend(at, sd=0.1):
    return SimpleNamespace(at_target=at, sd=sd)


@pytest.mark.parametrize(
    ("line", "decided", "said"),
    [
        (trend(-8.0), -8.9, False),
        (trend(-8.0), -9.1, True),
        (trend(-8.0, sd=2.0), -11.5, False),
        (trend(-30.0), -12.0, False),
        (None, -12.0, False),
    ],
)
def test_disagree__line_and_decider__a_step_and_two_errors_apart(
    line, decided, said
):
    """Beyond the window the line is read at its edge, 2^-12."""
    found = told(
        doubts.disagree,
        response=levels([0]),
        trends={} if line is None else {"lr": line},
        optimum=np.array([decided]),
        question=ASKED,
    )
    assert len(found) == said


def law(verdict, per="params", knob="lr"):
    return Law(knob, per, -0.5, -0.6, -0.4, verdict, 0.1)


@pytest.mark.parametrize(
    ("context", "found", "said"),
    [
        ({"parametrization": "mup"}, law("moves"), True),
        ({"parametrization": "mup"}, law("still"), False),
        ({"parametrization": "mup"}, law("moves", "tokens"), False),
        ({"parametrization": "mup"}, law("moves", knob="bs"), False),
        ({"parametrization": "standard"}, law("moves"), False),
        ({}, law("moves"), False),
    ],
)
def test_moves_under_mup__rate_against_size__contradicts_the_declaration(
    context, found, said
):
    first = SimpleNamespace(space=SPACE, context=context)
    question = SimpleNamespace(table=SimpleNamespace(experiments=[first]))
    words = told(doubts.moves_under_mup, question=question, laws=(found,))
    assert len(words) == said
    if said:
        assert "-0.50 an octave" in words[0].text


def lost(*regrets):
    return [Backtest("p", "t", 8.0, r, r, 0.0, r) for r in regrets]


@pytest.mark.parametrize(
    ("regrets", "said"), [((0.2, 0.5), True), ((0.3,), False), ((), False)]
)
def test_unproven__a_third_lost_on_average__is_said(regrets, said):
    found = told(doubts.unproven, own_backtests=lost(*regrets))
    assert len(found) == said
    if said:
        assert (
            "2 hidden experiments" in found[0].text and "35%" in found[0].text
        )


def swept(statuses, counts, optimum=-9.0):
    """One level's rates 2^-12 to 2^-6, so many runs at each; lr alone is fitted."""
    at = np.repeat(np.arange(-12.0, -5.0), counts)
    level = SimpleNamespace(optimum=np.array([optimum]))
    first = SimpleNamespace(space=SPACE)
    return {
        "evidence": evidence([run(status=s) for s in statuses]),
        "response": SimpleNamespace(
            names=("lr",), columns=(0,), levels=(level,)
        ),
        "rows": (tied(at, 0 * at),),
        "question": SimpleNamespace(table=SimpleNamespace(experiments=[first])),
    }


FEWER_ABOVE = (6, 6, 6, 6, 4, 2, 2)
EVEN = (5, 5, 5, 5, 5, 5, 5)
FINE = ["finished"] * 35


@pytest.mark.parametrize(
    ("statuses", "counts", "optimum", "said"),
    [
        (FINE, FEWER_ABOVE, -9.0, True),
        (FINE, EVEN, -9.0, False),
        ([*FINE[1:], "diverged"], FEWER_ABOVE, -9.0, False),
        (FINE[:29], FEWER_ABOVE, -9.0, False),
        (FINE, FEWER_ABOVE, -6.0, False),
    ],
)
def test_failures_deleted__cliff_without_a_failed_run__is_suspected(
    statuses, counts, optimum, said
):
    found = told(doubts.failures_deleted, **swept(statuses, counts, optimum))
    assert len(found) == said


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_effort__any_counts__never_fails(counts):
    assert len(told(doubts.effort, rows=rows(*counts))) in (0, 1)
