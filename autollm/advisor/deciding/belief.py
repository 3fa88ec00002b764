"""What is believed of every configuration at every fidelity, so that a run that nobody
made can be imagined: the fitted response as a Gaussian, its curvature left open.

    u(x, z) = a(z) + k x'Hx - 2k x'H c(z) + g(x, z)     c(z) = alpha + B (z - target) + d(z)

u: loss in units of median - best; H: the shared curvature of response.py; c: the optimum
of the numbers. Given k everything is linear: a (one floor an experiment, free), alpha,
B (ridged to the generic slopes of the moving bowl) and d (an experiment's own deviation)
are Gaussian, and so is every outcome. k, the curvature's factor, is a grid of five,
weighed by the evidence: beyond an edge it decides where the optimum lies. g carries
parts of mixtures, lists and categories: a Gaussian process, most of it common to all
experiments. Source: C. Rasmussen, C. Williams, "Gaussian processes for machine learning"
(2006), 2.2 and 2.7.

Invariant: no randomness; equal studies give an equal belief.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from autollm.advisor.asking.question import (
    LEAST_SHARE,
    MOST_ROWS,
    representative,
)
from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.response import FAR
from autollm.core.spaces.distances import squared_distances
from autollm.gym.tables.squashing import squash
from autollm.policies.surrogates.bowl_fit import GENERIC_SLOPE, SLOPE_SD

CURVATURES = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors of the fitted curvature; CURVATURE_SD: prior sd of their logarithm, as the
shapes of the library's experiments scatter (bowl_fit.WIDTH_SD)."""
CURVATURE_SD = 0.35
LENGTHS = (0.5, 1.0, 2.0)
"""Of g, in median distances of the evidence's designs."""
FLOOR_SD, CENTRE_SD = 3.0, 4.0
"""Nearly free: u, and natural units."""
DEVIATION = (0.05, 0.3, 0.8)
"""An experiment's optimum off the line, natural units: least, where the levels do not
say, and most (moving_bowl.SHIFT_SD)."""
PART_SD, SHARED = 0.5, 0.7
"""Of g: u, and the share of its variance that all experiments have in common."""
LEAST_NOISE, NOISE_GROWTH = 0.02, 0.1
"""sd of a row in u: at least, and what it grows by per u (response.py)."""


@dataclass(frozen=True)
class Runs:
    """Runs by their places: points [n, d] in natural units, z [n, f] log2 fidelity."""

    points: np.ndarray
    z: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def at(cls, points: np.ndarray, z: np.ndarray) -> Runs:
        """All points [n, d] at one fidelity z [f]."""
        return cls(points, np.tile(z, (len(points), 1)))

    @classmethod
    def joined(cls, parts: list[Runs]) -> Runs:
        points = np.concatenate([part.points for part in parts])
        return cls(points, np.concatenate([part.z for part in parts]))


@dataclass(frozen=True)
class Outlook:
    """What one curvature says of runs: weight of that curvature; mean [n] and
    covariance [n, n] of their u, without noise."""

    weight: float
    mean: np.ndarray
    covariance: np.ndarray


