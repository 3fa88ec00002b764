"""Distances between points in natural units, and the one rule of which point stands for
another: the nearest, the first of equal ones.
"""

from __future__ import annotations

import numpy as np


def nearest(points: np.ndarray, query: np.ndarray) -> tuple[int, float]:
    """Index of the row of `points` [n, d] nearest to `query` [d], and its Euclidean
    distance in natural units.

    The lowest index wins a tie (to 1e-9), so that the answer does not hang on rounding.
    """
    squared = np.sum((points - query) ** 2, axis=1)
    index = int(np.flatnonzero(squared <= squared.min() + 1e-9)[0])
    return index, float(np.sqrt(squared[index]))


def squared_distances(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """[n, m] between the rows of a [n, d] and b [m, d] (default a)."""
    b = a if b is None else b
    return np.maximum(
        np.square(a).sum(axis=1)[:, None]
        + np.square(b).sum(axis=1)[None, :]
        - 2 * a @ b.T,
        0.0,
    )
