"""Fidelity-indexed outcome tables in memory: dense, read-only arrays, shared by every task and environment.

Rows of one experiment lie side by side; experiment and row ids are dense integers. `loss` is the objective turned so
that lower is better, with non-finite outcomes at the experiment's worst finite value.
What does not belong here: files (snapshot.py), what a policy may see (task.py).

Invariant: arrays are never written after construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autollm.errors import UnknownNameError
from autollm.gym.space import Space


@dataclass(frozen=True)
class Experiment:
    """One fidelity point of one source. `z` is log2 of the fidelity coordinates, in the ladder's order."""

    experiment_id: str
    label: str
    source: str
    family: str
    fidelity: dict[str, float]
    compute_flops: float
    objective: str
    direction: str
    space: Space

    @cached_property
    def z(self) -> np.ndarray:
        return np.log2(np.array(list(self.fidelity.values()), dtype=float))


COLUMNS: dict[str, Any] = {
    "objective": np.float64,      # mean over replicas, the source's own unit
    "noise_sd": np.float64,       # of the mean; NaN where there is one replica
    "n_replicas": np.int32,
    "diverged": np.bool_,
    "cost_flops": np.float64,     # of one run
    "cost_device_hours": np.float64,  # of one run; NaN where the source does not say
    "latent": np.float64,         # smoothed loss that only the judge reads
}


@dataclass(frozen=True)
class OutcomeTable:
    """All experiments of a snapshot.

    Attributes:
        offsets: int64 [n_experiments + 1], rows of experiment e are offsets[e]:offsets[e + 1].
        columns: name -> array [n_rows], see COLUMNS.
        points: per experiment, float64 [n_rows_e, n_knobs], natural units.
    """

    table_id: str
    experiments: tuple[Experiment, ...]
    offsets: np.ndarray
    columns: dict[str, np.ndarray]
    points: tuple[np.ndarray, ...]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {e.experiment_id: i for i, e in enumerate(self.experiments)}

    def index(self, experiment_id: str) -> int:
        """Dense id of an experiment.

        Raises:
            UnknownNameError: not in this snapshot.
        """
        if experiment_id not in self._index:
            raise UnknownNameError("experiment", experiment_id, self._index)
        return self._index[experiment_id]

    def __contains__(self, experiment_id: str) -> bool:
        return experiment_id in self._index

    def column(self, name: str, experiment: int) -> np.ndarray:
        """A column's view on one experiment, [n_rows_e]."""
        return self.columns[name][self.offsets[experiment] : self.offsets[experiment + 1]]

    @cached_property
    def loss(self) -> np.ndarray:
        """float64 [n_rows]: lower is better, always finite."""
        out = self.columns["objective"].copy()
        for e, experiment in enumerate(self.experiments):
            rows = slice(self.offsets[e], self.offsets[e + 1])
            out[rows] = oriented(out[rows], experiment.direction)
        out.setflags(write=False)
        return out

    def losses(self, experiment: int) -> np.ndarray:
        """View of `loss` on one experiment, [n_rows_e]."""
        return self.loss[self.offsets[experiment] : self.offsets[experiment + 1]]


def oriented(objective: np.ndarray, direction: str) -> np.ndarray:
    """Objective [n] turned so that lower is better; a non-finite outcome counts as the worst finite one."""
    loss = np.where(np.isfinite(objective), objective if direction == "min" else -objective, np.nan)
    worst = np.nanmax(loss) if np.isfinite(loss).any() else 0.0
    return np.where(np.isnan(loss), worst, loss)
