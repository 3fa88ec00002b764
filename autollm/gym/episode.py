"""One play of a task: trials in, outcomes out, regret at the end. Every environment and every view is a skin over this.

Outcomes come from an injected `OutcomeSource` (the table here; live training or a person elsewhere). A malformed,
repeated or rejected call costs its trial and is counted, never repaired.
What does not belong here: text (text.py), gymnasium's types (env.py), policies.

Invariant: an episode of equal (task, seed, calls) gives equal trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from autollm.errors import EpisodeError, SpaceError
from autollm.gym.regret import best_so_far, regret
from autollm.gym.space import nearest
from autollm.gym.table import OutcomeTable
from autollm.gym.task import Draw, Task, draw, rows_to_snap_to


@dataclass(frozen=True)
class Outcome:
    """What a source answers: objective in the source's unit, loss (lower is better), status, cost of that run."""

    objective: float
    loss: float
    diverged: bool
    cost_flops: float
    cost_device_hours: float


class OutcomeSource(Protocol):
    """Anything that can say what a configuration gave."""

    def outcome(self, experiment: int, row: int) -> Outcome:
        """Outcome of a row (id within the experiment's table)."""
        ...


@dataclass(frozen=True)
class TableSource:
    """Look-up in a snapshot's table. `objective`: empty for the experiments' own."""

    table: OutcomeTable
    objective: str = ""

    def outcome(self, experiment: int, row: int) -> Outcome:
        c, i = self.table.columns, self.table.offsets[experiment] + row
        name = self.objective or self.table.experiments[experiment].objective
        return Outcome(float(self.table.metric(experiment, name)[row]), float(self.table.losses(experiment, self.objective)[row]),
                       bool(c["diverged"][i]), float(c["cost_flops"][i]), float(c["cost_device_hours"][i]))


@dataclass(frozen=True)
class Trial:
    """One spent trial.

    `status`: ok, repeated, off_table (further than the tolerance from any row), rejected (off_table in a `reject` task),
    infeasible (the nearest row breaks a constraint of the task), malformed. `point` and `row` are what was evaluated after
    snapping (row -1: nothing was), `distance` the snap in natural units. `loss` is NaN where there is no outcome.
    """

    number: int
    status: str
    configuration: dict[str, float] | None
    point: tuple[float, ...] = ()
    row: int = -1
    distance: float = 0.0
    objective: float = float("nan")
    loss: float = float("nan")
    diverged: bool = False


@dataclass
class Ledger:
    """What was spent: trials, and the cost of the runs behind them (repeats are not run twice)."""

    trials_left: int
    cost_flops: float = 0.0
    cost_device_hours: float = 0.0


