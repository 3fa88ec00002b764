"""What runs at the target teach, against the same posterior by quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import t as student

from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.told import GROWTH, RUN_DF, Tried, learn

SPREAD = 0.4
SCATTER = 0.04
FORECAST = Forecast(2.0, 0.1, 3.0)


def ran(loss, status="finished"):
    return Tried(np.zeros(1), loss, status)


def sd_of(u):
    return SPREAD * (SCATTER / SPREAD + GROWTH * u)


def likelihood(level, u, losses):
    found = 1.0
    for one, loss in zip(u, losses, strict=True):
        off = loss - level - SPREAD * one
        found *= student.pdf(off / sd_of(one), RUN_DF) / sd_of(one)
    return found


def moment(u, losses, power):
    """Of the level, under one draw, by quadrature."""

    def density(level):
        away = (level - FORECAST.mean) / FORECAST.sd
        prior = student.pdf(away, FORECAST.df) / FORECAST.sd
        return level**power * prior * likelihood(level, u, losses)

    return quad(density, 0.5, 3.5, points=[1.8, 2.0, 2.2], limit=400)[0]


def learnt(u, losses, forecast=FORECAST):
    u = np.array(u, dtype=float)
    weights = np.full(len(u), 1 / len(u))
    return learn(u, list(map(ran, losses)), weights, SPREAD, SCATTER, forecast)


@pytest.mark.parametrize("losses", [[2.0], [1.7], [2.6], [1.9, 1.94, 1.86]])
def test_learn__one_draw__level_is_the_posterior(losses):
    u = [0.0] * len(losses)
    weights, found = learnt([u], losses)
    total = moment(u, losses, 0)
    assert weights == pytest.approx([1.0])
    assert found.mean == pytest.approx(moment(u, losses, 1) / total, abs=0.002)
    low, high = found.interval(0.9)
    for bound, share in ((low, 0.05), (high, 0.95)):
        away = (bound - found.mean) / found.sd
        assert student.cdf(away, found.df) == pytest.approx(share)
    assert found.sd < FORECAST.sd


@pytest.mark.parametrize("loss", [1.8, 2.0, 2.2, 2.6])
def test_learn__two_draws__are_weighed_by_what_each_foretold(loss):
    weights, found = learnt([[0.0], [0.5]], [loss])
    shares = np.array([moment([u], [loss], 0) for u in (0.0, 0.5)])
    assert weights == pytest.approx(shares / shares.sum(), abs=0.005)
    mean = sum(moment([u], [loss], 1) for u in (0.0, 0.5)) / shares.sum()
    assert found.mean == pytest.approx(mean, abs=0.003)


def test_learn__worse_than_foretold__level_and_place_share_the_blame():
    weights, found = learnt([[0.0], [0.5]], [2.2])
    assert weights[1] > 0.7 and 2.0 < found.mean < 2.1


def test_learn__no_law__one_run_tells_nothing_and_two_tell_their_difference():
    weights, found = learnt([[0.0], [0.5]], [2.6], None)
    assert found is None
    assert weights == pytest.approx([0.5, 0.5], abs=0.01)
    weights, _ = learnt([[0.0, 0.5], [0.5, 0.0]], [2.0, 2.2], None)
    assert weights[0] > 0.97


def test_learn__run_that_diverged__tells_that_it_lost_a_median_at_least():
    u = np.array([[0.0], [1.5]])
    weights, found = learn(
        u,
        [ran(math.nan, "diverged")],
        np.ones(2) / 2,
        SPREAD,
        SCATTER,
        FORECAST,
    )
    shares = student.cdf([-1.0 / 0.1, 0.5 / 0.4], RUN_DF)
    assert weights == pytest.approx(shares / shares.sum())
    assert found == FORECAST


@pytest.mark.parametrize("status", ["killed", "running", "pruned", "failed"])
def test_learn__run_that_was_stopped__tells_nothing(status):
    u = np.array([[0.0], [0.5]])
    told = learn(
        u, [ran(1.0, status)], np.ones(2) / 2, SPREAD, SCATTER, FORECAST
    )
    assert told[0].tolist() == [0.5, 0.5] and told[1] == FORECAST


def test_learn__another_order__is_the_same():
    u = np.random.default_rng(0).random((30, 3))
    weights, found = learnt(u, [2.0, 2.1, 2.3])
    turned, again = learnt(u[:, ::-1], [2.3, 2.1, 2.0])
    assert weights == pytest.approx(turned)
    assert found.mean == pytest.approx(again.mean)


def test_learn__many_good_runs__leave_their_own_noise():
    _, found = learnt([[0.0] * 12], [2.3] * 12)
    assert found.mean == pytest.approx(2.3, abs=0.005)
    assert found.sd < SCATTER / 2
