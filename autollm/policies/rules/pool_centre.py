"""The control without evidence: candidates nearest to the middle of what may be chosen.

In `pool-visible` this reads what the authors of a sweep expected, since they centred
their grids on it; in `declared` it is the middle of the declared window, also where
rows are listed beside a window (architectures). A policy that does not beat it has
shown no transfer.
"""

from __future__ import annotations

import numpy as np

from autollm.policies.base import RankingPolicy, describe


class PoolCentre(RankingPolicy):
    """Distance in natural units to the mean of the rows, or to the middle of the
    declared window; evidence is ignored.
    """

    policy_id = "pool-centre"

    def prepare(self) -> None:
        has_window = (
            self.view.setting == "declared" and self.view.space.grid is not None
        )
        self.centre = (
            self.view.space.window.mean(axis=0)
            if has_window
            else self.candidates.mean(axis=0)
        )
        self._scores = np.sum((self.candidates - self.centre) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        centre = describe(self.view.space.decode(self.centre))
        return f"the middle of what may be chosen is {centre}"
