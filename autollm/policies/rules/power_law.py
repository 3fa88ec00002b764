"""The textbook way: one optimum per cheap experiment, then a line through them in log
fidelity.

The optimum is that of a quadratic bowl (summary.fit_optimum); a line in log2-log2 is a
power law in plain units. Candidates are taken in order of their distance to the
extrapolated optimum; trials change nothing but what is left. The text view calls its
optimum the trend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autollm.gym.environments.summary import summarize
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.rules.loss_around import fit_loss_around


class PowerLaw(RankingPolicy):
    """Attributes after reset: `summary` (fitted optima, slopes) and `centre` float64
    [n_knobs], natural units.
    """

    policy_id = "power-law"

    def prepare(self) -> None:
        self.summary = summarize(self.view)
        self.centre = self.summary.power_law_optimum
        self._scores = np.sum((self.candidates - self.centre) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def predict(
        self, configurations: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u (0 is the target's best, 1 its median): a bowl around
        the law's optimum, with the rows' and the optima's scatter; NaN without
        evidence.
        """
        if not self.view.evidence:
            nothing = np.full(len(configurations), np.nan)
            return nothing, nothing
        optima = np.array([fit.optimum for fit in self.summary.fits])
        around = fit_loss_around(self.view, optima, self._misses(optima))
        points = np.array([self.view.space.encode(c) for c in configurations])
        return around.predict(points - self.centre)

    def explain(self) -> str:
        centre = describe(self.view.space.decode(self.centre))
        n = len(self.summary.fits)
        return f"a power law through {n} fitted optima puts the target's at {centre}"

    def _misses(self, optima: np.ndarray) -> np.ndarray:
        """How far the line passes each optimum, [n, d]; of one experiment nothing."""
        if len(optima) < 2:
            return np.empty((0, optima.shape[1]))
        distance = (
            np.array([e.z for e in self.view.evidence]) - self.view.target_z
        )
        return optima - (self.centre + distance @ self.summary.slopes)