@dataclass
class Episode:
    """State machine of one play. `run` spends a trial, `submit` ends it."""

    drawn: Draw
    table: OutcomeTable
    source: OutcomeSource
    trials: list[Trial] = field(default_factory=list)
    submitted: int = -1
    finished: bool = False

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.drawn.task.trials)
        task, target, rows = self.drawn.task, self.drawn.target, self.drawn.rows
        self.points = self.table.points[target][rows]
        self.losses = self.table.losses(target, task.objective)[rows]
        self.latent = self.table.latent(target, task.objective)[rows]
        self._snapped_to = rows_to_snap_to(task, self.table, rows)

    @property
    def done(self) -> bool:
        return self.finished or self.ledger.trials_left == 0

    def run(self, configuration: Mapping[str, Any]) -> Trial:
        """Try a configuration on the target.

        Raises:
            EpisodeError: the episode is over.
        """
        self._check_open()
        try:
            point = self.drawn.view.space.encode(configuration)
        except SpaceError:
            return self._spend(Trial(self._number, "malformed", None))
        return self.run_point(point)

    def run_point(self, point: np.ndarray) -> Trial:
        """The same for a point [n_knobs] on the natural scale."""
        self._check_open()
        row, distance = self._nearest(point)
        return self._run_row(row, distance, point)

    def run_candidate(self, index: int) -> Trial:
        """The same for a row of `view.candidates`; any other number is a malformed call."""
        self._check_open()
        if not 0 <= index < len(self.drawn.view.candidates):
            return self.malformed()
        point = self.drawn.view.candidates[index]
        return self._run_row(int(index), 0.0, point) if self.drawn.view.lists_rows else self.run_point(point)

    def malformed(self) -> Trial:
        """Spend a trial on a call that could not be read."""
        self._check_open()
        return self._spend(Trial(self._number, "malformed", None))

    def submit(self, configuration: Mapping[str, Any]) -> int:
        """End the episode with a choice; returns the row (within the draw) that the choice stands for.

        Raises:
            SpaceError: not a configuration of the space, or one that breaks a constraint.
            EpisodeError: already submitted.
        """
        if self.finished:
            raise EpisodeError(f"{self.drawn.task.task_id}: the episode has been submitted already; reset() starts a new one.")
        row, _ = self._nearest(self.drawn.view.space.encode(configuration))
        if row < 0:
            raise SpaceError(f"the configuration breaks {', '.join(map(str, self.drawn.task.constraints))}. Fix: submit a feasible one.")
        self.submitted, self.finished = row, True
        return row

    @property
    def incumbent(self) -> Trial | None:
        """Best trial so far by what was observed; None before the first outcome."""
        index = best_so_far(np.array([t.loss for t in self.trials]))[-1] if self.trials else -1
        return self.trials[index] if index >= 0 else None

    def regret_curve(self, latent: bool = False) -> np.ndarray:
        """Regret after each of the task's trials, float64 [trials]; 1 while nothing was found.

        Realised: the incumbent's recorded loss against the recorded minimum. Latent: the same incumbent and the minimum,
        both read from the smoothed table. Trials that were not used repeat the last value.
        """
        values = self.latent if latent else self.losses
        found = best_so_far(np.array([t.loss for t in self.trials]))
        curve = np.ones(self.drawn.task.trials)
        for k, index in enumerate(found):
            if index >= 0:
                curve[k:] = regret(values[self.trials[index].row], values)
        return curve

    def inference_regret(self) -> float:
        """Latent regret of the submitted configuration, or of the incumbent when none was submitted."""
        row = self.submitted if self.submitted >= 0 else (self.incumbent.row if self.incumbent else -1)
        return float(regret(self.latent[row], self.latent)) if row >= 0 else 1.0

    @property
    def _number(self) -> int:
        return len(self.trials) + 1

    def _check_open(self) -> None:
        if self.done:
            budget = self.drawn.task.trials
            raise EpisodeError(f"{self.drawn.task.task_id}: no trials left (budget {budget}); reset() starts anew.")

    def _nearest(self, point: np.ndarray) -> tuple[int, float]:
        """Index of the nearest row in play (-1: an infeasible row is nearer) and the distance of the snap."""
        found, distance = nearest(self.table.points[self.drawn.target][self._snapped_to], point)
        place = np.searchsorted(self.drawn.rows, self._snapped_to[found])
        in_play = place < len(self.drawn.rows) and self.drawn.rows[place] == self._snapped_to[found]
        return (int(place) if in_play else -1), distance

    def _run_row(self, row: int, distance: float, point: np.ndarray) -> Trial:
        space, task = self.drawn.view.space, self.drawn.task
        off = distance > task.tolerance + 1e-9
        if off and task.off_table == "reject":
            return self._spend(Trial(self._number, "rejected", space.decode(point), distance=distance))
        if row < 0:
            return self._spend(Trial(self._number, "infeasible", space.decode(point), distance=distance))
        repeated = any(t.row == row for t in self.trials)
        outcome = self.source.outcome(self.drawn.target, int(self.drawn.rows[row]))
        if not repeated:
            self.ledger.cost_flops += outcome.cost_flops
            self.ledger.cost_device_hours += outcome.cost_device_hours
        status = "off_table" if off else "repeated" if repeated else "ok"
        evaluated = self.points[row]
        return self._spend(Trial(self._number, status, space.decode(evaluated), tuple(evaluated.tolist()), row, distance,
                                 outcome.objective, outcome.loss, outcome.diverged))

    def _spend(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        self.ledger.trials_left -= 1
        return trial


def start(task: Task, table: OutcomeTable, seed: int, source: OutcomeSource | None = None) -> Episode:
    """A fresh episode of (task, seed)."""
    return Episode(draw(task, table, seed), table, source or TableSource(table, task.objective))
