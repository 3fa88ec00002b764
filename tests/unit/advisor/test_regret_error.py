"""How far regrets may be off: Student's t by hand, and what it must never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from autollm.advisor.statistics.regret_error import (
    CAUTION,
    GROWTH,
    PRIOR_DF,
    PRIOR_SD,
    RegretError,
    regret_error,
)

REGRETS = st.floats(0, 1)
OCTAVES = st.floats(0, 12)
OWN = st.lists(st.tuples(REGRETS, OCTAVES), max_size=6)


def test_regret_error__no_backtests__is_the_librarys():
    found = regret_error([], 0.0)
    assert (found.sd, found.df, found.n_own) == (PRIOR_SD, PRIOR_DF, 0)
    assert found.cautious_sd == pytest.approx(CAUTION * PRIOR_SD)


def test_regret_error__own_backtests__update_variance_and_degrees_of_freedom():
    found = regret_error([(0.3, 2.0), (0.0, 1.0)], 0.0)
    own = (0.3 / (1 + 2 * GROWTH)) ** 2
    wanted = (PRIOR_DF * PRIOR_SD**2 + own) / (PRIOR_DF + 2)
    assert found.sd == pytest.approx(math.sqrt(wanted))
    assert found.df == PRIOR_DF + 2 and found.n_own == 2


def test_regret_error__gap_of_three_octaves__widens_by_its_growth():
    near = regret_error([(0.1, 1.0)], 0.0)
    far = regret_error([(0.1, 1.0)], 3.0)
    assert far.sd == pytest.approx(near.sd * (1 + 3 * GROWTH))
    assert far.half_width == pytest.approx(near.half_width * (1 + 3 * GROWTH))


def test_regret__nothing_expected__starts_at_zero_and_holds_nine_tenths_of_t():
    interval = RegretError(0.05, 0.1, 4.0, 3).regret(0.0)
    assert interval.low == 0.0
    assert interval.high == pytest.approx(0.1 * student.ppf(0.95, 4))
    drawn = np.abs(student.rvs(4, size=20_000, random_state=0))
    assert np.mean(0.1 * drawn <= interval.high) == pytest.approx(0.9, abs=0.01)
    wanted = np.minimum(0.05 * drawn, 1).mean()
    assert interval.mean == pytest.approx(wanted, abs=0.003)


def test_regret__much_is_expected__is_around_it_and_at_most_one():
    interval = RegretError(0.05, 0.1, 30.0, 28).regret(0.7)
    half = 0.1 * student.ppf(0.95, 30)
    assert interval.low == pytest.approx(0.7 - half)
    assert interval.high == pytest.approx(0.7 + half)
    drawn = np.abs(0.05 * student.rvs(30, size=20_000, random_state=0))
    assert interval.mean == pytest.approx(0.7 + drawn.mean(), abs=0.003)
    hopeless = RegretError(0.05, 0.1, 30.0, 28).regret(5.0)
    assert hopeless.mean == hopeless.high == 1.0


@given(OWN, OCTAVES, OCTAVES, REGRETS)
def test_regret__farther_target__is_never_told_more_narrowly(
    own, near, further, expected
):
    close = regret_error(own, near).regret(expected)
    far = regret_error(own, near + further).regret(expected)
    assert far.high >= close.high and far.low <= close.low


@given(OWN, OCTAVES, st.floats(0, 0.5), REGRETS)
def test_regret__noise__is_the_least_width(own, octaves, noise, expected):
    found = regret_error(own, octaves, noise)
    assert found.half_width >= noise
    interval = found.regret(expected)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_regret_error__good_backtests__narrow_the_interval_and_bad_ones_widen_it():
    unknown = regret_error([], 3.0).half_width
    good = regret_error([(0.02, 2.0)] * 5, 3.0).half_width
    bad = regret_error([(0.9, 2.0)] * 5, 3.0).half_width
    assert good < 0.5 * unknown
    assert bad > good
