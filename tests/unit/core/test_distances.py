"""Distances against brute force, and the rule of ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from autollm.core.spaces.distances import nearest, squared_distances

COORDINATE = st.floats(-50.0, 50.0, width=32)


def points(n_columns=3, min_rows=1, max_rows=12):
    """Strategy: points [n, n_columns], as they are in natural units."""
    rows = st.integers(min_rows, max_rows)
    return rows.flatmap(
        lambda n: arrays(np.float64, (n, n_columns), elements=COORDINATE)
    )


def by_hand(rows, query):
    """(index, distance) of the nearest row, one pair of numbers at a time."""
    best = None
    for index, row in enumerate(rows):
        apart = math.dist(row, query)
        if best is None or apart < best[1]:
            best = (index, apart)
    return best


@given(points(), arrays(np.float64, 3, elements=COORDINATE))
def test_nearest__any_points__is_as_near_as_by_brute_force(rows, query):
    index, distance = nearest(rows, query)
    _, expected = by_hand(rows, query)
    assert distance == pytest.approx(expected, abs=1e-4)
    assert math.dist(rows[index], query) == pytest.approx(distance, abs=1e-9)


@given(points(), st.randoms(use_true_random=False))
def test_nearest__rows_in_another_order__is_the_same_distance(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    query = rows[0] + 0.25
    assert nearest(rows, query)[1] == pytest.approx(
        nearest(rows[order], query)[1], abs=1e-4
    )


@given(points(min_rows=2))
def test_nearest__a_row_itself__is_found_at_distance_zero(rows):
    for row in rows:
        index, distance = nearest(rows, row)
        assert distance <= 1e-4
        assert math.dist(rows[index], row) <= 1e-4


def test_nearest__equal_rows__is_the_first():
    rows = np.array([[5.0, 5.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    assert nearest(rows, np.array([1.0, 2.0])) == (1, 0.0)


def test_nearest__two_at_equal_distance_but_for_rounding__is_the_first():
    """0.1 + 0.2 is not 0.3: the second row is nearer by rounding alone."""
    rows = np.array([[0.1 + 0.2], [0.3]])
    assert nearest(rows, np.array([0.3]))[0] == 0
    assert nearest(rows[::-1], np.array([0.3]))[0] == 0


def test_nearest__really_nearer_by_little__is_not_a_tie():
    rows = np.array([[1.001], [1.0]])
    assert nearest(rows, np.array([0.0]))[0] == 1


def test_nearest__single_row__is_it_whatever_is_asked():
    index, distance = nearest(np.array([[3.0, 4.0]]), np.zeros(2))
    assert (index, distance) == (0, 5.0)


def test_nearest__no_coordinates__is_the_first_at_zero():
    assert nearest(np.zeros((3, 0)), np.zeros(0)) == (0, 0.0)


@given(points(), points())
def test_squared_distances__two_sets__are_those_of_scipy(a, b):
    found = squared_distances(a, b)
    assert found.shape == (len(a), len(b))
    assert np.allclose(found, cdist(a, b, "sqeuclidean"), atol=1e-6)


@given(points(max_rows=8))
def test_squared_distances__one_set__is_symmetric_with_zeros(rows):
    found = squared_distances(rows)
    assert np.allclose(found, found.T, atol=1e-9)
    assert np.allclose(np.diag(found), 0.0, atol=1e-8)


@given(points())
def test_squared_distances__rounding__is_never_below_zero(rows):
    far = rows + 1e6
    assert squared_distances(far, far + 1e-9).min() >= 0.0


def test_squared_distances__a_square_of_side_three__by_hand():
    corners = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [3.0, 3.0]])
    assert squared_distances(corners).tolist() == [
        [0.0, 9.0, 9.0, 18.0],
        [9.0, 0.0, 18.0, 9.0],
        [9.0, 18.0, 0.0, 9.0],
        [18.0, 9.0, 9.0, 0.0],
    ]


def test_squared_distances__empty_set__has_no_rows():
    none = np.zeros((0, 2))
    assert squared_distances(none, np.ones((3, 2))).shape == (0, 3)
    assert squared_distances(none).shape == (0, 0)
