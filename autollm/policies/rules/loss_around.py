"""What a rule that names an optimum expects elsewhere: the loss as a bowl around it, one
curvature a coordinate, pooled over the cheap experiments.

Rows stand relative to their own experiment's optimum, so that nothing is assumed about
how optima move; how sure the rule is of the target's is added when it predicts. Rows on
the cliff are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.view import TaskView

FAR = 1.6
"""Rows with a larger u lie on the cliff, which is no part of a bowl
(surrogates/bowl_fit.py)."""
PRIOR_WIDTH = 1 / 3
"""Share of the window over which u rises by 1 before any row was seen, as in
surrogates/bowl_fit.py ...
"""
PRIOR_ROWS = 2.0
"""... which counts as so many rows."""
LEAST_SD = 0.05
"""u: row noise of the quietest of the recorded tables (docs/protocol.md)."""
UNKNOWN_SHIFT = 1.0
"""Natural units that an optimum may be off where one experiment alone says nothing of
the rule's error."""


@dataclass(frozen=True)
class LossAround:
    """u = floor + sum_j curvature_j (x_j - optimum_j)^2 + noise. curvature [d], per
    squared natural unit; shift_sd [d], of the optimum; noise_sd, of a row.
    """

    floor: float
    curvature: np.ndarray
    noise_sd: float
    shift_sd: np.ndarray

    def predict(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u at offsets [n, d] from the expected optimum.

        A shift of the optimum is normal: its square has the mean offset^2 + sd^2 and
        the variance 4 offset^2 sd^2 + 2 sd^4.
        """
        variance = self.shift_sd**2
        mean = self.floor + (offsets**2 + variance) @ self.curvature
        spread = 4 * offsets**2 * variance + 2 * variance**2
        return mean, np.sqrt(spread @ self.curvature**2 + self.noise_sd**2)


def fit_loss_around(
    view: TaskView, optima: np.ndarray, misses: np.ndarray
) -> LossAround:
    """The bowl of a view's evidence. optima [n_experiments, d]: each one's own;
    misses [n, d]: how far the rule was off where it could be tried.
    """
    d = len(view.space)
    offsets = [np.empty((0, d))]
    losses = [np.empty(0)]
    for experiment, optimum in zip(view.evidence, optima, strict=True):
        u = squash(experiment.loss)
        near = u <= FAR
        offsets.append((experiment.points[near] - optimum) ** 2)
        losses.append(u[near])
    squares = np.concatenate(offsets)
    u = np.concatenate(losses)
    floor, curvature = _bowl(squares, u, np.ptp(view.space.window, axis=0))
    residual = u - floor - squares @ curvature
    noise = np.sqrt(np.mean(residual**2)) if len(u) else 1.0
    shift = np.full(d, UNKNOWN_SHIFT)
    if len(misses):
        shift = np.sqrt(np.mean(misses**2, axis=0))
    return LossAround(floor, curvature, max(float(noise), LEAST_SD), shift)


def _bowl(
    squares: np.ndarray, u: np.ndarray, extent: np.ndarray
) -> tuple[float, np.ndarray]:
    """Floor and curvatures [d], none negative, of least squares on squared offsets
    [n, d] and u [n], ridged to the prior.
    """
    d = len(extent)
    prior = 1 / (np.maximum(extent, 1e-6) * PRIOR_WIDTH) ** 2
    # A row at the prior's width would say u = 1 for each coordinate alone.
    weight = np.sqrt(PRIOR_ROWS)
    ridge = np.column_stack([np.zeros(d), np.diag(weight / prior)])
    design = np.vstack([np.column_stack([np.ones(len(u)), squares]), ridge])
    coefficients, _ = nnls(design, np.concatenate([u, np.full(d, weight)]))
    return float(coefficients[0]), coefficients[1:]
