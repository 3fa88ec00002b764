"""SMAC3's surrogate and acquisition on the candidates: its random forest, expected
improvement over the best outcome of the target.

The evidence is handed over as finished runs with squashed losses, since SMAC knows no
fidelity here; so there is no initial design. Its best rows are no incumbents (a target
that reaches u = 0 improves on nothing else): before the first trial the lowest
predicted mean is one. SMAC's own loop is not used: it writes run histories to disk and
wants to run the target function itself. Source: M. Lindauer et al., "SMAC3" (JMLR
2022); forest settings of its HyperparameterOptimizationFacade (extra `baselines`).
"""

from __future__ import annotations

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace, Float
from smac.acquisition.function.expected_improvement import EI
from smac.model.random_forest.random_forest import RandomForest

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.surrogates.spread import (
    expected_spread,
    first_u,
    u_from_first,
)

TIE = 1e-9
"""Weight of the mean beside expected improvement, which is zero at many candidates."""


class SmacForest(RankingPolicy):
    """Attribute after reset: `forest`, trained on unit-cube coordinates and u; None
    with fewer than two rows.
    """

    policy_id = "smac"
    version = 2

    def prepare(self) -> None:
        low, high = self.view.space.window
        self._low = low
        self._extent = np.maximum(high - low, 1e-9)
        self.spread = expected_spread(self.view)
        self._seed = int(self.rng.integers(2**31))
        self._space = ConfigurationSpace()
        self._space.add(
            [Float(f"x{j:04}", (0.0, 1.0)) for j in range(len(low))]
        )
        self._x = np.concatenate(
            [self._unit(e.points) for e in self.view.evidence]
            or [np.empty((0, len(low)))]
        )
        self._u = np.concatenate(
            [squash(e.loss) for e in self.view.evidence] or [np.empty(0)]
        )
        self._configurations = [
            Configuration(self._space, vector=x)
            for x in self._unit(self.candidates)
        ]
        self._train()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._train()

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.forest is None:
            return "fewer than two rows of evidence: the middle of the window comes first"
        best = int(np.argmin(self._scores))
        return (
            f"SMAC's forest on {len(self._u) + len(self.tried[1])} rows expects to "
            f"improve by {-self._scores[best]:.2f} of the distance "
            "from best to median at "
            f"{describe(self.view.space.decode(self.candidates[best]))}"
        )

    def _unit(self, points: np.ndarray) -> np.ndarray:
        return np.clip((points - self._low) / self._extent, 0.0, 1.0)

    def _train(self) -> None:
        points, losses = self.tried
        told_u = (
            u_from_first(losses, first_u(self.view, points[0]), self.spread)
            if len(losses)
            else losses
        )
        x = np.concatenate([self._x, self._unit(points)])
        u = np.concatenate([self._u, told_u])
        if len(u) < 2:
            self.forest = None
            self._scores = self.from_centre
            return
        # SMAC's own limit of 2^20 leaves binds as little, but room for them is laid out
        # for every tree: 0.13 s and 200 MB each.
        self.forest = RandomForest(
            self._space,
            n_trees=10,
            ratio_features=1.0,
            min_samples_split=2,
            min_samples_leaf=1,
            max_leaf_nodes=len(u),
            n_jobs=1,
            seed=self._seed,
        )
        self.forest.train(x, u[:, None])
        mean, _ = self.forest.predict(self._unit(self.candidates))
        acquisition = EI()
        acquisition.update(
            self.forest, eta=float(told_u.min() if len(told_u) else mean.min())
        )
        self._scores = (
            TIE * mean[:, 0] - acquisition(self._configurations)[:, 0]
        )
