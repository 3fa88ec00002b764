"""Marts frozen as a snapshot, named by their content, and the pointer to the published
one. gym/tables/snapshot.py says what a snapshot is made of, and opens it.

Invariant: a snapshot whose manifest exists is never written again.
"""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from autollm.core import files as storage
from autollm.core.errors import SnapshotError
from autollm.core.sealed import write_sealed
from autollm.gym.tables.arrays import SCHEMA
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import REBUILD, check_snapshot
from autollm.snapshots.arrays import files_of_table, table_of_marts

MARTS = {
    "mart_gym__outcomes": ("experiment_id", "config_id"),
    "dim_experiments": ("experiment_id",),
    "dim_configs": ("space_id", "config_id"),
    "dim_spaces": ("source", "source_group", "space_id", "ladder_id"),
    "fct_outcomes": ("experiment_id", "config_id"),
    "fct_learning_curves": (
        "source",
        "source_group",
        "run_id",
        "metric",
        "line",
    ),
}
"""Marts of a snapshot and the keys that they are sorted by."""


def build(marts_url: str, home_url: str) -> str:
    """Write the snapshot of the marts under `marts_url`, without publishing it; returns
    its table_id.

    Identical marts give the same table_id on every machine. An existing snapshot is
    left as it is; a damaged one is written again, to the same bytes.

    Raises:
        SnapshotError: a mart is missing or empty, a configuration is not of its space,
            or the snapshot could not be written (then the old one still stands).
    """
    marts = {}
    for name, keys in MARTS.items():
        marts[name] = _read_mart(marts_url, name, keys)
    if marts["mart_gym__outcomes"].num_rows == 0:
        raise SnapshotError(
            "mart_gym__outcomes has no rows: ingest logs first (autollm ingest PATH)."
        )
    table_id = _content_id(marts)
    folder = storage.join(home_url, "snapshots", table_id)
    if not check_snapshot(home_url, table_id):
        return table_id
    files = {}
    rows = {}
    for name, mart in marts.items():
        files[f"marts/{name}.parquet"] = _parquet_bytes(mart)
        rows[name] = mart.num_rows
    table = table_of_marts(
        table_id,
        marts["mart_gym__outcomes"],
        marts["dim_spaces"],
        marts["fct_learning_curves"],
        _contexts(marts["dim_experiments"]),
    )
    files |= files_of_table(table)
    _write(folder, table_id, files, rows)
    return table_id


def _contexts(experiments: pa.Table) -> dict[str, str]:
    """context_json by experiment; none in marts that know no contexts."""
    if "context_json" not in experiments.column_names:
        return {}
    rows = experiments.select(["experiment_id", "context_json"]).to_pylist()
    return {row["experiment_id"]: row["context_json"] or "" for row in rows}


def freeze(table: OutcomeTable, home_url: str) -> None:
    """Write a table that was made elsewhere as the snapshot of its table_id, without
    marts and without publishing it.

    Raises:
        SnapshotError: it could not be written.
    """
    _write(
        storage.join(home_url, "snapshots", table.table_id),
        table.table_id,
        files_of_table(table),
        {},
    )


def publish(home_url: str, table_id: str) -> None:
    """Swap the pointer to `table_id`.

    Raises:
        SnapshotError: the snapshot is incomplete or altered; the pointer stays where it
            was.
    """
    problems = check_snapshot(home_url, table_id)
    if problems:
        raise SnapshotError(
            f"snapshot {table_id} is not published: {'; '.join(problems)}. "
            f"Fix: {REBUILD}"
        )
    pointer = storage.join(home_url, "snapshots", "current.json")
    write_sealed(pointer, {"schema": SCHEMA, "table_id": table_id})


def _write(
    folder: str, table_id: str, files: dict[str, bytes], rows: dict[str, int]
) -> None:
    """All files, the manifest last."""
    entries = {}
    for name, data in sorted(files.items()):
        digest = hashlib.sha256(data).hexdigest()
        entries[name] = {"sha256": digest, "bytes": len(data)}
    manifest = {
        "schema": SCHEMA,
        "table_id": table_id,
        "rows": rows,
        "files": entries,
    }
    try:
        for name, data in files.items():
            storage.write_atomic(storage.join(folder, name), data)
        write_sealed(storage.join(folder, "manifest.json"), manifest)
    except OSError as error:
        raise SnapshotError(
            f"snapshot {table_id} could not be written: {error}. The published "
            "snapshot is unchanged; "
            "free some space (autollm clean --keep 2) and run again."
        ) from error


def _read_mart(marts_url: str, name: str, keys: tuple[str, ...]) -> pa.Table:
    url = storage.join(marts_url, f"{name}.parquet")
    if not storage.exists(url):
        raise SnapshotError(
            f"mart {name} is missing under {marts_url}. Fix: materialize the dbt "
            "models first."
        )
    try:
        table = pq.read_table(io.BytesIO(storage.read_bytes(url)))
    except (pa.ArrowException, OSError) as error:
        raise SnapshotError(
            f"mart {url} is damaged: {error}. Fix: autollm run, which exports it anew."
        ) from error
    if "batch_id" in table.column_names:  # names the landing, not the content
        table = table.drop_columns(["batch_id"])
    return table.sort_by([(k, "ascending") for k in keys]).combine_chunks()


def _content_id(marts: dict[str, pa.Table]) -> str:
    """16 hex digits over the marts as CSV text, which are equal for equal values
    whatever the Parquet writer does.
    """
    digest = hashlib.sha256(f"schema {SCHEMA}".encode())
    for name, mart in sorted(marts.items()):
        buffer = io.BytesIO()
        pa.csv.write_csv(mart, buffer)
        digest.update(name.encode() + buffer.getvalue())
    return digest.hexdigest()[:16]


def _parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
