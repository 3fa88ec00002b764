"""One play of a task: trials in, outcomes out, regret at the end. Every environment and
every view is a skin over this.

Outcomes come from an injected `OutcomeSource` (the table here; live training or a
person elsewhere), which also says what may be tried and how an outcome compares with
the recorded rows. A malformed, repeated or infeasible call costs its trial and is
counted, never repaired. In a task that is `pausable` a run may stop at a share of its
steps; asking for it again with a larger share goes on from there.

Invariant: an episode of equal (task, seed, calls) gives equal trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autollm.core.errors import EpisodeError, SpaceError
from autollm.core.spaces.knobs import is_number
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import Draw, draw
from autollm.gym.tasks.outcomes import Outcome, OutcomeSource, TableSource
from autollm.gym.tasks.playable import PlayableExperiment
from autollm.gym.tasks.regret import best_so_far, regret
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.trial import SLACK, Ledger, Proposal, Trial

LEAST = 0.01
"""Smallest share of a run that a stretch costs, so that every budget comes to its end.
"""
__all__ = [
    "Episode",
    "Ledger",
    "Outcome",
    "OutcomeSource",
    "Proposal",
    "TableSource",
    "Trial",
    "start",
]


@dataclass
class Episode:
    """State machine of one play. `run` spends a trial, `submit` ends it, and so does a
    budget that pays no run of the target any more and cannot finish a paused one.

    Attributes:
        playable: what may be run, by experiment id; the target under the empty name.
        points, losses, latent: the target's rows in play: float64 [n, n_coordinates],
            recorded and smoothed losses [n].
    """

    drawn: Draw
    table: OutcomeTable
    source: OutcomeSource
    trials: list[Trial] = field(default_factory=list)
    submitted: int = -1
    finished: bool = False

    def __post_init__(self) -> None:
        task = self.drawn.task
        target = self.drawn.target
        rows = self.drawn.rows
        self.ledger = Ledger(float(task.trials))
        self.playable = self.source.playable(self.drawn, self.table)
        self.points = self.playable[""].points
        self.losses = self.table.losses(target, task.objective)[rows]
        self.latent = self.table.latent(target, task.objective)[rows]

    @property
    def done(self) -> bool:
        """Neither a run of the target nor the rest of a paused one can be paid, or the
        episode was submitted.
        """
        return self.finished or not self._can_pay

    def run(
        self,
        configuration: Mapping[str, Any],
        experiment: str = "",
        until: float = 1.0,
    ) -> Trial:
        """Try a configuration on the target, or on a charged experiment by its id;
        where runs may be paused, `until` a share of its steps.

        Raises:
            EpisodeError: the episode is over, or what is left does not pay for it.
        """
        self._check_open()
        # A model may send anything, also what cannot be looked up.
        known = isinstance(experiment, str)
        playable = self.playable.get(experiment) if known else None
        if playable is None or not self._is_share(until):
            return self._spend(self._malformed(playable))
        try:
            point = self.drawn.view.space.encode(configuration)
        except SpaceError:
            return self._spend(self._malformed(playable))
        return self._spend(*self._trial_at(point, playable, until))

    def run_point(self, point: np.ndarray, experiment: str = "") -> Trial:
        """The same for a point [n_coordinates] on the natural scale."""
        self._check_open()
        return self._spend(
            *self._trial_at(point, self.playable[experiment], 1.0)
        )

    def run_candidate(self, index: int, experiment: str = "") -> Trial:
        """The same for a row of the candidates; any other number is a malformed call."""
        self._check_open()
        playable = self.playable[experiment]
        if not 0 <= index < len(playable.candidates):
            return self.malformed(experiment)
        point = playable.candidates[index]
        if playable.lists_rows:
            return self._spend(
                *self._trial_of(int(index), 0.0, point, playable, 1.0)
            )
        return self._spend(*self._trial_at(point, playable, 1.0))

    def malformed(self, experiment: str = "") -> Trial:
        """Spend a trial on a call that could not be read."""
        self._check_open()
        return self._spend(self._malformed(self.playable.get(experiment)))

    def submit(self, configuration: Mapping[str, Any]) -> int:
        """End the episode with a choice; returns the row (within the draw) that the
        choice stands for.

        Raises:
            SpaceError: not a configuration of the space, or one that breaks a
                constraint.
            EpisodeError: already submitted.
        """
        task = self.drawn.task
        if self.finished:
            raise EpisodeError(
                f"{task.task_id}: the episode has been submitted already; reset() "
                "starts a new one."
            )
        point = self.drawn.view.space.encode(configuration)
        row, _ = self.playable[""].nearest(point)
        if row < 0:
            raise SpaceError(
                "the configuration breaks "
                f"{', '.join(map(str, task.constraints))}. Fix: submit a feasible one."
            )
        self.submitted = row
        self.finished = True
        return row

    @property
    def incumbent(self) -> Trial | None:
        """Best trial on the target so far by what was observed; None before the first
        outcome.
        """
        index = best_so_far(self._target_losses)[-1] if self.trials else -1
        return self.trials[index] if index >= 0 else None

    def incumbents(self) -> np.ndarray:
        """Index of the incumbent among `trials` when 1, 2, ... runs of the target are
        spent, int64 [trials]; -1: none. What was not spent repeats the last one.
        """
        out = np.full(self.drawn.task.trials, -1)
        spent = np.cumsum([t.cost for t in self.trials])
        for index, used in zip(
            best_so_far(self._target_losses), spent, strict=True
        ):
            out[max(math.ceil(used - SLACK), 1) - 1 :] = index
        return out

    def regret_curve(self, latent: bool = False) -> np.ndarray:
        """Regret when 1, 2, ... runs of the target are spent (after each trial, where
        nothing else is charged), float64 [trials]; 1 while nothing was found.

        Realised: the incumbent's recorded loss against the recorded minimum. Latent:
        the same incumbent and the minimum, both read from the smoothed table.
        """
        values = self.latent if latent else self.losses
        curve = np.ones(self.drawn.task.trials)
        for k, index in enumerate(self.incumbents()):
            if index >= 0:
                losses = self.comparable_loss(self.trials[index], latent)
                curve[k] = float(regret(losses, values))
        return curve

    def comparable_loss(self, trial: Trial, latent: bool = False) -> float:
        """What an outcome on the target counts as among the recorded losses (or the
        smoothed ones) of the rows in play.
        """
        values = self.latent if latent else self.losses
        return self.source.comparable_loss(trial.loss, trial.row, values)

    def inference_regret(self) -> float:
        """Latent regret of the submitted configuration, or of the incumbent when none
        was submitted.
        """
        row = self.submitted
        if row < 0 and self.incumbent:
            row = self.incumbent.row
        if row < 0:
            return 1.0
        loss = self.source.comparable_loss(self._loss_of(row), row, self.latent)
        return float(regret(loss, self.latent))

    def _loss_of(self, row: int) -> float:
        """Loss of a row of the target: that of its first trial, else the row is run."""
        for trial in self.trials:
            if not trial.experiment and trial.row == row:
                return trial.loss
        target = self.playable[""]
        return self.source.outcome(target.index, target.row_id(row)).loss

    @property
    def _target_losses(self) -> np.ndarray:
        return np.array(
            [math.nan if t.experiment else t.loss for t in self.trials]
        )

    @property
    def _can_pay(self) -> bool:
        """Whether what is left pays a run of the target, or the rest of a paused one."""
        if self.ledger.trials_left > 0:
            return True
        rests = (max(1 - share, LEAST) for share in self._paused())
        return any(rest <= self.ledger.left + SLACK for rest in rests)

    def _paused(self) -> list[float]:
        """How far the paused runs of the target have come."""
        if not self.drawn.task.pausable:
            return []
        rows = {t.row for t in self.trials if not t.experiment and t.row >= 0}
        reached = [self._reached("", row) for row in rows]
        return [share for share in reached if share < 1]

    def _is_share(self, until: Any) -> bool:
        """Whether a run may go up to there: to its end, or less where it may pause."""
        if not is_number(until):
            return False
        return until == 1 or (self.drawn.task.pausable and 0 < until < 1)

    def _check_open(self) -> None:
        if self.done:
            budget = self.drawn.task.trials
            raise EpisodeError(
                f"{self.drawn.task.task_id}: no trials left (budget {budget}); reset() "
                "starts anew."
            )

    def _malformed(self, playable: PlayableExperiment | None) -> Trial:
        known = playable or self.playable[""]
        cost = min(known.cost, self.ledger.left)
        return Trial(
            0, "malformed", None, experiment=known.experiment, cost=cost
        )

    def _trial_at(
        self, point: np.ndarray, playable: PlayableExperiment, until: float
    ) -> tuple[Trial, Outcome | None]:
        row, distance = playable.nearest(point)
        return self._trial_of(row, distance, point, playable, until)

    def _trial_of(
        self,
        row: int,
        distance: float,
        point: np.ndarray,
        playable: PlayableExperiment,
        until: float,
    ) -> tuple[Trial, Outcome | None]:
        """What a call gives, before it is counted: the trial, and the outcome where
        something was run.
        """
        if row < 0:
            cost = min(playable.cost * max(until, LEAST), self.ledger.left)
            return self._infeasible(
                point, point, distance, playable, cost, until
            ), None
        reached = self._reached(playable.experiment, row)
        stretch = until - reached if reached < until else until
        cost = playable.cost * max(stretch, LEAST)
        self._check_paid(cost, goes_on=0 < reached < until)
        outcome = self.source.outcome(playable.index, playable.row_id(row))
        evaluated = playable.point(row)
        if not outcome.feasible:
            trial = self._infeasible(
                evaluated, point, distance, playable, cost, 1.0
            )
            return trial, None
        trial = Trial(
            number=0,
            status=self._status(distance, reached, until),
            configuration=self.drawn.view.space.decode(evaluated),
            point=tuple(evaluated.tolist()),
            row=row,
            distance=distance,
            objective=outcome.objective,
            loss=outcome.loss,
            diverged=outcome.diverged,
            experiment=playable.experiment,
            cost=cost,
            proposed=tuple(point.tolist()),
        )
        if self.drawn.task.pausable:
            trial = self._up_to(until, trial, playable)
        return trial, outcome

    def _infeasible(
        self,
        shown: np.ndarray,
        proposed: np.ndarray,
        distance: float,
        playable: PlayableExperiment,
        cost: float,
        share: float,
    ) -> Trial:
        try:
            configuration = self.drawn.view.space.decode(shown)
        except SpaceError:  # a point so far out that no value lies there
            configuration = None
        return Trial(
            number=0,
            status="infeasible",
            configuration=configuration,
            distance=distance,
            experiment=playable.experiment,
            cost=cost,
            proposed=tuple(proposed.tolist()),
            share=share,
        )

    def _check_paid(self, cost: float, goes_on: bool) -> None:
        """`goes_on`: a paused run would be continued; only a whole run of the target
        that can still be paid lets another one begin.
        """
        left = self.ledger.left
        begins_unpaid = self.ledger.trials_left == 0 and not goes_on
        if cost > left + SLACK or begins_unpaid:
            raise EpisodeError(
                f"{self.drawn.task.task_id}: {left:.3g} runs of the target are left, "
                f"which pay neither a new run nor {cost:.3g} of this one. Fix: go on "
                "with a paused run that they pay."
            )

    def _status(self, distance: float, reached: float, until: float) -> str:
        if distance > self.drawn.task.tolerance + SLACK:
            return "off_table"
        if until <= reached:
            return "repeated"
        return "paused" if until < 1 else "ok"

    def _up_to(
        self, share: float, trial: Trial, playable: PlayableExperiment
    ) -> Trial:
        """The trial with its curve up to a share of the run; before its end there is no
        outcome.
        """
        curve = self.source.curve(playable.index, playable.row_id(trial.row))
        shown = tuple(
            (float(s), float(v)) for s, v in curve if s <= share + SLACK
        )
        trial = replace(trial, share=share, signal=shown)
        if share == 1:
            return trial
        return replace(trial, objective=math.nan, loss=math.nan, diverged=False)

    def _reached(self, experiment: str, row: int) -> float:
        """Up to which share a row was run; 0 where it was not."""
        reached = 0.0
        for trial in self.trials:
            if (trial.experiment, trial.row) == (experiment, row):
                reached = max(reached, trial.share)
        return reached

    def _spend(self, trial: Trial, outcome: Outcome | None = None) -> Trial:
        """Charge a trial and count it; a repeat is not run twice."""
        if outcome is not None:
            reached = self._reached(trial.experiment, trial.row)
            stretch = max(trial.share - reached, 0.0)
            self.ledger.cost_flops += stretch * outcome.cost_flops
            self.ledger.cost_device_hours += stretch * outcome.cost_device_hours
        self.ledger.left -= trial.cost
        self.trials.append(replace(trial, number=len(self.trials) + 1))
        return self.trials[-1]


def start(
    task: Task,
    table: OutcomeTable,
    seed: int,
    source: OutcomeSource | None = None,
) -> Episode:
    """A fresh episode of (task, seed). Outcomes come from `source`, else from what the
    table names as their source, else from its rows.
    """
    drawn = draw(task, table, seed)
    if source is None and table.make_source is not None:
        source = table.make_source(drawn, table)
    return Episode(drawn, table, source or TableSource(table, task.objective))
