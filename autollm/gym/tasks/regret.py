"""Regret: how far a choice is from the best row, in units of the distance between the
median and the best row.

0 is the best row of the table, 1 the median or anything worse. Source: shared protocol
in docs/protocol.md; the median (not the maximum) is the unit because diverged runs
would flatter everyone.
"""

from __future__ import annotations

from math import comb

import numpy as np


def regret(value: float | np.ndarray, losses: np.ndarray) -> float | np.ndarray:
    """(value - min) / (median - min), clipped to [0, 1]; lower is better. `losses`:
    [n_rows] of the target.

    A flat table (median equal to minimum) has regret 0 at its minimum and 1 above it.
    """
    best = float(np.min(losses))
    median = float(np.median(losses))
    if median <= best:
        return np.where(np.asarray(value) <= best, 0.0, 1.0)[()]
    return np.clip((value - best) / (median - best), 0.0, 1.0)


def best_so_far(losses: np.ndarray) -> np.ndarray:
    """Index of the incumbent after each trial, int [k]: the lowest loss so far, the
    earlier one on a tie.

    `losses` may hold NaN for trials that gave no outcome; the index is -1 until there
    is one.
    """
    out = np.empty(len(losses), dtype=int)
    incumbent = -1
    for k, loss in enumerate(losses):
        if not np.isnan(loss) and (incumbent < 0 or loss < losses[incumbent]):
            incumbent = k
        out[k] = incumbent
    return out


def expected_random_regret(losses: np.ndarray, k: int) -> float:
    """Exact expected regret of the best of k distinct rows drawn uniformly from
    `losses` [n_rows].

    The minimum is the i-th smallest row (from 0) with probability C(n-1-i, k-1) / C(n,
    k).
    """
    ordered = np.sort(losses)
    n = len(ordered)
    k = min(k, n)
    weights = np.array([comb(n - 1 - i, k - 1) / comb(n, k) for i in range(n)])
    return float(weights @ np.asarray(regret(ordered, losses)))
