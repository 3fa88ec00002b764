"""Is a difference real? Against scipy, and at the edges."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autollm.advisor.statistics.noise_test import noise_test, pooled_noise


def evidence(cells, status="finished"):
    """Evidence of cells: (experiment, configuration) -> outcomes."""
    runs = []
    for (experiment, config), outcomes in cells.items():
        for outcome in outcomes:
            runs.append(
                {
                    "experiment_id": experiment,
                    "config_id": config,
                    "status": status,
                    "objective_value": outcome,
                }
            )
    return SimpleNamespace(runs=runs)


TWO = evidence({("e", "a"): [1.0, 1.2, 1.4], ("e", "b"): [2.0, 2.1]})
"""Squares of .08 and .005 over three degrees of freedom."""
ALONE = evidence({("e", "a"): [1.0], ("e", "b"): [2.0]})


def test_pooled_noise__two_cells__by_hand():
    sd, degrees = pooled_noise(TWO)
    assert degrees == 3
    assert sd == pytest.approx(math.sqrt((0.08 + 0.005) / 3))


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.floats(-5, 5), min_size=1, max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_pooled_noise__any_cells__is_the_within_variance_of_anova(groups):
    cells = {("e", str(i)): values for i, values in enumerate(groups)}
    sd, degrees = pooled_noise(evidence(cells))
    assert degrees == sum(len(values) - 1 for values in groups)
    if not degrees:
        assert sd is None
        return
    total = sum((len(v) - 1) * np.var(v, ddof=1) for v in groups if len(v) > 1)
    assert sd == pytest.approx(math.sqrt(total / degrees), abs=1e-9)


def test_pooled_noise__one_configuration_at_two_scales__is_two_cells():
    """A loss that falls with scale is no noise."""
    apart = evidence({("small", "a"): [3.0], ("large", "a"): [2.0]})
    assert pooled_noise(apart) == (None, 0)


@pytest.mark.parametrize("status", ["diverged", "failed", "killed", "running"])
def test_pooled_noise__runs_that_did_not_finish__count_for_nothing(status):
    assert pooled_noise(evidence({("e", "a"): [1.0, 9.0]}, status)) == (None, 0)


@pytest.mark.parametrize("odd", [None, math.nan, math.inf, -math.inf])
def test_pooled_noise__outcome_that_is_none__counts_for_nothing(odd):
    cells = {("e", "a"): [1.0, 1.2, odd]}
    sd, degrees = pooled_noise(evidence(cells))
    assert degrees == 1 and sd == pytest.approx(0.2 / math.sqrt(2))


def test_noise_test__difference__has_the_p_value_of_student():
    found = noise_test(TWO, 0.3)
    sd = math.sqrt(0.085 / 3)
    t = 0.3 / (sd * math.sqrt(2))
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, 3))
    assert found.real == (found.p_value < 0.05)
    assert found.noise_sd == pytest.approx(sd) and found.degrees == 3


def test_noise_test__two_groups__is_scipys_t_test_of_equal_variances():
    a, b = [1.0, 1.3, 1.1, 1.25], [1.6, 1.5, 1.9, 1.7]
    here = evidence({("e", "a"): a, ("e", "b"): b})
    found = noise_test(here, np.mean(a) - np.mean(b), runs_each=4)
    assert found.p_value == pytest.approx(stats.ttest_ind(a, b).pvalue)


@settings(max_examples=40)
@given(st.floats(0.001, 3), st.integers(1, 20))
def test_noise_test__smallest_seen__is_just_told(difference, runs_each):
    found = noise_test(TWO, difference, runs_each)
    at = noise_test(TWO, found.smallest_seen, runs_each)
    assert at.p_value == pytest.approx(0.05)
    assert found.real == (difference > found.smallest_seen)


@settings(max_examples=40)
@given(st.floats(-3, 3))
def test_noise_test__sign_of_the_difference__does_not_count(difference):
    one, other = noise_test(TWO, difference), noise_test(TWO, -difference)
    assert one == other


def test_noise_test__runs_needed__have_the_power_that_is_asked_for():
    """Normal power at the number of runs is 80 %, and with one run fewer it is not."""
    sd, _ = pooled_noise(TWO)
    for difference in (0.05, 0.1, 0.2):
        n = noise_test(TWO, difference).runs_needed

        def power(runs, difference=difference):
            shift = difference / (sd * math.sqrt(2 / runs))
            return stats.norm.sf(stats.norm.isf(0.025) - shift)

        assert power(n) >= 0.8 - 1e-9
        assert n == 1 or power(n - 1) < 0.8


def test_noise_test__more_runs_each__see_smaller_differences():
    seen = [noise_test(TWO, 0.1, n).smallest_seen for n in (1, 4, 16)]
    assert seen[0] == pytest.approx(2 * seen[1])
    assert seen[1] == pytest.approx(2 * seen[2])


def test_noise_test__no_difference__is_none_and_needs_no_runs():
    found = noise_test(TWO, 0.0)
    assert found.real is False and found.p_value == 1.0
    assert found.runs_needed is None


def test_noise_test__repeats_that_agree_to_the_digit__any_difference_is_real():
    same = evidence({("e", "a"): [1.0, 1.0, 1.0]})
    assert noise_test(same, 1e-6).real is True
    assert noise_test(same, 1e-6).runs_needed == 1
    none = noise_test(same, 0.0)
    assert none.real is False and none.runs_needed is None


def test_noise_test__no_repeats__says_only_that():
    found = noise_test(ALONE, 0.3)
    assert (found.real, found.p_value, found.noise_sd) == (None, None, None)
    assert found.because.startswith("no configuration was run twice")


@pytest.mark.parametrize("difference", [math.nan, math.inf, -math.inf])
def test_noise_test__difference_that_is_no_number__says_so(difference):
    found = noise_test(TWO, difference)
    assert found.real is None and found.p_value is None
    assert found.because == "the difference is no number"


@pytest.mark.parametrize("difference", [1e-200, -1e-300, 5e-324, 1e-12])
def test_noise_test__tiny_difference__has_no_number_of_runs(difference):
    """1e400 runs are no number that anybody needs, and no float."""
    found = noise_test(TWO, difference)
    assert found.real is False and found.runs_needed is None
    assert found.p_value == pytest.approx(1.0)
