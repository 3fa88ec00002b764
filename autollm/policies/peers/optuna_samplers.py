"""Optuna's tree-structured Parzen estimator, with the evidence handed over by
`add_trial`.

It knows no fidelity: rows of cheap experiments become finished trials of one study,
with squashed losses so that experiments are comparable. A suggestion is moved to the
nearest candidate that is not spent. Source: T. Akiba et al., "Optuna" (KDD 2019); TPE:
J. Bergstra et al. (NeurIPS 2011); the samplers are the library's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import optuna

from autollm.core.spaces.distances import nearest
from autollm.core.spaces.space import Space
from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Proposal, Trial
from autollm.policies.base import Configuration, RankingPolicy
from autollm.policies.surrogates.spread import (
    expected_spread,
    first_u,
    u_from_first,
)

WORST_U = 6.0
"""The u of a trial without an outcome."""


class OptunaTPE(RankingPolicy):
    """Attributes after reset: `study`, whose parameters are the coordinates of a point."""

    policy_id = "optuna-tpe"

    def prepare(self) -> None:
        seed = int(self.rng.integers(2**31))
        self.study = study_of(optuna.samplers.TPESampler(seed=seed))
        self.study.add_trials(finished(self.view.space, self._evidence()))
        self._suggestions: list[np.ndarray] = []
        self.spread = expected_spread(self.view)

    def _evidence(self) -> Iterator[tuple[np.ndarray, float]]:
        """Points [d] and u of the rows that the study starts with."""
        for e in self.view.evidence:
            yield from zip(e.points, squash(e.loss), strict=True)

    def ask(
        self, n: int = 1, pending: Sequence[Proposal] = ()
    ) -> list[Configuration]:
        """Suggestions stay the same until the next outcome is told."""
        n = min(n, len(self.candidates))
        self._suggest_up_to(n)
        blocked = self._reluctance(pending)
        chosen: list[int] = []
        for k in range(n):
            pool = np.flatnonzero(blocked == blocked.min())
            index = int(
                pool[nearest(self.candidates[pool], self._suggestions[k])[0]]
            )
            blocked[index] = 3
            chosen.append(index)
        self._asked.extend(i for i in chosen if i not in self._asked)
        return [self.view.space.decode(self.candidates[i]) for i in chosen]

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._suggest_up_to(1)
        self._suggestions = []
        points, losses = self.tried
        if trial.point and np.isfinite(trial.loss):
            u = u_from_first(
                np.array([losses[0], trial.loss]),
                first_u(self.view, points[0]),
                self.spread,
            )[1]
            self.study.add_trials(
                finished(self.view.space, [(np.array(trial.point), u)])
            )
        elif trial.configuration is not None:
            self.study.add_trials(
                finished(
                    self.view.space,
                    [(self.view.space.encode(trial.configuration), WORST_U)],
                )
            )

    def explain(self) -> str:
        return (
            f"{type(self.study.sampler).__name__} over "
            f"{len(self.study.get_trials(deepcopy=False))} finished trials, "
            "most of them from cheap experiments"
        )

    def _suggest_up_to(self, n: int) -> None:
        """The study's own sampler makes one suggestion a trial, asked for or not; a
        copy makes the others: asking changes nothing.
        """
        own = self.study.sampler
        while len(self._suggestions) < n:
            if len(self._suggestions) == 1:
                self._other_sampler = copy.deepcopy(own)
            self.study.sampler = (
                self._other_sampler if self._suggestions else own
            )
            self._suggestions.append(suggest(self.study, self.view.space))
        self.study.sampler = own


def study_of(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """An empty study that minimizes, in memory."""
    with _quiet():
        return optuna.create_study(sampler=sampler, direction="minimize")


def suggest(study: optuna.Study, space: Space) -> np.ndarray:
    """The point [d] that a study would try next; its outcome is told apart, at the
    point that it is snapped to.
    """
    ranges = _ranges(space)
    with _quiet():
        suggestion = study.ask(ranges)
    study.tell(suggestion, state=optuna.trial.TrialState.FAIL)
    return np.array([suggestion.params[name] for name in ranges])


def finished(
    space: Space, outcomes: Iterable[tuple[np.ndarray, float]]
) -> list[optuna.trial.FrozenTrial]:
    """Trials that ended: points [d] of the space and their losses."""
    ranges = _ranges(space)
    window = space.window
    return [
        optuna.trial.create_trial(
            params=dict(
                zip(ranges, np.clip(point, *window).tolist(), strict=True)
            ),
            distributions=ranges,
            value=float(u),
        )
        for point, u in outcomes
    ]


def _ranges(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """One parameter a coordinate, by name."""
    names = (
        space.names
        if len(space.names) == len(space)
        else [f"x{j}" for j in range(len(space))]
    )
    return {
        name: optuna.distributions.FloatDistribution(float(low), float(high))
        for name, low, high in zip(names, *space.window, strict=True)
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing but errors from the library, which would tell of every study, and of
    optional packages that speed it up.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
