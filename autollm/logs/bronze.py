"""Bronze Parquet: its schemas, and writing one landed batch all or nothing.

    <lake>/bronze/batches/<batch_id>/{runs,run_metrics,spaces,files}.parquet
    <lake>/quarantine/<batch_id>.parquet

What does not belong here: reading logs, aggregation. No clock and no path of this
machine enters a table.

Invariant: a folder under `batches` that holds `files.parquet` is whole and never
written again. Locally it appears by one rename; elsewhere `files.parquet` is moved
last, and a folder without it is removed by the next ingest.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from autollm.core.files import filesystem_of
from autollm.core.locks import hold

_TEXT, _REAL, _COUNT = pa.string(), pa.float64(), pa.int64()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


SCHEMAS = {
    "runs": _schema(
        batch_id=_TEXT,
        source=_TEXT,
        run_id=_TEXT,
        raw_file=_TEXT,
        raw_sha256=_TEXT,
        family=_TEXT,
        space_id=_TEXT,
        ladder_id=_TEXT,
        config_json=_TEXT,
        config_id=_TEXT,
        fidelity_json=_TEXT,
        fidelity_label=_TEXT,
        objective_name=_TEXT,
        objective_direction=_TEXT,
        objective_value=_REAL,
        secondary_json=_TEXT,
        seed=_COUNT,
        status=_TEXT,
        status_reason=_TEXT,
        cost_flops=_REAL,
        device=_TEXT,
        device_hours=_REAL,
        gpu_hours=_REAL,
        wall_time_s=_REAL,
        data_sha256=_TEXT,
        header_json=_TEXT,
        created_at=_TEXT,
    ),
    "run_metrics": _schema(
        batch_id=_TEXT,
        source=_TEXT,
        run_id=_TEXT,
        metric=_TEXT,
        line=_COUNT,
        step=_COUNT,
        tokens=_REAL,
        value=_REAL,
        wall_time_s=_REAL,
    ),
    "spaces": _schema(
        batch_id=_TEXT,
        source=_TEXT,
        family=_TEXT,
        space_id=_TEXT,
        space_json=_TEXT,
        ladder_id=_TEXT,
        ladder_json=_TEXT,
    ),
    "files": _schema(
        batch_id=_TEXT,
        source=_TEXT,
        file=_TEXT,
        raw_sha256=_TEXT,
        sha256=_TEXT,
        kind=_TEXT,
        bytes=_COUNT,
        mapping_id=_TEXT,
        format=_TEXT,
        n_lines=_COUNT,
        n_lines_read=_COUNT,
        n_lines_quarantined=_COUNT,
        n_runs=_COUNT,
    ),
}
QUARANTINE_SCHEMA = _schema(
    batch_id=_TEXT,
    file=_TEXT,
    sha256=_TEXT,
    line=_COUNT,
    n_lines=_COUNT,
    reason=_TEXT,
    text=_TEXT,
)


WAIT_S = 120.0
"""An ingest of a night's logs takes seconds; who waits longer wants to know."""
SPILL_ROWS = 20_000
"""Rows of a table that wait in memory; more of them wait in files of a temporary
folder.
"""


class Rows:
    """Rows of one table, without their batch_id, in the order of arrival."""

    def __init__(self, schema: pa.Schema, folder: str):
        self.schema = pa.schema([f for f in schema if f.name != "batch_id"])
        self.waiting: list[dict[str, Any]] = []
        self._folder, self._pieces, self._n_spilled = folder, [], 0

    def __len__(self) -> int:
        return self._n_spilled + len(self.waiting)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows."""
        self.waiting += rows
        if len(self.waiting) >= SPILL_ROWS:
            path = f"{self._folder}/{id(self)}-{len(self._pieces)}.parquet"
            pq.write_table(self._table(), path, compression="zstd")
            self._pieces.append(path)
            self._n_spilled += len(self.waiting)
            self.waiting = []

    def _table(self) -> pa.Table:
        return pa.table(
            {name: [row[name] for row in self.waiting] for name in self.schema.names},
            schema=self.schema,
        )

    def tables(self) -> Iterator[pa.Table]:
        """All rows, in pieces; one piece where none were spilled."""
        for path in self._pieces:
            yield pq.read_table(path)
        if self.waiting or not self._pieces:
            yield self._table()


class Batch:
    """Rows of one landing. As a context manager it removes its temporary folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="autollm-landing-")
        self.runs, self.run_metrics, self.spaces = (
            self._rows(SCHEMAS[n]) for n in ("runs", "run_metrics", "spaces")
        )
        self.quarantine = self._rows(QUARANTINE_SCHEMA)
        self.files: list[dict[str, Any]] = []

    def _rows(self, schema: pa.Schema) -> Rows:
        return Rows(schema, self._folder.name)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def table(self, name: str) -> Rows:
        """The rows of a table of SCHEMAS."""
        if name != "files":
            return getattr(self, name)
        rows = self._rows(SCHEMAS["files"])
        rows.add(self.files)
        return rows


