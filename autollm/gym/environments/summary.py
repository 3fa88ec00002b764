"""What cheap experiments say, computed: each one's fitted optimum, and the trend of the
optimum with scale.

A quadratic bowl is fitted to each experiment's squashed losses (tables/squashing.py),
good rows first, since far rows follow no bowl; the trend is a ridge regression of those
optima on log2 fidelity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.view import EvidenceTable, TaskView

NEAR = 1.0
"""Rows with a squashed loss up to this (the better half) shape the bowl."""
MAX_COORDINATES = 8
"""Points of more coordinates (mixtures, per-layer lists) get no bowl: their rows could
not determine one.
"""
RIDGE = 1.0
"""Strength with which the trend's slopes are drawn towards zero, in squared octaves of
fidelity.
"""


@dataclass(frozen=True)
class FittedOptimum:
    """A fitted experiment. `optimum`, `best_row`: float64 [n_knobs], natural units.
    `convex`: the bowl had a minimum.
    """

    optimum: np.ndarray
    best_row: np.ndarray
    convex: bool
    n_rows: int


@dataclass(frozen=True)
class EvidenceSummary:
    """Fits in the order of `view.evidence`, the power law's optimum at the target (the
    text view calls it the trend), and its slopes [n_fidelity, n_knobs].
    """

    fits: tuple[FittedOptimum, ...]
    power_law_optimum: np.ndarray
    slopes: np.ndarray
    spread: float
    """median - min of the most expensive evidence experiment: the unit in which trials
    are compared, in the objective's unit.
    """


def fit_optimum(points: np.ndarray, loss: np.ndarray) -> FittedOptimum:
    """Weighted least-squares quadratic of squashed loss on points [n, d]; the optimum
    is kept within the rows' range.

    With too few rows, too many coordinates, or no minimum inside, the optimum is the
    centre of the best rows.
    """
    n, d = points.shape
    u = squash(loss)
    order = np.argsort(u, kind="stable")
    best_row = points[order[0]]
    fallback = points[order[: max(1, min(3, n // 4))]].mean(axis=0)
    if d > MAX_COORDINATES:
        return FittedOptimum(fallback, best_row, False, n)
    upper = np.triu_indices(d)
    n_terms = 1 + d + len(upper[0])
    keep = order[: max(int(np.sum(u <= NEAR)), min(n, 2 * n_terms))]
    centre = points[keep].mean(axis=0)
    if len(keep) < n_terms + 1:
        return FittedOptimum(fallback, best_row, False, n)
    x = points[keep] - centre
    design = np.column_stack(
        [np.ones(len(keep)), x, x[:, upper[0]] * x[:, upper[1]]]
    )
    weight = np.sqrt(1 / (0.15 + np.minimum(u[keep], 3)))
    gram = (design * weight[:, None] ** 2).T @ design + 1e-4 * np.eye(n_terms)
    beta = np.linalg.solve(gram, (design * weight[:, None] ** 2).T @ u[keep])
    hessian = np.zeros((d, d))
    hessian[upper] = beta[1 + d :]
    hessian = hessian + hessian.T
    if np.linalg.eigvalsh(hessian)[0] < 1e-3:
        return FittedOptimum(fallback, best_row, False, n)
    optimum = centre - np.linalg.solve(hessian, beta[1 : 1 + d])
    return FittedOptimum(
        np.clip(optimum, points.min(axis=0), points.max(axis=0)),
        best_row,
        True,
        n,
    )


def summarize(view: TaskView) -> EvidenceSummary:
    """Summary of a view's evidence. Without evidence: the window's centre, flat
    slopes.
    """
    if not view.evidence:
        centre = view.space.window.mean(axis=0)
        return EvidenceSummary(
            (), centre, np.zeros((len(view.target_z), len(view.space))), 1.0
        )
    fits = tuple(fit_optimum(e.points, e.loss) for e in view.evidence)
    distance = np.array([e.z for e in view.evidence]) - view.target_z
    weight = np.array([b.n_rows * (1.0 if b.convex else 0.3) for b in fits])
    trend, slopes = _trend(
        distance, np.array([b.optimum for b in fits]), weight
    )
    return EvidenceSummary(
        fits,
        np.clip(trend, *view.space.window),
        slopes,
        _spread(view.evidence[-1]),
    )


def _trend(
    distance: np.ndarray, optima: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Optimum at distance 0 and slopes, by ridge on the slopes alone. distance [n, f],
    optima [n, d], weight [n].
    """
    weight = weight / weight.sum()
    mean_x = weight @ distance
    mean_y = weight @ optima
    x = distance - mean_x
    y = optima - mean_y
    gram = (x * weight[:, None]).T @ x + RIDGE / len(x) * np.eye(
        distance.shape[1]
    )
    slopes = np.linalg.solve(gram, (x * weight[:, None]).T @ y)
    return mean_y - mean_x @ slopes, slopes


def _spread(evidence: EvidenceTable) -> float:
    spread = float(np.median(evidence.loss) - np.min(evidence.loss))
    return spread if spread > 0 else 1.0
