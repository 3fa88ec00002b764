"""Means and intervals with the source as the unit: sources are resampled, then the hidden
experiments of each, then the seeds of each.

Experiments of one source share rows, authors and machines, so that thirteen of them are
no thirteen tests.

Invariant: equal scores give equal intervals; all contenders share one resample, so that
their differences are pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95
NOT_RESOLVED = "not resolved"
RESOLVED = 0.05
"""Regret below which the upper bound of a difference has to lie (issue F)."""

Scores = Mapping[str, Sequence[np.ndarray]]
"""Source -> one array [n_seeds, n_contenders] a hidden experiment."""


@dataclass(frozen=True)
class Estimate:
    """A mean over sources with its 95 % interval; None with one source alone."""

    mean: float
    low: float | None
    high: float | None

    @property
    def side(self) -> str:
        """On which side of zero its whole interval lies."""
        if self.high is not None and self.high < 0:
            return "below"
        if self.low is not None and self.low > 0:
            return "above"
        return NOT_RESOLVED


@dataclass(frozen=True)
class Comparison:
    """One contender against the others.

    Attributes:
        means: [n_contenders], sources alike. differences: the contender minus each
            other one. against_best: minus the best other one of every resample.
            upper: one-sided 95 % bound of that; None with one source alone.
    """

    names: tuple[str, ...]
    means: dict[str, Estimate]
    differences: dict[str, Estimate]
    against_best: float
    upper: float | None

    @property
    def verdict(self) -> str:
        if self.upper is not None and self.upper < RESOLVED:
            return f"below .{round(100 * RESOLVED):02d}"
        return NOT_RESOLVED


def mean_of_sources(scores: Scores) -> np.ndarray:
    """[n_contenders]: mean over seeds, then experiments, then sources."""
    return np.mean(
        [_of_source(experiments) for experiments in scores.values()], axis=0
    )


def _of_source(experiments: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean([e.mean(axis=0) for e in experiments], axis=0)


def resampled(scores: Scores) -> np.ndarray:
    """Means of resamples [RESAMPLES, n_contenders]."""
    rng = np.random.default_rng(0)
    sources = list(scores.values())
    means = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(sources), size=len(sources))
        means.append(
            np.mean([_redrawn(sources[s], rng) for s in drawn], axis=0)
        )
    return np.array(means)


def _redrawn(
    experiments: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """A source's mean with its experiments and their seeds redrawn [n_contenders]."""
    drawn = rng.integers(len(experiments), size=len(experiments))
    total = np.zeros(experiments[0].shape[1])
    for e in drawn:
        here = experiments[e]
        total += here[rng.integers(len(here), size=len(here))].mean(axis=0)
    return total / len(drawn)


def estimate(scores: Scores) -> Estimate:
    """Of one contender's scores, arrays [n_seeds, 1]."""
    return _estimate(
        mean_of_sources(scores)[0], resampled(scores)[:, 0], len(scores)
    )


def compare(
    scores: Scores,
    names: Sequence[str],
    contender: str,
) -> Comparison:
    """`contender` against the others of `names`, which all have scores.

    Raises:
        ValueError: no other contender.
    """
    here = list(names).index(contender)
    others = [i for i in range(len(names)) if i != here]
    if not others:
        raise ValueError(f"nobody stands beside {contender}")
    mean = mean_of_sources(scores)
    draws = resampled(scores)
    n = len(scores)
    means = {}
    differences = {}
    for i, name in enumerate(names):
        means[name] = _estimate(mean[i], draws[:, i], n)
        if i != here:
            gap = draws[:, here] - draws[:, i]
            differences[name] = _estimate(mean[here] - mean[i], gap, n)
    best = draws[:, here] - draws[:, others].min(axis=1)
    upper = float(np.quantile(best, LEVEL)) if n > 1 else None
    against = float(mean[here] - mean[others].min())
    return Comparison(tuple(names), means, differences, against, upper)


def _estimate(
    mean: float,
    draws: np.ndarray,
    n_sources: int,
) -> Estimate:
    if n_sources < 2:
        return Estimate(float(mean), None, None)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(float(mean), float(low), float(high))
