"""Designs of cells: even, without randomness, and whole counts that sum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import FamilyError
from autollm.lab.designs import even_cells, even_points, largest_remainders


def first(dimensions, n):
    return np.array(list(itertools.islice(even_points(dimensions), n)))


@pytest.mark.parametrize("dimensions", [1, 2, 3, 6])
def test_even_points__any_dimension__lie_in_the_unit_cube_and_are_the_same(
    dimensions,
):
    points = first(dimensions, 200)
    assert points.shape == (200, dimensions)
    assert (points >= 0).all() and (points < 1).all()
    assert np.array_equal(points, first(dimensions, 200))


def test_even_points__one_dimension__is_the_golden_ratios_sequence():
    golden = (1 + 5**0.5) / 2
    wanted = [(0.5 + i / golden) % 1.0 for i in range(1, 21)]
    assert first(1, 20)[:, 0] == pytest.approx(wanted)


def test_even_points__two_dimensions__step_by_the_plastic_number():
    """The real root of x^3 = x + 1."""
    points = first(2, 3)
    root = 1.324717957244746
    step = (points[1] - points[0]) % 1.0
    assert step == pytest.approx([1 / root, 1 / root**2])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_even_points__halves_of_each_axis__are_filled_alike(dimensions):
    points = first(dimensions, 256)
    for axis in points.T:
        assert abs(np.sum(axis < 0.5) - 128) <= 6
    if dimensions == 2:
        quarters = (points < 0.5) @ [1, 2]
        counts = np.bincount(quarters, minlength=4)
        assert (np.abs(counts - 64) <= 8).all()


AXES = {"a": (1, 2, 3), "b": ("x", "y"), "c": (0.1, 0.2, 0.3, 0.4)}


@pytest.mark.parametrize("n", [0, 1, 5, 12, 24])
def test_even_cells__n_asked_for__are_different_and_of_the_axes(n):
    cells = even_cells(AXES, n)
    assert len(cells) == n
    assert len({tuple(cell.values()) for cell in cells}) == n
    for cell in cells:
        assert list(cell) == list(AXES)
        assert all(cell[name] in values for name, values in AXES.items())


def test_even_cells__more_asked_for__begin_with_the_same():
    assert even_cells(AXES, 20)[:7] == even_cells(AXES, 7)


def test_even_cells__all_there_are__is_every_combination():
    found = {tuple(cell.values()) for cell in even_cells(AXES, 24)}
    assert found == set(itertools.product(*AXES.values()))


def test_even_cells__more_than_there_are__is_refused_and_does_not_hang():
    with pytest.raises(FamilyError, match=r"25 different cells .* are 24"):
        even_cells(AXES, 25)


@settings(max_examples=80)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(0, 500)
)
def test_largest_remainders__shares_of_a_total__sum_and_are_near(
    weights, total
):
    if not sum(weights):
        return
    exact = [total * w / sum(weights) for w in weights]
    counts = largest_remainders(exact)
    assert sum(counts) == total
    for count, value in zip(counts, exact, strict=True):
        assert abs(count - value) < 1 + 1e-6
        assert count >= 0


@pytest.mark.parametrize(
    ("exact", "counts"),
    [
        ([1.0, 2.0], [1, 2]),
        ([0.5, 0.5], [1, 0]),
        ([1.2, 1.7, 0.1], [1, 2, 0]),
        ([0.4, 0.4, 0.2], [1, 0, 0]),
        ([0.1 * 3, 0.7], [0, 1]),
        ([2.9999999999, 0.0000000001], [3, 0]),
        ([0.0, 0.0], [0, 0]),
    ],
)
def test_largest_remainders__by_hand(exact, counts):
    assert largest_remainders(exact) == counts
