"""Evidence as the files that people have: the same runs, in seven formats, with what
stands beside them in real logs.

Beside settings and outcome there are names that repeat settings, notes, users, times,
measured columns (a training loss, a gradient norm, a speed, memory), and one run in
twelve again as one that still runs, was killed or crashed, at an outcome that is no
outcome.

Invariant: a file is a function of the runs; the outcomes of finished runs are those of
the evidence, and whatever else stands there says nothing of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

FIRST = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
UNFINISHED = 12
"""Every so many runs one is there again, unfinished."""
STATES = ("running", "killed", "crashed")
STOPPED_AT = 0.4
"""Share of its schedule at which an unfinished run stands."""
PEOPLES = {
    "effective_params": "params",
    "param_budget": "params",
    "flop_budget": "flops",
}
"""Sizes that no person's file calls as a source of ours does."""
LOSS, SCORE = "val_loss", "eval_accuracy"
"""What people call an objective to be minimized, and one to be maximized."""


@dataclass(frozen=True)
class Run:
    """One run as a person's tool would know it. settings: knobs and sizes by name; a
    mixture is a dictionary. outcome: None where it has none.
    """

    name: str
    settings: dict[str, Any]
    outcome: float | None
    state: str
    begun: datetime
    seconds: float
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> datetime:
        return self.begun + timedelta(seconds=self.seconds)


def runs_of(
    evidence_runs: Sequence[Mapping[str, Any]],
) -> list[Run]:
    """Runs of stg_runs with what stands beside them in real logs, unfinished ones
    among them.
    """
    rng = np.random.default_rng(0)
    found: list[Run] = []
    for i, row in enumerate(evidence_runs):
        settings = json.loads(row["config_json"])
        settings |= peoples(json.loads(row["fidelity_json"]))
        if row["seed"] is not None:
            settings["seed"] = row["seed"]
        begun = FIRST + timedelta(minutes=7 * i)
        seconds = float(600 + 3000 * rng.random())
        outcome = row["objective_value"]
        measured = _measured(outcome, rng)
        name = _named(settings, i)
        found.append(
            Run(name, settings, outcome, "finished", begun, seconds, measured)
        )
        if i % UNFINISHED == 0:
            found.append(_unfinished(found[-1], i, row["objective_direction"]))
    return found


def peoples(
    fidelity: Mapping[str, float],
) -> dict[str, float]:
    """A size's coordinates under the names that people give them."""
    return {PEOPLES.get(name, name): value for name, value in fidelity.items()}


def _measured(
    outcome: float | None, rng: np.random.Generator
) -> dict[str, float]:
    drawn = rng.random(4)
    near = abs(outcome) if outcome is not None and np.isfinite(outcome) else 1.0
    return {
        "train_loss": round(near * (0.97 + 0.1 * drawn[0]), 5),
        "grad_norm": round(0.2 + drawn[1], 4),
        "tokens_per_second": round(2e4 * (1 + drawn[2]), 1),
        "gpu_memory_gb": round(30 + 20 * drawn[3], 2),
    }


