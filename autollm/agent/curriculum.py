"""Which episodes an agent trains on: recorded train-split targets with subsampled
evidence, and generated landscapes.

An episode is named by plain data (a row), so that a data set, a GRPO group and a
restarted process open the same one. Invariant: every recorded target comes from a train
split and is not held out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from autollm.agent.landscapes import Landscape, make_landscape
from autollm.agent.provenance import assert_no_held_out
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.episode import Episode, start
from autollm.gym.tasks.suites import load_suite
from autollm.gym.tasks.task import Task

Row = dict[str, Any]
GENERATED_FROM = 3_000_000
"""First landscape seed of SFT and RL; pre-training uses those below, validation those
from 2e9.
"""


def train_tasks(
    suites: Sequence[str], table: OutcomeTable, split: str = "train"
) -> list[Task]:
    """Tasks of a split that the table can play.

    Raises:
        CheckpointError: a target is held out.
    """
    tasks = []
    for suite in suites:
        tasks += load_suite(suite, table).split(split)
    recorded = {e.experiment_id for e in table.experiments}
    where = f"the {split} split of {', '.join(suites)}"
    assert_no_held_out((t.target for t in tasks), where, table)
    return [t for t in tasks if {t.target, *t.evidence} <= recorded]


def recorded_row(
    tasks: Sequence[Task], rng: np.random.Generator, trials: int
) -> Row:
    """A training task with a random part of its evidence, masked one time in four."""
    task = tasks[int(rng.integers(len(tasks)))]
    evidence = [e for e in task.evidence if rng.random() < 0.7] or [
        task.evidence[int(rng.integers(len(task.evidence)))]
    ]
    return {
        "landscape": -1,
        "task_id": task.task_id,
        "evidence": ",".join(evidence),
        "masked": bool(rng.random() < 0.25),
        "seed": int(rng.integers(2**31)),
        "trials": trials,
    }


def generated_row(rng: np.random.Generator, trials: int) -> Row:
    """The row of a generated landscape."""
    seed = GENERATED_FROM + int(rng.integers(2**30))
    return {
        "landscape": seed,
        "task_id": "",
        "evidence": "",
        "masked": False,
        "seed": seed,
        "trials": trials,
    }


def episode_opener(
    tasks: Sequence[Task], table: OutcomeTable
) -> Callable[..., Episode]:
    """`open_episode(**row)` for TextEnv; other columns of a data set are ignored."""
    by_id = {t.task_id: t for t in tasks}

    def open_episode(
        landscape: int,
        task_id: str,
        evidence: str,
        masked: bool,
        seed: int,
        trials: int,
        **_: Any,
    ) -> Episode:
        if landscape >= 0:
            generated = _landscape(landscape)
            return start(
                generated.task.with_(trials=trials), generated.table, seed
            )
        task = by_id[task_id].with_(
            evidence=tuple(evidence.split(",")), masked=masked, trials=trials
        )
        return start(task, table, seed)

    return open_episode


@lru_cache(maxsize=512)
def _landscape(seed: int) -> Landscape:
    return make_landscape(seed)
