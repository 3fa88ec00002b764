"""One play of a task: trials in, outcomes out, regret at the end. Every environment and
every view is a skin over this.

Outcomes come from an injected `OutcomeSource` (the table here; live training or a
person elsewhere), which also says what may be tried and how an outcome is judged
against the recorded rows. A malformed, repeated or rejected call costs its trial and is
counted, never repaired. In a task that is `pausable` a run may stop at a share of its
steps; asking for it again with a larger share goes on from there. What does not belong
here: text, gymnasium's types (environments/), policies.

Invariant: an episode of equal (task, seed, calls) gives equal trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autollm.core.errors import EpisodeError, SpaceError
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import Draw, draw
from autollm.gym.tasks.ground import Ground
from autollm.gym.tasks.outcomes import Outcome, OutcomeSource, TableSource
from autollm.gym.tasks.regret import best_so_far, regret
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.trial import SLACK, Ledger, Proposal, Trial

LEAST = 0.01
"""Of a run: no stretch costs less, so that every budget comes to its end."""
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

    Several trials may be pending: `begin` spends a trial whose outcome comes later,
    `finish` waits for the one that ends first. `clock` counts simulated time, in
    durations of a run of the target.
    """

    drawn: Draw
    table: OutcomeTable
    source: OutcomeSource
    trials: list[Trial] = field(default_factory=list)
    submitted: int = -1
    finished: bool = False
    clock: float = 0.0

    def __post_init__(self) -> None:
        task, target, rows = self.drawn.task, self.drawn.target, self.drawn.rows
        self.ledger = Ledger(float(task.trials))
        self.grounds = self.source.grounds(self.drawn, self.table)
        self.points = self.grounds[""].points
        self.losses = self.table.losses(target, task.objective)[rows]
        self.latent = self.table.latent(target, task.objective)[rows]
        self._pending: dict[int, tuple[float, Trial]] = {}
        self._begun = 0

    @property
    def done(self) -> bool:
        """Nothing is pending and neither a run of the target nor the rest of a paused
        one can be paid, or the episode was submitted.
        """
        return self.finished or (not self._pending and not self._can_pay)

    @property
    def can_begin(self) -> bool:
        """Whether another trial may be begun now."""
        return (
            not self.finished
            and self._can_pay
            and len(self._pending) < self.drawn.task.workers
        )

    @property
    def pending(self) -> list[Proposal]:
        """What was asked for and is running, in the order in which it was begun."""
        proposed = (
            (t, self.drawn.view.space.decode(np.array(t.proposed)))
            for _, t in self._pending.values()
            if t.proposed
        )
        return [
            (t.experiment, configuration, t.share)
            if t.share < 1
            else (t.experiment, configuration)
            if t.experiment
            else configuration
            for t, configuration in proposed
        ]

    @property
    def n_pending(self) -> int:
        """Trials that were begun and not finished, malformed ones too."""
        return len(self._pending)

    def run(
        self, configuration: Mapping[str, Any], experiment: str = "", until: float = 1.0
    ) -> Trial:
        """Try a configuration on the target, or on a charged experiment by its id;
        where runs may be paused, `until` a share of its steps.

        Raises:
            EpisodeError: the episode is over, as many trials are pending as may be, or
                what is left does not pay for it.
        """
        return self.finish(self.begin(configuration, experiment, until))

    def run_point(self, point: np.ndarray, experiment: str = "") -> Trial:
        """The same for a point [n_coordinates] on the natural scale."""
        self._check_open()
        return self.finish(
            self._begin(*self._trial_at(point, self.grounds[experiment], 1.0))
        )

    def run_candidate(self, index: int, experiment: str = "") -> Trial:
        """The same for a row of the candidates; any other number is a malformed call."""
        self._check_open()
        ground = self.grounds[experiment]
        if not 0 <= index < len(ground.candidates):
            return self.malformed(experiment)
        point = ground.candidates[index]
        trial = (
            self._trial_of(int(index), 0.0, point, ground, 1.0)
            if ground.lists_rows
            else self._trial_at(point, ground, 1.0)
        )
        return self.finish(self._begin(*trial))

    def malformed(self, experiment: str = "") -> Trial:
        """Spend a trial on a call that could not be read."""
        self._check_open()
        return self.finish(self._begin(self._malformed(self.grounds.get(experiment))))

    def begin(
        self, configuration: Mapping[str, Any], experiment: str = "", until: float = 1.0
    ) -> int:
        """Begin a trial without waiting for it; returns its ticket. The budget is
        charged now: a stretch of a run by its share.

        Raises:
            EpisodeError: the episode is over, as many trials are pending as may be, or
                what is left does not pay for it.
        """
        self._check_open()
        ground = self.grounds.get(experiment)
        if ground is None or not (
            until == 1 or (self.drawn.task.pausable and 0 < until < 1)
        ):
            return self._begin(self._malformed(ground))
        try:
            point = self.drawn.view.space.encode(configuration)
        except SpaceError:
            return self._begin(self._malformed(ground))
        return self._begin(*self._trial_at(point, ground, until))

    def finish(self, ticket: int | None = None) -> Trial:
        """Wait for a pending trial: that of the ticket, or the one that ends first (the
        earlier begun on a tie).

        Raises:
            EpisodeError: nothing, or not this ticket, is pending.
        """
        if not self._pending or (ticket is not None and ticket not in self._pending):
            asked = (
                "nothing is pending"
                if ticket is None
                else f"trial {ticket} is not pending"
            )
            raise EpisodeError(
                f"{self.drawn.task.task_id}: {asked}. Fix: begin() a trial, and "
                "finish() each once."
            )
        ends = {t: end for t, (end, _) in self._pending.items()}
        chosen = ticket if ticket is not None else min(ends, key=lambda t: (ends[t], t))
        end, trial = self._pending.pop(chosen)
        self.clock = max(self.clock, end)
        self.trials.append(replace(trial, number=len(self.trials) + 1))
        return self.trials[-1]

    def submit(self, configuration: Mapping[str, Any]) -> int:
        """End the episode with a choice; returns the row (within the draw) that the
        choice stands for.

        Raises:
            SpaceError: not a configuration of the space, or one that breaks a
                constraint.
            EpisodeError: already submitted.
        """
        if self.finished:
            raise EpisodeError(
                f"{self.drawn.task.task_id}: the episode has been submitted already; "
                "reset() starts a new one."
            )
        row, _ = self.grounds[""].nearest(self.drawn.view.space.encode(configuration))
        if row < 0:
            raise SpaceError(
                "the configuration breaks "
                f"{', '.join(map(str, self.drawn.task.constraints))}. Fix: submit a "
                "feasible one."
            )
        self.submitted, self.finished = row, True
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
        for index, used in zip(best_so_far(self._target_losses), spent, strict=True):
            out[max(math.ceil(used - 1e-9), 1) - 1 :] = index
        return out

    def regret_curve(self, latent: bool = False) -> np.ndarray:
        """Regret when 1, 2, ... runs of the target are spent (after each trial, where
        nothing else is charged), float64 [trials]; 1 while nothing was found.

        Realised: the incumbent's recorded loss against the recorded minimum. Latent:
        the same incumbent and the minimum, both read from the smoothed table.
        """
        values = self.latent if latent else self.losses
        return np.array(
            [
                float(regret(self.judged(self.trials[i], latent), values))
                if i >= 0
                else 1.0
                for i in self.incumbents()
            ]
        )

    def judged(self, trial: Trial, latent: bool = False) -> float:
        """What an outcome on the target counts as among the recorded losses (or the
        smoothed ones) of the rows in play.
        """
        return self.source.judged(
            trial.loss, trial.row, self.latent if latent else self.losses
        )

    def inference_regret(self) -> float:
        """Latent regret of the submitted configuration, or of the incumbent when none
        was submitted.
        """
        row = (
            self.submitted
            if self.submitted >= 0
            else (self.incumbent.row if self.incumbent else -1)
        )
        if row < 0:
            return 1.0
        ground = self.grounds[""]
        tried = [t.loss for t in self.trials if not t.experiment and t.row == row]
        loss = (
            tried[0]
            if tried
            else self.source.outcome(ground.index, ground.row_id(row)).loss
        )
        return float(regret(self.source.judged(loss, row, self.latent), self.latent))

    @property
    def _target_losses(self) -> np.ndarray:
        return np.array([t.loss if not t.experiment else math.nan for t in self.trials])

    @property
    def _can_pay(self) -> bool:
        """Whether what is left pays a run of the target, or the rest of a paused one."""
        return self.ledger.trials_left > 0 or any(
            max(1 - share, LEAST) <= self.ledger.left + SLACK
            for share in self._paused()
        )

    def _paused(self) -> list[float]:
        """How far the paused runs of the target have come."""
        rows = (
            {t.row for t in self.trials if not t.experiment and t.row >= 0}
            if self.drawn.task.pausable
            else ()
        )
        return [
            share for share in (self._reached("", row) for row in rows) if share < 1
        ]

    def _check_open(self) -> None:
        if self.finished or not self._can_pay:
            budget = self.drawn.task.trials
            raise EpisodeError(
                f"{self.drawn.task.task_id}: no trials left (budget {budget}); reset() "
                "starts anew."
            )
        if not self.can_begin:
            raise EpisodeError(
                f"{self.drawn.task.task_id}: {len(self._pending)} trials are pending, "
                "as many as may be. Fix: finish() one first."
            )

    def _malformed(self, ground: Ground | None) -> Trial:
        known = ground or self.grounds[""]
        return Trial(
            0,
            "malformed",
            None,
            experiment=known.experiment,
            cost=min(known.cost, self.ledger.left),
        )

    def _trial_at(
        self, point: np.ndarray, ground: Ground, until: float
    ) -> tuple[Trial, Outcome | None]:
        return self._trial_of(*ground.nearest(point), point, ground, until)

    def _trial_of(
        self, row: int, distance: float, point: np.ndarray, ground: Ground, until: float
    ) -> tuple[Trial, Outcome | None]:
        """What a call gives, before it is counted: the trial, and the outcome where
        something was run.
        """
        space, task, proposed = (
            self.drawn.view.space,
            self.drawn.task,
            tuple(point.tolist()),
        )
        off = distance > task.tolerance + 1e-9
        refused = (
            "rejected"
            if off and task.off_table == "reject"
            else "infeasible"
            if row < 0
            else ""
        )
        if refused:
            cost = min(ground.cost * max(until, LEAST), self.ledger.left)
            return Trial(
                0,
                refused,
                space.decode(point),
                distance=distance,
                experiment=ground.experiment,
                cost=cost,
                proposed=proposed,
                share=until,
            ), None
        reached = self._reached(ground.experiment, row)
        stretch = until - reached if reached < until else until
        cost = ground.cost * max(stretch, LEAST)
        if cost > self.ledger.left + SLACK or (
            self.ledger.trials_left == 0 and not 0 < reached < until
        ):
            raise EpisodeError(
                f"{task.task_id}: {self.ledger.left:.3g} runs of the target are left, "
                f"which pay neither a new run nor {cost:.3g} of "
                "this one. Fix: go on with a paused run that they pay."
            )
        outcome = self.source.outcome(ground.index, ground.row_id(row))
        evaluated = ground.point(row)
        if not outcome.feasible:
            return Trial(
                0,
                "infeasible",
                space.decode(evaluated),
                distance=distance,
                experiment=ground.experiment,
                cost=cost,
                proposed=proposed,
            ), None
        status = (
            "off_table"
            if off
            else "repeated"
            if until <= reached
            else "paused"
            if until < 1
            else "ok"
        )
        trial = Trial(
            0,
            status,
            space.decode(evaluated),
            tuple(evaluated.tolist()),
            row,
            distance,
            outcome.objective,
            outcome.loss,
            outcome.diverged,
            ground.experiment,
            cost,
            proposed,
        )
        return (self._up_to(until, trial, ground) if task.pausable else trial), outcome

    def _up_to(self, share: float, trial: Trial, ground: Ground) -> Trial:
        """The trial with its curve up to a share of the run; before its end there is no
        outcome.
        """
        curve = self.source.curve(ground.index, ground.row_id(trial.row))
        seen = tuple((float(s), float(v)) for s, v in curve if s <= share + SLACK)
        whole = (
            {}
            if share == 1
            else {"objective": math.nan, "loss": math.nan, "diverged": False}
        )
        return replace(trial, share=share, signal=seen, **whole)

    def _reached(self, experiment: str, row: int) -> float:
        """How far a row was run, what is pending included; 0 where it was not."""
        begun = (*self.trials, *(t for _, t in self._pending.values()))
        return max(
            (t.share for t in begun if (t.experiment, t.row) == (experiment, row)),
            default=0.0,
        )

    def _begin(self, trial: Trial, outcome: Outcome | None = None) -> int:
        """Charge a trial and let it run: as long as its stretch takes, once what is
        pending of the same run has ended.
        """
        end = self.clock
        if outcome is not None:
            end = max(
                [
                    end,
                    *(
                        e
                        for e, t in self._pending.values()
                        if (t.experiment, t.row) == (trial.experiment, trial.row)
                    ),
                ]
            )
            stretch = max(trial.share - self._reached(trial.experiment, trial.row), 0.0)
            self.ledger.cost_flops += stretch * outcome.cost_flops
            self.ledger.cost_device_hours += stretch * outcome.cost_device_hours
            end += trial.cost if stretch else 0.0
        self.ledger.left -= trial.cost
        self._begun += 1
        self._pending[self._begun] = end, trial
        return self._begun


def start(
    task: Task, table: OutcomeTable, seed: int, source: OutcomeSource | None = None
) -> Episode:
    """A fresh episode of (task, seed). Outcomes come from `source`, else from what the
    table says answers, else from its rows.
    """
    drawn = draw(task, table, seed)
    elsewhere = source or (table.answers(drawn, table) if table.answers else None)
    return Episode(drawn, table, elsewhere or TableSource(table, task.objective))
