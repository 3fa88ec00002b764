"""The trained agents of a home: which checkpoint each stage of a profile has, and the
work that would make it.

    <home>/checkpoints/<stage>-<identity>/final      the checkpoint
                                         /done.json  what making it gave; written last
    <home>/checkpoints/agents-<profile>.json         pointer: stage -> checkpoint

What does not belong here: torch. Invariant: `done.json` exists only for work that is
whole, tracked and closed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autollm.agent.profiles import TrainConfig, load_profile
from autollm.core.errors import CheckpointError
from autollm.core.files import write_atomic
from autollm.core.places import Places
from autollm.gym.tables.snapshot import published_id
from autollm.stages.identity import code_digest, folder_digest, identity
from autollm.stages.settings import Settings

BASE, SFT, SFT_RL = "base", "sft", "sft-rl"


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


@dataclass(frozen=True)
class Agent:
    """A checkpoint that can play, by its policy id. `reference`: what names it on a
    command line where its id does not.
    """

    policy_id: str
    stage: str
    folder: Path
    digest: str
    reference: str = ""
    mlflow_run: str = ""

    @property
    def version(self) -> str:
        """Changes with the weights and with the code that plays them."""
        return f"{self.digest}-{code_digest()[:8]}"


def config_of(settings: Settings) -> TrainConfig:
    """The resolved training configuration.

    Raises:
        UnknownNameError: no such profile. pydantic.ValidationError: an unknown field or
            a wrong value.
    """
    return load_profile(
        settings.profile, **{"seed": settings.seed, **settings.training}
    )


def trajectories_folder(places: Places, settings: Settings, table_id: str) -> Path:
    """Where the trajectories of this configuration and snapshot lie."""
    return (
        places.checkpoints
        / f"trajectories-{identity('trajectories', config_of(settings), table_id, '')}"
    )


def work_of(places: Places, settings: Settings, stage: str) -> Work:
    """What has to be done for a stage on the published snapshot.

    Raises:
        CheckpointError: no snapshot, or the stage before is not finished.
    """
    table_id = published_id(places.home)
    if table_id is None:
        raise CheckpointError(
            f"no snapshot is published under {places.home}: there is nothing to train "
            "on. Fix: autollm run."
        )
    config = config_of(settings)
    base = (
        config.base_path if stage == SFT else str(work_of(places, settings, SFT).final)
    )
    if not Path(base).exists() and stage == SFT_RL:
        raise CheckpointError(
            f"{base} is missing: the stage {SFT} of this configuration is not "
            "finished. Fix: materialize agent_sft first."
        )
    key = identity(stage, config, table_id, folder_digest(base))
    return Work(
        stage, key, config, table_id, base, places.checkpoints / f"{stage}-{key}"
    )


def done_of(work: Work) -> Done | None:
    """What finished work gave; None when it is still to do."""
    path = work.out / "done.json"
    if not path.exists() or not work.final.exists():
        return None
    return Done(**json.loads(path.read_text()))


def record_done(work: Work, done: Done) -> None:
    write_atomic(
        str(work.out / "done.json"),
        json.dumps(dataclasses.asdict(done), indent=1).encode(),
    )


def point_to(places: Places, settings: Settings, done: Done) -> None:
    """Make a finished stage the current one of its profile."""
    path = _pointer(places, settings.profile)
    stages = _read_pointer(path)
    stages[done.stage] = {
        "checkpoint": done.checkpoint,
        "digest": done.digest,
        "identity": done.identity,
        "mlflow_run": done.mlflow_run,
    }
    write_atomic(
        str(path),
        json.dumps(
            {"schema": 1, "profile": settings.profile, "stages": stages}, indent=1
        ).encode(),
    )


def current_agents(places: Places, settings: Settings) -> list[Agent]:
    """The agents that evaluations score: the base checkpoint, and every stage that was
    trained last; those that exist.
    """
    config, found = config_of(settings), {}
    if Path(config.base_path).exists():
        found[BASE] = Agent(
            f"agent-{settings.profile}-{BASE}",
            BASE,
            Path(config.base_path),
            folder_digest(config.base_path),
        )
    for stage, entry in _read_pointer(_pointer(places, settings.profile)).items():
        folder = places.local / entry["checkpoint"]
        if folder.exists():
            found[stage] = Agent(
                f"agent-{settings.profile}-{stage}",
                stage,
                folder,
                entry["digest"],
                mlflow_run=entry["mlflow_run"],
            )
    return [found[stage] for stage in settings.stages if stage in found]


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
    metadata = folder / "autollm.json"
    written = (
        json.loads(metadata.read_text()).get("stage") if metadata.exists() else None
    )
    return Agent(
        policy_id, stage or written or BASE, folder, folder_digest(folder), reference
    )


def relative(places: Places, path: Path) -> str:
    return Path(os.path.relpath(path, places.local)).as_posix()


def _pointer(places: Places, profile: str) -> Path:
    return places.checkpoints / f"agents-{profile}.json"


def _read_pointer(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["stages"] if path.exists() else {}
