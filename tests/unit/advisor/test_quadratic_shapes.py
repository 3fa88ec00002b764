"""Curvatures made positive definite, and errors of fits to few rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from autollm.advisor.statistics.quadratic import (
    LEAST_CURVATURE,
    careful_sd,
    lowest_within,
    positive,
)

FEW = settings(max_examples=40)


def upper(matrix):
    """Entries of a quadratic form at i <= j, crossed terms once for both."""
    i, j = np.triu_indices(len(matrix))
    both = np.where(i == j, 1, 2)
    return matrix[i, j] * both, (i, j)


def in_units(matrix, extent):
    """Eigenvalues where every knob's extent is 1."""
    return np.linalg.eigvalsh(matrix * extent[:, None] * extent)


@FEW
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_positive__definite_already__comes_back(seed, d):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    matrix = root @ root.T + 0.5 * np.eye(d)
    extent = rng.uniform(0.5, 4, d)
    entries, pairs = upper(matrix)
    found = positive(entries, pairs, extent)
    assert found == pytest.approx(matrix, rel=1e-9, abs=1e-9)


@FEW
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_positive__any_entries__are_symmetric_and_bend_up(seed, d):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(d, d))
    matrix = matrix + matrix.T
    extent = rng.uniform(0.1, 9, d)
    found = positive(*upper(matrix), extent)
    assert found == pytest.approx(found.T)
    assert in_units(found, extent).min() >= LEAST_CURVATURE * (1 - 1e-6)


def test_positive__one_direction_bends_down__only_that_one_is_changed():
    found = positive(*upper(np.diag([3.0, -5.0])), np.array([1.0, 2.0]))
    assert found == pytest.approx(np.diag([3.0, LEAST_CURVATURE / 4]))


@pytest.mark.parametrize("extent", [0.25, 1.0, 8.0])
def test_positive__flat_in_one_knob__bends_as_little_as_its_extent_asks(extent):
    found = positive(
        np.zeros(1), (np.array([0]), np.array([0])), np.array([extent])
    )
    assert found[0, 0] == pytest.approx(LEAST_CURVATURE / extent**2)


def test_positive__squares_alone__cross_no_knobs():
    """Beyond a full shape the fit has squares only."""
    pairs = np.diag_indices(3)
    found = positive(np.array([1.0, 2.0, 3.0]), pairs, np.ones(3))
    assert found == pytest.approx(np.diag([1.0, 2.0, 3.0]))


def test_careful_sd__several_errors__takes_the_largest():
    row = np.array([1.0, 2.0])
    small = np.diag([0.1, 0.1])
    large = np.diag([1.0, 0.5])
    many = 1e6
    found = careful_sd(row, (small, large), many)
    assert found == pytest.approx(np.sqrt(1 + 0.5 * 4), rel=1e-4)
    assert careful_sd(row, (large, small), many) == pytest.approx(found)


@pytest.mark.parametrize("n_free", [1.0, 2.0, 3.5, 10.0, 100.0])
def test_careful_sd__few_rows__is_widened_as_students_t(n_free):
    wider = student.ppf(0.95, n_free) / norm.ppf(0.95)
    found = careful_sd(np.ones(1), (np.array([[4.0]]),), n_free)
    assert found == pytest.approx(2 * wider)
    assert wider > 1


def test_careful_sd__variance_below_zero_by_rounding__is_nothing():
    assert careful_sd(np.ones(1), (np.array([[-1e-18]]),), 5.0) == 0.0


@FEW
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_lowest_within__one_place_is_allowed__is_that_place(seed, d):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    place = rng.normal(size=d)
    found = lowest_within(
        root @ root.T + np.eye(d), rng.normal(size=d), place, place
    )
    assert found == pytest.approx(place)


def test_lowest_within__tilted_bowl_cut_in_one_knob__moves_the_other():
    """x'Hx with H = [[1, .5], [.5, 1]] around (2, 0), x0 at most 1: x1 = .5."""
    curvature = np.array([[1.0, 0.5], [0.5, 1.0]])
    found = lowest_within(
        curvature,
        np.array([2.0, 0.0]),
        np.array([-5.0, -5.0]),
        np.array([1.0, 5.0]),
    )
    assert found == pytest.approx([1.0, 0.5])
