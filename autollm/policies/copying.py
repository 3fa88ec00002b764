"""Copy what was best elsewhere: rows of one cheap experiment, in the order of their losses there.

Every candidate stands for the row nearest to it, and a row is copied through the candidate that is nearest to it among its own. So rows that
nothing in the target's space resembles, such as those beyond its constraint, are not copied at all.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from autollm.gym.task import EvidenceTable
from autollm.policies.base import RankingPolicy, describe


class CopyNearest(RankingPolicy):
    """Best rows of the experiment nearest to the target in log2 fidelity (the dearer one on a tie)."""

    policy_id = "copy-nearest"
    version = 2

    def prepare(self) -> None:
        self.model: EvidenceTable | None = self.choose() if self.view.evidence else None
        n = len(self.candidates)
        if self.model is None:
            self._scores = self.rng.permutation(n).astype(float)
            return
        distance, row = cKDTree(self.model.points).query(self.candidates)
        order = np.lexsort((np.round(distance, 9), row, self.model.loss[row]))
        first = np.sort(np.unique(row[order], return_index=True)[1])
        self._scores = np.empty(n)
        self._scores[np.concatenate([order[first], np.delete(order, first)])] = np.arange(n)  # what no row is copied through comes last

    def choose(self) -> EvidenceTable:
        """The experiment to copy."""
        distances = [float(np.linalg.norm(e.z - self.view.target_z)) for e in self.view.evidence]
        return min(zip(distances, range(0, -len(distances), -1), self.view.evidence, strict=True), key=lambda t: t[:2])[2]

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.model is None:
            return "no cheap experiment to copy: drawn at random"
        best = self.model.points[int(np.argmin(self.model.loss))]
        return f"{self.model.experiment_id} was best at {describe(self.view.space.decode(best))}"


class CopyLargest(CopyNearest):
    """Best rows of the dearest experiment."""

    policy_id = "copy-largest"

    def choose(self) -> EvidenceTable:
        return self.view.evidence[-1]
