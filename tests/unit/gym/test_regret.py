import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.gym.tables.outcome_table import oriented
from autollm.gym.tasks.regret import best_so_far, expected_random_regret, regret

LOSSES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).map(np.array)


@given(LOSSES)
def test_regret__any_table__best_is_zero_and_all_within_bounds(losses):
    values = regret(losses, losses)
    assert values.min() == 0 and values.max() <= 1


@given(LOSSES, st.floats(0.001, 1000), st.floats(-100, 100))
def test_regret__affine_change_of_unit__changes_nothing(losses, scale, shift):
    if np.median(losses) - losses.min() > 1e-3 * max(1, np.abs(losses).max()):
        moved = regret(losses * scale + shift, losses * scale + shift)
        assert moved == pytest.approx(regret(losses, losses), abs=1e-6)


def test_regret__flat_table__zero():
    assert regret(2.0, np.full(5, 2.0)) == 0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_expected_random_regret__small_table__equals_enumeration(k):
    losses = np.array([3.0, 1.0, 2.0, 5.0, 9.0])
    draws = [
        regret(losses[list(c)].min(), losses)
        for c in itertools.combinations(range(5), k)
    ]
    assert expected_random_regret(losses, k) == pytest.approx(np.mean(draws))


def test_best_so_far__missing_outcomes__stay_minus_one_until_found():
    assert best_so_far(np.array([np.nan, 2.0, 3.0, 1.0])).tolist() == [
        -1,
        1,
        1,
        3,
    ]


@pytest.mark.parametrize("direction", ["min", "max"])
def test_oriented__non_finite__counts_as_worst_finite(direction):
    objective = np.array([1.0, np.inf, 3.0, np.nan])
    loss = oriented(objective, direction)
    assert np.isfinite(loss).all()
    assert loss[1] == loss[3] == max(loss[0], loss[2])
