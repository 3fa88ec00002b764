"""The outcome of each candidate of a drawn target, as arrays: the part of an episode
that needs no search and no text.

Both array environments are views of this: the scalar one reads it cell by cell, the
vector one gathers. Invariant: equal to what `Episode.run_candidate` gives for the same
(task, seed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.core.errors import EpisodeError
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapping import Snapping, places_in_play
from autollm.gym.tasks.drawing import (
    declared_grid,
    rows_to_snap_to,
    target_rows,
)
from autollm.gym.tasks.regret import regret
from autollm.gym.tasks.task import Task

OK, OFF_TABLE, INFEASIBLE = range(3)
STATUSES = ("ok", "off_table", "infeasible")
"""Names of a candidate's status by its code, as Trial has them."""


@dataclass(frozen=True)
class CandidateOutcomes:
    """Rows in play: ids `rows`, `loss` and `regret` (latent, of having that row as
    incumbent), [n_rows]. Candidates: index into those `row` (-1: no outcome), snap
    `distance`, `status` code, [n_candidates].
    """

    rows: np.ndarray
    loss: np.ndarray
    regret: np.ndarray
    row: np.ndarray
    distance: np.ndarray
    status: np.ndarray


def lay_out(task: Task, table: OutcomeTable, seed: int) -> CandidateOutcomes:
    """The outcomes of all candidates of the target of (task, seed).

    Raises:
        UnknownNameError: the target is not in the table, or has no such objective or
            metric. EpisodeError: no row is feasible, or the task charges cheap
            experiments or lets runs be paused, or outcomes come from elsewhere than the
            table.
    """
    if table.make_source is not None:
        raise EpisodeError(
            f"{task.task_id} is played live, and the array environments lay out "
            "recorded outcomes. "
            "Fix: play it as an Episode or a TextEnv (gym.episode.start)."
        )
    if task.charged:
        raise EpisodeError(
            f"{task.task_id} charges {len(task.charged)} cheap experiments, and the "
            "array environments run the target alone. "
            "Fix: play it as an Episode: run(configuration, experiment=...)."
        )
    if task.pausable:
        raise EpisodeError(
            f"{task.task_id} lets runs be paused, and a step of the array environments "
            "is a whole run. "
            "Fix: play it as an Episode: run(configuration, until=...), or set "
            "pausable to false."
        )
    target = table.index(task.target)
    rows = target_rows(task, table, seed)
    latent = table.latent(target, task.objective)[rows]
    grid = declared_grid(task, table.experiments[target])
    row, distance = (
        (np.arange(len(rows)), np.zeros(len(rows)))
        if grid is None
        else _snapped(task, table, rows, grid)
    )
    status = np.where(distance > task.tolerance + 1e-9, OFF_TABLE, OK)
    status = np.where(row < 0, INFEASIBLE, status)
    return CandidateOutcomes(
        rows,
        table.losses(target, task.objective)[rows],
        np.asarray(regret(latent, latent)),
        row,
        distance,
        status,
    )


def n_candidates(task: Task, table: OutcomeTable) -> int:
    """How many candidates every draw of a task has."""
    grid = declared_grid(task, table.experiments[table.index(task.target)])
    return len(target_rows(task, table, 0)) if grid is None else len(grid)


def _snapped(
    task: Task, table: OutcomeTable, rows: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Index into `rows` (-1: the nearest row is infeasible) and snap distance of every
    grid point.
    """
    target = table.index(task.target)
    if target not in table.snappings:
        table.snappings[target] = Snapping(grid, table.points[target])
    among = rows_to_snap_to(task, table, rows)
    places, distance = table.snappings[target].among(among)
    return places_in_play(among[places], rows), distance
