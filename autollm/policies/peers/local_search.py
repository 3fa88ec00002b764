"""Cost-aware local search around the Pareto front of cheap runs, after CARBS.

The front holds each experiment's best row where it beats all cheaper ones. Candidates
are drawn around its rows; a Gaussian process over (configuration, log cost) says what
they would give at the target's cost, and the highest expected improvement over the
front's own rows there comes next. Written from the paper, not from its code: costs are
the experiments' own, so no model of cost is fitted, and failures count as the median.
Source: A. Fetterman et al., "Tune as you scale: hyperparameter optimization for compute
efficient training" (2023), sections 3.2 to 3.4.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from autollm.core.spaces.distances import squared_distances
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.surrogates.process import fitted, noise_term, smooth_term

RADIUS = 0.3
"""Sd of a draw around a row of the front, as a share of the window: the paper's."""
N_DRAWS = 512
MOST_ROWS = 300
"""Most rows of the process, drawn evenly from the evidence: the cost of its fit is
cubic in them.
"""
MOST_LENGTHS = 8
"""Inputs that have a length scale each; the fit of more takes a minute."""
LENGTH = (0.1, 10.0)
"""Bounds of a length scale, in windows and in octaves of the ladder's span."""


class LocalSearch(RankingPolicy):
    """Attributes after reset: `front` [n_front, d], the cheapest experiment's first;
    `cost` log2 of the target's, relative to the most expensive evidence.
    """

    policy_id = "carbs"

    def prepare(self) -> None:
        evidence = self.view.evidence
        self.front = np.array(
            [e.points[int(np.argmin(e.loss))] for e in evidence]
        ).reshape(-1, len(self.view.space))
        self.cost = 0.0
        if not evidence:
            return
        self._costs = self._log_costs()
        self._keep_front()
        self._x, self._y = self._rows()
        self._drawn = self._around_front()
        self._fit()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if self.view.evidence and np.isfinite(trial.loss):
            here = self._inputs(np.array([trial.point]), self.cost)
            self._x = np.concatenate([self._x, here])
            self._y = np.append(self._y, trial.loss)
            self._fit()

    def scores(self) -> np.ndarray:
        """Minus the expected improvement of the candidates that were drawn; the others
        come after them, those near the front's last row first.
        """
        if not self.view.evidence:
            return self.from_centre
        scores = 1 + np.linalg.norm(self.candidates - self.front[-1], axis=1)
        scores[self._drawn] = -self._improvement(self.candidates[self._drawn])
        return scores

    def explain(self) -> str:
        if not self.view.evidence:
            return "without evidence the middle of the window comes first"
        best = describe(self.view.space.decode(self.front[-1]))
        return (
            f"{len(self.front)} experiments are on the front, the last one best at "
            f"{best}; {len(self._drawn)} candidates lie around it"
        )

    def _log_costs(self) -> np.ndarray:
        """log2 cost of each experiment [n], relative to the most expensive one; sets the
        target's by a line in log fidelity.
        """
        evidence = self.view.evidence
        costs = np.log2([e.cost_flops for e in evidence])
        z = np.array([e.z for e in evidence])
        off = z - z[-1]
        ahead = self.view.target_z - z[-1]
        slopes = np.ones(z.shape[1])
        if np.ptp(z, axis=0).any():
            # a coordinate that does not vary counts as one octave an octave
            rest = costs - costs[-1] - off.sum(axis=1)
            slopes += np.linalg.lstsq(off, rest, rcond=1e-6)[0]
        self.cost = float(max(ahead @ slopes, 0.0))
        return costs - costs[-1]

    def _keep_front(self) -> None:
        """Drop experiments that a cheaper one beats."""
        best = np.array([float(np.min(e.loss)) for e in self.view.evidence])
        lowest = np.minimum.accumulate(best)
        self.front = self.front[best <= lowest]

    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [n, d + 1] and losses [n], those above an experiment's median as it."""
        inputs = []
        losses = []
        for experiment, cost in zip(
            self.view.evidence, self._costs, strict=True
        ):
            loss = np.minimum(experiment.loss, np.median(experiment.loss))
            inputs.append(self._inputs(experiment.points, float(cost)))
            losses.append(loss)
        x = np.concatenate(inputs)
        kept = np.arange(len(x))
        if len(x) > MOST_ROWS:
            kept = np.sort(self.rng.choice(len(x), MOST_ROWS, replace=False))
        return x[kept], np.concatenate(losses)[kept]

    def _inputs(
        self,
        points: np.ndarray,
        cost: float,
    ) -> np.ndarray:
        """[n, d + 1]: shares of the window, and log cost in the ladder's span."""
        low, high = self.view.space.window
        share = (points - low) / np.maximum(high - low, 1e-9)
        span = max(float(np.ptp(self._costs)), 1.0)
        return np.column_stack([share, np.full(len(points), cost / span)])

    def _around_front(self) -> np.ndarray:
        """Ids of the candidates nearest to draws around the front's rows."""
        extent = np.ptp(self.view.space.window, axis=0)
        which = self.rng.integers(len(self.front), size=N_DRAWS)
        steps = self.rng.normal(size=(N_DRAWS, len(extent)))
        draws = self.front[which] + RADIUS * extent * steps
        gaps = squared_distances(draws, self.candidates)
        return np.unique(np.argmin(gaps, axis=1))

    def _fit(self) -> None:
        self._mean = float(self._y.mean())
        self._scale = float(self._y.std()) or 1.0
        n_inputs = self._x.shape[1]
        lengths = np.ones(n_inputs if n_inputs <= MOST_LENGTHS else 1)
        smooth = smooth_term(
            1.0, (0.1, 100.0), lengths, [LENGTH] * len(lengths)
        )
        kernel = smooth + noise_term((1e-4, 1.0))
        y = (self._y - self._mean) / self._scale
        self._process = fitted(kernel, self._x, y)

    def _improvement(self, points: np.ndarray) -> np.ndarray:
        """Expected improvement [n] over the best of the front and of the trials, both
        as the process expects them at the target's cost.
        """
        known, _ = self.tried
        anchors = np.concatenate([self.front, known])
        at_front = self._process.predict(self._inputs(anchors, self.cost))
        mean, sd = self._process.predict(
            self._inputs(points, self.cost), return_std=True
        )
        gain = at_front.min() - mean
        scaled = gain / np.maximum(sd, 1e-9)
        density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
        return gain * ndtr(scaled) + sd * density
