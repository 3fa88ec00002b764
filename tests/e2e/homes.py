"""Homes of the main job for tests: filled as a user would, run as a user would, killed
as a machine would, and looked into.

What does not belong here: verdicts (kill_campaign.py, the tests). Invariant: a job runs
in a session of its own, and `run_job` returns only when every process of it is gone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from autollm.core.places import PROJECT, Places, resolve
from autollm.core.records import RunHeader, to_line
from autollm.evaluation.leaderboard import latest_id, load
from autollm.evaluation.protocol import task_digest
from autollm.gym.tables.snapshot import open_snapshot, published_id
from autollm.gym.tasks.suites import load_suite, suite_ids
from autollm.lab.archive import read_runs, shipped
from autollm.logs.lake.bronze import Bronze
from autollm.snapshots.building import MARTS
from autollm.stages.settings import Settings

SETTINGS = Path(__file__).with_name("tiny.toml")
BRONZE_KEYS = {
    "runs": ["source", "run_id"],
    "run_metrics": ["source", "run_id", "metric", "line"],
    "files": ["sha256", "source", "file"],
}
LITTER = ("**/.tmp*", "**/*.part", "**/*.new*", "bronze/tmp", "**/*.tmp")


@dataclass(frozen=True)
class Kill:
    """When to kill: at the first line of stderr that `line` matches, or `after_s`
    seconds after the start.
    """

    line: str = ""
    after_s: float | None = None


@dataclass(frozen=True)
class Ended:
    """A job that is over. `code` is negative when it was killed; `stderr` is its
    progress, `stdout` its results.
    """

    code: int
    stdout: str
    stderr: list[str]
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def steps_done(self) -> list[str]:
        """Steps of the pipeline that said they were done, in order."""
        return [
            found[1]
            for line in self.stderr
            if (found := re.search(r"step \d+/\d+ (\S+) done in", line))
        ]

    @property
    def last_step(self) -> str:
        """The step that was said last."""
        named = [
            found[1]
            for line in self.stderr
            if (found := re.search(r"step \d+/\d+ ([^\s:]+)", line))
        ]
        return named[-1] if named else "start"


def run_job(home: Path, *arguments: str, kill: Kill | None = None) -> Ended:
    """`autollm run --home HOME --settings tiny.toml ARGUMENTS` to its end, or to its
    kill: SIGKILL for all of its processes.
    """
    command = [
        sys.executable,
        "-m",
        "autollm.cli.main",
        "run",
        "--home",
        str(home),
        "--settings",
        str(SETTINGS),
        *arguments,
    ]
    plain = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("AUTOLLM_", "DAGSTER_"))
    }
    begin, lines = time.monotonic(), []
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=plain | {"OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        timer = (
            threading.Timer(kill.after_s, _kill_session, [child])
            if kill and kill.after_s is not None
            else None
        )
        if timer:
            timer.start()
        for line in (
            child.stderr
        ):  # ends when the last process that inherited it is gone
            lines.append(line.rstrip())
            if kill and kill.line and re.search(kill.line, line):
                _kill_session(child)
        child.stderr.close()
        code = child.wait()
        if timer:
            timer.cancel()
        out.seek(0)
        return Ended(code, out.read(), lines, time.monotonic() - begin)


def _kill_session(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def drop_logs(home: Path, *names: str) -> None:
    """Put files into the inbox: `good` (one run more, a replica of a recorded one),
    `truncated` (its copy, cut off in a line), `binary` (no text at all).
    """
    inbox = resolve(home).prepare().inbox
    header, *rest = next(iter(read_runs(shipped("pretraining")).values()))
    for name in names:
        if name == "binary":
            data = bytes(range(256)) * 20
        else:
            assert isinstance(header, RunHeader)
            lines = "".join(
                to_line(r) + "\n"
                for r in (
                    replace(header, run_id=f"dropped-{name}", seed=99),
                    *rest,
                )
            ).encode()
            data = lines if name == "good" else lines[: len(lines) // 2]
        (inbox / f"{name}.jsonl").write_bytes(data)


VERSIONS = ("policy_version", "policy_identity")


@dataclass(frozen=True)
class Facts:
    """What a home holds: rows of every table, how many of them repeat a key, states of
    runs, scores, leftovers.
    """

    table_id: str | None
    rows: dict[str, int]
    repeated: dict[str, int]
    mlflow: Counter[str]
    dagster: Counter[str]
    scores: list[dict[str, Any]]
    policy_versions: set[str]
    candidate_digest: str
    litter: list[str]


def look(home: Path) -> Facts:
    """Look into a home in which nothing runs."""
    places = resolve(home)
    keys = _bronze_keys(places) | _mart_keys(places) | _score_keys(places)
    mlflow, tracked, candidate = _tracked(places)
    keys |= tracked
    board = (
        load(places.home).as_json()["rows"] if latest_id(places.home) else []
    )
    return Facts(
        table_id=published_id(places.home),
        rows={n: len(k) for n, k in keys.items()},
        repeated={
            n: len(k) - len(set(k))
            for n, k in keys.items()
            if len(k) != len(set(k))
        },
        mlflow=mlflow,
        dagster=_dagster(places),
        scores=[
            {k: v for k, v in row.items() if k not in VERSIONS} for row in board
        ],
        policy_versions={
            " ".join(row[k] for k in ("policy", *VERSIONS)) for row in board
        },
        candidate_digest=candidate,
        litter=litter(home),
    )


def litter(home: Path) -> list[str]:
    """Unfinished files and folders, relative to the home."""
    return sorted(
        {
            str(p.relative_to(home))
            for pattern in LITTER
            for p in home.glob(pattern)
        }
    )


def _bronze_keys(places: Places) -> dict[str, list[Hashable]]:
    bronze = Bronze(places.home)
    return {
        f"bronze {name}": bronze.read(name, columns)
        for name, columns in BRONZE_KEYS.items()
    }


def _mart_keys(places: Places) -> dict[str, list[Hashable]]:
    """Of the exported marts and of the published snapshot."""
    folders = {
        "mart": places.marts,
        "snapshot": Path(places.snapshots)
        / str(published_id(places.home))
        / "marts",
    }
    return {
        f"{kind} {name}": _rows(folder / f"{name}.parquet", columns)
        for kind, folder in folders.items()
        for name, columns in MARTS.items()
        if (folder / f"{name}.parquet").exists()
    }


def _score_keys(places: Places) -> dict[str, list[Hashable]]:
    """Of the episodes that stand on the published snapshot's rows."""
    columns = [
        "suite",
        "task_id",
        "setting",
        "policy",
        "policy_identity",
        "seed",
    ]
    rows = []
    for digest in sorted(_tasks_played(places)):
        for part in sorted(
            (Path(places.episodes) / digest).glob("part-*.parquet")
        ):
            rows += _rows(part, columns)
    return {"episodes": rows}


