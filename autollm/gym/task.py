"""Tasks, what a seed makes of them, and the view that a policy gets.

A task names a target experiment, the cheaper experiments that may be looked at, and a budget of trials. A seed turns it
into a draw: 80 % of every evidence table's rows and, unless told otherwise, of the target's. The policy sees a `TaskView`.

Invariant: a view holds no outcome of the target, and in the `declared` setting not even the target's rows, where the space has a grid.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autollm.errors import UnknownNameError
from autollm.gym.space import Space
from autollm.gym.table import OutcomeTable

Setting = Literal["declared", "pool-visible"]
TargetRows = Literal["redraw", "all"]
KEEP = 0.8
"""Share of a table's rows that a seed keeps."""


@dataclass(frozen=True)
class Task:
    """One target, its evidence, its budget. Experiments are named by id; `split` is train, validation or test."""

    task_id: str
    suite_id: str
    suite_version: int
    split: str
    target: str
    evidence: tuple[str, ...]
    trials: int = 5
    setting: Setting = "declared"
    target_rows: TargetRows = "redraw"
    off_table: Literal["nearest", "reject"] = "nearest"
    tolerance: float = 1.0
    masked: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("setting", self.setting, ("declared", "pool-visible")),
                                   ("target_rows", self.target_rows, ("redraw", "all")),
                                   ("off_table mode", self.off_table, ("nearest", "reject"))):
            if value not in known:
                raise UnknownNameError(name, value, known)

    def with_(self, **changes: object) -> Task:
        """The same task with other fields."""
        return replace(self, **changes)


@dataclass(frozen=True)
class EvidenceTable:
    """A cheaper experiment as this draw shows it; rows in table order.

    Attributes:
        z: float64 [n_fidelity], log2 of the fidelity coordinates.
        points: float64 [n, n_coordinates], natural units. loss: float64 [n], lower is better, finite. diverged: bool [n].
        cost_flops: of one run.
    """

    experiment_id: str
    z: np.ndarray
    points: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray
    cost_flops: float


@dataclass(frozen=True)
class TaskView:
    """All that a policy may know. Evidence is sorted by cost, the dearest last.

    `candidates`: float64 [n, n_coordinates]; in `declared` the declared grid (a proposal is snapped to the nearest recorded
    row), in `pool-visible`, and wherever the space has no finite grid (mixtures, per-layer lists), the target's rows without
    outcomes.
    """

    task_id: str
    setting: Setting
    family: str
    space: Space
    fidelity_names: tuple[str, ...]
    target_z: np.ndarray
    evidence: tuple[EvidenceTable, ...]
    candidates: np.ndarray
    trials: int
    objective: str
    direction: str
    target_fidelity: dict[str, float]

    @property
    def lists_rows(self) -> bool:
        """Whether `candidates` are the target's rows."""
        return self.setting == "pool-visible" or self.space.grid is None


@dataclass(frozen=True)
class Draw:
    """What one seed made of a task: the view, and the target's rows that are in play (ids within the target's table)."""

    task: Task
    seed: int
    view: TaskView
    target: int
    rows: np.ndarray
    policy_seed: np.random.SeedSequence


def draw(task: Task, table: OutcomeTable, seed: int) -> Draw:
    """Realize a task. Determined by (task id, seed) alone, in any process.

    Raises:
        UnknownNameError: the target or an evidence experiment is not in the table.
    """
    streams = np.random.SeedSequence([seed, _stable_int(task.task_id)]).spawn(3)
    rng, target_rng = np.random.default_rng(streams[0]), np.random.default_rng(streams[1])
    target = table.index(task.target)
    experiment = table.experiments[target]
    evidence = []
    for experiment_id in task.evidence:
        e = table.index(experiment_id)
        keep = _subset(rng, len(table.points[e]))
        evidence.append(EvidenceTable(
            experiment_id, table.experiments[e].z, table.points[e][keep], table.losses(e)[keep],
            table.column("diverged", e)[keep], table.experiments[e].compute_flops))
    evidence.sort(key=lambda t: (t.cost_flops, t.experiment_id))
    n = len(table.points[target])
    rows = _subset(target_rng, n) if task.target_rows == "redraw" else np.arange(n)
    listed = task.setting == "pool-visible" or experiment.space.grid is None
    candidates = table.points[target][rows] if listed else experiment.space.grid
    view = TaskView(task.task_id, task.setting, experiment.family, experiment.space, tuple(experiment.fidelity), experiment.z,
                    tuple(evidence), candidates, task.trials, experiment.objective, experiment.direction, experiment.fidelity)
    return Draw(task, seed, view, target, rows, streams[2])


def _subset(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.sort(rng.choice(n, size=max(1, round(KEEP * n)), replace=False))


def _stable_int(text: str) -> int:
    """64 bits of a sha256: Python's own hash differs between processes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
