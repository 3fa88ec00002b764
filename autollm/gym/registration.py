"""Suites as environments of gymnasium: `gymnasium.make("autollm/<suite id>")`.

The snapshot is that of the home where it holds the suite's experiments, else the one
that ships with the lab's runs, so that lab suites play right after installation.

Invariant: registering opens no file and no snapshot.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gymnasium

from autollm.core.errors import EpisodeError, SnapshotError
from autollm.core.files import is_local
from autollm.core.places import SHIPPED_GYM
from autollm.gym.tasks.suite_files import suite_files

NAMESPACE = "autollm"


def register_suites(home: str | None = None) -> None:
    """Register all suites; those of a home that lies elsewhere (an object store) only
    where `home` names it, since listing it takes the network.
    """
    if home is None and not is_local(os.environ.get("AUTOLLM_HOME", "var")):
        home = str(SHIPPED_GYM)  # it has no suites of its own
    for suite_id in suite_files(home):
        env_id = f"{NAMESPACE}/{suite_id}"
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point="autollm.gym.registration:make_env",
                vector_entry_point="autollm.gym.registration:make_vector_env",
                kwargs={"suite": suite_id},
            )


def make_env(
    suite: str,
    split: str = "",
    task: int | str = 0,
    home: str | None = None,
    **changes: Any,
) -> gymnasium.Env:
    """One task of a suite as a gymnasium environment.

    Args:
        suite: its id; with `-masked`, without names and units.
        split: train, validation or test; empty: all of the suite's tasks.
        task: the number of a task within the split, or its id.
        home: where to look for a snapshot first; default AUTOLLM_HOME, else ./var.
        changes: fields of the task, such as setting="pool-visible" or trials=10.

    Raises:
        UnknownNameError: no such suite. SnapshotError: no snapshot holds it.
        EpisodeError: no such task.
    """
    from autollm.gym.environments.scalar import LLMConfigEnv

    tasks, table = tasks_of(suite, split, home)
    ids = [t.task_id for t in tasks]
    number = ids.index(task) if task in ids else task
    if not isinstance(number, int) or not 0 <= number < len(tasks):
        raise EpisodeError(
            f"suite {suite} has no task {task!r} in split {split or 'any'!r}, expected a "
            f"number below {len(tasks)} or one of: {', '.join(ids)}."
        )
    return LLMConfigEnv(tasks[number].with_(**changes), table)


def make_vector_env(
    suite: str,
    num_envs: int = 1,
    split: str = "",
    home: str | None = None,
    **changes: Any,
) -> gymnasium.vector.VectorEnv:
    """The tasks of a suite in turn, `num_envs` at once; see `make_env`."""
    from autollm.gym.environments.vector import LLMConfigVectorEnv

    tasks, table = tasks_of(suite, split, home)
    chosen = [tasks[i % len(tasks)].with_(**changes) for i in range(num_envs)]
    return LLMConfigVectorEnv(chosen, table)


def tasks_of(
    suite: str, split: str, home: str | None
) -> tuple[Sequence[Any], Any]:
    """The tasks of a suite's split, and the table that holds their experiments."""
    from autollm.gym.tables.snapshot import open_snapshot, published_id
    from autollm.gym.tasks.suites import load_suite

    lacking = {}
    for place in (
        home or os.environ.get("AUTOLLM_HOME") or "var",
        str(SHIPPED_GYM),
    ):
        if published_id(place) is None:
            continue
        table = open_snapshot(place)
        loaded = load_suite(suite, table, home)
        tasks = loaded.split(split) if split else loaded.tasks
        if not tasks:
            raise EpisodeError(
                f"suite {suite} has no tasks in split {split!r}."
            )
        missing = loaded.missing(table)
        if not missing:
            return tasks, table
        lacking[place] = missing
    load_suite(suite, home=home)  # an unknown name is said before what lacks
    reasons = "; ".join(
        f"{place} lacks {len(missing)}, such as {missing[0]}"
        for place, missing in lacking.items()
    )
    raise SnapshotError(
        f"no snapshot holds the experiments of suite {suite} ({reasons or 'none is there'}). "
        "Fix: land its source (autollm sources fetch, autollm ingest), then autollm run "
        "--to published_snapshot."
    )
