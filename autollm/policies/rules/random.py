"""Candidates in random order: the floor that everything must beat."""

from __future__ import annotations

import numpy as np

from autollm.policies.base import RankingPolicy


class RandomPolicy(RankingPolicy):
    """Uniform without replacement over the candidates, from the policy's own stream."""

    policy_id = "random"

    def prepare(self) -> None:
        self._order = self.rng.permutation(len(self.candidates)).astype(float)

    def scores(self) -> np.ndarray:
        return self._order

    def explain(self) -> str:
        return f"drawn at random from {len(self.candidates)} candidates"
