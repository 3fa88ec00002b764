"""What is missing or unusual on this machine and in this home, each with its remedy.

Invariant: looking changes nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from autollm.core.errors import SnapshotError
from autollm.core.locks import holder, is_held
from autollm.core.places import (
    PROJECT,
    TELEMETRY_OFF,
    Places,
    embedded_archives,
)
from autollm.gym.tables.snapshot import check_snapshot, published_id
from autollm.logs.sources import public_tables, tables_below

FREE_GB, MEMORY_GB = 3.0, 4.0
PINNED = (
    "dagster",
    "dagster-dbt",
    "dbt-core",
    "dbt-duckdb",
    "duckdb",
    "pyarrow",
    "mlflow",
    "torch",
    "transformers",
    "trl",
    "typer",
    "numpy",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `note` is worth knowing, `problem` stops something."""

    what: str
    state: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""


def examine(places: Places) -> list[Finding]:
    """All findings, in a fixed order."""
    checks: list[Callable[[Places], Finding]] = [
        _python,
        _packages,
        _cores,
        _memory,
        _disk,
        _gpu,
        _git,
        _lab_archive,
        _base_checkpoint,
        _public_tables,
        _snapshot,
        _busy,
        _ports,
        _telemetry,
    ]
    return [check(places) for check in checks]


def _python(_: Places) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding(
        "Python",
        "ok" if good else "note",
        version,
        "" if good else "3.11 to 3.13 are what the pins were tried with",
    )


def _packages(_: Places) -> Finding:
    listed = PROJECT / "constraints.txt"
    lines = listed.read_text().splitlines() if listed.exists() else []
    pins = dict(
        line.split("==", 1) for line in lines if "==" in line and line[0] != "#"
    )
    other, missing = [], []
    for name in PINNED:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        wanted = pins.get(name, "").split(";")[0].strip()
        if wanted and installed.split("+")[0] != wanted:
            other.append(f"{name} {installed} instead of {wanted}")
    if missing:
        return Finding(
            "packages",
            "problem",
            f"missing: {', '.join(missing)}",
            "make setup",
        )
    return Finding(
        "packages",
        "note" if other else "ok",
        ", ".join(other) or _checked(pins),
        "make setup" if other else "",
    )


def _checked(pins: Mapping[str, str]) -> str:
    if not pins:
        return (
            f"{len(PINNED)} are here; no constraints.txt says which were tried"
        )
    return f"{len(PINNED)} checked, as pinned"


def _cores(_: Places) -> Finding:
    n = os.cpu_count() or 1
    return Finding(
        "cores",
        "ok" if n >= 2 else "note",
        str(n),
        ""
        if n >= 2
        else "the default run takes about twice as long on one core",
    )


def _memory(_: Places) -> Finding:
    gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    good = gb >= MEMORY_GB
    return Finding(
        "memory",
        "ok" if good else "note",
        f"{gb:.1f} GB",
        ""
        if good
        else f"{MEMORY_GB:g} GB are needed for training beside the UIs",
    )


def _disk(places: Places) -> Finding:
    folder = next(
        p for p in (places.local, *places.local.parents) if p.exists()
    )
    free = shutil.disk_usage(folder).free / 1e9
    if places.local.exists() and not places.local.is_dir():
        return Finding(
            "home",
            "problem",
            f"{places.local} is a file",
            "choose a folder with AUTOLLM_HOME",
        )
    if not os.access(folder, os.W_OK):
        return Finding(
            "home",
            "problem",
            f"{places.local} cannot be written",
            "choose another with AUTOLLM_HOME",
        )
    good = free >= FREE_GB
    return Finding(
        "home",
        "ok" if good else "problem",
        f"{places.local}, {free:.1f} GB free",
        "" if good else "autollm clean --keep 1, or another AUTOLLM_HOME",
    )


