"""What rules expect elsewhere, and in which unit trials count: against their formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.squashing import squash
from autollm.policies.rules.loss_around import (
    FAR,
    LEAST_SD,
    PRIOR_ROWS,
    PRIOR_WIDTH,
    UNKNOWN_SHIFT,
    LossAround,
    fit_loss_around,
)
from autollm.policies.surrogates.spread import (
    RIDGE,
    expected_spread,
    first_u,
    u_from_first,
)

FEW = settings(max_examples=30)
SPACE = Space(
    (
        Knob("lr", "log", tuple(2.0**k for k in range(-12, -5))),
        Knob("bs", "log", (32, 64, 128, 256)),
    )
)


def experiment(points, loss, z=0.0):
    return SimpleNamespace(
        points=np.asarray(points, float),
        loss=np.asarray(loss, float),
        z=np.atleast_1d(np.asarray(z, float)),
    )


def view_of(*experiments, target=0.0):
    return SimpleNamespace(
        space=SPACE,
        evidence=experiments,
        target_z=np.atleast_1d(np.asarray(target, float)),
    )


NOTHING = np.empty((0, 2))


@pytest.mark.parametrize("sd", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("offset", [0.0, 1.0, -3.0])
def test_loss_around__uncertain_optimum__has_the_moments_of_draws(offset, sd):
    around = LossAround(0.1, np.array([0.7]), 0.2, np.array([sd]))
    mean, spread = around.predict(np.array([[offset]]))
    rng = np.random.default_rng(0)
    shifted = offset + sd * rng.standard_normal(400_000)
    drawn = 0.1 + 0.7 * shifted**2
    assert mean[0] == pytest.approx(drawn.mean(), rel=0.02, abs=1e-9)
    whole = math.sqrt(drawn.var() + 0.2**2)
    assert spread[0] == pytest.approx(whole, rel=0.02)


def test_loss_around__several_coordinates__add_up():
    around = LossAround(0.0, np.array([1.0, 2.0]), 0.0, np.zeros(2))
    mean, spread = around.predict(np.array([[1.0, 0.0], [1.0, -1.0]]))
    assert mean.tolist() == [1.0, 3.0]
    assert spread.tolist() == [0.0, 0.0]


def test_fit_loss_around__no_rows__is_the_prior_and_unsure():
    found = fit_loss_around(view_of(), NOTHING, NOTHING)
    extent = np.array([6.0, 3.0])
    assert found.curvature == pytest.approx(1 / (extent * PRIOR_WIDTH) ** 2)
    assert found.floor == pytest.approx(0.0, abs=1e-9)
    assert found.noise_sd == 1.0
    assert found.shift_sd.tolist() == [UNKNOWN_SHIFT] * 2
    mean, _ = found.predict(np.array([[6.0 * PRIOR_WIDTH, 0.0]]))
    shift = float(np.sum(found.curvature))
    assert mean[0] == pytest.approx(1.0 + shift)


def bowl_rows(curvature, optimum, seed=0, n=60):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1.5, 1.5, (n, 2)) + optimum
    return points, (points - optimum) ** 2 @ np.asarray(curvature)


@FEW
@given(st.integers(0, 10_000))
def test_fit_loss_around__any_rows__are_the_ridged_least_squares(seed):
    """The same sum of squares, minimized by scipy's bounded solver."""
    rng = np.random.default_rng(seed)
    optimum = np.array([-9.0, 6.0])
    points = rng.uniform(-2, 2, (25, 2)) + optimum
    loss = np.abs(rng.normal(size=25)) + np.sum((points - optimum) ** 2, axis=1)
    here = experiment(points, loss)
    found = fit_loss_around(view_of(here), optimum[None], NOTHING)
    u = squash(here.loss)
    near = u <= FAR
    squares = (points[near] - optimum) ** 2
    prior = 1 / (np.array([6.0, 3.0]) * PRIOR_WIDTH) ** 2
    ridge = math.sqrt(PRIOR_ROWS) * np.diag(1 / prior)
    design = np.vstack(
        [
            np.column_stack([np.ones(near.sum()), squares]),
            np.column_stack([np.zeros(2), ridge]),
        ]
    )
    wanted = np.concatenate([u[near], np.full(2, math.sqrt(PRIOR_ROWS))])
    best = lsq_linear(design, wanted, (0, np.inf)).x
    assert found.floor == pytest.approx(best[0], abs=1e-4)
    assert found.curvature == pytest.approx(best[1:], abs=1e-4)


def test_fit_loss_around__each_around_its_own_optimum__is_one_bowl():
    """Where optima moved, rows are compared by their offsets alone."""
    first, second = np.array([-9.0, 6.0]), np.array([-7.0, 7.0])
    one = experiment(*bowl_rows([0.5, 0.2], first))
    other = experiment(*bowl_rows([0.5, 0.2], second))
    twice = fit_loss_around(
        view_of(one, one), np.array([first, first]), NOTHING
    )
    both = fit_loss_around(
        view_of(one, other), np.array([first, second]), NOTHING
    )
    assert both.curvature == pytest.approx(twice.curvature)
    assert both.floor == pytest.approx(twice.floor)
    assert both.noise_sd >= LEAST_SD


