"""A Gaussian process over (configuration, fidelity): the standard multi-fidelity
surrogate, from scikit-learn.

It models w = sqrt(u + 0.1), u the squashed loss: a bowl becomes a cone, and cliffs of
diverged runs no longer set the length scales. Hyper-parameters are fitted once per task
on a subsample of the evidence; then the process is conditioned on more rows and, trial
by trial, on the target's. The lowest posterior mean comes next. A fidelity coordinate
in which the evidence does not differ is left out: no length scale can be fitted to it,
and any that is assumed decides how much of the evidence reaches the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autollm.gym.tables.squashing import log_above_one, squash
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.surrogates.bowl_rows import FAR
from autollm.policies.surrogates.process import (
    conditioned,
    fitted,
    noise_term,
    smooth_term,
)
from autollm.policies.surrogates.spread import expected_spread

N_FIT = 200
N_FIT_AN_INPUT = 30
N_CONDITION = 600
"""Rows for the hyper-parameters (at least, and for each input, which has a length scale
of its own), and at most for the posterior.
"""
OFFSET = 0.1
DROP_FAR = 0.3
"""Share of the rows on the cliff that come last in both."""


class GaussianProcessPolicy(RankingPolicy):
    """Attributes after reset: `regressor`, fitted on inputs [x, z relative to the
    target] and standardized w.
    """

    policy_id = "gp"
    version = 3

    def prepare(self) -> None:
        view = self.view
        self.spread = expected_spread(view)
        d = len(view.space)
        self._varies = (
            np.ptp([e.z for e in view.evidence] or [view.target_z], axis=0) > 0
        )
        self._inputs = np.concatenate(
            [self._at(e.points, e.z) for e in view.evidence]
            or [np.empty((0, d + len(view.target_z)))]
        )
        u = np.concatenate(
            [squash(e.loss) for e in view.evidence] or [np.empty(0)]
        )
        late = (u > FAR) & (self.rng.random(len(u)) < DROP_FAR)
        self._order_of_rows = np.argsort(
            late + self.rng.random(len(late)) / 2, kind="stable"
        )
        self._w = _cone(u)
        self._informed = bool(len(u) >= 2 and np.ptp(u) > 0)
        if self._informed:
            self._mean = float(self._w.mean())
            self._scale = float(self._w.std())
            self._fit_kernel()
            self._condition()
        else:
            self._order = np.linalg.norm(
                self.candidates - view.space.window.mean(axis=0), axis=1
            )

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if self._informed:
            self._condition()

    def scores(self) -> np.ndarray:
        """Posterior mean of w: this far from the evidence its sd is too wide for
        expected improvement to help (measured).
        """
        return (
            self._posterior(self.candidates)[0]
            if self._informed
            else self._order
        )

    def predict(
        self, configurations: Sequence[Mapping[str, float]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u (squashed loss: 0 is the best, 1 the median), noise left
        out; NaN without evidence.
        """
        if not self.informed:
            return np.full(len(configurations), np.nan), np.full(
                len(configurations), np.nan
            )
        return self.moments(
            np.array([self.view.space.encode(c) for c in configurations])
        )

    @property
    def informed(self) -> bool:
        """Whether there is evidence to fit a process to."""
        return self._informed

    def moments(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u at points [n, d], noise left out; only where informed."""
        mean, sd = self._posterior(points)
        return mean**2 + sd**2 - OFFSET, 2 * np.abs(mean) * sd

    def explain(self) -> str:
        if not self._informed:
            return "without evidence the middle of the window comes first"
        best = int(np.argmin(self.scores()))
        configuration = self.view.space.decode(self.candidates[best])
        mean, sd = self.predict([configuration])
        return (
            f"a Gaussian process on {min(len(self._w), N_CONDITION)} rows expects "
            f"{mean[0]:.2f} (sd {sd[0]:.2f}) of "
            f"the distance from best to median at {describe(configuration)}"
        )

    def _at(self, points: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Inputs [n, d + f] of points at fidelity z [f]; 0 in a coordinate that is left
        out.
        """
        return np.column_stack(
            [
                points,
                np.tile(
                    (z - self.view.target_z) * self._varies, (len(points), 1)
                ),
            ]
        )

    def _fit_kernel(self) -> None:
        chosen = self._sample(
            min(max(N_FIT, N_FIT_AN_INPUT * self._inputs.shape[1]), N_CONDITION)
        )
        widths = np.maximum(np.ptp(self._inputs, axis=0), 1.0)
        bounds = [(w / 20, w * 10) for w in widths]
        kernel = smooth_term(1.0, (0.05, 20.0), widths / 2, bounds)
        kernel += noise_term((3e-3, 1.0))
        self._kernel = fitted(
            kernel,
            self._inputs[chosen],
            (self._w[chosen] - self._mean) / self._scale,
        ).kernel_

    def _condition(self) -> None:
        chosen = self._sample(N_CONDITION)
        points, losses = self.tried
        inputs = self._inputs[chosen]
        w = self._w[chosen]
        if len(losses):
            inputs = np.concatenate(
                [inputs, self._at(points, self.view.target_z)]
            )
            w = np.concatenate([w, self._target_w()])
        standardized = (w - self._mean) / self._scale
        self.regressor = conditioned(self._kernel, inputs, standardized)

    def _target_w(self) -> np.ndarray:
        """w of the trials [k]. The target's minimum is unknown: the first trial counts
        as what the evidence expects there.
        """
        points, losses = self.tried
        if len(losses) == 1:
            mean, sd = self._posterior(points)
            self._first_u = max(float(mean[0] ** 2 + sd[0] ** 2) - OFFSET, 0.0)
        u = np.maximum(
            self._first_u + (losses - losses[0]) / self.spread, -OFFSET
        )
        return _cone(log_above_one(u))

    def _posterior(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = self.regressor.predict(
            self._at(points, self.view.target_z), return_std=True
        )
        sd = np.sqrt(np.maximum(sd**2 - self._kernel.k2.noise_level, 1e-12))
        return mean * self._scale + self._mean, sd * self._scale

    def _sample(self, n: int) -> np.ndarray:
        """Row numbers of at most `n` evidence rows, those on the cliff last, the same
        at every call.
        """
        return np.sort(self._order_of_rows[:n])


def _cone(u: np.ndarray) -> np.ndarray:
    return np.sqrt(u + OFFSET)
