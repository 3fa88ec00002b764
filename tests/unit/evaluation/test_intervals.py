"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from autollm.evaluation.intervals import interval, paired


def test_interval__few_tasks__gives_no_interval_over_experiments() -> None:
    out = interval(np.random.default_rng(0).normal(size=(4, 10)))
    assert out.low is None and out.high is None and out.seed_low < out.mean < out.seed_high


def test_interval__tasks_differ_but_seeds_do_not__only_the_one_over_experiments_is_wide() -> None:
    scores = np.tile(np.arange(6.0)[:, None], (1, 10))
    out = interval(scores)
    assert out.seed_low == out.seed_high == out.mean == 2.5
    assert out.low < 1.5 and out.high > 3.5


def test_interval__normal_scores__covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = [(lambda i: i.seed_low <= 0 <= i.seed_high)(interval(rng.normal(size=(2, 30)))) for _ in range(120)]
    assert 0.86 <= np.mean(hits) <= 1.0


def test_interval__one_seed__has_no_bounds_over_seeds() -> None:
    out = interval(np.array([[0.2], [0.4]]))
    assert out.seed_low is None and out.mean == pytest.approx(0.3) and out.includes_zero


def test_interval__missing_episode__weighs_tasks_alike() -> None:
    out = interval(np.array([[1.0, 1.0, np.nan], [0.0, 0.0, 0.0]]))
    assert out.mean == pytest.approx(0.5)


def test_paired__common_noise__cancels() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(5, 20))
    out = paired(noise - 0.1, noise)
    assert out.mean == pytest.approx(-0.1) and out.high < 0 and not out.includes_zero


def test_paired__other_shape__is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired(np.zeros((2, 3)), np.zeros((2, 4)))