class Bronze:
    """The bronze and quarantine folders of one lake (an fsspec URL or a local path)."""

    def __init__(self, lake: str):
        self.fs, self.root = filesystem_of(str(lake))
        self.root = self.root.rstrip("/")
        self.batches = f"{self.root}/bronze/batches"
        self._temporary = f"{self.root}/bronze/tmp"
        self._quarantine = f"{self.root}/quarantine"

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def batch_ids(self) -> list[str]:
        """Ids of whole batches, sorted."""
        return sorted(
            path.split("/")[-2]
            for path in self.fs.glob(f"{self.batches}/*/files.parquet")
        )

    def read(self, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
        """Rows of one table over all whole batches."""
        return list(self.scan(table, columns))

    def scan(self, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """The rows of `read`, a row group at a time."""
        for batch_id in self.batch_ids():
            with self.fs.open(
                f"{self.batches}/{batch_id}/{table}.parquet", "rb"
            ) as stream:
                for found in pq.ParquetFile(stream).iter_batches(columns=columns):
                    yield from zip(
                        *(found[c].to_pylist() for c in columns), strict=True
                    )

    @contextlib.contextmanager
    def writing(self, wait_s: float = WAIT_S) -> Iterator[None]:
        """Hold the lake for one ingest, and clear what a killed one left behind.

        The lock is the operating system's and ends with its process; a lake that is not
        a local folder has none.

        Raises:
            BusyError: another process still ingests into this lake after `wait_s`.
        """
        if not self.is_local:
            self._clear_leftovers()
            yield
            return
        with hold(Path(self.root, "bronze", ".lock"), f"the lake {self.root}", wait_s):
            self._clear_leftovers()
            yield

    def _clear_leftovers(self) -> None:
        whole = set(self.batch_ids())
        leftovers = [self._temporary] if self.fs.exists(self._temporary) else []
        leftovers += [
            p for p in self._children(self.batches) if p.rsplit("/", 1)[-1] not in whole
        ]
        leftovers += [
            p
            for p in self._children(self._quarantine)
            if p.rsplit("/", 1)[-1].removesuffix(".parquet") not in whole
        ]
        for path in leftovers:
            self.fs.rm(path, recursive=True)

    def _children(self, folder: str) -> list[str]:
        if not self.fs.exists(folder):
            return []
        return [
            p.rstrip("/")
            for p in self.fs.ls(folder, detail=False)
            if not p.rstrip("/").rsplit("/", 1)[-1].startswith(".")
        ]

    def write(self, batch_id: str, batch: Batch) -> None:
        """Write a batch; it is there whole or not at all."""
        folder = f"{self._temporary}/{batch_id}"
        self.fs.makedirs(folder, exist_ok=True)
        for name, schema in SCHEMAS.items():
            self._write_table(
                f"{folder}/{name}.parquet", batch_id, batch.table(name), schema
            )
        if len(batch.quarantine):
            self.fs.makedirs(self._quarantine, exist_ok=True)
            self._write_table(
                f"{folder}.quarantine", batch_id, batch.quarantine, QUARANTINE_SCHEMA
            )
            self.fs.mv(f"{folder}.quarantine", f"{self._quarantine}/{batch_id}.parquet")
        self._commit(folder, f"{self.batches}/{batch_id}")
        self.fs.rm(self._temporary, recursive=True)

    def _commit(self, folder: str, target: str) -> None:
        self.fs.makedirs(self.batches, exist_ok=True)
        if self.is_local:
            os.rename(folder, target)
            return
        self.fs.makedirs(target, exist_ok=True)
        for name in sorted(SCHEMAS, key=lambda n: n == "files"):
            self.fs.mv(f"{folder}/{name}.parquet", f"{target}/{name}.parquet")

    def _write_table(
        self, path: str, batch_id: str, rows: Rows, schema: pa.Schema
    ) -> None:
        with self.fs.open(path, "wb") as stream:
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                for table in rows.tables():
                    ids = pa.array([batch_id] * table.num_rows, _TEXT)
                    writer.write_table(
                        table.add_column(0, schema.field("batch_id"), ids)
                    )
            if self.is_local:
                stream.flush()
                os.fsync(stream.fileno())
