"""The textbook way: one optimum per cheap experiment, then a line through them in log
fidelity.

The optimum is that of a quadratic bowl (summary.fit_bowl); a line in log2-log2 is a
power law in plain units. Candidates are taken in order of their distance to the
extrapolated optimum; trials change nothing but what is left.
"""

from __future__ import annotations

import numpy as np

from autollm.gym.environments.summary import summarize
from autollm.policies.base import RankingPolicy, describe


class PowerLaw(RankingPolicy):
    """Attributes after reset: `summary` (fitted optima, slopes) and `centre` float64
    [n_knobs], natural units.
    """

    policy_id = "power-law"

    def prepare(self) -> None:
        self.summary = summarize(self.view)
        self.centre = self.summary.trend
        self._scores = np.sum((self.candidates - self.centre) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        centre = describe(self.view.space.decode(self.centre))
        return f"a power law through {len(self.summary.bowls)} fitted optima puts the target's at {centre}"
