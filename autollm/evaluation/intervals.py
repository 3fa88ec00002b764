"""Bootstrap means of scores laid out as [tasks, seeds], or as [trainings, tasks,
seeds].

Targets are few and seeds are cheap, so an interval over seeds alone says how well
*these* targets were measured, and only one over experiments says anything about the
next.

Invariant: equal scores give equal intervals, and scores of equal shape are resampled
alike (the stream is fixed), so that resampled means of several policies are pairs.
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
        """Whether the interval over experiments, else that over seeds, holds zero; true
        where there is neither.
        """
        low, high = (
            (self.low, self.high)
            if self.low is not None
            else (self.seed_low, self.seed_high)
        )
        return low is None or high is None or low <= 0 <= high


def interval(scores: np.ndarray) -> Interval:
    """Mean of scores [tasks, seeds] or [trainings, tasks, seeds] (NaN: not played) with
    two 95 % bootstrap intervals.

    `seed_low/high`: seeds (and trainings) resampled, the same ones for all tasks.
    `low/high`: experiments, seeds and trainings resampled, crossed; None with fewer
    than MIN_EXPERIMENTS tasks. Tasks weigh alike.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=float))
    by_seed, crossed = (None, None), (None, None)
    if scores.shape[-1] > 1:
        by_seed = _bounds(resampled_means(scores, over_tasks=False))
    if scores.shape[-2] >= MIN_EXPERIMENTS:
        crossed = _bounds(resampled_means(scores, over_tasks=True))
    return Interval(
        float(_mean_of_tasks(_mean_of_trainings(scores)[None])[0]),
        *by_seed,
        *crossed,
    )


def resampled_means(scores: np.ndarray, over_tasks: bool) -> np.ndarray:
    """Means [RESAMPLES] of scores [tasks, seeds] or [trainings, tasks, seeds] with
    seeds, trainings and, if asked, tasks redrawn.
    """
    n_tasks, n_seeds = scores.shape[-2:]
    rng = np.random.default_rng(0)
    seeds = rng.integers(n_seeds, size=(RESAMPLES, n_seeds))
    tasks = (
        rng.integers(n_tasks, size=(RESAMPLES, n_tasks))
        if over_tasks
        else np.arange(n_tasks)[None, :].repeat(RESAMPLES, axis=0)
    )
    if scores.ndim == 2:
        return _mean_of_tasks(scores[tasks[:, :, None], seeds[:, None, :]])
    trainings = rng.integers(len(scores), size=(RESAMPLES, len(scores)))
    return np.array(
        [
            _mean_of_tasks(
                _mean_of_trainings(scores[which])[on][:, under][None]
            )[0]
            for which, on, under in zip(trainings, tasks, seeds, strict=True)
        ]
    )


def paired(a: np.ndarray, b: np.ndarray) -> Interval:
    """Interval of a - b of the same tasks and seeds, both [tasks, seeds]; `a` may be
    [trainings, tasks, seeds].

    Raises:
        ValueError: the shapes differ, so the scores are not pairs.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[-2:] != b.shape:
        raise ValueError(
            f"paired scores need one shape [tasks, seeds], got {a.shape} and {b.shape}"
        )
    return interval(a - b)


def _mean_of_trainings(scores: np.ndarray) -> np.ndarray:
    """[trainings, tasks, seeds] -> [tasks, seeds]; without trainings the scores
    themselves.
    """
    return scores if scores.ndim == 2 else _nan_mean(scores, axis=0)


def _mean_of_tasks(scores: np.ndarray) -> np.ndarray:
    """Mean over seeds, then over tasks: [resamples, tasks, seeds] -> [resamples]."""
    return np.nanmean(_nan_mean(scores, axis=2), axis=1)


def _nan_mean(scores: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what was played; NaN where nothing was."""
    counts = np.sum(~np.isnan(scores), axis=axis)
    return np.where(
        counts > 0, np.nansum(scores, axis=axis) / np.maximum(counts, 1), np.nan
    )


def _bounds(means: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(means, [tail, 100 - tail])
    return float(low), float(high)
