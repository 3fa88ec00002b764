"""The trained agents of a home: which checkpoint each stage of a profile has, and the
work that would make it.

    <home>/checkpoints/<stage>-<identity>/final      the checkpoint
                                         /done.json  what making it gave; written last
    <home>/checkpoints/agents-<profile>.json         pointer: stage -> checkpoint

Invariants: `done.json` exists only for work that is whole, tracked and closed; whatever
could change the weights changes the identity of their training.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autollm.agent.checkpoint_files import check_files, read_metadata
from autollm.agent.curriculum import train_tasks
from autollm.agent.profiles import TrainConfig, load_profile
from autollm.core.errors import CheckpointError
from autollm.core.identity import checkpoint_digest, code_digest, identity_of
from autollm.core.places import Places
from autollm.core.sealed import read_sealed, write_sealed
from autollm.gym.environments.text import tool_texts
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from autollm.policies.registry import REGISTRY
from autollm.stages.settings import Settings

log = logging.getLogger(__name__)
BASE = "base"
SFT = "sft"
SFT_RL = "sft-rl"
RL = "rl"
"""Reinforcement learning from the base checkpoint, without distillation: an ablation,
trained only where the settings' stages name it.
"""
SCHEMA = 1
REWRITTEN = "autollm run, which finds the trained stages and writes it anew."
CODE = {
    SFT: "autollm.agent.sft",
    SFT_RL: "autollm.agent.grpo",
    RL: "autollm.agent.grpo",
}
"""The module that trains a stage."""
TRAJECTORIES = "autollm.agent.trajectories"
SECTIONS = ("sft", "grpo", "generation")
SECTIONS_OF = {SFT: ("sft",), SFT_RL: ("sft", "grpo"), RL: ("grpo",)}
"""Sections of a configuration that a stage depends on. A field outside all sections
concerns every stage.
"""


@dataclass(frozen=True)
class Work:
    """One stage of one training: what it starts from, where its result goes, and the
    identity of both together.
    """

    stage: str
    identity: str
    config: TrainConfig
    table_id: str
    base: str
    out: Path

    @property
    def final(self) -> Path:
        return self.out / "final"


@dataclass(frozen=True)
class Done:
    """What a finished stage gave. `checkpoint` is relative to the home, `mlflow_run`
    the run's id.
    """

    stage: str
    identity: str
    checkpoint: str
    digest: str
    mlflow_run: str
    mlflow_experiment: str
    seconds: float
    metrics: dict[str, float]

    @property
    def facts(self) -> dict[str, Any]:
        """What a person wants to see of it."""
        run = f"experiments/{self.mlflow_experiment}/runs/{self.mlflow_run}"
        return {
            "identity": self.identity,
            "checkpoint": self.checkpoint,
            "digest": self.digest,
            "seconds": self.seconds,
            "mlflow": f"#/{run}",
        }


@dataclass(frozen=True)
class Agent:
    """A checkpoint that can play, by its policy id. `reference`: what names it on a
    command line where its id does not. `training`: which of several trainings of one
    agent it is, from 1; 0 where there is one.
    """

    policy_id: str
    stage: str
    folder: Path
    digest: str
    reference: str = ""
    mlflow_run: str = ""
    training: int = 0


def config_of(settings: Settings) -> TrainConfig:
    """The resolved training configuration.

    Raises:
        UnknownNameError: no such profile. pydantic.ValidationError: an unknown field or
            a wrong value.
    """
    return load_profile(
        settings.profile, **{"seed": settings.seed, **settings.training}
    )


def resolved(stage: str, config: TrainConfig) -> dict[str, Any]:
    """The part of a configuration that decides a stage's outcome (its seed included)."""
    left_out = set(SECTIONS) - set(SECTIONS_OF[stage])
    return config.model_dump(mode="json", exclude=left_out)


def trajectories_identity(settings: Settings, table: OutcomeTable) -> str:
    """16 hex digits over all that the trajectories depend on: how many of which kind,
    the tasks and rows that are played, and the code of the plays, their teacher's
    included.
    """
    config = config_of(settings)
    return identity_of(
        {
            "conversations": config.sft.n_conversations,
            "practice_share": config.sft.practice_share,
            "seed": config.seed,
            "data": _data_read(settings, table),
            "code": code_digest([TRAJECTORIES], REGISTRY),
        }
    )


def trajectories_folder(
    places: Places, settings: Settings, table: OutcomeTable
) -> Path:
    """Where the trajectories of this configuration and snapshot lie."""
    identity = trajectories_identity(settings, table)
    return places.checkpoints / f"trajectories-{identity}"


def training_identity(
    settings: Settings, table: OutcomeTable, stage: str, base: str
) -> str:
    """16 hex digits that name the work of one stage (contracts.md, Places and
    commands). `base`: folder or hub id that it starts from.
    """
    data = (
        trajectories_identity(settings, table)
        if stage == SFT
        else _data_read(settings, table)
    )
    return identity_of(
        {
            "stage": stage,
            "config": resolved(stage, config_of(settings)),
            "base": checkpoint_digest(base),
            "data": data,
            "tools": tool_texts(),
            "torch": version("torch"),
            "trl": version("trl"),
            "code": code_digest([CODE[stage]], REGISTRY),
        }
    )


def _data_read(settings: Settings, table: OutcomeTable) -> dict[str, Any]:
    """Training tasks by value, and the digest of the rows that they show."""
    tasks = train_tasks(settings.train_suites, table)
    experiments = sorted({e for t in tasks for e in (t.target, *t.evidence)})
    return {
        "tasks": [dataclasses.asdict(task) for task in tasks],
        "rows": table.digest(experiments),
    }


