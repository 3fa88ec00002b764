"""Least squares with a prior, and the lowest place of a bowl within a box."""

from __future__ import annotations

import numpy as np


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
