"""Losses on a scale that experiments share: 0 is the best, 1 the median, and above 1
the losses of diverged runs grow only logarithmically.
"""

from __future__ import annotations

import numpy as np

HOPELESS = 50.0
"""u beyond which `exp_above_one` grows no more: e^49 medians say nothing but hopeless,
and e^710 is no number."""


def squash(loss: np.ndarray) -> np.ndarray:
    """(loss - min) / (median - min), identity below 1 and 1 + log above. Shape kept."""
    best = np.min(loss)
    median = np.median(loss)
    share = (
        (loss - best) / (median - best)
        if median > best
        else np.zeros_like(loss)
    )
    return log_above_one(share)


def unsquash(u: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Inverse of `squash` with the same reference losses."""
    best = np.min(loss)
    median = np.median(loss)
    return best + (median - best) * exp_above_one(u)


def log_above_one(share: np.ndarray) -> np.ndarray:
    """Squashed losses of shares of median - min: identity up to 1, then 1 + log. Shape
    kept.
    """
    return np.where(share <= 1, share, 1 + np.log(np.maximum(share, 1)))


def exp_above_one(u: np.ndarray) -> np.ndarray:
    """Inverse of `log_above_one`, up to `HOPELESS`. Shape kept."""
    return np.where(u <= 1, u, np.exp(np.minimum(u, HOPELESS) - 1))
