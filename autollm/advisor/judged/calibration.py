"""Intervals and probabilities against what came.

Coverage and scores are means over sources with the source as the unit. An interval is
compared with two others around the same forecast: one of a constant width, in units of
the spread that the evidence lets expect, learnt on the other sources; and one from
resampled rows.

Invariant: a source's own outcomes set no width that it is scored with.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autollm.advisor.judged.inference import Estimate, Scores, estimate

NOMINAL = 0.9
LEAST_COVERED = 0.8
"""What the lower end of a coverage's interval has to reach (issue F)."""
EDGES = (0.05, 0.2, 0.5)
"""Where probabilities are cut into classes: few come above a half."""


@dataclass(frozen=True)
class Prediction:
    """One interval and what came, with where it belongs. scale: the target's median -
    best, in which widths and misses are told; expected_scale: as the evidence lets
    expect it.
    """

    source: str
    experiment: str
    mean: float
    low: float
    high: float
    came: float
    scale: float = 1.0
    expected_scale: float = 1.0

    @property
    def covered(self) -> bool:
        return self.low <= self.came <= self.high

    @property
    def score(self) -> float:
        return interval_score(self.low, self.high, self.came) / self.scale


def interval_score(
    low: float,
    high: float,
    came: float,
) -> float:
    """Width plus 2 / alpha for each unit that what came lies outside: lower is better.
    Source: T. Gneiting, A. Raftery (2007), section 6.2.
    """
    penalty = 2 / (1 - NOMINAL)
    missed = max(low - came, 0.0) + max(came - high, 0.0)
    return high - low + penalty * missed


def coverage(told: Sequence[Prediction]) -> Estimate:
    return estimate(_by_source(told, [float(t.covered) for t in told]))


def mean_score(told: Sequence[Prediction]) -> Estimate:
    return estimate(_by_source(told, [t.score for t in told]))


def score_difference(
    ours: Sequence[Prediction],
    theirs: Sequence[Prediction],
) -> Estimate:
    """Mean of ours - theirs, of the same questions in the same order."""
    gaps = [a.score - b.score for a, b in zip(ours, theirs, strict=True)]
    return estimate(_by_source(ours, gaps))


def constant_width(told: Sequence[Prediction]) -> list[Prediction]:
    """The same forecasts with a half width of c times the spread that the evidence lets
    expect; c is the NOMINAL quantile of the other sources' misses, sources weighing
    alike.
    """
    ratios = [abs(t.came - t.mean) / t.expected_scale for t in told]
    sources = [t.source for t in told]
    found = []
    for t in told:
        others = [
            (ratio, 1 / sources.count(source))
            for ratio, source in zip(ratios, sources, strict=True)
            if source != t.source
        ]
        half = _quantile(others) * t.expected_scale
        found.append(replace(t, low=t.mean - half, high=t.mean + half))
    return found


def _quantile(
    weighed: Sequence[tuple[float, float]],
) -> float:
    """NOMINAL quantile of (value, weight) pairs; infinite without any."""
    if not weighed:
        return float("inf")
    values, weights = np.array(sorted(weighed)).T
    below = np.cumsum(weights) / weights.sum()
    return float(values[np.searchsorted(below, NOMINAL - 1e-9)])


def _by_source(
    told: Sequence[Prediction],
    values: Sequence[float],
) -> Scores:
    """Source -> arrays [n, 1], one an experiment."""
    grouped: dict[str, dict[str, list[float]]] = {}
    for t, value in zip(told, values, strict=True):
        mine = grouped.setdefault(t.source, {})
        mine.setdefault(t.experiment, []).append(value)
    found = {}
    for source, experiments in grouped.items():
        found[source] = [np.array(v)[:, None] for v in experiments.values()]
    return found


@dataclass(frozen=True)
class Chance:
    """One probability that was told, and whether it came."""

    source: str
    experiment: str
    told: float
    came: bool


@dataclass(frozen=True)
class Class:
    """Probabilities between `low` and `high`: how many of how many sources, their mean
    and the share that came, sources weighing by their number here.
    """

    low: float
    high: float
    n: int
    n_sources: int
    told: float
    came: float


def reliability(
    chances: Sequence[Chance], edges: Sequence[float] = EDGES
) -> list[Class]:
    """By class between `edges`; empty classes are left out."""
    found = []
    for low, high in itertools.pairwise((0.0, *edges, 1.0)):
        here = [
            c for c in chances if low <= c.told < high or c.told == high == 1
        ]
        if here:
            told = float(np.mean([c.told for c in here]))
            came = float(np.mean([c.came for c in here]))
            n_sources = len({c.source for c in here})
            found.append(Class(low, high, len(here), n_sources, told, came))
    return found


def brier_skill(chances: Sequence[Chance]) -> float | None:
    """1 - mean squared error over that of the base rate; None where all or none came."""
    came = np.array([c.came for c in chances], dtype=float)
    told = np.array([c.told for c in chances])
    if not len(came) or came.min() == came.max():
        return None
    return float(
        1 - np.mean((told - came) ** 2) / np.mean((came - came.mean()) ** 2)
    )
