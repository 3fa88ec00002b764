"""Three predictions as one: the moving bowl, a Gaussian process, and the nearest
experiment's rows carried over, weighed alike.

Each says u at every candidate; what counts is their mean. The bowl extrapolates how
optima move, the copy does not, and the process lies between them: where one is badly
wrong, the other two overrule it. Equal weights, because weights learnt from a handful
of experiments were measured to mislead (docs/experiments.md). Source: R. Clemen,
"Combining forecasts: a review" (1989), where equal weights are hard to beat.

Invariant: a member counts at most CLIP anywhere, so that none can veto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.trial import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.interpolation import interpolate
from autollm.policies.surrogates.gaussian_process import GaussianProcessPolicy
from autollm.policies.surrogates.moving_bowl import MovingBowl

CLIP = 2.0
"""u: beyond twice the median's distance a member only says "bad"."""
CARRIED_SD = 0.24
"""Sd of u that is carried over from the nearest experiment: root mean square of what
its best row was worth on 21 hidden experiments.
"""
BLOCK = 4_000
"""Candidates that are scored at once: 400 particles of each are 13 MB."""


class Council(RankingPolicy):
    """Attributes after reset: `bowl`, `process`, and `nearest`, the experiment that is
    carried over (None without evidence).
    """

    policy_id = "council"

    def prepare(self) -> None:
        streams = self.rng.spawn(2)
        self.bowl = MovingBowl()
        self.process = GaussianProcessPolicy()
        self.bowl.reset(self.view, streams[0])
        self.process.reset(self.view, streams[1])
        distance = [
            float(np.linalg.norm(e.z - self.view.target_z))
            for e in self.view.evidence
        ]
        order = sorted(
            range(len(distance)), key=lambda i: (round(distance[i], 9), -i)
        )
        self.nearest = self.view.evidence[order[0]] if order else None

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self.bowl.tell(trial)
        self.process.tell(trial)

    def scores(self) -> np.ndarray:
        """Mean u [n_candidates] of the members; without evidence the order of the middle
        of the window.
        """
        if self.nearest is None:
            return self.from_centre
        blocks = range(0, len(self.candidates), BLOCK)
        return np.concatenate(
            [self._mixture(self.candidates[i : i + BLOCK])[0] for i in blocks]
        )

    def predict(
        self, configurations: Sequence[Mapping[str, float]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u under the mixture; NaN without evidence."""
        if self.nearest is None:
            nothing = np.full(len(configurations), np.nan)
            return nothing, nothing
        points = np.array([self.view.space.encode(c) for c in configurations])
        return self._mixture(points)

    def explain(self) -> str:
        if self.nearest is None:
            return "without evidence the middle of the window comes first"
        best = self.candidates[int(np.argmin(self.scores()))]
        members = self._members(best[None])
        predictions = ", ".join(
            f"{name} {mean[0]:.2f}" for name, (mean, _) in members.items()
        )
        return (
            f"weighed alike, the members expect {predictions} of the distance from best to "
            f"median at {describe(self.view.space.decode(best))}"
        )

    def _members(
        self, points: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Mean and sd [n] of u at points [n, d], by member; none without evidence."""
        if self.nearest is None:
            return {}
        predictions = {
            "bowl": _moments(self.bowl.sampled(points), self.bowl.weights),
            "copy": (
                interpolate(
                    points, self.nearest.points, squash(self.nearest.loss)
                ),
                np.full(len(points), CARRIED_SD),
            ),
        }
        if self.process.informed:
            predictions["process"] = self.process.moments(points)
        return predictions

    def _mixture(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = list(self._members(points).values())
        means = np.array([np.minimum(mean, CLIP) for mean, _ in pairs])
        variances = np.array([sd**2 for _, sd in pairs])
        mean = means.mean(axis=0)
        spread = (variances + (means - mean) ** 2).mean(axis=0)
        return mean, np.sqrt(spread)


def _moments(
    u: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd [n] of draws [n_draws, n]."""
    mean = weights @ u
    return mean, np.sqrt(np.maximum(weights @ (u - mean) ** 2, 0.0))