def work_of(places: Places, settings: Settings, stage: str) -> Work:
    """What has to be done for a stage on the published snapshot.

    Raises:
        SnapshotError: none is published, or it is damaged. CheckpointError: the stage
            before is not finished.
    """
    return work_on(open_snapshot(places.home), places, settings, stage)


def work_on(
    table: OutcomeTable, places: Places, settings: Settings, stage: str
) -> Work:
    """As `work_of`, on an opened snapshot.

    Raises:
        CheckpointError: the stage before is not finished.
    """
    config = config_of(settings)
    base = config.base_path
    if stage == SFT_RL:
        base = str(work_on(table, places, settings, SFT).final)
        if Path(base).exists():
            check_files(base)
    if not Path(base).exists() and stage == SFT_RL:
        raise CheckpointError(
            f"{base} is missing: the stage {SFT} of this configuration is not "
            "finished. Fix: materialize agent_sft first."
        )
    identity = training_identity(settings, table, stage, base)
    out = places.checkpoints / f"{stage}-{identity}"
    return Work(stage, identity, config, table.table_id, base, out)


def done_of(work: Work) -> Done | None:
    """The result of finished work; None when it is still to be done."""
    path = work.out / "done.json"
    if not path.exists() or not work.final.exists():
        return None
    try:
        done = Done(**read_sealed(str(path), CheckpointError, REWRITTEN))
        check_files(work.final, done.digest)
    except (CheckpointError, TypeError):
        return None
    return done


def done_stage(places: Places, settings: Settings, stage: str) -> Done | None:
    """The result of a stage on the published snapshot; None while it, or the stage
    before it, is still to be trained.

    Raises:
        SnapshotError: none is published, or it is damaged.
    """
    try:
        return done_of(work_of(places, settings, stage))
    except CheckpointError:
        return None


def discard_damaged(work: Work) -> None:
    """Remove a finished stage whose files are not those that were saved: training would
    otherwise take it for done.
    """
    if not work.final.exists():
        return
    try:
        check_files(work.final)
        if (work.out / "done.json").exists():
            read_sealed(str(work.out / "done.json"), CheckpointError, REWRITTEN)
    except CheckpointError as error:
        log.warning(
            "%s. It is trained again.", str(error).partition(". Fix:")[0]
        )
        shutil.rmtree(work.out)


def record_done(work: Work, done: Done) -> None:
    write_sealed(str(work.out / "done.json"), dataclasses.asdict(done))


def point_to(places: Places, settings: Settings, done: Done) -> None:
    """Make a finished stage the current one of its profile."""
    path = _pointer(places, settings.profile)
    try:
        stages = read_pointer(path)
    except (
        CheckpointError
    ):  # damaged: every stage of the run writes its own entry
        stages = {}
    stages[done.stage] = {
        "checkpoint": done.checkpoint,
        "digest": done.digest,
        "identity": done.identity,
        "mlflow_run": done.mlflow_run,
    }
    fields = {"schema": SCHEMA, "profile": settings.profile, "stages": stages}
    write_sealed(str(path), fields)


def current_agents(places: Places, settings: Settings) -> list[Agent]:
    """The agents that evaluations score: the base checkpoint and the newest training of
    every stage, as far as they exist.

    Raises:
        CheckpointError: the pointer is damaged.
    """
    config = config_of(settings)
    agents: dict[str, Agent] = {}
    if Path(config.base_path).exists():
        agents[BASE] = Agent(
            f"agent-{settings.profile}-{BASE}",
            BASE,
            Path(config.base_path),
            checkpoint_digest(config.base_path),
        )
    for stage, entry in read_pointer(
        _pointer(places, settings.profile)
    ).items():
        folder = places.local / entry["checkpoint"]
        if folder.exists():
            agents[stage] = Agent(
                f"agent-{settings.profile}-{stage}",
                stage,
                folder,
                entry["digest"],
                mlflow_run=entry["mlflow_run"],
            )
    return [agents[stage] for stage in settings.stages if stage in agents]


def named_agent(
    policy_id: str, folder: Path, stage: str | None = None, reference: str = ""
) -> Agent:
    """A checkpoint folder as an agent; its stage is what its metadata says.

    Raises:
        CheckpointError: no checkpoint there.
    """
    if not (folder / "config.json").exists():
        raise CheckpointError(
            f"{folder} is no checkpoint: config.json is missing. "
            "Expected a folder with config.json, *.safetensors and a tokenizer."
        )
    chosen = stage or read_metadata(folder).get("stage") or BASE
    return Agent(
        policy_id, chosen, folder, checkpoint_digest(folder), reference
    )


def relative(places: Places, path: Path) -> str:
    return Path(os.path.relpath(path, places.local)).as_posix()


def _pointer(places: Places, profile: str) -> Path:
    return places.checkpoints / f"agents-{profile}.json"


def read_pointer(path: Path) -> dict[str, Any]:
    """stage -> checkpoint, digest, identity and MLflow run.

    Raises:
        CheckpointError: damaged, or a newer version wrote it.
    """
    if not path.exists():
        return {}
    fields = read_sealed(str(path), CheckpointError, REWRITTEN, SCHEMA)
    stages = fields.get("stages")
    if not isinstance(stages, dict):
        raise CheckpointError(f"{path} is damaged: no stages. Fix: {REWRITTEN}")
    return stages
