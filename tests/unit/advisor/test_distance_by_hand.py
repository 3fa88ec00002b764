"""How far a target lies from the levels, and its compute, on levels by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.asking.distance import distance_of, octaves_of
from autollm.advisor.deciding.hindsight import expected_draws, regret_by_policy
from autollm.advisor.statistics.laws import ladder_of

FEW = settings(max_examples=40)


def test_distance_of__one_level__is_not_known():
    found = distance_of(np.array([[20.0, 30.0]]), np.array([25.0, 35.0]))
    assert (found.along, found.across) == (None, None)


def test_distance_of__levels_that_do_not_differ__is_not_known():
    found = distance_of(np.tile([20.0, 30.0], (4, 1)), np.array([25.0, 35.0]))
    assert (found.along, found.across) == (None, None)


def test_distance_of__one_coordinate__is_in_standard_deviations():
    """Levels -1, 0, 1: their sd is sqrt(2/3); a target at 3."""
    found = distance_of(np.array([[-1.0], [0.0], [1.0]]), np.array([3.0]))
    assert found.along == pytest.approx(3 / np.sqrt(2 / 3))
    assert found.across == 0.0


def test_distance_of__target_in_the_middle__is_nothing():
    z = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0]])
    found = distance_of(z, z.mean(axis=0))
    assert found.along == pytest.approx(0.0, abs=1e-12)
    assert found.across == pytest.approx(0.0, abs=1e-12)


def test_distance_of__on_the_ray__is_along_alone():
    z = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    found = distance_of(z, np.array([5.0, 5.0]))
    assert found.along == pytest.approx(4 / np.sqrt(2 / 3))
    assert found.across == pytest.approx(0.0, abs=1e-9)


def test_distance_of__off_the_ray__counts_at_a_quarter_of_its_spread():
    """Levels along (1, 1) with sd sqrt(4/3); the target sqrt(2) beside it."""
    z = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    found = distance_of(z, np.array([2.0, 0.0]))
    assert found.along == pytest.approx(0.0, abs=1e-9)
    assert found.across == pytest.approx(np.sqrt(2) / (0.25 * np.sqrt(4 / 3)))


def test_distance_of__levels_spread_both_ways__uses_their_own_spread():
    z = np.array([[4.0, 0.0], [-4.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    found = distance_of(z, np.array([0.0, 3.0]))
    assert found.along == pytest.approx(0.0, abs=1e-9)
    assert found.across == pytest.approx(3 / np.sqrt(2))


@FEW
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 3))
def test_distance_of__levels_and_target_moved_together__stays(seed, n, f):
    rng = np.random.default_rng(seed)
    z, target, by = rng.normal(size=(n, f)), rng.normal(size=f), 50.0
    here, there = distance_of(z, target), distance_of(z + by, target + by)
    assert there.along == pytest.approx(here.along, abs=1e-6)
    assert there.across == pytest.approx(here.across, abs=1e-6)


@FEW
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_distance_of__all_octaves_stretched__stays(seed, factor):
    rng = np.random.default_rng(seed)
    z, target = rng.normal(size=(5, 2)), rng.normal(size=2)
    here = distance_of(z, target)
    there = distance_of(factor * z, factor * target)
    assert there.along == pytest.approx(here.along, rel=1e-6, abs=1e-9)
    assert there.across == pytest.approx(here.across, rel=1e-6, abs=1e-9)


@FEW
@given(st.integers(0, 10_000), st.floats(1, 20))
def test_distance_of__further_along_the_axis__grows_in_proportion(seed, times):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(6, 2)) * np.array([5.0, 1.0])
    _, _, axes = np.linalg.svd(z - z.mean(axis=0))
    once = distance_of(z, z.mean(axis=0) + axes[0])
    more = distance_of(z, z.mean(axis=0) + times * axes[0])
    assert more.along == pytest.approx(times * once.along)
    assert more.across == pytest.approx(0.0, abs=1e-9)


def question_of(flops, target_flops, target_z):
    """What octaves_of reads of a question."""
    experiments = [SimpleNamespace(compute_flops=value) for value in flops]
    return SimpleNamespace(
        table=SimpleNamespace(experiments=experiments),
        levels=tuple(range(len(flops))),
        compute_flops=target_flops,
        target_z=np.array(target_z, float),
    )


def test_octaves_of__compute_is_known__is_its_logarithm():
    question = question_of([1e18, 4e18, 1.6e19], 1.6e19, [30.0])
    found = octaves_of(question, np.zeros((3, 1)))
    assert found.tolist() == [-4.0, -2.0, 0.0]


def test_octaves_of__compute_is_not_known__is_the_sum_of_coordinates():
    question = question_of([1.0, 2.0], None, [30.0, 40.0])
    found = octaves_of(question, np.array([[28.0, 39.0], [31.0, 40.0]]))
    assert found.tolist() == [-3.0, 1.0]


@FEW
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10_000))
def test_expected_draws__any_pool__is_the_mean_over_orders(n_good, n_bad, seed):
    """By the positions of good ones in many shuffles of a few."""
    n = n_good + n_bad
    rng = np.random.default_rng(seed)
    firsts = []
    for _ in range(600):
        order = rng.permutation(n)
        firsts.append(1 + int(np.argmax(order < n_good)))
    error = 5 * np.std(firsts) / np.sqrt(len(firsts))
    assert expected_draws(n, n_good) == pytest.approx(
        np.mean(firsts), abs=error + 1e-9
    )


@pytest.mark.parametrize(
    ("n", "n_good", "draws"),
    [(1, 1, 1.0), (9, 1, 5.0), (9, 9, 1.0), (9, 4, 2.0), (9, 0, 5.0)],
)
def test_expected_draws__small_pools__by_hand(n, n_good, draws):
    """None that is as good counts as one: the pick itself stands in the pool."""
    assert expected_draws(n, n_good) == draws


def test_regret_by_policy__equal_means__are_ordered_by_name():
    def test_of(policy, regret):
        return SimpleNamespace(policy=policy, regret=regret)

    tests = [test_of("b", 0.5), test_of("a", 0.4), test_of("a", 0.6)]
    tests += [test_of("c", 0.1)]
    assert regret_by_policy(tests) == [
        ("c", 0.1, 1),
        ("a", 0.5, 2),
        ("b", 0.5, 1),
    ]


def test_regret_by_policy__nothing_tried__is_empty():
    assert regret_by_policy([]) == []


def test_ladder_of__three_coordinates_of_which_two_are_a_ray__is_compute():
    rng = np.random.default_rng(0)
    n = rng.normal(size=9)
    z = np.column_stack([n, 2 * n, rng.normal(size=9)])
    names = ("params", "tokens", "width")
    found = ladder_of(names, z, np.zeros(3), z.sum(axis=1))
    assert found.names == ("compute",)
    assert found.collinear == names
    assert found.axes[:, 0] == pytest.approx(z.sum(axis=1))


def test_ladder_of__coordinate_that_is_constant__is_no_axis_of_it():
    rng = np.random.default_rng(1)
    z = np.column_stack([rng.normal(size=7), np.full(7, 3.0)])
    z = np.column_stack([z, rng.normal(size=7)])
    found = ladder_of(
        ("params", "width", "tokens"), z, np.array([1.0, 3.0, 2.0]), z[:, 0]
    )
    assert found.names == ("params", "tokens")
    assert found.axes == pytest.approx(z[:, [0, 2]] - [1.0, 2.0])
