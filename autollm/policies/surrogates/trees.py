"""Gradient-boosted trees on (fidelity, configuration), from scikit-learn: one
regression over all cheap experiments.

Trees hold the last leaf beyond the largest fidelity they saw, so they transfer the most
expensive experiments' surface; the target's own outcomes join the training rows,
several times each. Leaves are flat: by the mean alone the policy would try its best
leaf from end to end, so candidates far from the rows tried are preferred. Among equals
the one nearest to the middle of the best comes first. Source: J. Friedman, "Greedy
function approximation" (Annals of Statistics 2001); histogram version of scikit-learn.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.surrogates.spread import (
    expected_spread,
    first_u,
    u_from_first,
)

TARGET_COPIES = 10
"""A row at the target counts as so many of the evidence; as one row with a weight it
could not fill a leaf of its own.
"""
AWAY = 0.1
"""u that a natural unit of distance from the nearest tried row is worth, up to AWAY_MAX
units (docs/protocol.md has what it changed).
"""
AWAY_MAX = 2.0
TIE = 1e-4
"""u a squared natural unit away from the best ones' middle."""
MIN_ROWS = 8


class Trees(RankingPolicy):
    """Attribute after reset: `model`, fitted on inputs [x, z relative to the target]
    and u; None with fewer than MIN_ROWS rows.
    """

    policy_id = "trees"
    version = 2

    def prepare(self) -> None:
        view = self.view
        self.spread = expected_spread(view)
        self._inputs = np.concatenate(
            [self._at(e.points, e.z) for e in view.evidence]
            or [self._at(np.empty((0, len(view.space))), view.target_z)]
        )
        self._u = np.concatenate(
            [squash(e.loss) for e in view.evidence] or [np.empty(0)]
        )
        self._fit()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._fit()

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.model is None:
            return f"fewer than {MIN_ROWS} rows of evidence: the middle of the window comes first"
        best = int(np.argmin(self._scores))
        return (
            f"boosted trees on {len(self._u)} rows expect {self._expected[best]:.2f} "
            "of the distance from best to median at "
            f"{describe(self.view.space.decode(self.candidates[best]))}"
        )

    def _at(self, points: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Inputs [n, d + f] of points at fidelity z [f]."""
        return np.column_stack(
            [points, np.tile(z - self.view.target_z, (len(points), 1))]
        )

    def _fit(self) -> None:
        self.model = None
        if len(self._u) < MIN_ROWS:
            self._scores = self.from_centre
            return
        points, losses = self.tried
        told_u = (
            u_from_first(losses, first_u(self.view, points[0]), self.spread)
            if len(losses)
            else losses
        )
        self.model = HistGradientBoostingRegressor(
            max_iter=60,
            learning_rate=0.2,
            max_leaf_nodes=15,
            min_samples_leaf=min(5, len(self._u) // 2),
            early_stopping=False,
            random_state=0,
        )
        at_target = np.repeat(
            self._at(points, self.view.target_z), TARGET_COPIES, axis=0
        )
        self.model.fit(
            np.concatenate([self._inputs, at_target]),
            np.concatenate([self._u, np.repeat(told_u, TARGET_COPIES)]),
        )
        u = self._expected = self.model.predict(
            self._at(self.candidates, self.view.target_z)
        )
        best = np.argsort(u, kind="stable")[: max(1, len(u) // 20)]
        self._scores = u + TIE * np.sum(
            (self.candidates - self.candidates[best].mean(axis=0)) ** 2, axis=1
        )
        if len(points):
            distance = np.linalg.norm(
                self.candidates[:, None] - points[None], axis=2
            ).min(axis=1)
            self._scores -= AWAY * np.minimum(distance, AWAY_MAX)
