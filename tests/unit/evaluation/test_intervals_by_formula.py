"""Bootstrap intervals against formulas that need no resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import bootstrap

from autollm.evaluation.intervals import (
    LEVEL,
    MIN_EXPERIMENTS,
    RESAMPLES,
    Interval,
    interval,
    paired,
    resampled_means,
)

NORMAL = 1.96
"""Standard errors of a two-sided 95 % interval of a normal mean."""
FEW = settings(max_examples=25, deadline=None)
SCORES = st.tuples(st.integers(1, 7), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1))
)


def half_widths(found):
    """Of the interval over seeds and of the one over experiments."""
    return (
        (found.seed_high - found.seed_low) / 2,
        (found.high - found.low) / 2,
    )


@FEW
@given(SCORES)
def test_interval__any_scores__mean_is_that_of_means_and_lies_within(scores):
    found = interval(scores)
    assert found.mean == pytest.approx(scores.mean(axis=1).mean(), abs=1e-12)
    if found.seed_low is not None:
        assert scores.min() - 1e-12 <= found.seed_low <= found.seed_high
        assert found.seed_high <= scores.max() + 1e-12
    assert (found.seed_low is None) == (scores.shape[1] == 1)
    assert (found.low is None) == (scores.shape[0] < MIN_EXPERIMENTS)


@FEW
@given(SCORES, st.floats(-5, 5), st.floats(0.1, 5))
def test_interval__another_unit__moves_along(scores, shift, scale):
    here, there = interval(scores), interval(scores * scale + shift)
    for name in ("mean", "seed_low", "seed_high", "low", "high"):
        old, new = getattr(here, name), getattr(there, name)
        assert (old is None) == (new is None)
        if old is not None:
            assert new == pytest.approx(old * scale + shift, abs=1e-9)


@FEW
@given(SCORES)
def test_interval__other_sign__is_mirrored(scores):
    here, there = interval(scores), interval(-scores)
    assert there.mean == pytest.approx(-here.mean, abs=1e-12)
    assert here.includes_zero == there.includes_zero
    if here.seed_low is not None:
        assert there.seed_low == pytest.approx(-here.seed_high, abs=0.05)


def test_interval__one_task_many_seeds__is_that_of_a_normal_mean():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.3, 0.1, size=(1, 200))
    found = interval(scores)
    error = scores.std() / math.sqrt(200)
    assert half_widths_of_seeds(found) == pytest.approx(
        NORMAL * error, rel=0.08
    )


def half_widths_of_seeds(found):
    return (found.seed_high - found.seed_low) / 2


def test_interval__one_task__is_scipys_percentile_bootstrap():
    scores = np.random.default_rng(1).exponential(size=(1, 60))
    theirs = bootstrap(
        (scores[0],),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    ours = interval(scores)
    width = theirs.high - theirs.low
    assert ours.seed_low == pytest.approx(theirs.low, abs=0.08 * width)
    assert ours.seed_high == pytest.approx(theirs.high, abs=0.08 * width)


def test_interval__tasks_and_seeds_add__variances_add():
    """Of a_t + b_s the crossed bootstrap has var(a) / tasks + var(b) / seeds."""
    rng = np.random.default_rng(2)
    of_task, of_seed = rng.normal(size=40), 2 * rng.normal(size=50)
    found = interval(of_task[:, None] + of_seed[None, :])
    by_seed = of_seed.var() / 50
    crossed = of_task.var() / 40 + by_seed
    seeds, tasks = half_widths(found)
    assert seeds == pytest.approx(NORMAL * math.sqrt(by_seed), rel=0.08)
    assert tasks == pytest.approx(NORMAL * math.sqrt(crossed), rel=0.08)


def test_interval__trainings_add__their_variance_counts_in_both():
    rng = np.random.default_rng(3)
    of_training = rng.normal(size=30)
    scores = np.zeros((30, 6, 4)) + of_training[:, None, None]
    wanted = NORMAL * math.sqrt(of_training.var() / 30)
    for half in half_widths(interval(scores)):
        assert half == pytest.approx(wanted, rel=0.08)


def test_interval__more_seeds_of_one_spread__is_narrower():
    rng = np.random.default_rng(4)
    widths = []
    for n in (10, 40, 160):
        scores = rng.normal(size=(2, n))
        widths.append(half_widths_of_seeds(interval(scores / scores.std())))
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_interval__constant_scores__have_no_width():
    found = interval(np.full((6, 5), 0.25))
    assert (
        found.mean,
        found.seed_low,
        found.seed_high,
        found.low,
        found.high,
    ) == (0.25,) * 5


def test_interval__task_that_nobody_played__counts_for_nothing():
    scores = np.array([[0.2, 0.4], [np.nan, np.nan]])
    with np.errstate(all="ignore"):
        assert interval(scores).mean == pytest.approx(0.3)


def test_interval__one_number__is_a_mean_without_bounds():
    assert interval(np.array([0.5])) == Interval(0.5, None, None, None, None)


@pytest.mark.parametrize(
    ("bounds", "includes"),
    [
        ((None, None, None, None), True),
        ((0.1, 0.2, None, None), False),
        ((-0.1, 0.2, None, None), True),
        ((-0.2, -0.1, None, None), False),
        ((0.0, 0.2, None, None), True),
        ((0.1, 0.2, -0.1, 0.2), True),
        ((-0.1, 0.2, 0.1, 0.2), False),
        ((-0.1, 0.2, -0.3, 0.0), True),
    ],
)
def test_includes_zero__experiments_decide_where_they_are(bounds, includes):
    """seed_low, seed_high, low, high."""
    assert Interval(0.0, *bounds).includes_zero is includes


@FEW
@given(SCORES)
def test_paired__with_itself__is_exactly_nothing(scores):
    found = paired(scores, scores)
    assert found.mean == 0.0 and found.includes_zero


@FEW
@given(SCORES, SCORES)
def test_paired__other_way_round__is_mirrored(a, b):
    if a.shape != b.shape:
        with pytest.raises(ValueError, match="one shape"):
            paired(a, b)
        return
    assert paired(a, b).mean == pytest.approx(-paired(b, a).mean, abs=1e-12)


@pytest.mark.parametrize("over_tasks", [True, False])
def test_resampled_means__linear_in_its_scores(over_tasks):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    together = resampled_means(2 * a - b, over_tasks)
    apart = 2 * resampled_means(a, over_tasks) - resampled_means(b, over_tasks)
    assert together.shape == (RESAMPLES,)
    assert together == pytest.approx(apart, abs=1e-12)


def test_resampled_means__seeds_alone__are_the_same_ones_for_all_tasks():
    """A seed's luck is common to its tasks: it must not average out over them."""
    of_seed = np.random.default_rng(6).normal(size=12)
    one = resampled_means(of_seed[None, :], over_tasks=False)
    many = resampled_means(np.tile(of_seed, (9, 1)), over_tasks=False)
    assert one.std() == pytest.approx(many.std(), rel=1e-9)
