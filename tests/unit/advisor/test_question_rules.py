"""A question's view: what it shows of the evidence, and the compute of a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.asking.question import (
    compute_at,
    designs,
    make_question,
)
from autollm.advisor.asking.window import widened
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import Experiment
from tests.unit.gym.tables import (
    FAMILIES,
    SPACE,
    make_family_table,
    make_table,
)

TABLE = make_table(6, noise=0.02)
TARGET = {"params": 1e9, "tokens": 2e10}


def experiment(flops, **fidelity):
    return Experiment("e", "e", "s", "f", fidelity, flops, "loss", "min", SPACE)


def ladder(rule, places):
    """Experiments at (params, tokens) whose compute follows a rule."""
    out = []
    for params, tokens in places:
        out.append(
            experiment(rule(params, tokens), params=params, tokens=tokens)
        )
    return out


PLACES = ((1e8, 2e9), (2e8, 4e9), (4e8, 6e9), (8e8, 9e9))


@pytest.mark.parametrize(
    "rule",
    [
        lambda n, d: 6 * n * d,
        lambda n, d: 3 * n * d,
        lambda n, d: 6e3 * n * d,
        lambda n, d: n**1.1 * d,
        lambda n, d: 6 * n * d * 1.0003,
    ],
    ids=["six", "three", "thousands", "power", "rounded"],
)
def test_compute_at__product_of_coordinates__is_the_rule(rule):
    found = compute_at(ladder(rule, PLACES), np.log2([7e9, 1.4e11]))
    assert found == pytest.approx(rule(7e9, 1.4e11), rel=2e-3)


@pytest.mark.parametrize("flops", [0.0, -1.0, np.nan, np.inf])
def test_compute_at__compute_that_is_unknown__is_none(flops):
    rows = ladder(lambda n, d: 6 * n * d, PLACES)
    rows[1] = experiment(flops, params=2e8, tokens=4e9)
    assert compute_at(rows, np.log2([7e9, 1.4e11])) is None


def test_compute_at__along_a_ray__is_known_on_it_and_not_beside_it():
    ray = [(1e8 * 2**i, 2e9 * 2**i) for i in range(4)]
    rows = ladder(lambda n, d: 5 * n**1.2 * d, ray)
    on = compute_at(rows, np.log2([1e8 * 2**6, 2e9 * 2**6]))
    wanted = 5 * (1e8 * 2**6) ** 1.2 * 2e9 * 2**6
    assert on == pytest.approx(wanted, rel=1e-6)
    assert compute_at(rows, np.log2([1e8, 2e12])) is None


def test_compute_at__no_product_of_coordinates__is_none():
    rows = []
    for i, (params, tokens) in enumerate((*PLACES, (1.6e9, 1e10))):
        flops = 1e20 * (16.0 if i % 2 else 1.0)
        rows.append(experiment(flops, params=params, tokens=tokens))
    assert compute_at(rows, np.log2([7e9, 1.4e11])) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([60, 90, 150]))
def test_make_question__more_rows_than_shown__keeps_best_and_middle(seed, most):
    table = make_table(6, noise=0.05, seed=seed)
    view = make_question(table, range(6), TARGET, most_rows=most).view
    for level, shown in enumerate(view.evidence):
        loss = table.losses(level)
        assert len(shown.loss) == max(most // 6, 12)
        assert shown.loss.min() == loss.min()
        assert np.median(shown.loss) == pytest.approx(
            np.median(loss), abs=0.1 * np.ptp(loss)
        )


def test_make_question__equal_evidence__is_an_equal_view_to_the_bit():
    one, other = (make_question(TABLE, range(6), TARGET) for _ in range(2))
    assert np.array_equal(one.view.candidates, other.view.candidates)
    for a, b in zip(one.view.evidence, other.view.evidence, strict=True):
        assert np.array_equal(a.points, b.points)
        assert np.array_equal(a.loss, b.loss)


def test_make_question__levels_in_any_order__are_sorted_by_cost():
    view = make_question(TABLE, [3, 0, 5, 1], TARGET).view
    costs = [e.cost_flops for e in view.evidence]
    assert costs == sorted(costs)
    assert view.target_z == pytest.approx(np.log2([1e9, 2e10]))
    assert view.target_fidelity == TARGET and view.trials == 3


def test_make_question__gridded_space__offers_its_grid():
    question = make_question(TABLE, range(6), TARGET)
    assert np.array_equal(question.view.candidates, SPACE.grid)
    assert not question.view.lists_rows


def test_make_question__pool_given__lists_it():
    pool = SPACE.grid[:5]
    view = make_question(TABLE, range(6), TARGET, pool=pool).view
    assert np.array_equal(view.candidates, pool) and view.lists_rows


@pytest.mark.parametrize("family", ["data_mixture", "architecture"])
def test_designs__space_without_a_grid__are_configurations_inside_it(family):
    table = make_family_table(family)
    question = make_question(table, range(3), {"params": 1e8})
    space = FAMILIES[family]
    found = designs(space, question.view.evidence)
    assert np.unique(found, axis=0).shape == found.shape
    for point in found[:: len(found) // 40]:
        assert space.inside(point, slack=1e-6)
        again = space.encode(space.decode(point))
        assert again == pytest.approx(point, abs=1e-6)
    shown = {tuple(np.round(p, 6)) for p in found}
    for experiment_ in question.view.evidence:
        for point in experiment_.points:
            assert tuple(np.round(point, 6)) in shown


def test_designs__what_is_feasible__still_two_thousand_draws():
    table = make_family_table("data_mixture")
    question = make_question(table, range(3), {"params": 1e8})
    space = FAMILIES["data_mixture"]
    evidence = question.view.evidence
    half = np.median(designs(space, evidence)[:, 0])
    found = designs(space, evidence, lambda points: points[:, 0] <= half)
    known = np.concatenate([e.points for e in evidence])
    kept = found[found[:, 0] <= half]
    assert len(kept) >= 2000 + 0.2 * len(known)
    spread = np.ptp(kept, axis=0)[1:] / np.ptp(space.window, axis=0)[1:]
    assert spread.min() > 0.5  # over the window, not around the evidence alone


@pytest.mark.parametrize(
    ("levels", "scale", "side", "wider"),
    [
        ((0.25, 0.5, 1.0), "log", 1, (0.25, 0.5, 1.0, 2.0)),
        ((0.25, 0.5, 1.0), "log", -1, (0.125, 0.25, 0.5, 1.0)),
        ((1.0, 2.0, 4.0), "log", 0, (1.0, 2.0, 4.0)),
        ((0.1, 0.2), "linear", 1, (0.1, 0.2, 0.3)),
        ((0.1, 0.2), "linear", -1, (0.1, 0.2)),
        ((0.0, 0.1), "linear", -1, (0.0, 0.1)),
        ((0.8, 1.0), "linear", 1, (0.8, 1.0)),
        ((-2.0, 0.0, 2.0), "linear", -1, (-4.0, -2.0, 0.0, 2.0)),
        ((0.05, 0.2), "linear", -1, (0.05, 0.2)),
        ((2, 4, 8), "integer", 1, (2, 4, 8, 12)),
        ((5.0,), "log", 1, (5.0,)),
        (("a", "b"), "categorical", 1, ("a", "b")),
        (("a", "b"), "ordinal", 1, ("a", "b")),
    ],
)
def test_widened__one_step__keeps_the_scale_and_the_sign(
    levels, scale, side, wider
):
    space = Space((Knob("k", scale, levels),))
    found = widened(space, np.array([side])).knobs[0].levels
    assert found == pytest.approx(wider) if scale != "categorical" else wider
    if isinstance(levels[0], str):
        assert found == wider


def test_widened__only_the_knobs_asked_for__are_longer():
    space = widened(SPACE, np.array([0, 1]))
    assert space.knobs[0] == SPACE.knobs[0]
    assert len(space.knobs[1].levels) == len(SPACE.knobs[1].levels) + 1
