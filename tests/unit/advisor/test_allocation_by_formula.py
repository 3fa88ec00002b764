"""The best split of a budget in closed form, and values that a distribution of Optuna
allows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.deciding.allocation import FARTHEST, split_of
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.loss_law import Draws, LossLaw

FEW = settings(max_examples=40)
TARGET = {"params": 1e9, "tokens": 2e10}


def question(fidelity=None, costs=(1.0, 1.0)):
    """Two levels whose compute is so many times 6 N D."""
    fidelity = fidelity or TARGET
    experiments = []
    for number, cost in enumerate(costs):
        z = np.full(len(fidelity), 20.0 + number)
        experiments.append(
            SimpleNamespace(
                z=z,
                compute_flops=6 * cost * 2.0 ** z.sum(),
                fidelity=fidelity,
            )
        )
    return SimpleNamespace(
        fidelity=fidelity,
        levels=tuple(range(len(costs))),
        table=SimpleNamespace(experiments=experiments),
    )


def law(terms, exponents, names=("params", "tokens"), n=1):
    coefficients = np.tile([1.5, *terms], (n, 1))
    draws = Draws(coefficients, np.tile(exponents, (n, 1)))
    return LossLaw(
        "sum",
        {},
        Forecast(2.0, 0.1, 5.0),
        {},
        -0.1,
        0.0,
        8,
        names=names,
        draws=draws,
    )


@FEW
@given(
    st.floats(0.05, 1.0),
    st.floats(0.05, 1.0),
    st.floats(0.1, 0.8),
    st.floats(0.1, 0.8),
)
def test_split_of__one_law__is_the_lowest_of_its_curve(big, small, a, b):
    """The loss along equal compute, searched on a fine grid."""
    found = split_of(question(), law((big, small), (a, b)))
    t = np.linspace(-FARTHEST, FARTHEST, 240_001)
    loss = big * np.exp2(-a * t) + small * np.exp2(b * t)
    best = t[int(np.argmin(loss))]
    assert found.octaves[0] == pytest.approx(best, abs=2e-4)
    assert found.params[0] == pytest.approx(1e9 * 2.0**best, rel=1e-3)
    assert found.params[0] * found.tokens[0] == pytest.approx(2e19)
    assert found.octaves[1] == found.octaves[0] == found.octaves[2]


def test_split_of__terms_balanced__is_the_target_itself():
    found = split_of(question(), law((0.3, 0.3), (0.4, 0.4)))
    assert found.params[0] == pytest.approx(1e9)
    assert found.tokens[0] == pytest.approx(2e10)


def test_split_of__names_in_another_order__is_the_same():
    here = split_of(question(), law((0.4, 0.2), (0.3, 0.5)))
    there = split_of(
        question(), law((0.2, 0.4), (0.5, 0.3), ("tokens", "params"))
    )
    assert there.params == pytest.approx(here.params)
    assert there.flat_within == pytest.approx(here.flat_within)


def test_split_of__absurd_law__stays_within_what_is_looked_at():
    found = split_of(question(), law((1.0, 1e-9), (0.05, 0.05)))
    assert found.octaves[0] == FARTHEST
    assert found.params[0] == pytest.approx(1e9 * 2.0**FARTHEST)


@FEW
@given(st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_split_of__flat_range__costs_one_percent_of_compute(a, b):
    found = split_of(question(), law((0.3, 0.3), (a, b)))
    best = found.octaves[0]

    def loss(t, more=0.0):
        return 0.3 * 2.0 ** (-a * (t + more)) + 0.3 * 2.0 ** (b * (t - more))

    gained = loss(best) - loss(best, math.log2(1.01) / 2)
    off = math.log2(found.flat_within)
    for side in (off, -off):
        assert loss(best + side) - loss(best) <= gained * 1.05
    further = off + 0.03
    worst = max(loss(best + further), loss(best - further))
    assert worst - loss(best) > gained * 0.95


@pytest.mark.parametrize(
    "asked",
    [
        question({"params": 1e9}),
        question({"params": 1e9, "tokens": 2e10, "epochs": 1.0}),
        question(costs=(1.0, 1.1)),
    ],
)
def test_split_of__compute_that_is_no_product_of_both__is_none(asked):
    assert split_of(asked, law((0.3, 0.3), (0.4, 0.4))) is None


def test_split_of__nominal_compute__is_the_product_of_rounded_sizes():
    """An isoFLOP table says 1e18 for every 12.1M x 13.75B."""
    asked = question(costs=(1.0, 1.004, 0.997))
    assert split_of(asked, law((0.3, 0.3), (0.4, 0.4))) is not None


optuna = pytest.importorskip("optuna", reason="the extra `optuna` is not there")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autollm.advisor.doors.optuna_sampler import _allowed  # noqa: E402


@pytest.mark.parametrize(
    ("value", "distribution", "allowed"),
    [
        (0.5, FloatDistribution(0, 1), 0.5),
        (1, FloatDistribution(0, 1), 1.0),
        (1.5, FloatDistribution(0, 1), None),
        (0.26, FloatDistribution(0, 1, step=0.25), 0.25),
        (0.9, FloatDistribution(0, 1, step=0.3), 0.9),
        (63.7, IntDistribution(1, 64), 64),
        (5, IntDistribution(1, 9, step=4), 5),
        (8, IntDistribution(1, 9, step=4), 9),
        (0, IntDistribution(1, 9), None),
        (True, IntDistribution(0, 9), None),
        ("x", FloatDistribution(0, 1), None),
        ("adamw", CategoricalDistribution(["adamw", "sgd"]), "adamw"),
        ("lion", CategoricalDistribution(["adamw", "sgd"]), None),
        (math.nan, FloatDistribution(0, 1), None),
    ],
)
def test_allowed__value_of_the_advice__is_as_the_distribution_writes_it(
    value, distribution, allowed
):
    found = _allowed(value, distribution)
    assert found == (
        pytest.approx(allowed) if isinstance(allowed, float) else allowed
    )
    assert type(found) is type(allowed)


@FEW
@given(
    st.floats(-5, 5), st.integers(-3, 0), st.integers(1, 4), st.integers(1, 3)
)
def test_allowed__any_value__lies_on_a_step_within_the_bounds(
    value, low, span, step
):
    distribution = IntDistribution(low, low + span * step, step=step)
    found = _allowed(value, distribution)
    if found is not None:
        assert low <= found <= low + span * step
        assert (found - low) % step == 0
        assert abs(found - value) <= step / 2 + 1e-9
