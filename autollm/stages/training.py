"""Training stages, run in a process of their own: simulate, distil, play. Imports torch
when called, tracks in MLflow.

Invariant: work whose identity is done is not repeated, and one process at a time works
on an identity.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autollm.agent.trajectories import (
    TrajectorySet,
    load_trajectories,
    simulate_trajectories,
)
from autollm.core.errors import CheckpointError
from autollm.core.identity import checkpoint_digest
from autollm.core.locks import hold
from autollm.core.places import Places
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from autollm.stages import agents
from autollm.stages.agents import SFT, Done, Work, resolved
from autollm.stages.settings import Settings
from autollm.stages.steps_log import StepLog
from autollm.stages.version import commit

if TYPE_CHECKING:
    from autollm.tracking import DataUsed

log = logging.getLogger(__name__)
WAIT_S = 10.0


def make_trajectories(
    places: Places, settings: Settings
) -> tuple[TrajectorySet, bool]:
    """The trajectories of this configuration and the published snapshot, and whether
    they had to be made.
    """
    table = open_snapshot(places.home)
    folder = agents.trajectories_folder(places, settings, table)
    with hold(
        places.locks / f"{folder.name}.lock",
        f"the trajectories {folder.name}",
        WAIT_S,
    ):
        if (folder / "trajectories.jsonl").exists():
            try:
                return load_trajectories(folder), False
            except CheckpointError as error:
                log.warning("%s", error)
        made = simulate_trajectories(
            agents.config_of(settings), table, settings.train_suites
        )
        made.save(folder)
        return made, True


def train(
    places: Places,
    settings: Settings,
    stage: str,
    tags: Mapping[str, str] | None = None,
) -> Done:
    """Train a stage (sft or sft-rl), or return its result where it was trained before.
    Interrupted training goes on where it stopped.

    Raises:
        BusyError: another process works on the same identity. CheckpointError: see the
            stages.
    """
    work = agents.work_of(places, settings, stage)
    with hold(
        places.locks / f"train-{work.identity}.lock",
        f"the training {stage} {work.identity}",
        WAIT_S,
    ):
        done = agents.done_of(work)
        if done is None:
            agents.discard_damaged(work)
            done = _train(places, settings, work, tags or {})
    agents.point_to(places, settings, done)
    return done


def _train(
    places: Places, settings: Settings, work: Work, tags: Mapping[str, str]
) -> Done:
    from autollm.tracking import Tracker

    begin = time.monotonic()
    table = open_snapshot(places.home, work.table_id)
    steps = (
        work.config.sft.steps
        if work.stage == SFT
        else work.config.grpo.steps * work.config.grpo.iterations
    )
    params = {
        **resolved(work.stage, work.config),
        "table_id": work.table_id,
        "stage": work.stage,
    }
    name = f"agent-{settings.profile}-{work.stage}"
    all_tags = {
        "commit": commit(),
        "stage": work.stage,
        "table_id": work.table_id,
        **tags,
    }
    with Tracker(places).run(
        "training",
        work.identity,
        name,
        params,
        all_tags,
        _data(places, settings, work, table),
        steps,
    ) as run:
        logs = (run, StepLog(name, steps))
        for step, metrics in numbers_before(work.out / "metrics.jsonl"):
            run.log(metrics, step)
        final = _run_stage(places, settings, work, table, logs)
        digest = checkpoint_digest(final)
        seconds = time.monotonic() - begin
        metrics = {f"last_{k}": v for k, v in logs[1].last.items()}
        run.final({"seconds": seconds})
        run.checkpoint(final, digest)
    done = Done(
        work.stage,
        work.identity,
        agents.relative(places, final),
        digest,
        run.run_id,
        run.experiment_id,
        seconds,
        metrics,
    )
    agents.record_done(work, done)
    return done


def numbers_before(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps and numbers that an interrupted process wrote beside its checkpoints; it
    may have been killed before it sent them to MLflow.
    """
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            metrics = json.loads(line)
        except json.JSONDecodeError:  # cut off by the kill
            continue
        yield int(metrics.pop("step")), metrics


def _run_stage(
    places: Places,
    settings: Settings,
    work: Work,
    table: OutcomeTable,
    logs: tuple[Any, ...],
) -> Path:
    work.out.mkdir(parents=True, exist_ok=True)
    if work.stage == SFT:
        from autollm.agent.sft import train_sft

        trajectories, _ = make_trajectories(places, settings)
        return train_sft(work.config, trajectories, work.base, work.out, logs)
    from autollm.agent.grpo import train_grpo

    return train_grpo(
        work.config, table, work.base, work.out, logs, settings.train_suites
    )


def _data(
    places: Places, settings: Settings, work: Work, table: OutcomeTable
) -> list[DataUsed]:
    from autollm.tracking import DataUsed

    facts = {
        "experiments": len(table.experiments),
        "outcomes": int(table.offsets[-1]),
    }
    used = [
        DataUsed(
            "snapshot",
            table.table_id,
            f"{places.snapshots}/{table.table_id}",
            facts,
        )
    ]
    if work.stage == SFT:
        trajectories, _ = make_trajectories(places, settings)
        folder = agents.trajectories_folder(places, settings, table)
        used.append(
            DataUsed(
                "trajectories",
                trajectories.metadata["digest"],
                str(folder),
                trajectories.metadata["counts"],
            )
        )
    return used
