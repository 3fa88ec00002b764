"""RGPE: a ranking-weighted ensemble of Gaussian processes, one for each cheap
experiment and one for the target (BoTorch).

A model's weight is the share of posterior samples in which it misorders the fewest
pairs of the target's outcomes (the target's own model by leaving one out); with fewer
than MIN_OUTCOMES outcomes there is nothing to order, and all cheap experiments weigh
alike. Models that are worse than the target's own most of the time are dropped. The
lowest mean of the ensemble comes next. Source: M. Feurer, B. Letham, E. Bakshy,
"Scalable meta-learning for Bayesian optimization" (2018). BoTorch has the processes;
the ensemble, which its documentation builds in a tutorial, is here.
"""

from __future__ import annotations

import numpy as np

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.peers.botorch_models import (
    fit_single,
    leave_one_out,
    mean_of,
    posterior,
    to_unit,
)
from autollm.policies.surrogates.spread import (
    expected_spread,
    first_u,
    u_from_first,
)

N_MODELS = 16
N_ROWS = 60
"""Cheap experiments, the most expensive ones, and rows of each."""
MIN_OUTCOMES = 3
N_SAMPLES = 256
DROP_ABOVE = 0.95
"""A cheap model is dropped when its median loss lies above this quantile of the target
model's.
"""
MAX_FITTED_TRIALS = 10


class RankingEnsemble(RankingPolicy):
    """Attributes after reset: `models` of the cheap experiments, `weights` [n_models +
    1], the last one the target's own model.
    """

    policy_id = "rgpe"

    def prepare(self) -> None:
        window = self.view.space.window
        self.spread = expected_spread(self.view)
        self._seed = int(self.rng.integers(2**31))
        usable = [
            e
            for e in self.view.evidence
            if len(e.loss) >= 2 and np.ptp(e.loss) > 0
        ][-N_MODELS:]
        self.names = [e.experiment_id for e in usable]
        self.models = []
        for e in usable:
            rows = np.sort(self.rng.permutation(len(e.loss))[:N_ROWS])
            self.models.append(
                fit_single(
                    to_unit(e.points[rows], window),
                    squash(e.loss)[rows],
                    self._seed,
                )
            )
        self._unit = to_unit(self.candidates, window)
        self._means = np.array(
            [mean_of(m, self._unit) for m in self.models]
        ).reshape(len(self.models), len(self._unit))
        self._weigh()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if len(self.tried[1]) <= MAX_FITTED_TRIALS:
            self._weigh()

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if not self.models:
            return "no cheap experiment to learn from: the middle of the window comes first"
        heaviest = int(np.argmax(self.weights[:-1]))
        first = describe(
            self.view.space.decode(
                self.candidates[int(np.argmin(self._scores))]
            )
        )
        return (
            f"an ensemble of {len(self.models)} Gaussian processes puts the best at "
            f"{first}; {self.names[heaviest]} weighs "
            f"{self.weights[heaviest]:.2f}, the target's own outcomes "
            f"{self.weights[-1]:.2f}"
        )

    def _weigh(self) -> None:
        """Weights and scores from the outcomes told so far."""
        n = len(self.models)
        self.weights = np.append(np.full(n, 1 / max(n, 1)), 0.0)
        if not n:
            self._scores = self.from_centre
            return
        points, losses = self.tried
        self._scores = self.weights[:-1] @ self._means
        if len(losses) < MIN_OUTCOMES or np.ptp(losses) == 0:
            return
        x = to_unit(points, self.view.space.window)
        u = u_from_first(losses, first_u(self.view, points[0]), self.spread)
        own = fit_single(x, u, self._seed)
        self.weights = self._ranking_weights(own, x, u)
        self._scores = self.weights[:-1] @ self._means + self.weights[
            -1
        ] * mean_of(own, self._unit)

    def _ranking_weights(self, own, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Shares [n_models + 1] of the samples in which a model misorders fewest pairs;
        ties are split.
        """
        rng = np.random.default_rng([self._seed, len(u)])
        wrong = []
        for model in self.models:
            mean, covariance = posterior(model, x)
            sampled = rng.multivariate_normal(
                mean,
                covariance,
                size=N_SAMPLES,
                method="eigh",
                check_valid="ignore",
            )
            wrong.append(
                _misordered(sampled[:, :, None] < sampled[:, None, :], u)
            )
        mean, sd = leave_one_out(own)
        sampled = mean + sd * rng.normal(size=(N_SAMPLES, len(u)))
        standardized = own.train_targets.numpy()
        wrong.append(
            _misordered(sampled[:, :, None] < standardized[None, None, :], u)
        )
        losses = np.array(wrong)
        dropped = np.median(losses, axis=1) > np.quantile(
            losses[-1], DROP_ABOVE
        )
        dropped[-1] = False
        losses = np.where(dropped[:, None], np.inf, losses.astype(float))
        winners = losses == losses.min(axis=0)
        return (winners / winners.sum(axis=0)).mean(axis=1)


def _misordered(less: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Number [n_samples] of pairs that `less` [n_samples, k, k] orders otherwise than u
    [k].
    """
    return np.sum(less != (u[:, None] < u[None, :]), axis=(1, 2))
