"""How likely a configuration diverges: a ridged logistic regression on its distance to
the fitted optimum, over the rows of all levels.

Relative to the optimum, so that a rate that was safe at a small size does not count as
safe at a large one, where the optimum lies lower. Invariant: with fewer than three
diverged runs no probability is given. Source: ridge logistic regression, S. le Cessie,
J. van Houwelingen (1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.statistics.response import Response
from autollm.advisor.statistics.rows import Rows

LEAST_DIVERGED = 3
PRIOR_SD = 2.0
"""Of a coefficient, in logits per natural unit."""
N_STEPS = 25


@dataclass(frozen=True)
class Divergence:
    """`columns`: the coordinates that count. `beta` [1 + n] on offsets from the optimum;
    None with fewer than LEAST_DIVERGED diverged rows, and `because` says so.
    """

    columns: tuple[int, ...]
    beta: np.ndarray | None
    offsets: np.ndarray
    rows: tuple[tuple[int, int], ...]
    because: str

    def probability(
        self, points: np.ndarray, optimum: np.ndarray
    ) -> np.ndarray | None:
        """p [n] at points [n, d] where the optimum [n_columns] is expected."""
        if self.beta is None:
            return None
        offset = points[:, self.columns] - optimum
        return _sigmoid(self.beta[0] + offset @ self.beta[1:])

    def nearest(
        self, point: np.ndarray, optimum: np.ndarray
    ) -> tuple[int, int] | None:
        """(experiment, row) of the diverged run nearest to a point, both relative to
        their optima; None without any.
        """
        if not self.rows:
            return None
        offset = point[list(self.columns)] - optimum
        return self.rows[
            int(np.argmin(np.sum((self.offsets - offset) ** 2, axis=1)))
        ]


def fit_divergence(
    experiments: Sequence[Rows], response: Response
) -> Divergence:
    """The model of all rows; experiments in the order of `response.levels`."""
    columns = response.columns
    offsets = []
    diverged = []
    rows = []
    for e, (here, level) in enumerate(
        zip(experiments, response.levels, strict=True)
    ):
        offsets.append(here.points[:, columns] - level.optimum)
        diverged.append(here.diverged)
        rows += [(e, int(i)) for i in np.flatnonzero(here.diverged)]
    x = np.concatenate(offsets)
    y = np.concatenate(diverged).astype(float)
    n = int(y.sum())
    because = f"{n} of {len(y)} configurations diverged"
    if n < LEAST_DIVERGED or not columns:
        because += f"; a probability needs {LEAST_DIVERGED}"
        return Divergence(columns, None, x[y > 0], tuple(rows), because)
    return Divergence(columns, _logistic(x, y), x[y > 0], tuple(rows), because)


def _logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients [1 + d] of highest posterior, by Newton's method."""
    design = np.column_stack([np.ones(len(x)), x])
    precision = np.full(design.shape[1], 1 / PRIOR_SD**2)
    precision[0] = 1e-4  # the base rate is free
    beta = np.zeros(design.shape[1])
    beta[0] = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
    for _ in range(N_STEPS):
        p = _sigmoid(design @ beta)
        gradient = design.T @ (y - p) - precision * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(
            precision
        )
        step = np.linalg.solve(hessian, gradient)
        beta = beta + step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return beta


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logit, -40, 40)))
