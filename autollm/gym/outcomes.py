"""Who says what a configuration gave: the table, live training, or a person; an episode asks through one method.

What does not belong here: which row a proposal stands for (ground.py), what is charged for it (episode.py).
Invariant: a source is asked once a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autollm.gym.table import OutcomeTable


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

    def curve(self, experiment: int, row: int) -> np.ndarray:
        """What a row's run showed while it went on, float64 [n, 2]: share of its steps, ascending; signal, lower is better. Only tasks whose
        runs may be paused ask for it."""
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

    def curve(self, experiment: int, row: int) -> np.ndarray:
        signal, points = self.table.experiments[experiment].signal, self.table.curve(experiment, row)
        return points * (1.0, -1.0) if signal and signal.direction == "max" else points
