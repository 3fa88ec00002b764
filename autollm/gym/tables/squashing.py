"""Losses on a scale that experiments share: 0 is the best, 1 the median, and above 1
the losses of diverged runs grow only logarithmically.
"""

from __future__ import annotations

import numpy as np


def squash(loss: np.ndarray) -> np.ndarray:
    """(loss - min) / (median - min), identity below 1 and 1 + log above. Shape kept."""
    best = np.min(loss)
    median = np.median(loss)
    u = (
        (loss - best) / (median - best)
        if median > best
        else np.zeros_like(loss)
    )
    return np.where(u <= 1, u, 1 + np.log(np.maximum(u, 1)))


def unsquash(u: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Inverse of `squash` with the same reference losses."""
    best = np.min(loss)
    median = np.median(loss)
    return best + (median - best) * np.where(
        u <= 1, u, np.exp(np.minimum(u, 50) - 1)
    )