class Belief:
    """From a study. Floors are free, so that only differences within an experiment
    mean something.
    """

    def __init__(self, study: Study):
        self._columns = list(study.response.columns)
        units, self.curvature = _common_unit(study)
        self._others = [
            j
            for j in range(len(study.question.space))
            if j not in self._columns
        ]
        self._target_z = study.question.target_z
        self._slopes = _generic_slopes(study)
        self._deviation = _deviations(study)
        self._seen, self._u, levels = _observed(study, units)
        away = self._seen.z - self._target_z
        optima = self._numbers(self._seen.points) - away @ self._slopes.T
        good = self._u <= np.quantile(self._u, 0.25)
        self._origin = optima[good].mean(axis=0)
        self._length = self._typical_distance()
        self._noise = np.maximum(study.response.scatter_sd / units, LEAST_NOISE)
        seen = self.noise(levels, self._u)
        self._models = [
            _Model(self, *shape, noise=seen) for shape in self._shapes()
        ]
        weights = np.array([model.log_weight for model in self._models])
        weights = np.exp(weights - weights.max())
        self._weights = weights / weights.sum()

    def noise(self, levels: np.ndarray, u: np.ndarray) -> np.ndarray:
        """sd of one run's u near a level [n] where u [n] is expected."""
        return self._noise[levels] + NOISE_GROWTH * np.clip(u, 0.0, 2.0)

    def of(self, runs: Runs) -> list[Outlook]:
        """The outlook on runs, one a curvature."""
        found = []
        for weight, model in zip(self._weights, self._models, strict=True):
            if weight > 1e-3:  # the others could not move a decision
                found.append(Outlook(float(weight), *model.of(runs)))
        return found

    def centre(self, z: np.ndarray) -> np.ndarray:
        """Expected optimum of the response's coordinates at fidelity z [f]."""
        total = np.zeros(len(self._columns))
        for weight, model in zip(self._weights, self._models, strict=True):
            total += weight * model.centre(z)
        return total

    def _numbers(self, points: np.ndarray) -> np.ndarray:
        return points[:, self._columns]

    def _pulled(self, runs: Runs, factor: float) -> np.ndarray:
        """-du / dc of runs, [n, n_columns]."""
        x = self._numbers(runs.points) - self._origin
        return 2 * factor * x @ self.curvature

    def _typical_distance(self) -> float:
        if not self._others:
            return 1.0
        parts = np.unique(self._seen.points[:, self._others], axis=0)
        squared = squared_distances(parts)
        apart = squared[np.triu_indices(len(parts), 1)]
        return float(np.sqrt(np.median(apart))) if len(apart) else 1.0

    def _shapes(self) -> list[tuple[float, float]]:
        """(curvature's factor, length of g) of every model."""
        factors = CURVATURES if self._columns else (1.0,)
        lengths = LENGTHS if self._others else (1.0,)
        return list(itertools.product(factors, lengths))

    def prior_mean(self, runs: Runs, factor: float) -> np.ndarray:
        x = self._numbers(runs.points) - self._origin
        pulled = x @ self.curvature
        centre = (runs.z - self._target_z) @ self._slopes.T
        return factor * np.sum(pulled * (x - 2 * centre), axis=1)

    def prior_covariance(
        self, a: Runs, b: Runs, factor: float, length: float
    ) -> np.ndarray:
        same = _same_experiment(a.z, b.z)
        total = FLOOR_SD**2 * same
        moved = (a.z - self._target_z) @ (b.z - self._target_z).T
        common = CENTRE_SD**2 + SLOPE_SD**2 * moved
        pulled_a = self._pulled(a, factor)
        pulled_b = self._pulled(b, factor)
        for k, deviation in enumerate(self._deviation):
            both = np.outer(pulled_a[:, k], pulled_b[:, k])
            total = total + both * (common + deviation**2 * same)
        if self._others:
            scale = length * self._length
            squared = squared_distances(
                a.points[:, self._others], b.points[:, self._others]
            )
            alike = np.exp(-0.5 * squared / scale**2)
            total = total + PART_SD**2 * (SHARED + (1 - SHARED) * same) * alike
        return total

    def centre_covariance(
        self, z: np.ndarray, runs: Runs, factor: float
    ) -> np.ndarray:
        """Of the optimum at z with u of runs, [n_columns, n]."""
        same = _same_experiment(z[None], runs.z)[0]
        moved = (runs.z - self._target_z) @ (z - self._target_z)
        pulled = -self._pulled(runs, factor)
        spread = CENTRE_SD**2 + SLOPE_SD**2 * moved
        rows = [
            pulled[:, k] * (spread + deviation**2 * same)
            for k, deviation in enumerate(self._deviation)
        ]
        return np.array(rows).reshape(len(rows), len(runs))

    def prior_centre(self, z: np.ndarray) -> np.ndarray:
        return self._origin + self._slopes @ (z - self._target_z)

    @property
    def evidence(self) -> tuple[Runs, np.ndarray]:
        """The rows that are believed, and their u."""
        return self._seen, self._u


