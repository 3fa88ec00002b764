"""How categories differ at the target, in u, by what the runs of every experiment show.

Within an experiment categories are compared by least squares, every number bent by a
parabola (the rates of two optimizers have one each, so that they are compared at their
best). Over experiments a difference is a line in log2 scale, its slope shrunk towards
none: what every scale shows alike holds at the target, too.

    gap_e = gap + slope * octaves_e + own deviation + error_e

Source: A. Gelman et al., "Bayesian data analysis" (2013), 14.8. Invariant: categories
that no experiment compares have no gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.advisor.statistics.response import FAR
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.view import EvidenceTable, TaskView
from autollm.policies.surrogates.bowl_rows import FEW_ROWS

GAP_SD, SLOPE_SD = 2.0, 0.05
"""Prior sd of a gap, u, and of what it changes by an octave of each size: over a ladder
of ten octaves half of median - best."""
DEVIATION, DEVIATION_DF = 0.1, 2.0
"""An experiment's own deviation from the line, u (noise of a bowl's rows, bowl_fit), and
the experiments that this is worth."""


@dataclass(frozen=True)
class Gaps:
    """Mean and sd [n_levels] of u at the target, of each level of a category above its
    first one. knob: its name; columns: its coordinates.
    """

    knob: str
    columns: slice
    mean: np.ndarray
    sd: np.ndarray

    def level_of(self, points: np.ndarray) -> np.ndarray:
        """Number of the level of points [n, d], int [n]."""
        own = points[:, self.columns]
        return np.argmax(own, axis=1)


@dataclass(frozen=True)
class _Compared:
    """One experiment: each level less the first one [n_levels], u, and its variance in
    that of one run; NaN where its rows do not tell.
    """

    octaves: float
    gaps: np.ndarray
    factors: np.ndarray
    misfit: float
    df: int


def gaps_of(view: TaskView) -> tuple[Gaps, ...]:
    """Of every category that is always chosen, and all of whose levels are compared."""
    found = []
    for knob in view.space.knobs:
        if knob.scale == "categorical" and knob.when is None:
            found += _of_knob(view, knob)
    return tuple(found)


def _of_knob(view: TaskView, knob: Knob) -> list[Gaps]:
    told = []
    for here in view.evidence:
        told += _compared(view, here, knob)
    n = len(knob.levels)
    if not told:
        return []
    df = DEVIATION_DF
    misfit = DEVIATION_DF * DEVIATION**2
    for one in told:
        df += one.df
        misfit += one.misfit
    gaps = np.array([one.gaps for one in told])
    factors = np.array([one.factors for one in told])
    variances = factors * misfit / df
    octaves = np.array([one.octaves for one in told])
    mean = np.zeros(n)
    sd = np.zeros(n)
    for level in range(1, n):
        known = np.isfinite(gaps[:, level])
        if not known.any():
            return []
        mean[level], sd[level] = _at_target(
            gaps[known, level],
            variances[known, level],
            octaves[known],
        )
    where = view.space.slices[knob.name]
    return [Gaps(knob.name, where, mean, sd)]


def _compared(
    view: TaskView, here: EvidenceTable, knob: Knob
) -> list[_Compared]:
    """Nothing where an experiment has too few rows."""
    lost = here.loss - here.loss.min()
    spread = float(np.median(lost))
    kept = squash(here.loss) <= FAR
    kept &= ~here.diverged
    if len(here.loss) < FEW_ROWS or spread <= 0:
        return []
    x = here.points[kept]
    u = lost[kept] / spread
    where = view.space.slices[knob.name]
    levels = x[:, where] > 0
    numbers = _bent(view, x, where)
    design = np.concatenate([levels, numbers], axis=1)
    inverse = np.linalg.pinv(design, rcond=1e-9)
    rank = int(np.linalg.matrix_rank(design))
    n = len(knob.levels)
    contrasts = np.eye(n, design.shape[1])
    contrasts[:, 0] -= 1.0
    misfit = u - design @ (inverse @ u)
    by_row = contrasts @ inverse
    factors = np.sum(by_row**2, axis=1)
    beside = np.abs(by_row @ design - contrasts)
    told = beside.max(axis=1) < 1e-6
    return [
        _Compared(
            float(np.sum(here.z - view.target_z)),
            np.where(told, by_row @ u, np.nan),
            np.where(told, factors, np.nan),
            float(misfit @ misfit),
            len(u) - rank,
        )
    ]


def _bent(view: TaskView, x: np.ndarray, where: slice) -> np.ndarray:
    """A parabola in every number, and every other coordinate, of points [n, d]."""
    columns = [x[:, :0]]
    for knob in view.space.knobs:
        at = view.space.slices[knob.name]
        if at == where:
            continue
        off = x[:, at]
        off = off - off.mean(axis=0)
        columns.append(off)
        if knob.scale in ONE_COORDINATE:
            columns.append(off**2)
    return np.concatenate(columns, axis=1)


def _at_target(
    gaps: np.ndarray,
    variances: np.ndarray,
    octaves: np.ndarray,
) -> tuple[float, float]:
    """Mean and sd of the line at 0 octaves, through gaps [n]."""
    alone = np.ones(len(gaps))
    design = np.column_stack([alone, octaves])
    prior = np.diag([GAP_SD, SLOPE_SD]) ** 2
    deviation = DEVIATION**2
    for _ in range(3):  # the deviation hangs on the line, and the line on it
        weight = 1 / (variances + deviation)
        gram = (design.T * weight) @ design
        covariance = np.linalg.inv(gram + np.linalg.inv(prior))
        line = covariance @ (design.T @ (weight * gaps))
        squared = (gaps - design @ line) ** 2
        left = np.maximum(squared - variances, 0.0)
        squares = DEVIATION_DF * DEVIATION**2 + float(left.sum())
        deviation = squares / (DEVIATION_DF + len(gaps))
    variance = covariance[0, 0] + deviation
    return float(line[0]), float(np.sqrt(variance))
