"""The probability of a divergence, against penalized likelihood found another way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from autollm.advisor.statistics.divergence import (
    LEAST_DIVERGED,
    PRIOR_SD,
    fit_divergence,
)
from autollm.advisor.statistics.response import Level, Response
from autollm.advisor.statistics.rows import Rows

OPTIMUM = np.array([-8.0])


def rows_of(points, diverged):
    points = np.asarray(points, dtype=float)[:, None]
    return Rows(
        "e", np.zeros(1), points, np.ones(len(points)), np.asarray(diverged)
    )


def response_of(*optima):
    levels = []
    for optimum in optima:
        none = np.zeros(1)
        levels.append(
            Level(
                "e",
                none,
                10,
                np.asarray(optimum, dtype=float).reshape(-1),
                none,
                np.zeros(1, int),
                2.0,
                0.01,
                2.0,
                0.1,
            )
        )
    return Response(("lr",), (0,), tuple(levels), np.eye(1))


POINTS = np.arange(-12.0, -4.0, 0.5)


def fitted(limit=-6.0):
    return fit_divergence(
        [rows_of(POINTS, limit < POINTS)], response_of(OPTIMUM)
    )


def test_fit_divergence__coefficients__are_the_penalized_maximum():
    rng = np.random.default_rng(0)
    points = rng.uniform(-12, -4, 60)
    chance = 1 / (1 + np.exp(-(points + 6)))
    diverged = rng.random(60) < chance
    found = fit_divergence([rows_of(points, diverged)], response_of(OPTIMUM))
    x = points - OPTIMUM[0]

    def loss(beta):
        logit = beta[0] + beta[1] * x
        seen = np.logaddexp(0, logit) - diverged * logit
        prior = 1e-4 * beta[0] ** 2 + beta[1] ** 2 / PRIOR_SD**2
        return seen.sum() + prior / 2

    wanted = minimize(loss, np.zeros(2), method="BFGS").x
    assert found.beta == pytest.approx(wanted, abs=1e-3)


def test_probability__rates_above_the_cliff__are_likelier_than_below():
    found = fitted()
    p = found.probability(np.array([[-10.0], [-6.0], [-4.0]]), OPTIMUM)
    assert p[0] < 0.05 < p[1] < 0.95 < p[2] or p[0] < p[1] < p[2]
    assert ((p >= 0) & (p <= 1)).all()


def test_probability__optimum_that_moved__moves_with_it():
    """A rate that is safe at a small size is not safe where the optimum lies lower."""
    found = fitted()
    point = np.array([[-7.0]])
    here = found.probability(point, OPTIMUM)
    lower = found.probability(point, OPTIMUM - 2)
    assert lower[0] > here[0]
    moved = found.probability(point - 2, OPTIMUM - 2)
    assert moved == pytest.approx(here)


@pytest.mark.parametrize("n", range(LEAST_DIVERGED))
def test_fit_divergence__few_diverged_runs__give_no_probability(n):
    diverged = np.zeros(len(POINTS), bool)
    diverged[len(POINTS) - n :] = n > 0
    found = fit_divergence([rows_of(POINTS, diverged)], response_of(OPTIMUM))
    assert found.beta is None
    assert found.probability(POINTS[:, None], OPTIMUM) is None
    assert found.because == (
        f"{n} of {len(POINTS)} configurations diverged; a probability needs 3"
    )
    assert (found.nearest(np.array([-5.0]), OPTIMUM) is None) == (n == 0)


def test_fit_divergence__all_diverged__is_finite():
    found = fit_divergence(
        [rows_of(POINTS, np.ones(len(POINTS), bool))], response_of(OPTIMUM)
    )
    p = found.probability(POINTS[:, None], OPTIMUM)
    assert np.isfinite(found.beta).all() and (p > 0.5).all()


def test_fit_divergence__perfectly_separated__stays_finite():
    found = fitted()
    assert np.isfinite(found.beta).all()


def test_nearest__two_levels__is_relative_to_each_ones_optimum():
    small = rows_of([-9.0, -8.0, -5.0], [False, False, True])
    large = rows_of([-11.0, -10.0, -6.0], [False, False, True])
    found = fit_divergence([small, large], response_of([-8.0], [-10.0]))
    # offsets of the diverged ones are 3 and 4; a point 3.9 above is nearest to 4
    assert found.nearest(np.array([-4.1]), np.array([-8.0])) == (1, 2)
    assert found.nearest(np.array([-5.2]), np.array([-8.0])) == (0, 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 12))
def test_fit_divergence__base_rate__is_about_the_share_that_diverged(seed, n):
    """Where the knob says nothing, the probability is the share."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-9, -7, 200)
    diverged = np.zeros(200, bool)
    diverged[rng.choice(200, 10 * n, replace=False)] = True
    found = fit_divergence([rows_of(points, diverged)], response_of(OPTIMUM))
    mean = found.probability(points[:, None], OPTIMUM).mean()
    assert mean == pytest.approx(10 * n / 200, abs=0.01)
