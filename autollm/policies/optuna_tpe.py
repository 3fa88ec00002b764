"""Optuna's tree-structured Parzen estimator, with the evidence handed over by `add_trial`.

TPE knows no fidelity: rows of all cheap experiments become finished trials of one study, with squashed losses so that
experiments are comparable. A suggestion is moved to the nearest candidate that is not spent.
What does not belong here: Optuna's own storage, pruners or logging.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import optuna

from autollm.gym.episode import Trial
from autollm.gym.smoothing import squash
from autollm.gym.space import nearest
from autollm.policies.base import Configuration, RankingPolicy
from autollm.policies.spread import expected_spread

WORST_U = 6.0
"""Of a trial without an outcome."""


class OptunaTPE(RankingPolicy):
    """Attributes after reset: `study`, whose parameters are the knobs on their natural scales."""

    policy_id = "optuna-tpe"

    def prepare(self) -> None:
        window = self.view.space.window
        self._ranges = {name: optuna.distributions.FloatDistribution(float(low), float(high))
                        for name, low, high in zip(self.view.space.names, *window, strict=True)}
        sampler = optuna.samplers.TPESampler(seed=int(self.rng.integers(2**31)))
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=sampler, direction="minimize")
        optuna.logging.set_verbosity(verbosity)
        self.study.add_trials([self._finished(x, u) for e in self.view.evidence
                               for x, u in zip(e.points, squash(e.loss), strict=True)])
        self._suggestions: list[np.ndarray] = []
        self.spread = expected_spread(self.view)

    def ask(self, n: int = 1, pending: Sequence[Mapping[str, float]] = ()) -> list[Configuration]:
        """Suggestions stay the same until the next outcome is told."""
        blocked = self._reluctance(pending)
        chosen: list[int] = []
        for k in range(n):
            if k == len(self._suggestions):
                self._suggestions.append(self._suggest())
            pool = np.flatnonzero(blocked == blocked.min())
            index = int(pool[nearest(self.candidates[pool], self._suggestions[k])[0]])
            blocked[index] = 3
            chosen.append(index)
        self._asked.extend(i for i in chosen if i not in self._asked)
        return [self.view.space.decode(self.candidates[i]) for i in chosen]

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._suggestions = []
        points, losses = self.tried
        if trial.point and np.isfinite(trial.loss):
            self.study.add_trial(self._finished(np.array(trial.point), self._target_u(points, losses, trial.loss)))
        elif trial.configuration is not None:
            self.study.add_trial(self._finished(self.view.space.encode(trial.configuration), WORST_U))

    def explain(self) -> str:
        return f"TPE over {len(self.study.get_trials(deepcopy=False))} finished trials, most of them from cheap experiments"

    def _suggest(self) -> np.ndarray:
        asked = self.study.ask(self._ranges)
        self.study.tell(asked, state=optuna.trial.TrialState.FAIL)  # the outcome is told at the point that it snapped to
        return np.array([asked.params[name] for name in self.view.space.names])

    def _finished(self, point: np.ndarray, u: float) -> optuna.trial.FrozenTrial:
        inside = np.clip(point, *self.view.space.window)
        params = dict(zip(self.view.space.names, inside.tolist(), strict=True))
        return optuna.trial.create_trial(params=params, distributions=self._ranges, value=float(u))

    def _target_u(self, points: np.ndarray, losses: np.ndarray, loss: float) -> float:
        """u of an outcome: the first one counts as what the dearest experiment shows nearest to it."""
        first = 0.0
        if self.view.evidence:
            dearest = self.view.evidence[-1]
            first = float(squash(dearest.loss)[nearest(dearest.points, points[0])[0]])
        u = first + (loss - losses[0]) / self.spread
        return u if u <= 1 else 1 + float(np.log(u))
