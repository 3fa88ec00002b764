"""Copy what was best elsewhere: rows of one cheap experiment, in the order of their
losses there.

Each row takes the nearest candidate that no better row has taken. Where the target has
a constraint, a row takes the nearest of the feasible candidates that no other row is
nearer to; one that has none is taken to lie beyond the constraint.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from autollm.gym.tasks.view import EvidenceTable
from autollm.policies.base import RankingPolicy, assign_nearest, describe

N_ROWS = 500
"""Rows that are copied; an episode is over long before the last of them."""


class CopyNearest(RankingPolicy):
    """Best rows of the experiment nearest to the target in log2 fidelity (the more
    expensive one on a tie).
    """

    policy_id = "copy-nearest"
    version = 2

    def prepare(self) -> None:
        self.model: EvidenceTable | None = (
            self.choose() if self.view.evidence else None
        )
        n = len(self.candidates)
        if self.model is None:
            self._scores = self.rng.permutation(n).astype(float)
            return
        points = self.model.points
        order = np.argsort(self.model.loss, kind="stable")
        # Candidates that no row stands for come last, those near the best row first.
        self._scores = len(order) + np.linalg.norm(
            self.candidates - points[order[0]], axis=1
        )
        copies = (
            self._resembling(order)
            if self.view.constraints
            else assign_nearest(self.candidates, points[order[:N_ROWS]])
        )
        self._scores[copies[copies >= 0]] = np.arange(np.sum(copies >= 0))

    def _resembling(self, order: np.ndarray) -> np.ndarray:
        """A candidate for each row of the model that is the nearest to any, in the
        order of the rows.
        """
        assert self.model is not None
        distance, row = cKDTree(self.model.points[order]).query(self.candidates)
        by_row = np.lexsort((np.round(distance, 9), row))
        return by_row[np.unique(row[by_row], return_index=True)[1]]

    def choose(self) -> EvidenceTable:
        """The experiment to copy."""
        distances = [
            float(np.linalg.norm(e.z - self.view.target_z))
            for e in self.view.evidence
        ]
        return min(
            zip(
                distances,
                range(0, -len(distances), -1),
                self.view.evidence,
                strict=True,
            ),
            key=lambda t: t[:2],
        )[2]

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.model is None:
            return "no cheap experiment to copy: drawn at random"
        best = self.model.points[int(np.argmin(self.model.loss))]
        return f"{self.model.experiment_id} was best at {describe(self.view.space.decode(best))}"


class CopyLargest(CopyNearest):
    """Best rows of the most expensive experiment."""

    policy_id = "copy-largest"

    def choose(self) -> EvidenceTable:
        return self.view.evidence[-1]
