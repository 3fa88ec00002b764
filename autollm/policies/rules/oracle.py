"""The smoothed oracle: it reads the judge's smoothed table of the target and picks in
that order. A reference, not a rival.

Its regret is not zero, because row noise decides which recorded row is the best. In
`declared` it proposes the rows' own configurations, which snap onto themselves.
"""

from __future__ import annotations

import numpy as np

from autollm.gym.tasks.episode import Episode
from autollm.policies.base import RankingPolicy


class Oracle(RankingPolicy):
    """Sees the target: evaluation calls `reset_with_target`; without that call it has
    no preference.
    """

    policy_id = "oracle"
    sees_target = True

    def prepare(self) -> None:
        self._scores = np.zeros(len(self.candidates))

    def reset_with_target(self, episode: Episode) -> None:
        """Take the target's rows [n, n_knobs] as candidates and their smoothed losses
        [n] as scores.
        """
        self.candidates = episode.points
        self.candidates_are_rows = True
        self._spent = np.zeros(len(self.candidates), dtype=bool)
        self._scores = np.asarray(episode.latent, dtype=float)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        return "reads the smoothed table of the target"
