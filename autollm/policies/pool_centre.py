"""The control without evidence: candidates nearest to the middle of what may be chosen.

In `pool-visible` this reads what the authors of a sweep expected, since they centred their grids on it; in `declared` it is
the middle of the declared window. A policy that does not beat it has shown no transfer.
"""

from __future__ import annotations

import numpy as np

from autollm.policies.base import RankingPolicy, describe


class PoolCentre(RankingPolicy):
    """Distance to the middle of the candidates' range, in units of that range; evidence and trials are ignored."""

    policy_id = "pool-centre"

    def prepare(self) -> None:
        low, high = self.candidates.min(axis=0), self.candidates.max(axis=0)
        self.centre = (low + high) / 2
        extent = np.where(high > low, high - low, 1.0)
        self._scores = np.sum(((self.candidates - self.centre) / extent) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        return f"the middle of the candidates is {describe(self.view.space.decode(self.centre))}"
