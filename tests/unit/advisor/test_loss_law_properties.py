"""The loss law: what it must give back, and what it must not care about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.laws import ladder_of
from autollm.advisor.statistics.loss_law import fit_loss_law
from autollm.advisor.statistics.response import Level

FEW = settings(max_examples=10, deadline=None)
PLACES = np.array([[26.0 + i, 30.0 + i] for i in range(6)])
"""log2 of parameters and tokens, growing together."""
APART = np.array(
    [[26, 30], [27, 30], [26, 33], [28, 31], [29, 34], [27, 35], [30, 32.0]]
)


def levels_of(losses, sd=0.001, edge=0):
    none = np.zeros(1)
    out = []
    for loss in losses:
        at_edge = np.array([edge])
        out.append(
            Level(
                "e", none, 30, none, none, at_edge, float(loss), sd, loss, 0.05
            )
        )
    return out


def law_of(z, losses, target, **changes):
    octaves = (z - target).sum(axis=1)
    ladder = ladder_of(("params", "tokens"), z, np.asarray(target), octaves)
    return fit_loss_law(levels_of(losses, **changes), ladder, octaves)


def power(octaves, floor=1.6, height=0.8, exponent=0.15):
    return floor + height * 2.0 ** (-exponent * np.asarray(octaves))


@FEW
@given(
    st.floats(1.2, 2.0),
    st.floats(0.4, 1.2),
    st.sampled_from([2.0**-3, 2.0**-2.5, 2.0**-2]),
)
def test_fit_loss_law__exact_power_law__target_lies_within_the_interval(
    floor, height, exponent
):
    target = PLACES[-1] + 2
    octaves = (PLACES - target).sum(axis=1)
    losses = power(octaves, floor, height / 8, exponent)
    law = law_of(PLACES, losses, target)
    low, high = law.forecast.interval(0.9)
    assert low <= floor + height / 8 <= high
    assert law.form == "power" and law.slope < 0


@FEW
@given(st.floats(0.1, 20))
def test_fit_loss_law__losses_in_another_unit__scale_the_forecast(scale):
    target = PLACES[-1] + 2
    losses = power((PLACES - target).sum(axis=1))
    here = law_of(PLACES, losses, target)
    there = law_of(PLACES, losses * scale, target, sd=0.001 * scale)
    assert there.forecast.mean == pytest.approx(here.forecast.mean * scale)
    assert there.forecast.sd == pytest.approx(
        here.forecast.sd * scale, rel=1e-6
    )
    assert there.slope == pytest.approx(here.slope * scale, rel=1e-6)


@FEW
@given(st.permutations(range(6)))
def test_fit_loss_law__levels_in_another_order__is_the_same(order):
    rng = np.random.default_rng(0)
    target = PLACES[-1] + 2
    losses = power((PLACES - target).sum(axis=1)) + 0.005 * rng.normal(size=6)
    here = law_of(PLACES, losses, target)
    there = law_of(PLACES[list(order)], losses[list(order)], target)
    assert there.forecast.mean == pytest.approx(here.forecast.mean)
    assert there.forecast.sd == pytest.approx(here.forecast.sd)


def test_fit_loss_law__target_further_away__lower_mean_and_wider():
    means, widths = [], []
    for beyond in (1, 3, 6):
        target = PLACES[-1] + beyond
        losses = power((PLACES - PLACES[-1]).sum(axis=1))
        forecast = law_of(PLACES, losses, target).forecast
        means.append(forecast.mean)
        widths.append(forecast.sd)
    assert means[0] > means[1] > means[2]
    assert widths[0] < widths[1] < widths[2]


def test_fit_loss_law__forecast_at_the_evidence__is_about_what_was_reached():
    losses = power((PLACES - PLACES[-1]).sum(axis=1))
    law = law_of(PLACES, losses, PLACES[-1])
    assert law.forecast.mean == pytest.approx(losses[-1], abs=0.01)


def test_fit_loss_law__slope__is_the_derivative_of_its_own_forecast():
    losses = power((PLACES - PLACES[-1]).sum(axis=1))
    near = law_of(PLACES, losses, PLACES[-1] + 2.0)
    step = 0.05
    further = law_of(PLACES, losses, PLACES[-1] + 2.0 + step)
    by_difference = (further.forecast.mean - near.forecast.mean) / (2 * step)
    assert near.slope == pytest.approx(by_difference, rel=0.05)


def test_fit_loss_law__two_axes_at_seven_levels__has_a_term_each():
    target = np.array([32.0, 37.0])
    n, d = (APART - target).T
    losses = 1.6 + 0.1 * 2.0 ** (-0.25 * n) + 0.12 * 2.0 ** (-0.25 * d)
    law = law_of(APART, losses, target)
    assert law.form == "sum" and law.names == ("params", "tokens")
    assert set(law.parameters) == {
        "E",
        "A",
        "B",
        "exponent_params",
        "exponent_tokens",
    }
    low, high = law.forecast.interval()
    assert low < 1.82 < high
    draws = law.draws
    assert draws.coefficients.shape[1] == 3
    assert (draws.coefficients > 0).all() and (draws.exponents > 0).all()


def test_fit_loss_law__draws__are_the_same_each_time():
    target = np.array([32.0, 37.0])
    n, d = (APART - target).T
    losses = 1.6 + 0.1 * 2.0 ** (-0.25 * n) + 0.12 * 2.0 ** (-0.25 * d)
    one, other = (law_of(APART, losses, target).draws for _ in range(2))
    assert np.array_equal(one.coefficients, other.coefficients)


def test_fit_loss_law__three_floors__are_ordered_with_their_forecasts():
    target = PLACES[-1] + 4
    noise = 0.01 * np.random.default_rng(1).normal(size=6)
    losses = power((PLACES - target).sum(axis=1), height=0.1) + noise
    law = law_of(PLACES, losses, target, sd=0.01)
    floors = sorted(law.at_floors)
    assert len(floors) == 3
    means = [law.at_floors[floor] for floor in floors]
    assert means == sorted(means)
    assert all(0 < floor < mean for floor, mean in law.at_floors.items())


@pytest.mark.parametrize(
    "losses",
    [
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
        [-1.0, -1.1, -1.2, -1.3, -1.4, -1.5],
        [0.5, 0.4, 0.3, 0.2, 0.1, 0.0],
    ],
)
def test_fit_loss_law__no_loss_that_falls_above_nothing__has_no_law(losses):
    with np.errstate(all="ignore"):
        assert law_of(PLACES, losses, PLACES[-1] + 2) is None


@pytest.mark.parametrize("n", [1, 2])
def test_fit_loss_law__fewer_than_three_levels__has_no_law(n):
    losses = power(-np.arange(float(n)))[::-1]
    assert law_of(PLACES[:n], losses, PLACES[-1] + 2) is None


def test_fit_loss_law__one_minimum_not_bracketed__the_others_carry_it():
    target = PLACES[-1] + 2
    losses = power((PLACES - target).sum(axis=1))
    levels = levels_of(losses)
    (bad,) = levels_of([losses[3] + 0.5], edge=1)
    levels[3] = bad
    octaves = (PLACES - target).sum(axis=1)
    ladder = ladder_of(("params", "tokens"), PLACES, target, octaves)
    law = fit_loss_law(levels, ladder, octaves)
    assert law.n_levels == 5 and not law.is_bound
    whole = law_of(PLACES, losses, target)
    assert law.forecast.mean == pytest.approx(whole.forecast.mean, abs=0.03)


def test_fit_loss_law__coverage_of_noisy_laws__is_near_nominal():
    """Redrawn errors of the levels: 90 % intervals hold the truth about so often."""
    rng = np.random.default_rng(8)
    target = PLACES[-1] + 1
    octaves = (PLACES - target).sum(axis=1)
    truth = power(0.0)
    hits = 0
    for _ in range(40):
        losses = power(octaves) + 0.004 * rng.normal(size=6)
        low, high = law_of(PLACES, losses, target, sd=0.004).forecast.interval()
        hits += low <= truth <= high
    assert hits >= 34


@given(
    st.floats(-5, 5), st.floats(0.01, 3), st.floats(1, 30), st.floats(0.1, 0.99)
)
def test_forecast__interval__is_students(mean, sd, df, level):
    low, high = Forecast(mean, sd, df).interval(level)
    wanted = stats.t.interval(level, df, loc=mean, scale=sd)
    assert (low, high) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
