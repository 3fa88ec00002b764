"""What is possible: random's exact expectation, the smoothed oracle, and what luck
alone decides.

References to stand beside every policy, computed from the tables, without playing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import feasible_rows
from autollm.gym.tasks.regret import expected_random_regret, regret
from autollm.gym.tasks.task import Task


def bounds(
    tasks: Sequence[Task], table: OutcomeTable, ks: Sequence[int]
) -> list[dict[str, Any]]:
    """One dict a k, all target rows: k, random, oracle, noise_mean and noise_sd (see
    noise_bound).
    """
    return [
        {
            "k": k,
            "random": random_expectation(tasks, table, k),
            "oracle": smoothed_oracle(tasks, table, k),
            **dict(
                zip(
                    ("noise_mean", "noise_sd"),
                    noise_bound(tasks, table, k, np.random.default_rng(0)),
                    strict=True,
                )
            ),
        }
        for k in ks
    ]


def random_expectation(
    tasks: Sequence[Task], table: OutcomeTable, k: int
) -> float:
    """Exact expected regret of k distinct rows drawn uniformly, mean over tasks
    (pool-visible, all target rows).
    """
    return float(
        np.mean(
            [expected_random_regret(_target(t, table)[0], k) for t in tasks]
        )
    )


def smoothed_oracle(
    tasks: Sequence[Task], table: OutcomeTable, k: int
) -> float:
    """Realised regret of the first k rows in the order of the smoothed table, mean over
    tasks (all target rows).
    """
    curves = []
    for task in tasks:
        losses, surface = _target(task, table)
        order = np.argsort(surface, kind="stable")[:k]
        curves.append(regret(losses[order].min(), losses))
    return float(np.mean(curves))


def noise_bound(
    tasks: Sequence[Task],
    table: OutcomeTable,
    k: int,
    rng: np.random.Generator,
    n_redraws: int = 400,
) -> tuple[float, float]:
    """Mean and sd of the realised regret of a policy that knows the noise-free surface,
    under redrawn row noise.

    The smoothed table plays the surface; noise is what it leaves over among the better
    half of the rows. Below the mean is luck. The sd is that of the mean over these
    tasks.
    """
    means = np.zeros(n_redraws)
    for task in tasks:
        losses, surface = _target(task, table)
        noise_sd = row_noise_sd(losses, surface)
        order = np.argsort(surface, kind="stable")[:k]
        for i in range(n_redraws):
            redrawn = surface + noise_sd * rng.normal(size=len(surface))
            means[i] += regret(redrawn[order].min(), redrawn) / len(tasks)
    return float(means.mean()), float(means.std(ddof=1))


def row_noise_sd(losses: np.ndarray, surface: np.ndarray) -> float:
    """What smoothing leaves over among the better half of an experiment's rows,
    standard deviation in the objective's unit.
    """
    better = losses <= np.median(losses)
    return float(np.std((losses - surface)[better]))


def _target(task: Task, table: OutcomeTable) -> tuple[np.ndarray, np.ndarray]:
    """Losses and smoothed losses of the target's feasible rows, [n] each, for the
    task's objective.
    """
    target = table.index(task.target)
    rows = feasible_rows(task, table)
    losses = table.losses(target, task.objective)[rows]
    smoothed = np.asarray(table.latent(target, task.objective))[rows]
    return losses, smoothed
