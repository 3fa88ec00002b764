"""Bootstrap means of scores laid out as [tasks, seeds].

Targets are few and seeds are cheap, so an interval over seeds alone says how well *these* targets were measured, and only one
over experiments says anything about the next. What does not belong here: which scores are compared.

Invariant: equal scores give equal intervals (the resampling stream is fixed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
MIN_EXPERIMENTS = 5
"""Below this no interval over experiments is given."""
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its bounds; None where there are too few units to resample."""

    mean: float
    seed_low: float | None
    seed_high: float | None
    low: float | None
    high: float | None

    @property
    def includes_zero(self) -> bool:
        """By the interval over experiments where there is one, else by that over seeds; true where there is neither."""
        low, high = (self.low, self.high) if self.low is not None else (self.seed_low, self.seed_high)
        return low is None or low <= 0 <= high


def interval(scores: np.ndarray) -> Interval:
    """Mean of scores [tasks, seeds] (NaN: not played) with two 95 % bootstrap intervals.

    `seed_low/high`: seeds resampled, the same ones for all tasks. `low/high`: experiments and seeds resampled, crossed;
    None with fewer than MIN_EXPERIMENTS tasks. Tasks weigh alike.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    n_tasks, n_seeds = scores.shape
    rng = np.random.default_rng(0)
    seeds = rng.integers(n_seeds, size=(RESAMPLES, n_seeds))
    by_seed = (None, None)
    if n_seeds > 1:
        by_seed = _bounds(_mean_of_tasks(scores[:, seeds].transpose(1, 0, 2)))
    crossed = (None, None)
    if n_tasks >= MIN_EXPERIMENTS:
        tasks = rng.integers(n_tasks, size=(RESAMPLES, n_tasks))
        crossed = _bounds(_mean_of_tasks(scores[tasks[:, :, None], seeds[:, None, :]]))
    return Interval(float(_mean_of_tasks(scores[None])[0]), *by_seed, *crossed)


def paired(a: np.ndarray, b: np.ndarray) -> Interval:
    """Interval of a - b, both [tasks, seeds] of the same tasks and seeds.

    Raises:
        ValueError: the shapes differ, so the scores are not pairs.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape != b.shape:
        raise ValueError(f"paired scores need one shape [tasks, seeds], got {a.shape} and {b.shape}")
    return interval(a - b)


def _mean_of_tasks(scores: np.ndarray) -> np.ndarray:
    """Mean over seeds, then over tasks: [resamples, tasks, seeds] -> [resamples]."""
    counts = np.sum(~np.isnan(scores), axis=2)
    per_task = np.where(counts > 0, np.nansum(scores, axis=2) / np.maximum(counts, 1), np.nan)
    return np.nanmean(per_task, axis=1)


def _bounds(means: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(means, [tail, 100 - tail])
    return float(low), float(high)
