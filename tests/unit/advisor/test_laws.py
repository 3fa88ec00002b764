from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.statistics.laws import knob_laws, ladder_of
from autollm.advisor.statistics.response import Level, Response


def response(optima, sd=0.05, edges=None) -> Response:
    levels = []
    for i, optimum in enumerate(optima):
        edge = np.array([edges[i] if edges else 0])
        x = np.array([float(optimum)])
        wide = np.array([sd])
        levels.append(
            Level("e", np.zeros(1), 20, x, wide, edge, 2.0, 0.01, 2.0, 0.1)
        )
    return Response(("lr",), (0,), tuple(levels), np.eye(1))


def ladder(octaves):
    z = np.asarray(octaves, dtype=float)[:, None]
    return ladder_of(("params",), z, np.array([10.0]), z[:, 0] - 10)


def test_knob_laws__moving_optimum__exponent_within_its_interval_and_moves():
    octaves = np.arange(6)
    rng = np.random.default_rng(0)
    optima = -8 - 0.5 * octaves + 0.05 * rng.normal(size=6)
    laws, trends = knob_laws(response(optima), ladder(octaves))
    (law,) = laws
    assert law.verdict == "moves" and law.low < -0.5 < law.high
    assert abs(trends["lr"].at_target - -13) < 3 * trends["lr"].sd


def test_knob_laws__resting_optimum__is_still_within_the_bound():
    rng = np.random.default_rng(0)
    optima = -8 + 0.02 * rng.normal(size=6)
    ((law,), _) = knob_laws(response(optima), ladder(np.arange(6)))
    assert (
        law.verdict == "still"
        and max(abs(law.low), abs(law.high)) <= law.within
    )


def test_knob_laws__scattered_optima__are_unknown():
    ((law,), _) = knob_laws(
        response([-8, -9.5, -7.4, -9.0]), ladder(np.arange(4))
    )
    assert law.verdict == "unknown"


def test_knob_laws__two_levels__no_exponent_and_the_reason():
    ((law,), trends) = knob_laws(response([-8, -9]), ladder([0, 1]))
    assert law.exponent is None and law.verdict == "unknown" and not trends
    assert "2 of 2" in law.because


def test_knob_laws__edge_optimum__counts_as_a_bound():
    octaves = np.arange(6)
    optima = -8 - 0.5 * octaves
    cut = np.maximum(optima, -9.0)  # the window ends at -9
    edges = [-1 if o < -9 else 0 for o in optima]
    ((bounded,), _) = knob_laws(response(cut, edges=edges), ladder(octaves))
    ((naive,), _) = knob_laws(response(cut), ladder(octaves))
    assert bounded.exponent == pytest.approx(-0.5, abs=0.05)
    assert naive.exponent > -0.3


def test_ladder_of__tokens_grow_with_params__compute_alone_and_collinear():
    n = np.arange(5.0)
    z = np.column_stack([n, n + 4])
    found = ladder_of(("params", "tokens"), z, z[-1] + 2, 2 * n - 12)
    assert found.names == ("compute",) and found.collinear == (
        "params",
        "tokens",
    )


def test_knob_laws__coverage_of_the_interval__is_near_nominal():
    rng = np.random.default_rng(1)
    octaves = np.arange(5)
    hits = 0
    for _ in range(200):
        truth = -8 - 0.4 * octaves + 0.2 * rng.normal(size=5)
        seen = truth + 0.1 * rng.normal(size=5)
        ((law,), _) = knob_laws(response(seen, sd=0.1), ladder(octaves))
        hits += law.low <= -0.4 <= law.high
    assert 0.84 <= hits / 200 <= 0.97


def test_knob_laws__level_with_one_value__says_nothing_of_the_optimum():
    octaves = np.arange(6)
    optima = -8 - 0.5 * octaves
    seen = response(optima[:5])
    alone = replace(
        seen.levels[0], optimum=np.array([3.0]), alone=np.array([True])
    )
    mixed = replace(seen, levels=(*seen.levels, alone))
    (law,), trends = knob_laws(mixed, ladder(octaves))
    assert law.exponent == pytest.approx(-0.5, abs=0.01)
    assert trends["lr"].at_target == pytest.approx(-13, abs=0.1)
