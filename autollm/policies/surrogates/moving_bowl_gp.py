"""The moving bowl, with a Gaussian process on its residuals: valleys that bend, walls
that are steeper on one side.

The process sees rows relative to the moving optimum, so that what it learnt of the
bowl's form moves along with it; at the target it fades with the distance in fidelity.
The bowl, the particles and how trials reweigh them are `moving-bowl`'s. Source:
docs/protocol.md; residual kriging as in N. Cressie, "Statistics for spatial data"
(1993), section 3.4.
"""

from __future__ import annotations

import numpy as np

from autollm.policies.surrogates.bowl_fit import left_over
from autollm.policies.surrogates.moving_bowl import MovingBowl
from autollm.policies.surrogates.process import (
    Process,
    fitted,
    noise_term,
    smooth_term,
)

N_ROWS = 300
"""Rows of the evidence that it is fitted to, the ones of the nearest experiments."""
MOST = 1.0
"""Residuals beyond that, in u, count as that."""


class MovingBowlGP(MovingBowl):
    """Attribute after reset: `residual`, the process on inputs [x - optimum, z] and u -
    bowl; None with fewer than d + 2 rows.
    """

    policy_id = "moving-bowl-gp"

    def _draw_particles(self) -> None:
        self.residual = self._fit_residual()
        super()._draw_particles()

    def _heights(self, points: np.ndarray) -> np.ndarray:
        heights = super()._heights(points)
        if self.residual is None:
            return heights
        at_target = np.column_stack(
            [
                points - self.bowl.optimum,
                np.zeros((len(points), len(self.view.target_z))),
            ]
        )
        return np.maximum(heights + self.residual.predict(at_target), 0.0)

    def _fit_residual(self) -> Process | None:
        rows = self.rows
        d = len(self.view.space)
        near = np.argsort(-rows.nearness, kind="stable")[:N_ROWS]
        if len(near) < d + 2:
            return None
        x = np.column_stack([rows.x - self.bowl.centre(rows.z), rows.z])[near]
        y = np.clip(left_over(rows, self.bowl)[near], -MOST, MOST)
        widths = np.maximum(np.ptp(x, axis=0), 1.0)
        bounds = [(w / 20, w * 10) for w in widths]
        kernel = smooth_term(0.05, (1e-4, 1.0), widths / 3, bounds)
        kernel += noise_term((1e-3, 1.0))
        return fitted(kernel, x, y)
