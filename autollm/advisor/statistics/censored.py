"""Weighted least squares with rows of which only a bound is known.

Invariant: a bound that the fit keeps anyhow changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm

Bounds = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Points [m, d], losses that ends would not have crossed [m], sides [m]: 1 at least, -1
at most."""
NOT_FELT = -6.0
"""Standard errors within which a fit keeps a bound that no longer pulls at it."""


class Censored:
    """Censored rows of a fit: what a Newton step of their likelihood (Tobit) takes for
    an outcome, u [m] with weight [m]. A bound that the fit keeps anyhow weighs nothing.
    Source: J. Tobin, "Estimation of relationships for limited dependent variables"
    (1958).
    """

    def __init__(
        self,
        bounds: Sequence[Bounds | None],
        best: Sequence[float],
        scale: float,
        centre: np.ndarray,
    ):
        """bounds: of every experiment; best: its lowest loss; scale: loss units of one
        u; centre [d]: of the fit's points.
        """
        points = []
        losses = []
        for number, here in enumerate(bounds):
            if here is not None:
                at, loss, side = here
                points.append(at)
                above = (loss - best[number]) / scale
                losses.append(
                    np.column_stack([above, side, np.full(len(loss), number)])
                )
        told = np.concatenate([np.empty((0, 3)), *losses])
        self.x = np.concatenate([np.empty((0, len(centre))), *points]) - centre
        self.c = told[:, 2].astype(int)
        self._bound = told[:, 0]
        self._side = told[:, 1]
        self.u = self._bound.copy()
        self.weight = np.zeros(len(told))

    def update(self, fitted: np.ndarray, residual_sd: float) -> None:
        """Newton's working outcome and weight around the fitted u [m]."""
        sd = residual_sd + 0.1 * np.clip(fitted, 0.1, 2)
        sd = np.maximum(sd, 1e-6)
        short = self._side * (self._bound - fitted) / sd
        hazard = np.exp(norm.logpdf(short) - log_ndtr(-short))
        steep = np.maximum(hazard - short, 1e-9)
        self.u = fitted + self._side * sd / steep
        self.weight = np.minimum(hazard * steep, 1.0) / sd**2
        self.weight[short < NOT_FELT] = 0.0
