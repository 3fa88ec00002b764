"""Laws of knobs against ordinary regression, and what they must not care about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autollm.advisor.statistics.laws import WITHIN, knob_laws, ladder_of
from autollm.advisor.statistics.response import Level, Response

FEW = settings(max_examples=15, deadline=None)


def level(optimum, sd=0.05, edge=0):
    return Level(
        "e",
        np.zeros(1),
        20,
        np.array([float(optimum)]),
        np.array([sd]),
        np.array([edge]),
        2.0,
        0.01,
        2.0,
        0.1,
    )


def response(optima, sd=0.05, edges=None):
    edges = edges or [0] * len(optima)
    levels = [
        level(optimum, sd, edge)
        for optimum, edge in zip(optima, edges, strict=True)
    ]
    return Response(("lr",), (0,), tuple(levels), np.eye(1))


def one_axis(octaves, target=10.0):
    z = np.asarray(octaves, dtype=float)[:, None]
    return ladder_of(("params",), z, np.array([target]), z[:, 0] - target)


def law_of(optima, octaves, **changes):
    (laws, trends) = knob_laws(response(optima, **changes), one_axis(octaves))
    return laws[0], trends.get("lr")


@FEW
@given(st.floats(-1, 1), st.floats(-12, -4), st.integers(4, 8))
def test_knob_laws__exact_line__has_its_slope_and_its_place_at_the_target(
    slope, intercept, n
):
    octaves = np.arange(float(n))
    law, trend = law_of(intercept + slope * octaves, octaves)
    assert law.exponent == pytest.approx(slope, abs=2e-3)
    assert trend.at_target == pytest.approx(intercept + 10 * slope, abs=2e-2)
    assert law.low <= law.exponent <= law.high
    assert trend.df == n - 2


@FEW
@given(st.integers(0, 1000))
def test_knob_laws__equal_errors__is_the_interval_of_least_squares(seed):
    """With one error for all levels the random effect cannot shift the line."""
    rng = np.random.default_rng(seed)
    octaves = np.arange(7.0)
    optima = -8 - 0.3 * octaves + 0.3 * rng.normal(size=7)
    law, _ = law_of(optima, octaves, sd=0.001)
    line = stats.linregress(octaves, optima)
    half = stats.t.ppf(0.95, 5) * line.stderr
    assert law.exponent == pytest.approx(line.slope, abs=0.01)
    assert law.high - law.low == pytest.approx(2 * half, rel=0.08)


@FEW
@given(st.integers(0, 1000), st.floats(-30, 30))
def test_knob_laws__optima_shifted__keep_their_exponent(seed, shift):
    rng = np.random.default_rng(seed)
    octaves = np.arange(6.0)
    optima = -8 - 0.3 * octaves + 0.1 * rng.normal(size=6)
    here, there = law_of(optima, octaves)[0], law_of(optima + shift, octaves)[0]
    assert there.exponent == pytest.approx(here.exponent, abs=0.01)
    assert there.verdict == here.verdict


@FEW
@given(st.permutations(range(6)))
def test_knob_laws__levels_in_another_order__is_the_same(order):
    rng = np.random.default_rng(3)
    octaves = np.arange(6.0)
    optima = -8 - 0.3 * octaves + 0.1 * rng.normal(size=6)
    here, there = (
        law_of(optima, octaves)[0],
        law_of(optima[list(order)], octaves[list(order)])[0],
    )
    assert there.exponent == pytest.approx(here.exponent, abs=5e-3)
    assert there.low == pytest.approx(here.low, abs=2e-2)


def test_knob_laws__mirrored_optima__mirror_the_law():
    rng = np.random.default_rng(4)
    octaves = np.arange(6.0)
    optima = 0.4 * octaves + 0.1 * rng.normal(size=6)
    up, down = law_of(optima, octaves)[0], law_of(-optima, octaves)[0]
    assert down.exponent == pytest.approx(-up.exponent, abs=1e-2)
    assert down.low == pytest.approx(-up.high, abs=3e-2)
    assert up.verdict == down.verdict == "moves"


@pytest.mark.parametrize(
    ("slope", "scatter", "verdict"),
    [
        (-0.5, 0.01, "moves"),
        (0.5, 0.01, "moves"),
        (0.0, 0.01, "still"),
        (0.0, 0.3, "unknown"),
    ],
)
def test_knob_laws__verdict__is_what_the_interval_says(slope, scatter, verdict):
    octaves = np.arange(6.0)
    around = np.array([1.0, -1.0, 0.5, -0.5, 1.0, -1.0])
    law, _ = law_of(-8 + slope * octaves + scatter * around, octaves)
    assert law.verdict == verdict
    inside = max(abs(law.low), abs(law.high)) <= WITHIN
    assert (law.verdict == "still") == inside


def test_knob_laws__optima_that_only_scatter__seldom_count_as_moving():
    """At the level of the interval: one time in ten."""
    rng = np.random.default_rng(9)
    octaves = np.arange(6.0)
    verdicts = []
    for _ in range(60):
        law, _ = law_of(-8 + rng.normal(size=6), octaves)
        verdicts.append(law.verdict)
    assert verdicts.count("moves") <= 12
    assert verdicts.count("still") == 0


def test_knob_laws__two_levels__say_why_and_no_number():
    law, trend = law_of(np.arange(2.0), np.arange(2.0))
    assert (law.exponent, law.low, law.high) == (None, None, None)
    assert law.verdict == "unknown" and trend is None
    assert "2 of 2 optima" in law.because and "needs 3" in law.because


def test_knob_laws__one_level__has_nothing_to_move_along():
    ladder = one_axis([0.0])
    assert ladder.names == ()
    laws, trends = knob_laws(response([-8.0]), ladder)
    assert laws == () and trends == {}


def test_knob_laws__all_at_the_edge__is_unknown():
    law, trend = law_of(
        np.full(5, -9.0), np.arange(5.0), edges=[-1, -1, -1, -1, -1]
    )
    assert law.exponent is None and trend is None


def test_trend__band_along_the_ladder__widens_away_from_the_levels():
    rng = np.random.default_rng(6)
    octaves = np.arange(6.0)
    _, trend = law_of(-8 - 0.3 * octaves + 0.1 * rng.normal(size=6), octaves)
    places = np.array([[-7.5], [-2.0], [0.0], [10.0]])
    line, half = trend.along(places)
    assert half[0] < half[1] < half[2] < half[3]
    assert line[2] == pytest.approx(trend.at_target)


@pytest.mark.parametrize("shift", [-20.0, 0.0, 20.0])
def test_ladder_of__one_coordinate_varies__is_it_relative_to_the_target(shift):
    z = np.array([[20.0, 30.0], [22.0, 30.0], [24.0, 30.0]]) + shift
    target = np.array([30.0, 30.0]) + shift
    found = ladder_of(("params", "tokens"), z, target, z.sum(axis=1))
    assert found.names == ("params",) and found.collinear == ()
    assert found.axes[:, 0].tolist() == [-10.0, -8.0, -6.0]


def test_ladder_of__two_that_vary_apart__are_two_axes():
    rng = np.random.default_rng(7)
    z = rng.random((8, 2)) * 5
    found = ladder_of(("params", "tokens"), z, np.zeros(2), z.sum(axis=1))
    assert found.names == ("params", "tokens")
    assert found.axes == pytest.approx(z)


def test_ladder_of__two_that_vary_apart_at_few_levels__are_compute():
    """Two slopes and a place need five levels to leave two degrees of freedom."""
    z = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = ladder_of(("params", "tokens"), z, np.zeros(2), z.sum(axis=1))
    assert found.names == ("compute",) and found.collinear == ()


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_ladder_of__one_a_multiple_of_the_other__names_what_is_not_identified(
    ratio,
):
    n = np.arange(8.0)
    z = np.column_stack([n, ratio * n + 4])
    found = ladder_of(("params", "tokens"), z, z[-1] + 2, z.sum(axis=1))
    assert found.collinear == ("params", "tokens")


def test_ladder_of__nothing_varies__has_no_axis():
    z = np.tile([20.0, 30.0], (3, 1))
    found = ladder_of(("params", "tokens"), z, z[0], z.sum(axis=1))
    assert found.names == () and found.axes.shape == (3, 0)
