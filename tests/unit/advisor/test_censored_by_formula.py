"""Rows of which only a bound is known, against the likelihood that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from autollm.advisor.statistics.censored import NOT_FELT, Censored
from autollm.advisor.statistics.quadratic import solve

FEW = settings(max_examples=40)
SD = 1.0
"""Of a residual; the fitted u stays 0, where update() adds .01 of its own."""


def bounds_at(losses, sides, place=0.0):
    """One experiment's bounds at one place of one knob."""
    n = len(losses)
    points = np.full((n, 1), place)
    return points, np.array(losses, float), np.array(sides)


def spread_at(fitted, residual_sd):
    """The sd that update() gives a row which is fitted at u."""
    return residual_sd + 0.1 * np.clip(fitted, 0.1, 2)


def test_censored__no_experiment_has_bounds__holds_no_row():
    found = Censored([None, None], [1.0, 2.0], 0.5, np.zeros(3))
    assert found.x.shape == (0, 3)
    assert len(found.u) == len(found.weight) == len(found.c) == 0
    found.update(np.zeros(0), 0.1)
    assert len(found.weight) == 0


def test_censored__bounds_of_two_experiments__are_in_their_own_units():
    first = bounds_at([3.0], [1], place=2.0)
    second = bounds_at([5.0, 6.0], [-1, 1], place=4.0)
    found = Censored([first, None, second], [1.0, 9.0, 4.0], 2.0, np.ones(1))
    assert found.u.tolist() == [1.0, 0.5, 1.0]
    assert found.c.tolist() == [0, 2, 2]
    assert found.x[:, 0].tolist() == [1.0, 3.0, 3.0]
    assert found.weight.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("side", "fitted"), [(1, 60.0), (-1, -60.0)])
def test_update__bound_that_is_kept_by_far__weighs_nothing(side, fitted):
    found = Censored([bounds_at([0.0], [side])], [0.0], 1.0, np.zeros(1))
    found.update(np.array([fitted]), 0.5)
    assert found.weight.tolist() == [0.0]


def test_update__just_within_what_is_felt__still_weighs():
    found = Censored([bounds_at([0.0], [1])], [0.0], 1.0, np.zeros(1))
    sd = spread_at(0.1, SD)
    for share, felt in ((0.9, True), (1.1, False)):
        far = np.array([share * -NOT_FELT * sd])
        found.update(far, SD + 0.1 * (0.1 - np.clip(far[0], 0.1, 2)))
        assert (found.weight[0] > 0) == felt


@FEW
@given(
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.sampled_from([1, -1]),
    st.floats(0.05, 3),
)
def test_update__any_bound__is_newtons_step_of_its_likelihood(
    bound, fitted, side, residual_sd
):
    """weight and u give the slope and the curvature of -log P(end keeps bound)."""
    found = Censored([bounds_at([bound], [side])], [0.0], 1.0, np.zeros(1))
    found.update(np.array([fitted]), residual_sd)
    if found.weight[0] == 0:
        return
    sd = spread_at(fitted, residual_sd)

    def cost(at):
        return -norm.logcdf(side * (at - bound) / sd)

    step = 1e-4 * sd
    slope = (cost(fitted + step) - cost(fitted - step)) / (2 * step)
    pull = found.weight[0] * (fitted - found.u[0])
    assert pull == pytest.approx(slope, rel=1e-3, abs=1e-6)
    bend = cost(fitted + step) - 2 * cost(fitted) + cost(fitted - step)
    assert found.weight[0] == pytest.approx(bend / step**2, rel=2e-2, abs=1e-3)


@FEW
@given(st.floats(-8, 8), st.sampled_from([1, -1]))
def test_update__bound_on_the_wrong_side__pulls_towards_it(fitted, side):
    found = Censored([bounds_at([0.0], [side])], [0.0], 1.0, np.zeros(1))
    found.update(np.array([fitted]), SD)
    if found.weight[0] > 0:
        assert side * (found.u[0] - fitted) > 0


@pytest.mark.parametrize("gap", [5.0, 20.0, 60.0, 2000.0])
def test_update__bound_broken_by_far__stays_finite_and_weighs_as_a_row(gap):
    found = Censored([bounds_at([gap], [1])], [0.0], 1.0, np.zeros(1))
    found.update(np.zeros(1), SD)
    sd = spread_at(0.0, SD)
    assert np.isfinite(found.u).all()
    assert found.u[0] == pytest.approx(gap, abs=2 * sd)
    assert 0.8 / sd**2 < found.weight[0] <= 1 / sd**2 + 1e-12


def test_update__no_scatter_at_all__stays_finite():
    found = Censored([bounds_at([1.0], [1])], [0.0], 1.0, np.zeros(1))
    found.update(np.zeros(1), 0.0)
    assert np.isfinite(found.u).all() and np.isfinite(found.weight).all()


@pytest.mark.parametrize("side", [1, -1])
def test_censored__mean_of_rows_and_bounds__is_the_tobit_maximum(side):
    """Rows at u = 0.2 and 0.6, and two bounds on their common mean."""
    rows = np.array([0.2, 0.6])
    at = np.array([0.5, 0.9]) if side > 0 else np.array([0.3, -0.1])
    found = Censored([bounds_at(at, [side, side])], [0.0], 1.0, np.zeros(1))
    residual_sd = 0.3
    mean = float(rows.mean())
    for _ in range(60):
        sd = spread_at(mean, residual_sd)
        found.update(np.full(2, mean), residual_sd)
        u = np.concatenate([rows, found.u])
        weight = np.append(np.full(2, 1 / sd**2), found.weight)
        theta, _ = solve(np.ones((4, 1)), u, weight, np.zeros(1), np.zeros(1))
        mean = float(theta[0])
    sd = spread_at(mean, residual_sd)

    def cost(m):
        seen = 0.5 * np.sum(((rows - m) / sd) ** 2)
        return seen - norm.logcdf(side * (m - at) / sd).sum()

    best = minimize_scalar(cost, bounds=(-2, 3), method="bounded").x
    assert mean == pytest.approx(best, abs=1e-3)
    assert side * (mean - rows.mean()) > 0
