"""An Optuna sampler that begins where your history ends.

    from autollm.advisor.doors.optuna_sampler import AutoLLMSampler
    sampler = AutoLLMSampler("runs.csv", target="params=7e9,tokens=1.4e11")
    study = optuna.create_study(sampler=sampler)

Parameters named like knobs of the history get what the advisor proposes, trial after
trial, knowing what the study's own trials gave and which of them still run. All other
parameters, and values that a distribution does not allow, come from an independent
sampler (TPE). Invariant: without a history, or where no name is known, it samples as
that one does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from autollm.advisor.asking.target import parse_target, resolve_target
from autollm.advisor.deciding.study import Study, after, study
from autollm.advisor.evidence.evidence import (
    Evidence,
    LogOptions,
    read_evidence,
)
from autollm.advisor.statistics.told import Tried
from autollm.core.errors import QuestionError, SpaceError

STATUS = {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed"}
"""A pruned trial has no outcome at full length, and is told as `pruned`."""


class AutoLLMSampler(BaseSampler):
    """Warm-starts a study with multi-fidelity history.

    Args:
        history: a log, a table, a folder of them, or evidence that was read before.
            None: the independent sampler alone.
        target: where the study's trials run, "params=7e9,tokens=1.4e11" or a mapping.
        objective: column of the outcome, with its direction, as on the command line.
        independent_sampler: for what the history does not know; TPE by default.
        seed: of that one.

    Raises:
        AdviceError: the history cannot be read. QuestionError: the target lacks a
            coordinate.
    """

    def __init__(
        self,
        history: str | Evidence | None = None,
        target: str | Mapping[str, float] = "",
        *,
        objective: str = "",
        independent_sampler: BaseSampler | None = None,
        seed: int | None = None,
    ):
        self._independent = independent_sampler or TPESampler(seed=seed)
        self._study = _study_of(history, target, objective) if history else None
        self._proposals: dict[int, dict[str, Any]] = {}

    def reseed_rng(self) -> None:
        self._independent.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._independent.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """What the independent sampler relates, the advised values in place of its own."""
        values = self._independent.sample_relative(study, trial, search_space)
        for name in values:
            advised = self._advised(study, trial, name, search_space[name])
            if advised is not None:
                values[name] = advised
        return values

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        advised = self._advised(study, trial, param_name, param_distribution)
        if advised is not None:
            return advised
        return self._independent.sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._independent.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._proposals.pop(trial.number, None)
        self._independent.after_trial(study, trial, state, values)

    def _advised(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        name: str,
        distribution: BaseDistribution,
    ) -> Any:
        """The advisor's value of a parameter; None where it has none that is allowed."""
        if self._study is None or len(study.directions) > 1:
            return None
        if trial.number not in self._proposals:
            self._proposals[trial.number] = self._propose(
                self._study, study, trial
            )
        value = self._proposals[trial.number].get(name)
        return None if value is None else _allowed(value, distribution)

    def _propose(
        self, found: Study, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, Any]:
        """The configuration of the next trial by the user's own names."""
        tried = []
        for other in study.get_trials(deepcopy=False):
            if other.number != trial.number:
                tried += _tried(found, study, other)
        known = after(found, tried) if tried else found
        best = known.chosen(1).points
        if not len(best):
            return {}
        return known.names.show(found.question.space.decode(best[0]))


def _study_of(
    history: str | Evidence, target: str | Mapping[str, float], objective: str
) -> Study:
    if not isinstance(history, Evidence):
        history = read_evidence([history], LogOptions(objective=objective))
    asked = parse_target(target) if isinstance(target, str) else dict(target)
    fidelity, _ = resolve_target(
        asked, history.table.experiments, history.columns
    )
    return study(history, fidelity, with_backtests=False)


def _tried(
    found: Study, study: optuna.Study, trial: FrozenTrial
) -> list[Tried]:
    """A trial of the study as a run at the target; none where its parameters do not
    make a configuration of the history's space. One that runs has no outcome yet.
    """
    try:
        configuration = found.names.read(trial.params)
        point = found.question.space.encode(configuration)
    except (QuestionError, SpaceError):
        return []
    status = STATUS.get(trial.state, "running")
    loss = math.nan
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        loss = found.sign * trial.value
        if not math.isfinite(loss):
            status = "diverged"
    if trial.state == TrialState.PRUNED:
        status = "pruned"
    return [Tried(np.asarray(point), loss, status)]


def _allowed(value: Any, distribution: BaseDistribution) -> Any:
    """The value as the distribution writes it, the nearest step where it has steps;
    None where it lies outside.
    """
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not distribution.low <= value <= distribution.high:
        return None
    if (
        isinstance(distribution, IntDistribution)
        or distribution.step is not None
    ):
        step = distribution.step or 1
        value = (
            distribution.low + round((value - distribution.low) / step) * step
        )
        value = min(value, distribution.high)
    if isinstance(distribution, FloatDistribution):
        return float(value)
    return int(value)
