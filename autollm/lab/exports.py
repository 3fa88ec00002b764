"""Recorded runs, written again in the formats of logging tools; each file is written by
the tool's own package.

    trainer-state  RUN/checkpoint-STEP/trainer_state.json, by transformers.TrainerState
    mlflow         mlflow.db, one experiment, a run each, by MLflow's tracking client
    tensorboard    RUN/events.out.tfevents.*, by torch.utils.tensorboard
    wandb          wandb/offline-run-*/run-RUN.wandb, by wandb, offline
    csv            runs.csv, one row a run, as a table made by hand

Metrics keep the names and steps of the raw log; `tokens` stands among them, what a run
ended with is named `eval_...` and stands at the last step. What a tool cannot hold is
lost as it is lost to its users: TensorBoard keeps 32 bits, a trainer state no clock,
wandb its own clock. Invariant: the runs of a tool appear together, or not at all.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autollm.core.errors import RecordError, UnknownNameError
from autollm.core.extras import require
from autollm.core.records import Record, RunEnd, RunHeader, RunStep, flat

FINAL = "eval_"
"""Prefix of a run's final metrics, as Hugging Face's Trainer names evaluations."""
Point = tuple[int, float, dict[str, float]]
"""Step, seconds since 1970, values by metric."""


@dataclass(frozen=True)
class Replay:
    """A recorded run in the words of trackers. `params` are flat; `points` are in the
    order of the log.
    """

    run_id: str
    source: str
    params: dict[str, Any]
    tags: dict[str, str]
    points: list[Point] = field(hash=False)
    started_s: float
    failed: bool

    @property
    def last_step(self) -> int:
        return self.points[-1][0] if self.points else 0

    @property
    def ended_s(self) -> float:
        return self.points[-1][1] if self.points else self.started_s


def replay_of(records: Sequence[Record]) -> Replay:
    """A raw log as a Replay.

    Raises:
        RecordError: it has no header or no end.
    """
    head = next((r for r in records if isinstance(r, RunHeader)), None)
    end = next((r for r in records if isinstance(r, RunEnd)), None)
    if head is None or end is None:
        raise RecordError(
            f"the log of {head.run_id if head else 'a run'} has no "
            f"{'end' if head else 'header'}. Fix: train it again."
        )
    started = (
        datetime.fromisoformat(head.created_at).timestamp()
        if head.created_at
        else 0.0
    )
    points: list[Point] = []
    for step in (r for r in records if isinstance(r, RunStep)):
        tokens = {} if step.tokens is None else {"tokens": step.tokens}
        points.append(
            (
                step.step,
                started + (step.wall_time_s or 0.0),
                {**step.metrics, **tokens},
            )
        )
    final = {f"{FINAL}{name}": value for name, value in end.final.items()}
    if final:
        last = points[-1] if points else (0, started, {})
        points.append((last[0], last[1], final))
    params = flat(
        {"config": head.config, "fidelity": head.fidelity, "model": head.model}
    ) | {"seed": head.seed}
    tags = {
        "source": head.source,
        "family": head.family,
        "status": end.status,
        "reason": end.reason,
        "data_sha256": str(head.data.get("sha256", "")),
    }
    return Replay(
        head.run_id,
        head.source,
        params,
        tags,
        points,
        started,
        end.status == "failed",
    )


def export(
    runs: Sequence[Sequence[Record]], tools: Sequence[str], out_dir: Path
) -> list[Path]:
    """Write raw logs through each tool into `out_dir`/<tool>; returns those folders.

    Raises:
        UnknownNameError: no such tool. SetupError: its package is not installed.
            RecordError: a log is not whole, or the folder is there.
    """
    tools = list(dict.fromkeys(tools))
    for tool in tools:
        if tool not in WRITERS:
            raise UnknownNameError("tool", tool, WRITERS)
        require(NEEDS[tool], f"writing as {tool}")
        if (out_dir / tool).exists():
            raise RecordError(
                f"{out_dir / tool} is there already. Fix: name another folder with "
                "--out, or delete it."
            )
    replays = [replay_of(records) for records in runs]
    for tool in tools:
        writing = out_dir / f".{tool}.writing"
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        WRITERS[tool](replays, writing)
        writing.rename(out_dir / tool)
    return [out_dir / tool for tool in tools]


def _trainer_state(runs: Sequence[Replay], folder: Path) -> None:
    from transformers import TrainerState

    for run in runs:
        history = [
            {**values, "epoch": step / max(run.last_step, 1), "step": step}
            for step, _, values in run.points
        ]
        state = TrainerState(
            epoch=1.0,
            global_step=run.last_step,
            max_steps=run.last_step,
            num_train_epochs=1,
            log_history=history,
            trial_name=run.run_id,
            trial_params=run.params,
        )
        place = folder / run.run_id / f"checkpoint-{run.last_step}"
        place.mkdir(parents=True)
        state.save_to_json(str(place / "trainer_state.json"))


def _mlflow(runs: Sequence[Replay], folder: Path) -> None:
    from autollm.tracking import RunWriter  # the one package that knows MLflow

    database = folder.resolve() / "mlflow.db"
    for run in runs:
        RunWriter(database, run.source).write(
            run.run_id,
            run.params,
            run.tags,
            run.points,
            run.started_s,
            run.ended_s,
            failed=run.failed,
        )


def _tensorboard(runs: Sequence[Replay], folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        with SummaryWriter(str(folder / run.run_id)) as writer:
            writer.add_text(
                "params", json.dumps(run.params), 0, walltime=run.started_s
            )
            for step, at_s, values in run.points:
                for name, value in values.items():
                    writer.add_scalar(name, value, step, walltime=at_s)


def _wandb(runs: Sequence[Replay], folder: Path) -> None:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    # Neither the machine nor its user belongs into a log that may be shown to others.
    settings = wandb.Settings(
        silent=True,
        console="off",
        host="",
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
    )
    for run in runs:
        with wandb.init(
            mode="offline",
            dir=str(folder),
            project=run.source.replace("/", "-"),
            id=run.run_id,
            name=run.run_id,
            config={**run.params, **run.tags},
            settings=settings,
            reinit="finish_previous",
        ) as open_run:
            for step, _, values in run.points:
                open_run.log(values, step=step)
            open_run.finish(exit_code=int(run.failed))
    wandb.teardown()  # a short run's file was empty until the process that writes it had ended


def _csv(runs: Sequence[Replay], folder: Path) -> None:
    """One row a run: settings, fidelity, seed, how it ended, and with what."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {
            "run_id": run.run_id,
            "status": run.tags["status"],
        }
        for name, value in run.params.items():
            kind, _, plain = name.partition(".")
            if kind != "model":
                row[plain or kind] = value
        for name, value in run.points[-1][2].items() if run.points else ():
            if name.startswith(FINAL):
                row[name.removeprefix(FINAL)] = value
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "runs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


WRITERS: dict[str, Callable[[Sequence[Replay], Path], None]] = {
    "trainer-state": _trainer_state,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "csv": _csv,
}
NEEDS = {
    "trainer-state": ("transformers",),
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "csv": (),
}
"""Packages of each tool."""