def _tasks_played(places: Places) -> set[str]:
    """Digests of all tasks of all suites as the main job poses them."""
    if published_id(places.home) is None:
        return set()
    table = open_snapshot(places.home)
    settings = Settings()
    out = set()
    for suite in map(load_suite, suite_ids()):
        for task in () if suite.missing(table) else suite.tasks:
            posed = task.with_(
                setting=settings.setting, target_rows=settings.target_rows
            )
            out.add(task_digest(posed, table))
    return out


def _rows(path: Path, columns: Iterable[str]) -> list[Hashable]:
    return list(
        zip(
            *(
                c.to_pylist()
                for c in pq.read_table(path, columns=list(columns)).columns
            ),
            strict=True,
        )
    )


def _tracked(
    places: Places,
) -> tuple[Counter[str], dict[str, list[Hashable]], str]:
    """States of MLflow's runs; their identities, metric points and evaluation rows, and
    registered digests; the candidate's digest.
    """
    from autollm.tracking import EXPERIMENTS, IDENTITY, Tracker

    if not (places.mlflow / "mlflow.db").exists():
        return Counter(), {}, ""
    tracker = Tracker(places)
    client = tracker.client
    runs = client.search_runs(
        [tracker.experiment(name) for name in EXPERIMENTS]
    )
    tables = {
        p.parent.parent.name: json.loads(p.read_text())
        for p in places.mlflow.glob(
            "artifacts/evaluation/*/artifacts/leaderboard.json"
        )
    }
    board_columns = ("suite", "policy", "k")
    keys: dict[str, list[Hashable]] = {
        "mlflow runs": [run.data.tags[IDENTITY] for run in runs],
        "mlflow points": [
            (r.info.run_id, name, m.step)
            for r in runs
            for name in r.data.metrics
            for m in client.get_metric_history(r.info.run_id, name)
        ],
        "mlflow scores": [
            (run_id, *(row[table["columns"].index(c)] for c in board_columns))
            for run_id, table in tables.items()
            for row in table["data"]
        ],
        "registered": [
            (v.name, v.tags["digest"]) for v in client.search_model_versions()
        ],
    }
    versions = [
        client.get_model_version_by_alias(m.name, "candidate")
        for m in client.search_registered_models()
        if "candidate" in m.aliases
    ]
    return (
        Counter(r.info.status for r in runs),
        keys,
        ",".join(v.tags["digest"] for v in versions),
    )


def _dagster(places: Places) -> Counter[str]:
    from pipelines.instance import open_instance

    with open_instance(places) as instance:
        return Counter(run.status.value for run in instance.get_runs())
