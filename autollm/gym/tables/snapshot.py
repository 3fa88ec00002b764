"""Published snapshots, opened: marts frozen as Parquet and as arrays that can be
memory-mapped, named by their content.

    <home>/snapshots/<table_id>/marts/*.parquet     what dbt built
                               /arrays/*.npy        what the gym maps (arrays.py)
                               /experiments.json    metadata of the dense experiment ids
                               /manifest.json       sha256 of every file above; written
                                                    last: without it there is no snapshot
    <home>/snapshots/current.json                   pointer to the published one
"""

from __future__ import annotations

from typing import Any

from autollm.core import files as storage
from autollm.core.errors import SnapshotError
from autollm.core.sealed import file_sha256, read_sealed
from autollm.gym.tables.arrays import SCHEMA, is_opened, load_table
from autollm.gym.tables.outcome_table import OutcomeTable

REBUILD = "autollm run, which writes it anew from what has landed."


def published_id(home_url: str) -> str | None:
    """table_id of the published snapshot, or None before the first.

    Raises:
        SnapshotError: the pointer is damaged, or a newer version wrote it.
    """
    url = storage.join(home_url, "snapshots", "current.json")
    if not storage.exists(url):
        return None
    table_id = read_sealed(url, SnapshotError, REBUILD, SCHEMA).get("table_id")
    if not isinstance(table_id, str) or not table_id:
        raise SnapshotError(
            f"{url} is damaged: it names no snapshot. Fix: {REBUILD}"
        )
    return table_id


def list_snapshots(home_url: str) -> list[str]:
    """table_ids of all complete snapshots."""
    root = storage.join(home_url, "snapshots")
    return [
        n
        for n in storage.list_names(root)
        if storage.exists(storage.join(root, n, "manifest.json"))
    ]


def check_snapshot(home_url: str, table_id: str) -> list[str]:
    """Problems of a snapshot: missing manifest or files, altered bytes. Empty when it
    is sound.
    """
    folder = storage.join(home_url, "snapshots", table_id)
    if not storage.exists(storage.join(folder, "manifest.json")):
        return ["manifest.json is missing"]
    try:
        files = _manifest(folder)["files"]
    except SnapshotError as error:
        return [str(error)]
    problems = [
        _problem_of(folder, name, entry) for name, entry in files.items()
    ]
    return [problem for problem in problems if problem]


def open_snapshot(home_url: str, table_id: str | None = None) -> OutcomeTable:
    """The published snapshot (or a named one) as an OutcomeTable; arrays of local
    snapshots are memory-mapped, read-only. Each file is checked against its digest once
    a process.

    Raises:
        SnapshotError: nothing published, no such snapshot, a damaged file, or a schema
            of another version.
    """
    table_id = table_id or published_id(home_url)
    if table_id is None:
        raise SnapshotError(
            f"no snapshot is published under {home_url}. Fix: autollm run --to "
            "published_snapshot (or `make run`)."
        )
    folder = storage.join(home_url, "snapshots", table_id)
    if not storage.exists(storage.join(folder, "manifest.json")):
        raise SnapshotError(
            f"snapshot {table_id} has no manifest.json under {home_url}. "
            f"Complete ones: {', '.join(list_snapshots(home_url)) or 'none'}. Fix: "
            f"{REBUILD}"
        )
    manifest = _manifest(folder)
    if manifest["schema"] != SCHEMA:
        raise SnapshotError(
            f"snapshot {table_id} has schema {manifest['schema']}, this version reads "
            f"{SCHEMA}. Fix: {REBUILD}"
        )
    for name, entry in manifest["files"].items():
        if is_opened(name):
            _check_file(folder, name, entry)
    return load_table(folder, table_id)


def _check_file(folder: str, name: str, entry: dict[str, Any]) -> None:
    problem = _problem_of(folder, name, entry)
    if problem:
        raise SnapshotError(
            f"snapshot {folder.rpartition('/')[2]} is damaged: {problem} "
            f"({storage.join(folder, name)}). Fix: {REBUILD}"
        )


def _problem_of(folder: str, name: str, entry: dict[str, Any]) -> str:
    """What is wrong with a file of a snapshot; empty where it is what was written."""
    try:
        sha256 = file_sha256(storage.join(folder, name))
    except FileNotFoundError:
        return f"{name} is missing"
    return "" if sha256 == entry.get("sha256") else f"{name} was altered"


def _manifest(folder: str) -> dict[str, Any]:
    url = storage.join(folder, "manifest.json")
    manifest = read_sealed(url, SnapshotError, REBUILD, SCHEMA)
    if not isinstance(manifest.get("files"), dict) or "schema" not in manifest:
        raise SnapshotError(
            f"{url} is damaged: it lists no files. Fix: {REBUILD}"
        )
    return manifest