def _unfinished(
    run: Run,
    i: int,
    direction: str,
) -> Run:
    """A run that stands at a part of its schedule, where its metric is worse than at its
    end by a quarter: whoever counts it goes wrong.
    """
    worse = 0.75 if direction == "max" else 1.25
    outcome = None if run.outcome is None else run.outcome * worse
    return Run(
        f"{run.name}-again",
        run.settings,
        outcome,
        STATES[(i // UNFINISHED) % len(STATES)],
        run.begun + timedelta(hours=3),
        run.seconds * STOPPED_AT,
        run.measured,
    )


def _named(
    settings: Mapping[str, Any],
    i: int,
) -> str:
    """`sweep-017-lr0.001`: a label that repeats a setting."""
    plain = [(k, v) for k, v in settings.items() if isinstance(v, float)]
    tail = f"-{plain[0][0][:5]}{plain[0][1]:.3g}" if plain else ""
    return f"sweep-{i:03d}{tail}"


def flat(
    settings: Mapping[str, Any],
    sign: str = "_",
) -> dict[str, Any]:
    """Settings with the parts of mixtures as columns, `mixture_code`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            for part, weight in value.items():
                found[f"{name}{sign}{part}"] = weight
        else:
            found[name] = value
    return found


def nested(
    settings: Mapping[str, Any],
    sizes: Sequence[str],
) -> dict[str, Any]:
    """Settings as a configuration tree: `model`, `train` and mixtures."""
    tree: dict[str, Any] = {"model": {}, "train": {}}
    for name, value in settings.items():
        place = "model" if name in sizes else "train"
        tree[place][name] = value
    return tree


@dataclass(frozen=True)
class Book:
    """All runs of a question. objective: the column's name; sizes: names of fidelities
    among the settings.
    """

    runs: Sequence[Run]
    objective: str
    sizes: tuple[str, ...]


def write_clean(
    book: Book,
    folder: Path,
) -> Path:
    """Settings and outcome, nothing else."""
    rows = []
    for run in book.runs:
        if run.state == "finished":
            rows.append(flat(run.settings) | {book.objective: run.outcome})
    return _csv(folder / "runs.csv", rows)


def write_wandb(
    book: Book,
    folder: Path,
) -> Path:
    """The table that W&B's page exports."""
    rows = []
    for run in book.runs:
        head = {
            "Name": run.name,
            "State": run.state,
            "Notes": "" if run.state == "finished" else "node went away?",
            "User": "mira",
            "Tags": "sweep",
            "Created": run.begun.isoformat().replace("+00:00", ".000Z"),
            "Runtime": round(run.seconds),
            "Sweep": "q7x2k9",
        }
        summary = {book.objective: run.outcome} | run.measured
        rows.append(head | flat(run.settings, ".") | summary)
    return _csv(folder / "wandb_export_2026-03-05.csv", rows)


def write_wandb_api(
    book: Book,
    folder: Path,
) -> Path:
    """The table of W&B's own example for its API: dictionaries as text."""
    rows = []
    for run in book.runs:
        summary = {book.objective: run.outcome} | run.measured
        summary |= {
            "_runtime": run.seconds,
            "_timestamp": run.ended.timestamp(),
        }
        row = {"name": run.name, "state": run.state}
        row["config"] = str(nested(run.settings, book.sizes))
        row["summary"] = str(summary)
        rows.append(row)
    return _csv(folder / "project.csv", rows)


def write_mlflow(
    book: Book,
    folder: Path,
) -> Path:
    """`mlflow.search_runs().to_csv()`."""
    states = {"finished": "FINISHED", "running": "RUNNING", "killed": "KILLED"}
    rows = []
    for i, run in enumerate(book.runs):
        row: dict[str, Any] = {
            "run_id": f"{i:032x}",
            "experiment_id": "4",
            "status": states.get(run.state, "FAILED"),
            "artifact_uri": f"mlflow-artifacts:/4/{i:032x}/artifacts",
            "start_time": str(run.begun),
            "end_time": "" if run.state == "running" else str(run.ended),
        }
        metrics = {book.objective: run.outcome} | run.measured
        row |= {f"metrics.{k}": v for k, v in metrics.items()}
        row |= {f"params.{k}": v for k, v in flat(run.settings).items()}
        row |= {"tags.mlflow.user": "mira", "tags.mlflow.runName": run.name}
        row["tags.mlflow.source.name"] = "train.py"
        rows.append(row)
    return _csv(folder / "runs.csv", rows)


def write_jsonl(
    book: Book,
    folder: Path,
) -> Path:
    """One nested object a run and line."""
    path = folder / "runs.jsonl"
    with path.open("w") as file:
        for run in book.runs:
            row = {
                "run": run.name,
                "status": run.state,
                "created_at": run.begun.isoformat(),
                "duration_s": round(run.seconds, 1),
                "config": nested(run.settings, book.sizes),
                "metrics": {book.objective: run.outcome} | run.measured,
            }
            file.write(json.dumps(row) + "\n")
    return path


def write_optuna(
    book: Book,
    folder: Path,
) -> Path:
    """`study.trials_dataframe().to_csv()`."""
    states = {"finished": "COMPLETE", "running": "RUNNING", "killed": "PRUNED"}
    rows = []
    for i, run in enumerate(book.runs):
        state = states.get(run.state, "FAIL")
        ended = state != "RUNNING"
        row: dict[str, Any] = {
            "number": i,
            "value": run.outcome if state in ("COMPLETE", "PRUNED") else "",
            "datetime_start": str(run.begun.replace(tzinfo=None)),
            "datetime_complete": str(run.ended.replace(tzinfo=None))
            if ended
            else "",
            "duration": str(timedelta(seconds=round(run.seconds)))
            if ended
            else "",
        }
        for name, value in flat(run.settings).items():
            place = "user_attrs" if name in (*book.sizes, "seed") else "params"
            row[f"{place}_{name}"] = value
        row |= {f"user_attrs_{k}": v for k, v in run.measured.items()}
        row["state"] = state
        rows.append(row)
    return _csv(folder / "trials.csv", rows)


def write_folders(
    book: Book,
    folder: Path,
) -> Path:
    """A folder a run: its configuration, and what it gave."""
    import yaml

    top = folder / "runs"
    for run in book.runs:
        here = top / run.name
        here.mkdir(parents=True)
        tree = nested(run.settings, book.sizes)
        (here / "config.yaml").write_text(yaml.safe_dump(tree))
        told = {"status": run.state, "wall_time_s": round(run.seconds, 1)}
        told |= {book.objective: run.outcome, **run.measured}
        (here / "results.json").write_text(json.dumps(told))
    return top


FORMATS: dict[str, Callable[[Book, Path], Path]] = {
    "clean table": write_clean,
    "W&B export": write_wandb,
    "W&B by its API": write_wandb_api,
    "MLflow table": write_mlflow,
    "nested JSON lines": write_jsonl,
    "Optuna dataframe": write_optuna,
    "folder of files": write_folders,
}


def _csv(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
) -> Path:
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path
