"""Published snapshots, opened: marts frozen as Parquet and as arrays that can be
memory-mapped, named by their content.

    <home>/snapshots/<table_id>/marts/*.parquet     what dbt built
                               /arrays/*.npy        what the gym maps (arrays.py)
                               /experiments.json    metadata of the dense experiment ids
                               /manifest.json       sha256 of every file above; written
                                                    last: without it there is no snapshot
    <home>/snapshots/current.json                   pointer to the published one

What does not belong here: making one (snapshots/building.py).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from autollm.core import files as storage
from autollm.core.errors import SnapshotError
from autollm.gym.tables.arrays import SCHEMA, load_table
from autollm.gym.tables.outcome_table import OutcomeTable


def published_id(home_url: str) -> str | None:
    """table_id of the published snapshot, or None before the first."""
    pointer = storage.join(home_url, "snapshots", "current.json")
    return (
        json.loads(storage.read_bytes(pointer))["table_id"]
        if storage.exists(pointer)
        else None
    )


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
    problems = []
    for name, entry in _manifest(folder)["files"].items():
        url = storage.join(folder, name)
        if not storage.exists(url):
            problems.append(f"{name} is missing")
        elif hashlib.sha256(storage.read_bytes(url)).hexdigest() != entry["sha256"]:
            problems.append(f"{name} was altered")
    return problems


def open_snapshot(home_url: str, table_id: str | None = None) -> OutcomeTable:
    """The published snapshot (or a named one) as an OutcomeTable; arrays of local
    snapshots are memory-mapped, read-only.

    Raises:
        SnapshotError: nothing published, no such snapshot, or a schema of another
            version.
    """
    table_id = table_id or published_id(home_url)
    if table_id is None:
        raise SnapshotError(
            f"no snapshot is published under {home_url}. Fix: autollm run --to "
            "snapshot (or `make run`)."
        )
    folder = storage.join(home_url, "snapshots", table_id)
    if not storage.exists(storage.join(folder, "manifest.json")):
        raise SnapshotError(
            f"snapshot {table_id} has no manifest.json under {home_url}. "
            f"Complete ones: {', '.join(list_snapshots(home_url)) or 'none'}. Fix: "
            "materialize `snapshot` again."
        )
    manifest = _manifest(folder)
    if manifest["schema"] != SCHEMA:
        raise SnapshotError(
            f"snapshot {table_id} has schema {manifest['schema']}, this version reads "
            f"{SCHEMA}. "
            "Fix: materialize `snapshot` again."
        )
    return load_table(folder, table_id)


def _manifest(folder: str) -> dict[str, Any]:
    return json.loads(storage.read_bytes(storage.join(folder, "manifest.json")))
