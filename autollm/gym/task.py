"""Tasks, what a seed makes of them, and the view that a policy gets.

A task names a target experiment, the cheaper experiments that may be looked at, an
objective, constraints, and a budget of trials. A seed turns it into a draw: 80 % of
every evidence table's rows and, unless told otherwise, of the target's feasible ones.
The policy sees a `TaskView`; of a masked task, one without names and units
(masking.py).

Invariant: a view holds no outcome of the target, and in the `declared` setting not even
the target's rows, unless its space has no grid or it is of a family in ALWAYS_LISTED.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autollm.core.errors import EpisodeError, UnknownNameError
from autollm.gym.space import Space
from autollm.gym.table import Experiment, OutcomeTable

Setting = Literal["declared", "pool-visible"]
TargetRows = Literal["redraw", "all"]
ALWAYS_LISTED = ("architecture",)
"""Families whose configurations are listed in every setting: few points of their grids
were ever built. So are those of spaces without a grid.
"""
KEEP = 0.8
"""Share of a table's rows that a seed keeps."""


@dataclass(frozen=True)
class Constraint:
    """Bounds of a metric that is known before a run, such as its parameters. A row
    beyond them, or without the metric, is infeasible.
    """

    metric: str
    most: float = float("inf")
    least: float = float("-inf")

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Where values [n] keep the bounds, bool [n]. Marts keep 9 digits of a metric,
        so that much of a bound is given.
        """
        slack = 1e-8
        return (values <= self.most + slack * abs(self.most)) & (
            values >= self.least - slack * abs(self.least)
        )

    def __str__(self) -> str:
        low = f"{self.least:.12g} <= " if self.least > float("-inf") else ""
        return f"{low}{self.metric}{f' <= {self.most:.12g}' if self.most < float('inf') else ''}"


@dataclass(frozen=True)
class Task:
    """One target, its evidence, its budget. Experiments are named by id; `split` is
    train, validation or test.

    `objective`: a metric of the experiments; empty: their own objective. `charged`:
    cheap experiments that may be run too, each at its cost relative to a run of the
    target; `trials` is then the whole budget, in runs of the target. `workers`: trials
    that may be pending at once. `pausable`: runs may be paused at a share of their
    steps and gone on with, each stretch charged by its share.
    """

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
    objective: str = ""
    constraints: tuple[Constraint, ...] = ()
    charged: tuple[str, ...] = ()
    workers: int = 1
    pausable: bool = False

    def __post_init__(self) -> None:
        for experiment in {self.target, *self.evidence} & set(self.charged):
            raise EpisodeError(
                f"{self.task_id}: {experiment} is charged, so it can be neither the "
                "target nor free evidence."
            )
        if self.workers < 1:
            raise EpisodeError(
                f"{self.task_id}: {self.workers} workers, expected at least 1."
            )
        for name, value, known in (
            ("setting", self.setting, ("declared", "pool-visible")),
            ("target_rows", self.target_rows, ("redraw", "all")),
            ("off_table mode", self.off_table, ("nearest", "reject")),
        ):
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
        points: float64 [n, n_coordinates], natural units. loss: float64 [n], lower is
            better, finite. diverged: bool [n].
        cost_flops: of one run.
    """

    experiment_id: str
    z: np.ndarray
    points: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray
    cost_flops: float


@dataclass(frozen=True)
class ChargedTable:
    """A cheap experiment that may be run: its place and cost are known, its outcomes
    are not.

    Attributes:
        z: float64 [n_fidelity]. candidates: float64 [n, n_coordinates], as of the
            target. cost: of one run, a run of the target is 1.
    """

    experiment_id: str
    z: np.ndarray
    candidates: np.ndarray
    cost: float


@dataclass(frozen=True)
class TaskView:
    """All that a policy may know. Evidence and charged experiments are sorted by cost,
    the dearest last.

    `candidates`: float64 [n, n_coordinates]; in `declared` the declared grid (a
    proposal is snapped to the nearest recorded row). Where `lists_rows` (in
    `pool-visible`, of architectures, and wherever the space has no finite grid:
    mixtures, per-layer lists) the target's feasible rows without outcomes.
    """

    task_id: str
    setting: Setting
    family: str
    space: Space
    fidelity_names: tuple[str, ...]
    target_z: np.ndarray
    evidence: tuple[EvidenceTable, ...]
    candidates: np.ndarray
    lists_rows: bool
    trials: int
    objective: str
    direction: str
    target_fidelity: dict[str, float]
    constraints: tuple[Constraint, ...] = ()
    charged: tuple[ChargedTable, ...] = ()
    workers: int = 1
    pausable: bool = False


@dataclass(frozen=True)
class Draw:
    """What one seed made of a task: the view, and the target's rows that are in play
    (ids within the target's table).
    """

    task: Task
    seed: int
    view: TaskView
    target: int
    rows: np.ndarray
    policy_seed: np.random.SeedSequence
    charged_rows: tuple[np.ndarray, ...] = ()
    """Rows in play of `view.charged`, ids within each one's table."""


