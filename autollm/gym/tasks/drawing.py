"""What a seed makes of a task: which rows are in play, and the view that a policy gets.

80 % of every evidence table's rows and, unless told otherwise, of the target's feasible
ones. Of a masked task the view has no names and units (masking.py).

Invariant: a view holds no outcome of the target, and in the `declared` setting not even
the target's rows, unless its space has no grid or it is of a family in ALWAYS_LISTED.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from autollm.core.errors import EpisodeError, SealedError
from autollm.gym.tables.outcome_table import Experiment, OutcomeTable
from autollm.gym.tasks.masking import masked_view
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.view import ChargedTable, EvidenceTable, TaskView

ALWAYS_LISTED = ("architecture",)
"""Families whose configurations are listed in every setting: few points of their grids
were ever built. So are those of spaces without a grid.
"""
KEEP = 0.8
"""Share of a table's rows that a seed keeps."""


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
        EpisodeError: no row of the target is feasible, a charged experiment is as
            expensive as the target, or runs may be paused and an experiment has no
            curves.
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
        task.pausable,
        experiment.context,
    )
    if task.masked:
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
    tables = []
    flops = table.experiments[table.index(task.target)].compute_flops
    for experiment_id in task.charged:
        e = table.index(experiment_id)
        stream = np.random.SeedSequence(
            [seed, _stable_int(task.task_id), _stable_int(experiment_id)]
        )
        rows = _subset(np.random.default_rng(stream), len(table.points[e]))
        cheap = table.experiments[e]
        if cheap.compute_flops >= flops:
            raise EpisodeError(
                f"{task.task_id}: a run of {cheap.label} takes {cheap.compute_flops:.3g} "
                f"FLOPs, one of the target {flops:.3g}. "
                "Fix: charge cheaper experiments only."
            )
        grid = declared_grid(task, cheap)
        tables.append(
            (
                ChargedTable(
                    experiment_id,
                    cheap.z,
                    table.points[e][rows] if grid is None else grid,
                    cheap.compute_flops / flops,
                ),
                rows,
            )
        )
    tables.sort(key=lambda pair: (pair[0].cost, pair[0].experiment_id))
    shown = tuple(table for table, _ in tables)
    return shown, tuple(rows for _, rows in tables)


def _check_curves(task: Task, table: OutcomeTable) -> None:
    for experiment_id in (task.target, *task.charged) if task.pausable else ():
        described = table.experiments[table.index(experiment_id)]
        if described.signal is None:
            raise EpisodeError(
                f"{task.task_id}: runs may be paused, and {described.label} has no learning "
                f"curves in snapshot {table.table_id}. "
                "Fix: name a [signal] that its runs log in the mapping of "
                f"{described.source}, and ingest again; or set pausable to false."
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
        SealedError: the task is sealed.
    """
    if task.sealed:
        raise SealedError(
            f"{task.task_id} is sealed: only an evaluation that says why may play it. "
            f'Fix: autollm evaluate --suite {task.suite_id} --open-sealed "reason".'
        )
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


def rows_to_snap_to(
    task: Task, table: OutcomeTable, rows: np.ndarray
) -> np.ndarray:
    """`rows` in play and, so that a proposal is not moved across a constraint unseen,
    all infeasible ones; ascending ids, int64.
    """
    if not task.constraints:
        return rows
    n = len(table.points[table.index(task.target)])
    return np.union1d(
        rows, np.setdiff1d(np.arange(n), feasible_rows(task, table))
    )


def _streams(task: Task, seed: int) -> list[np.random.SeedSequence]:
    """Streams of the evidence, of the target and of the policy."""
    return np.random.SeedSequence([seed, _stable_int(task.task_id)]).spawn(3)


def _subset(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.sort(rng.choice(n, size=max(1, round(KEEP * n)), replace=False))


def _stable_int(text: str) -> int:
    """64 bits of a sha256, since Python's own hash differs between processes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