def test_fit_loss_around__misses_of_the_rule__are_its_uncertainty():
    misses = np.array([[0.3, 0.0], [-0.4, 0.0]])
    found = fit_loss_around(view_of(), NOTHING, misses)
    assert found.shift_sd == pytest.approx([math.sqrt(0.125), 0.0])


def test_fit_loss_around__rows_on_the_cliff__change_nothing():
    optimum = np.array([-9.0, 6.0])
    points, loss = bowl_rows([0.5, 0.2], optimum)
    cliff = experiment(np.vstack([points, optimum + 0.1]), np.append(loss, 1e6))
    plain = fit_loss_around(
        view_of(experiment(points, loss)), optimum[None], NOTHING
    )
    found = fit_loss_around(view_of(cliff), optimum[None], NOTHING)
    assert found.curvature == pytest.approx(plain.curvature, rel=0.05)


def spread_rows(spread, z=0.0):
    """An experiment whose median lies `spread` above its best row."""
    return experiment(np.zeros((3, 2)), [0.0, spread, 2 * spread], z)


def test_expected_spread__no_evidence_or_none_with_any__is_one():
    assert expected_spread(view_of()) == 1.0
    assert (
        expected_spread(view_of(spread_rows(0.0), spread_rows(0.0, 1))) == 1.0
    )


@pytest.mark.parametrize("target", [-5.0, 0.0, 30.0])
def test_expected_spread__one_experiment__is_its_own(target):
    assert expected_spread(view_of(spread_rows(0.3), target=target)) == (
        pytest.approx(0.3)
    )


def test_expected_spread__flat_ones__count_for_nothing():
    found = expected_spread(view_of(spread_rows(0.0), spread_rows(0.3, 1)))
    assert found == pytest.approx(0.3)


@FEW
@given(st.floats(-0.2, 0.2), st.integers(3, 9), st.floats(0, 3))
def test_expected_spread__line_in_log_fidelity__is_ridged_towards_flat(
    slope, n, ahead
):
    z = np.arange(n) - (n - 1) / 2
    rows = [spread_rows(math.exp(slope * at), at) for at in z]
    target = float(z[-1] + ahead)
    found = math.log(expected_spread(view_of(*rows, target=target)))
    squares = float(z @ z)
    shrunk = slope * squares / (squares + RIDGE)
    lowest, highest = sorted((slope * z[0], slope * z[-1]))
    wanted = np.clip(shrunk * target, lowest - 1, highest + 1)
    assert found == pytest.approx(float(wanted), abs=1e-9)


def test_expected_spread__absurd_extrapolation__is_bounded_by_what_was_seen():
    rows = [spread_rows(math.exp(at), at) for at in (-4.0, 0.0, 4.0)]
    found = expected_spread(view_of(*rows, target=500.0))
    assert found == pytest.approx(math.exp(5.0))


@FEW
@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_expected_spread__losses_in_another_unit__scale(factor, shift):
    rows = [spread_rows(0.5, 0), spread_rows(0.4, 2)]
    moved = [experiment(r.points, factor * r.loss + shift, r.z) for r in rows]
    assert expected_spread(view_of(*moved, target=3.0)) == pytest.approx(
        factor * expected_spread(view_of(*rows, target=3.0)), rel=1e-6
    )


def test_first_u__evidence__is_that_of_the_nearest_row_of_the_most_expensive():
    cheap = experiment([[0, 0], [1, 1]], [9.0, 1.0])
    expensive = experiment([[0, 0], [2, 2], [4, 4]], [1.0, 2.0, 3.0])
    view = view_of(cheap, expensive)
    assert first_u(view, np.array([0.2, 0.0])) == pytest.approx(0.0)
    assert first_u(view, np.array([2.1, 2.0])) == pytest.approx(1.0)
    assert first_u(view_of(), np.zeros(2)) == 0.0


def test_u_from_first__first_outcome__counts_as_told():
    found = u_from_first(np.array([3.0, 2.6, 3.4]), 0.5, 0.8)
    assert found == pytest.approx([0.5, 0.0, 1.0])


def test_u_from_first__far_above__is_logarithmic_and_meets_at_one():
    found = u_from_first(np.array([0.0, 1.0, math.e]), 0.0, 1.0)
    assert found == pytest.approx([0.0, 1.0, 2.0])


@FEW
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0.1, 3))
def test_u_from_first__any_outcomes__keep_their_order(losses, spread):
    losses = np.array(losses)
    found = u_from_first(losses, 0.3, spread)
    order = np.argsort(losses, kind="stable")
    assert (np.diff(found[order]) >= -1e-12).all()


@pytest.mark.parametrize("n", [0, 1])
def test_u_from_first__few_outcomes__are_as_many(n):
    assert u_from_first(np.zeros(n), 0.2, 1.0).tolist() == [0.2] * n