class _Model:
    """The Gaussian for one curvature and one length, given the evidence."""

    def __init__(
        self, belief: Belief, factor: float, length: float, noise: np.ndarray
    ):
        self._belief = belief
        self._factor = factor
        self._length = length
        seen, u = belief.evidence
        prior = belief.prior_covariance(seen, seen, factor, length)
        self._root = np.linalg.cholesky(prior + np.diag(noise**2))
        off = u - belief.prior_mean(seen, factor)
        self._pull = solve_triangular(self._root, off, lower=True)
        fit = 0.5 * self._pull @ self._pull
        size = np.log(np.diag(self._root)).sum()
        likely = 0.5 * (np.log(factor) / CURVATURE_SD) ** 2
        self.log_weight = -float(fit + size + likely)

    def of(self, runs: Runs) -> tuple[np.ndarray, np.ndarray]:
        seen, _ = self._belief.evidence
        shape = self._factor, self._length
        across = self._belief.prior_covariance(seen, runs, *shape)
        told = solve_triangular(self._root, across, lower=True)
        mean = self._belief.prior_mean(runs, self._factor)
        prior = self._belief.prior_covariance(runs, runs, *shape)
        return mean + told.T @ self._pull, prior - told.T @ told

    def centre(self, z: np.ndarray) -> np.ndarray:
        seen, _ = self._belief.evidence
        across = self._belief.centre_covariance(z, seen, self._factor)
        told = solve_triangular(self._root, across.T, lower=True)
        return self._belief.prior_centre(z) + told.T @ self._pull


def _same_experiment(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether fidelities [n, f] and [m, f] are equal, float [n, m]; three digits of a
    size make an experiment of its own."""
    return (np.abs(a[:, None] - b[None]).max(axis=2) < 1e-3).astype(float)


def _generic_slopes(study: Study) -> np.ndarray:
    """Natural units an octave of each fidelity that optima move by before any evidence,
    [n_columns, f]: the moving bowl's."""
    view = study.question.view
    slopes = np.zeros((len(study.response.names), len(view.fidelity_names)))
    for j, name in enumerate(study.response.names):
        role = next((k.role for k in view.space.knobs if k.name == name), "")
        fidelity, slope = GENERIC_SLOPE.get(role, ("", 0.0))
        if fidelity in view.fidelity_names:
            slopes[j, view.fidelity_names.index(fidelity)] = slope
    return slopes


def _deviations(study: Study) -> np.ndarray:
    """sd of an experiment's optimum around the line, [n_columns]."""
    least, unknown, most = DEVIATION
    found = []
    for name in study.response.names:
        trend = study.trends.get(name)
        scatter = unknown if trend is None else trend.scatter
        found.append(float(np.clip(scatter, least, most)))
    return np.array(found)


def _common_unit(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Loss units of one u at every level [n], in which all have the same curvature, and
    that curvature; on average one u is median - best.
    """
    levels = study.response.levels
    own = np.array([level.scale * level.stretch for level in levels])
    spread = np.array(
        [np.median(rows.loss) - rows.loss.min() for rows in study.rows]
    )
    known = spread > 0
    ratio = 1.0
    if known.any():
        ratio = float(np.exp(np.mean(np.log(spread[known] / own[known]))))
    return own * ratio, study.response.curvature / ratio


def _observed(
    study: Study, units: np.ndarray
) -> tuple[Runs, np.ndarray, np.ndarray]:
    """Rows short of the cliff, their u and their levels' numbers, at most as many as a
    view holds."""
    parts = []
    u = []
    levels = []
    told = zip(study.rows, study.response.levels, strict=True)
    for number, (rows, level) in enumerate(told):
        share = max(MOST_ROWS // len(study.rows), LEAST_SHARE)
        kept = representative(rows.loss, share)
        kept = kept[squash(rows.loss)[kept] <= FAR]
        parts.append(Runs.at(rows.points[kept], rows.z))
        u.append((rows.loss[kept] - level.raw_best) / units[number])
        levels.append(np.full(len(kept), number))
    return Runs.joined(parts), np.concatenate(u), np.concatenate(levels)
