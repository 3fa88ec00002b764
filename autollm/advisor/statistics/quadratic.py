"""Least squares with a prior, and the lowest place of a bowl within a box."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

LEAST_CURVATURE = 0.02
"""Least eigenvalue of H, in units of 1 / extent^2: positive definite, nearly flat."""


def solve(
    design: np.ndarray,
    u: np.ndarray,
    weight: np.ndarray,
    mean: np.ndarray,
    precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean [p] and covariance [p, p] for unit weight variance."""
    gram = (design * weight[:, None]).T @ design + np.diag(precision)
    moment = design.T @ (weight * u) + precision * mean
    covariance = np.linalg.inv(gram)
    return covariance @ moment, covariance


def lowest_within(
    curvature: np.ndarray,
    optimum: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Minimum [d] of the bowl around `optimum` within a box, by coordinate descent."""
    x = np.clip(optimum, low, high)
    for _ in range(20 if len(x) > 1 else 1):
        for j in range(len(x)):
            pull = curvature[j] @ (x - optimum)
            pull = pull - curvature[j, j] * (x[j] - optimum[j])
            best = optimum[j] - pull / curvature[j, j]
            x[j] = np.clip(best, low[j], high[j])
    return x


def positive(
    entries: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    extent: np.ndarray,
) -> np.ndarray:
    """The matrix [d, d] of these entries at `pairs` (upper triangle), made positive
    definite in units of the knobs' extents [d].
    """
    d = len(extent)
    matrix = np.zeros((d, d))
    matrix[pairs] = entries
    matrix = (matrix + matrix.T) / 2
    unit = extent[:, None] * extent
    values, vectors = np.linalg.eigh(matrix * unit)
    values = np.maximum(values, LEAST_CURVATURE)
    return (vectors * values) @ vectors.T / unit


def careful_sd(
    row: np.ndarray, covariances: Iterable[np.ndarray], n_free: float
) -> float:
    """sd of a fit at a design row [p]: what few rows leave of residuals says too little
    of their noise, so that the largest of several errors counts, widened as Student's t
    of as many rows as are free.
    """
    variance = max(float(row @ covariance @ row) for covariance in covariances)
    few = float(student.ppf(0.95, n_free) / norm.ppf(0.95))
    return few * float(np.sqrt(max(variance, 0.0)))
