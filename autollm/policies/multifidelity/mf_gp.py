"""Multi-fidelity Bayesian optimization with a Gaussian process over configuration and
fidelity, where a look costs less than a run of the target.

Next comes the candidate and rung of highest expected improvement at the target, times
how much an outcome there says about it (its correlation with the target's, and the part
of it that is not noise), over the price. The last run is of the lowest mean at the
target. Where nothing is charged and no run can be paused this is `gp`.

Source: D. Huang et al., "Sequential kriging optimization using multiple-fidelity
evaluations" (Structural and Multidisciplinary Optimization, 2006): the acquisition; the
process over configuration and fidelity is scikit-learn's.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr

from autollm.gym.tables.squashing import log_above_one
from autollm.gym.tasks.episode import Trial
from autollm.gym.tasks.trial import SLACK
from autollm.policies.multifidelity.climbing import (
    Climber,
    Move,
    Rung,
    rungs_in_words,
)
from autollm.policies.surrogates.gaussian_process import GaussianProcessPolicy
from autollm.policies.surrogates.process import (
    Kernel,
    conditioned,
    fitted,
    noise_term,
    smooth_term,
)

N_FIRST = 5
FIRST_SHARE = 1 / 3
"""Random candidates that the cheapest rung begins with, for each coordinate and one
more, as far as this share of the budget pays them.
"""
MAX_FITTED = 150
"""Outcomes that length scales are fitted to, those of the most expensive rungs."""
REFIT = 1.25
"""Length scales are fitted again when there are so many times as many outcomes."""
FIXED = 1e6
"""Length scale of an input that a term of the kernel leaves out."""


class MultiFidelityGP(GaussianProcessPolicy, Climber):
    """Attributes where there is a ladder, from d + 2 outcomes on: `surface`, the
    process on inputs [x, z relative to the target, log2 share], its outputs in spreads
    of the rung that was run most.
    """

    policy_id = "mf-gp"
    version = 1

    def plan(self) -> None:
        z = {charged.experiment_id: charged.z for charged in self.view.charged}
        self._z = [
            np.append(
                z.get(rung.experiment, self.view.target_z) - self.view.target_z,
                np.log2(rung.share),
            )
            for rung in self.ladder
        ]
        self._n_first = min(
            N_FIRST * (len(self.view.space) + 1),
            int(FIRST_SHARE * self.view.trials / self.ladder[0].cost + SLACK),
        )
        self._n_fitted = 0
        self.surface = None

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if self.climbs:
            self._learn()

    def move(self, running: list[set[int]]) -> Move | None:
        if (
            self.surface is None
            or len(self.ladder[0].losses) + len(running[0]) < self._n_first
        ):
            new = self.fresh(0, running)
            return self.last(running) if new is None else (0, new)
        best = None
        best_worth = -1.0
        for r in range(len(self.ladder)):
            worth = self._worth(r)
            candidate = self.first_new(
                r, running, np.argsort(-worth, kind="stable").tolist()
            )
            if candidate is not None and worth[candidate] > best_worth:
                best = (r, candidate)
                best_worth = worth[candidate]
        return best or self.last(running)

    def last(
        self, running: list[set[int]], left: float = np.inf
    ) -> Move | None:
        """The last run of the target, of the candidate with the lowest mean, if `left`
        pays for it.
        """
        if self.surface is None:
            return super().last(running, left)
        top = len(self.ladder) - 1
        mean = self._posterior_at(top, self.ladder[top].candidates)[0]
        chosen = self.first_new(
            top,
            running,
            [
                c
                for c in np.argsort(mean, kind="stable").tolist()
                if self._pays(left, (top, c))
            ],
        )
        return super().last(running, left) if chosen is None else (top, chosen)

    def explain(self) -> str:
        if not self.climbs:
            return super().explain()
        n = sum(len(rung.losses) for rung in self.ladder)
        return (
            f"a Gaussian process on {n} runs over {rungs_in_words(self.ladder)} and the "
            "target; each is run where it is cheap and still unsure"
        )

    def _learn(self) -> None:
        """The surface from all runs so far; None before there are d + 2 with different
        losses.
        """
        inputs = [
            self._on(r, np.array(list(rung.points.values())))
            for r, rung in enumerate(self.ladder)
            if rung.losses
        ]
        y = [_tamed(rung, self._unit()) for rung in self.ladder if rung.losses]
        x = np.concatenate(inputs or [np.empty((0, 0))])
        y = np.concatenate(y or [np.empty(0)])
        if len(y) < len(self.view.space) + 2 or np.ptp(y) == 0:
            return
        self._level = float(y.mean())
        if len(y) >= REFIT * self._n_fitted:
            self._learnt = self._fitted(
                x[-MAX_FITTED:], y[-MAX_FITTED:] - self._level
            )
            self._n_fitted = len(y)
        self.surface = conditioned(self._learnt, x, y - self._level)

    def _fitted(self, x: np.ndarray, y: np.ndarray) -> Kernel:
        """amplitude RBF(x, z) + level RBF(z) + noise: cheap runs lie higher everywhere,
        by an amount that only z decides.
        """
        d = len(self.view.space)
        window = np.ptp(self.view.space.window, axis=0)
        z = np.array(self._z)
        reach = np.maximum(np.concatenate([window, np.ptp(z, axis=0)]), 1.0)
        free = [(w / 10, w * 10) for w in reach]
        by_fidelity_alone = np.append(np.full(d, FIXED), reach[d:])
        fixed = [(FIXED, FIXED * 1.01)] * d
        kernel = smooth_term(1.0, (0.05, 20.0), reach / 2, free)
        kernel += smooth_term(
            10.0, (0.1, 1e4), by_fidelity_alone, fixed + free[d:]
        )
        kernel += noise_term((3e-3, 1.0))
        return fitted(kernel, x, y).kernel_

    def _worth(self, r: int) -> np.ndarray:
        """The acquisition [n] at the candidates of rung r."""
        rung = self.ladder[r]
        top = len(self.ladder) - 1
        mean, sd, here = self._posterior_at(top, rung.candidates)
        _, sd_r, there = self._posterior_at(r, rung.candidates)
        noise = self._learnt.k2.noise_level
        prior = self._learnt.k1(
            self._on(r, rung.candidates[:1]), self._on(top, rung.candidates[:1])
        )[0, 0]  # alike for all: x is the same
        correlation = (prior - np.sum(here * there, axis=0)) / np.sqrt(
            sd**2 * (sd_r**2 + noise)
        )
        gain = (
            self._posterior_at(top, self.ladder[top].candidates)[0].min() - mean
        )
        improvement = gain * ndtr(gain / sd) + sd * np.exp(
            -0.5 * (gain / sd) ** 2
        ) / np.sqrt(2 * np.pi)
        return (
            improvement
            * np.clip(correlation, 0, 1)
            * (1 - np.sqrt(noise / (noise + sd_r**2)))
            / rung.cost
        )

    def _posterior_at(
        self, r: int, points: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and sd [n], noise left out, of points on rung r; and [n_runs, n], whose
        products are what the runs explain of a covariance.
        """
        inputs = self._on(r, points)
        known = self.surface
        assert known is not None  # asked for only where runs were told
        across = self._learnt.k1(inputs, known.X_train_)
        explained = solve_triangular(known.L_, across.T, lower=True)
        prior = self._learnt.k1(inputs[:1])[0, 0]
        return (
            across @ known.alpha_,
            np.sqrt(np.maximum(prior - np.sum(explained**2, axis=0), 1e-12)),
            explained,
        )

    def _on(self, r: int, points: np.ndarray) -> np.ndarray:
        """Inputs [n, d + f + 1] of points on rung r."""
        return np.column_stack([points, np.tile(self._z[r], (len(points), 1))])

    def _unit(self) -> float:
        """Median - min of the rung that was run most; 1.0 where that is 0."""
        most = max(self.ladder, key=lambda rung: len(rung.losses))
        finite = [loss for loss in most.losses.values() if np.isfinite(loss)]
        return float(np.median(finite) - min(finite)) or 1.0 if finite else 1.0


def _tamed(rung: Rung, unit: float) -> np.ndarray:
    """Losses of a rung in units, in the order of its runs: beyond one unit above its
    best they grow as their logarithm; inf as the worst.
    """
    losses = np.array(list(rung.losses.values()))
    finite = losses[np.isfinite(losses)]
    best, worst = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    u = (np.where(np.isfinite(losses), losses, worst) - best) / unit
    return best / unit + log_above_one(u)