def _gpu(_: Places) -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding(
            "GPU",
            "note",
            "none: profile tiny trains on the CPU",
            "profiles qwen3-* need CUDA and pip install -e '.[gpu]'",
        )
    listed = subprocess.run(
        [
            "nvidia-smi",
            "--query-gpu=name,memory.total",
            "--format=csv,noheader",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    has_vllm = importlib.util.find_spec("vllm") is not None
    return Finding(
        "GPU",
        "ok",
        listed.stdout.strip().replace("\n", "; ")
        or "nvidia-smi answered nothing",
        "" if has_vllm else "for generation by vLLM: pip install -e '.[gpu]'",
    )


def _git(_: Places) -> Finding:
    from autollm.stages.version import commit

    known = commit() != "unknown"
    return Finding(
        "git",
        "ok" if known else "note",
        commit(),
        "" if known else "runs will not name the commit that they came from",
    )


def _lab_archive(_: Places) -> Finding:
    archives = embedded_archives()
    return Finding(
        "embedded lab runs",
        "ok" if archives else "problem",
        ", ".join(p.name for p in archives) or "data/lab holds no archive",
        ""
        if archives
        else "git checkout data/lab, or autollm lab run; autollm lab pack",
    )


def _base_checkpoint(_: Places) -> Finding:
    folder = PROJECT / "models" / "agent-tiny-base"
    is_there = (folder / "config.json").exists()
    return Finding(
        "base checkpoint",
        "ok" if is_there else "problem",
        str(folder.relative_to(PROJECT))
        if is_there
        else f"{folder} is missing",
        ""
        if is_there
        else "git checkout models, or python -m research.pretrain (hours)",
    )


def _public_tables(places: Places) -> Finding:
    root, tables = (
        os.environ.get("AUTOLLM_DATA_DIR"),
        [*public_tables(), *tables_below(places.sources)],
    )
    if tables:
        return Finding(
            "public tables",
            "ok",
            ", ".join(sorted({p.parent.name for p in tables})),
        )
    return Finding(
        "public tables",
        "note",
        f"AUTOLLM_DATA_DIR is {root or 'unset'}, none was fetched: only lab suites can "
        "be played",
        "autollm sources fetch NAME, or AUTOLLM_DATA_DIR=FOLDER with "
        "steplaw/dense_lr_bs_loss.csv ... in it",
    )


def _snapshot(places: Places) -> Finding:
    try:
        table_id = published_id(places.home)
    except SnapshotError as error:
        problem, _, remedy = str(error).partition(" Fix: ")
        return Finding("snapshot", "problem", problem, remedy)
    if table_id is None:
        return Finding(
            "snapshot", "note", "none is published yet", "autollm run"
        )
    problems = check_snapshot(places.home, table_id)
    return Finding(
        "snapshot",
        "problem" if problems else "ok",
        f"{table_id}{': ' + problems[0] if problems else ''}",
        f"remove snapshots/{table_id}, then autollm run" if problems else "",
    )


def _busy(places: Places) -> Finding:
    locked = (
        [p for p in sorted(places.locks.glob("*.lock")) if is_held(p)]
        if places.locks.exists()
        else []
    )
    words = "; ".join(f"{p.stem}: {holder(p)}" for p in locked)
    return Finding(
        "locks",
        "note" if locked else "ok",
        words or "nothing is running in this home",
        "wait for it before another run" if locked else "",
    )


def _ports(_: Places) -> Finding:
    taken = []
    for port in (3000, 5000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                taken.append(str(port))
    return Finding(
        "ports",
        "note" if taken else "ok",
        f"in use: {', '.join(taken)}" if taken else "3000 and 5000 are free",
        "make dev takes the next free ones" if taken else "",
    )


def _telemetry(_: Places) -> Finding:
    changed = [n for n, v in TELEMETRY_OFF.items() if os.environ.get(n, v) != v]
    if not changed:
        return Finding("telemetry", "ok", "off")
    return Finding(
        "telemetry",
        "note",
        f"switched on by {', '.join(changed)}",
        f"unset {' '.join(changed)}",
    )