def draw(task: Task, table: OutcomeTable, seed: int) -> Draw:
    """Realize a task. Determined by (task id, seed) alone, in any process.

    Raises:
        UnknownNameError: the target, an evidence or a charged experiment is not in the
            table, or has no such objective or metric.
        EpisodeError: no row of the target is feasible, a charged experiment is as dear
            as the target, or runs may be paused and an experiment has no curves.
    """
    streams = _streams(task, seed)
    rng = np.random.default_rng(streams[0])
    target = table.index(task.target)
    experiment = table.experiments[target]
    _check_curves(task, table)
    evidence = []
    for experiment_id in task.evidence:
        e = table.index(experiment_id)
        keep = _subset(rng, len(table.points[e]))
        evidence.append(
            EvidenceTable(
                experiment_id,
                table.experiments[e].z,
                table.points[e][keep],
                table.losses(e, task.objective)[keep],
                table.column("diverged", e)[keep],
                table.experiments[e].compute_flops,
            )
        )
    evidence.sort(key=lambda t: (t.cost_flops, t.experiment_id))
    rows = target_rows(task, table, seed)
    grid = declared_grid(task, experiment)
    candidates = table.points[target][rows] if grid is None else grid
    charged, charged_rows = _charged(task, table, seed)
    objective = task.objective or experiment.objective
    view = TaskView(
        task.task_id,
        task.setting,
        experiment.family,
        experiment.space,
        tuple(experiment.fidelity),
        experiment.z,
        tuple(evidence),
        candidates,
        grid is None,
        task.trials,
        objective,
        experiment.objectives[objective],
        experiment.fidelity,
        task.constraints,
        charged,
        task.workers,
        task.pausable,
    )
    if task.masked:
        from autollm.gym.masking import (
            masked_view,
        )  # it makes views, so it imports this module

        view = masked_view(view)
    return Draw(task, seed, view, target, rows, streams[2], charged_rows)


def declared_grid(task: Task, experiment: Experiment) -> np.ndarray | None:
    """The grid that an experiment's candidates are, float64 [n, n_coordinates], or None
    where they are its rows.
    """
    return (
        None
        if task.setting == "pool-visible" or experiment.family in ALWAYS_LISTED
        else experiment.space.grid
    )


def _charged(
    task: Task, table: OutcomeTable, seed: int
) -> tuple[tuple[ChargedTable, ...], tuple[np.ndarray, ...]]:
    """Charged experiments and their rows in play; a stream of its own for each, so that
    one more changes no other.
    """
    found = []
    flops = table.experiments[table.index(task.target)].compute_flops
    for experiment_id in task.charged:
        e = table.index(experiment_id)
        stream = np.random.SeedSequence(
            [seed, _stable_int(task.task_id), _stable_int(experiment_id)]
        )
        rows = _subset(np.random.default_rng(stream), len(table.points[e]))
        here = table.experiments[e]
        if here.compute_flops >= flops:
            raise EpisodeError(
                f"{task.task_id}: a run of {here.label} takes {here.compute_flops:.3g} "
                f"FLOPs, one of the target {flops:.3g}. "
                "Fix: charge cheaper experiments only."
            )
        grid = declared_grid(task, here)
        found.append(
            (
                ChargedTable(
                    experiment_id,
                    here.z,
                    table.points[e][rows] if grid is None else grid,
                    here.compute_flops / flops,
                ),
                rows,
            )
        )
    found.sort(key=lambda pair: (pair[0].cost, pair[0].experiment_id))
    return tuple(shown for shown, _ in found), tuple(rows for _, rows in found)


def _check_curves(task: Task, table: OutcomeTable) -> None:
    for experiment_id in (task.target, *task.charged) if task.pausable else ():
        here = table.experiments[table.index(experiment_id)]
        if here.signal is None:
            raise EpisodeError(
                f"{task.task_id}: runs may be paused, and {here.label} has no learning "
                f"curves in snapshot {table.table_id}. "
                "Fix: name a [signal] that its runs log in the mapping of "
                f"{here.source}, and ingest again; or set pausable to false."
            )


def target_rows(task: Task, table: OutcomeTable, seed: int) -> np.ndarray:
    """Rows of the target that a draw puts in play, ascending ids within its table,
    int64 [n_rows].

    Raises:
        UnknownNameError: no such target or metric. EpisodeError: no row is feasible.
    """
    rows = feasible_rows(task, table)
    return (
        rows[_subset(np.random.default_rng(_streams(task, seed)[1]), len(rows))]
        if task.target_rows == "redraw"
        else rows
    )


def feasible_rows(task: Task, table: OutcomeTable) -> np.ndarray:
    """Rows of the target that keep the task's constraints, ascending ids, int64.

    Raises:
        UnknownNameError: no such target or metric. EpisodeError: there is none.
    """
    target = table.index(task.target)
    feasible = np.ones(len(table.points[target]), dtype=bool)
    for constraint in task.constraints:
        feasible &= constraint.holds(table.metric(target, constraint.metric))
    if not feasible.any():
        label = table.experiments[target].label
        raise EpisodeError(
            f"{task.task_id}: no row of {label} keeps "
            f"{', '.join(map(str, task.constraints))}. Fix: widen the constraint."
        )
    return np.flatnonzero(feasible)


def rows_to_snap_to(task: Task, table: OutcomeTable, rows: np.ndarray) -> np.ndarray:
    """`rows` in play and, so that a proposal is not moved across a constraint unseen,
    all infeasible ones; ascending ids, int64.
    """
    if not task.constraints:
        return rows
    n = len(table.points[table.index(task.target)])
    return np.union1d(rows, np.setdiff1d(np.arange(n), feasible_rows(task, table)))


def _streams(task: Task, seed: int) -> list[np.random.SeedSequence]:
    """Streams of the evidence, of the target and of the policy."""
    return np.random.SeedSequence([seed, _stable_int(task.task_id)]).spawn(3)


def _subset(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.sort(rng.choice(n, size=max(1, round(KEEP * n)), replace=False))


def _stable_int(text: str) -> int:
    """64 bits of a sha256: Python's own hash differs between processes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
