"""Least squares with a prior and bowls in a box, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from autollm.advisor.statistics.quadratic import lowest_within, solve


def bowl(seed, d):
    """A curvature [d, d] that is positive definite, and an optimum [d]."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d), 2 * rng.normal(size=d)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_lowest_within__any_bowl_and_box__is_scipys_bounded_minimum(seed, d):
    curvature, optimum = bowl(seed, d)
    low, high = -np.ones(d), np.ones(d)
    found = lowest_within(curvature, optimum, low, high)
    assert (found >= low - 1e-12).all() and (found <= high + 1e-12).all()

    def height(x):
        return (x - optimum) @ curvature @ (x - optimum)

    wanted = minimize(
        height,
        np.zeros(d),
        bounds=list(zip(low, high, strict=True)),
        method="L-BFGS-B",
    )
    assert height(found) <= wanted.fun + 1e-2 * max(wanted.fun, 1e-3)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_lowest_within__optimum_inside__is_the_optimum(seed, d):
    curvature, optimum = bowl(seed, d)
    box = np.abs(optimum) + 1
    found = lowest_within(curvature, optimum, -box, box)
    assert found == pytest.approx(optimum)


def test_lowest_within__one_knob__is_cut_at_the_edge():
    found = lowest_within(
        np.array([[2.0]]), np.array([5.0]), np.array([0.0]), np.array([3.0])
    )
    assert found.tolist() == [3.0]


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_solve__no_prior__is_weighted_least_squares(seed):
    rng = np.random.default_rng(seed)
    design, u = rng.normal(size=(20, 3)), rng.normal(size=20)
    weight = rng.uniform(0.5, 2, 20)
    found, covariance = solve(design, u, weight, np.zeros(3), np.zeros(3))
    root = np.sqrt(weight)
    wanted = np.linalg.lstsq(design * root[:, None], u * root, rcond=None)[0]
    assert found == pytest.approx(wanted)
    gram = (design * weight[:, None]).T @ design
    assert covariance @ gram == pytest.approx(np.eye(3), abs=1e-9)


def test_solve__no_rows__is_the_prior():
    mean, precision = np.array([1.0, -2.0]), np.array([4.0, 0.25])
    found, covariance = solve(
        np.zeros((0, 2)), np.zeros(0), np.zeros(0), mean, precision
    )
    assert found == pytest.approx(mean)
    assert covariance == pytest.approx(np.diag(1 / precision))


def test_solve__one_row_and_a_prior__is_the_weighed_mean():
    """A prior of 0 with precision 1 and a row of 3 with weight 2: 2."""
    found, covariance = solve(
        np.ones((1, 1)),
        np.array([3.0]),
        np.array([2.0]),
        np.zeros(1),
        np.ones(1),
    )
    assert found == pytest.approx([2.0])
    assert covariance[0, 0] == pytest.approx(1 / 3)
