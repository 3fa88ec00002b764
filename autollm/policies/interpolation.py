"""What a cheap experiment says at configurations that it did not try: weighted means of
its nearest rows.

Source: D. Shepard, "A two-dimensional interpolation function for irregularly-spaced
data" (ACM 1968). Invariant: at a recorded configuration the answer is the recorded
value.
"""

from __future__ import annotations

import numpy as np

N_NEAREST = 4
EXACT = 1e-9
"""Squared natural units below which a row stands for the configuration itself."""
BLOCK = 4_000_000
"""Distances that are held at once."""


def interpolate(
    candidates: np.ndarray, points: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Values [n_candidates] at `candidates` [n_candidates, d] from rows `points` [n, d]
    with `values` [n], n at least 1.
    """
    k = min(N_NEAREST, len(points))
    out = np.empty(len(candidates))
    size = max(1, BLOCK // len(points))
    for begin in range(0, len(candidates), size):
        block = candidates[begin : begin + size]
        squared = (
            np.sum(block**2, axis=1)[:, None]
            + np.sum(points**2, axis=1)
            - 2 * block @ points.T
        )
        near = lowest(squared, k)
        weight = 1 / (
            np.maximum(np.take_along_axis(squared, near, axis=1), 0) + EXACT
        )
        out[begin : begin + size] = np.sum(
            weight * values[near], axis=1
        ) / np.sum(weight, axis=1)
    return out


def lowest(values: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k lowest of each row [n, m], ascending, the first column of equal
    ones: a stable argsort, without sorting what is not needed.
    """
    columns = np.sort(np.argpartition(values, k - 1, axis=1)[:, :k], axis=1)
    highest = np.take_along_axis(values, columns, axis=1).max(axis=1)
    tied = np.sum(values <= highest[:, None], axis=1) > k
    columns[tied] = np.sort(
        np.argsort(values[tied], axis=1, kind="stable")[:, :k], axis=1
    )
    order = np.argsort(
        np.take_along_axis(values, columns, axis=1), axis=1, kind="stable"
    )
    return np.take_along_axis(columns, order, axis=1)
