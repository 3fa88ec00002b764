"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from autollm.evaluation.intervals import interval, paired, resampled_means


def test_interval__few_tasks__gives_no_interval_over_experiments() -> None:
    out = interval(np.random.default_rng(0).normal(size=(4, 10)))
    assert (
        out.low is None
        and out.high is None
        and out.seed_low < out.mean < out.seed_high
    )


def test_interval__tasks_differ_but_seeds_do_not__only_the_one_over_experiments_is_wide() -> (
    None
):
    scores = np.tile(np.arange(6.0)[:, None], (1, 10))
    out = interval(scores)
    assert out.seed_low == out.seed_high == out.mean == 2.5
    assert out.low < 1.5 and out.high > 3.5


def test_interval__normal_scores__covers_the_truth_about_as_often_as_it_says() -> (
    None
):
    rng = np.random.default_rng(1)
    hits = [
        (lambda i: i.seed_low <= 0 <= i.seed_high)(
            interval(rng.normal(size=(2, 30)))
        )
        for _ in range(120)
    ]
    assert 0.86 <= np.mean(hits) <= 1.0


def test_interval__one_seed__has_no_bounds_over_seeds() -> None:
    out = interval(np.array([[0.2], [0.4]]))
    assert (
        out.seed_low is None
        and out.mean == pytest.approx(0.3)
        and out.includes_zero
    )


def test_interval__missing_episode__weighs_tasks_alike() -> None:
    out = interval(np.array([[1.0, 1.0, np.nan], [0.0, 0.0, 0.0]]))
    assert out.mean == pytest.approx(0.5)


def test_paired__common_noise__cancels() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(5, 20))
    out = paired(noise - 0.1, noise)
    assert (
        out.mean == pytest.approx(-0.1)
        and out.high < 0
        and not out.includes_zero
    )


def test_paired__other_shape__is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired(np.zeros((2, 3)), np.zeros((2, 4)))


def test_interval__trainings_differ__the_interval_is_as_wide_as_they_are_apart() -> (
    None
):
    rng = np.random.default_rng(3)
    noise = rng.normal(scale=0.01, size=(5, 6, 10))
    same, apart = (
        interval(noise),
        interval(noise + np.linspace(-1, 1, 5)[:, None, None]),
    )
    assert (
        same.mean == pytest.approx(noise.mean()) and same.high - same.low < 0.02
    )
    assert (
        apart.high - apart.low > 0.8 and apart.seed_high - apart.seed_low > 0.8
    )


def test_interval__one_training__is_that_of_its_scores() -> None:
    scores = np.random.default_rng(4).normal(size=(6, 8))
    alone, one = interval(scores), interval(scores[None])
    assert np.allclose(
        [one.mean, one.seed_low, one.seed_high, one.low, one.high],
        [alone.mean, alone.seed_low, alone.seed_high, alone.low, alone.high],
    )


def test_resampled_means__two_policies__are_redrawn_alike() -> None:
    scores = np.random.default_rng(5).normal(size=(6, 8))
    shift = resampled_means(scores + 0.25, over_tasks=True) - resampled_means(
        scores, over_tasks=True
    )
    assert np.allclose(shift, 0.25)


def test_paired__trainings_against_one_rule__common_noise_cancels() -> None:
    rule = np.random.default_rng(6).normal(size=(6, 8))
    out = paired(np.array([rule - 0.1, rule - 0.3]), rule)
    assert (
        out.mean == pytest.approx(-0.2)
        and out.low == pytest.approx(-0.3)
        and out.high == pytest.approx(-0.1)
    )
