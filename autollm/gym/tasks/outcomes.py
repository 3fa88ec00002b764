"""Sources of outcomes: the table, live training, or a person. An episode asks all of
them through one protocol.

Invariant: a source is asked once a call, and once more where a choice was submitted
that had not been tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import Draw
from autollm.gym.tasks.playable import PlayableExperiment, playable_experiments


@dataclass(frozen=True)
class Outcome:
    """What a source answers: objective in the source's unit, loss (lower is better),
    status, cost of that run.

    `feasible`: False where only the run itself showed that it breaks a constraint of
    the task.
    """

    objective: float
    loss: float
    diverged: bool
    cost_flops: float
    cost_device_hours: float
    feasible: bool = True


class OutcomeSource(Protocol):
    """Anything that can give the outcome of a configuration."""

    def playable(
        self, drawn: Draw, table: OutcomeTable
    ) -> dict[str, PlayableExperiment]:
        """What may be run in an episode, by experiment id; the target under the empty
        name and under its own.
        """
        ...

    def outcome(self, experiment: int, row: int) -> Outcome:
        """Outcome of a row (id within the experiment's table, or beyond its last one
        where a playable experiment gave such an id).
        """
        ...

    def comparable_loss(
        self, loss: float, place: int, values: np.ndarray
    ) -> float:
        """What an outcome on the target counts as on the scale of `values`, the
        recorded (or smoothed) losses of the rows in play, [n_rows]. `place`: as the
        target numbers it in play.
        """
        ...

    def curve(self, experiment: int, row: int) -> np.ndarray:
        """What a row's run showed while it went on, float64 [n, 2]: share of its steps,
        ascending; signal, lower is better. Only tasks whose runs may be paused ask for
        it.
        """
        ...


@dataclass(frozen=True)
class TableSource:
    """Look-up in a snapshot's table. `objective`: empty for the experiments' own."""

    table: OutcomeTable
    objective: str = ""

    def playable(
        self, drawn: Draw, table: OutcomeTable
    ) -> dict[str, PlayableExperiment]:
        """The recorded rows in play."""
        return playable_experiments(drawn, table)

    def outcome(self, experiment: int, row: int) -> Outcome:
        c = self.table.columns
        i = self.table.offsets[experiment] + row
        name = self.objective or self.table.experiments[experiment].objective
        return Outcome(
            float(self.table.metric(experiment, name)[row]),
            float(self.table.losses(experiment, self.objective)[row]),
            bool(c["diverged"][i]),
            float(c["cost_flops"][i]),
            float(c["cost_device_hours"][i]),
        )

    def curve(self, experiment: int, row: int) -> np.ndarray:
        signal = self.table.experiments[experiment].signal
        points = self.table.curve(experiment, row)
        return (
            points * (1.0, -1.0)
            if signal and signal.direction == "max"
            else points
        )

    def comparable_loss(
        self, loss: float, place: int, values: np.ndarray
    ) -> float:
        """The row's own value."""
        return float(values[place])
