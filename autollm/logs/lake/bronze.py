"""Bronze Parquet on disk: landed batches, each all or nothing.

    <lake>/bronze/batches/<batch_id>/{runs,run_metrics,spaces,files}.parquet
    <lake>/quarantine/<batch_id>.parquet

A batch is never changed. Where a source is removed or read again, batches that hold it
are replaced by ones without it, in one step: a journal says what is being replaced, and
the next ingest finishes it or takes it back.

Invariant: a folder under `batches` that holds `files.parquet` is whole. Locally it
appears by one rename; elsewhere `files.parquet` is moved last, and a folder without it
is removed by the next ingest.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from autollm.core.errors import RecordError
from autollm.core.files import filesystem_of, scratch_folder
from autollm.core.locks import hold
from autollm.core.records import content_hash
from autollm.logs.lake.bronze_tables import SCHEMA, SCHEMAS, Batch
from autollm.logs.lake.bronze_versions import migrated, version_of

WAIT_S = 120.0
"""An ingest of a night's logs takes seconds; who waits longer wants to know."""
Change = Callable[[str, pa.Table], pa.Table]


class Bronze:
    """The bronze and quarantine folders of one lake (an fsspec URL or a local path)."""

    def __init__(self, lake: str):
        self.fs, self.root = filesystem_of(str(lake))
        self.root = self.root.rstrip("/")
        self.batches = f"{self.root}/bronze/batches"
        self._temporary = f"{self.root}/bronze/tmp"
        self._journal = f"{self.root}/bronze/replacing.json"
        self._quarantine = f"{self.root}/quarantine"

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def batch_ids(self) -> list[str]:
        """Ids of whole batches, sorted."""
        found = []
        for folder in self._children(self.batches):
            if self.fs.exists(f"{folder}/files.parquet"):
                found.append(_last(folder))
        return sorted(found)

    def new_batch_id(
        self, files: list[dict[str, Any]], is_again: bool
    ) -> str | None:
        """The id of a batch of these files: equal files under equal mappings give an
        equal one. None where there is nothing new.
        """
        keys = []
        for row in files:
            named = ("sha256", "source", "file", "mapping_id")
            keys.append(" ".join(row[name] for name in named))
        if not keys:
            return None
        text = "\n".join(sorted(keys))
        batch_id = content_hash(text.encode("utf-8", "surrogatepass"))
        if batch_id not in self.batch_ids():
            return batch_id
        if is_again:  # the same files under the same mapping, read anew
            return content_hash(f"{batch_id} again {len(self.batch_ids())}")
        return None  # files without their partner, met once more

    def read(self, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
        """Rows of one table over all whole batches."""
        rows = []
        for found in self.scan(table, columns):
            cells = [found[column].to_pylist() for column in columns]
            rows += zip(*cells, strict=True)
        return rows

    def scan(self, table: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The rows of `read`, a piece at a time.

        Raises:
            RecordError: bronze was written by a newer version.
        """
        for batch_id in self.batch_ids():
            with self._parquet(
                f"{self.batches}/{batch_id}/{table}.parquet"
            ) as file:
                has = [n for n in columns if n in file.schema_arrow.names]
                if has == columns:
                    yield from file.iter_batches(columns=columns)
                    continue
                for piece in file.iter_batches():
                    changed = migrated(table, pa.Table.from_batches([piece]))
                    yield from changed.select(columns).to_batches()

    @contextlib.contextmanager
    def _parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        with self.fs.open(path, "rb") as stream:
            file = pq.ParquetFile(stream)
            version_of(file.schema_arrow.metadata, path)
            yield file

    @contextlib.contextmanager
    def writing(self, wait_s: float = WAIT_S) -> Iterator[None]:
        """Hold the lake for one ingest, clear what a killed one left behind, and bring
        an older bronze to today's version.

        The lock is the operating system's and ends with its process; a lake that is not
        a local folder has none.

        Raises:
            BusyError: another process still ingests into this lake after `wait_s`.
            RecordError: bronze was written by a newer version.
        """
        lock: Any = contextlib.nullcontext()
        if self.is_local:
            path = Path(self.root, "bronze", ".lock")
            lock = hold(path, f"the lake {self.root}", wait_s)
        with lock:
            self._settle_journal()
            self._clear_leftovers()
            self._migrate()
            try:
                yield
            finally:
                self._remove([self._temporary])

    def _settle_journal(self) -> None:
        """Finish a replacement whose new batches are all there; take another one back."""
        if not self.fs.exists(self._journal):
            return
        try:
            said = json.loads(self.fs.cat_file(self._journal))
        except (
            ValueError
        ):  # killed while it was written: nothing has been replaced yet
            said = {"new": [], "old": []}
        is_done = set(said["new"]) <= set(self.batch_ids())
        self._drop(said["old"] if is_done else said["new"])
        self.fs.rm(self._journal)

    def _drop(self, batch_ids: Iterable[str]) -> None:
        for batch_id in batch_ids:
            self._remove([f"{self.batches}/{batch_id}"])
            self._remove([self._quarantined(batch_id)])

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            if self.fs.exists(path):
                self.fs.rm(path, recursive=True)

    def _quarantined(self, batch_id: str) -> str:
        return f"{self._quarantine}/{batch_id}.parquet"

    def _clear_leftovers(self) -> None:
        whole = set(self.batch_ids())
        leftovers = [self._temporary]
        for folder in (self.batches, self._quarantine):
            for path in self._children(folder):
                if _last(path).removesuffix(".parquet") not in whole:
                    leftovers.append(path)
        for path in self._children(f"{self.root}/landing"):
            if path.endswith(".part"):  # a raw copy that was cut off
                leftovers.append(path)
        self._remove(leftovers)

    def _children(self, folder: str) -> list[str]:
        """What lies directly in a folder; its name is never taken for a pattern."""
        if not self.fs.exists(folder):
            return []
        paths = (p.rstrip("/") for p in self.fs.ls(folder, detail=False))
        return [p for p in paths if not _last(p).startswith(".")]

    @contextlib.contextmanager
    def batch(self) -> Iterator[Batch]:
        """An empty batch, in a folder from which it can appear by one rename where the
        lake is a local folder.
        """
        if not self.is_local:
            with (
                scratch_folder("landing") as folder,
                Batch(str(folder)) as batch,
            ):
                yield batch
            return
        os.makedirs(self._temporary, exist_ok=True)
        with Batch(tempfile.mkdtemp(dir=self._temporary)) as batch:
            yield batch

    def write(
        self, batch_id: str | None, batch: Batch, dropping: Collection[str] = ()
    ) -> None:
        """Let a batch appear, and replace those that hold sources of `dropping` by
        batches without them; all of it or nothing.
        """
        new = {} if batch_id is None else {batch_id: batch}
        old = self.holding(dropping)
        names = {
            o: content_hash(f"{o} without {sorted(dropping)}") for o in old
        }
        self._replace(new, names, lambda _, rows: _without(rows, dropping))

    def _replace(
        self, new: dict[str, Batch], names: dict[str, str], change: Change
    ) -> None:
        """Let batches appear, and changed copies instead of those in `names`."""
        with contextlib.ExitStack() as stack:
            for old, name in names.items():
                copy = stack.enter_context(self.batch())
                self._copy(old, copy, change)
                if len(copy.tables["files"]):
                    new[name] = copy
            for name, batch in new.items():
                batch.finish(name)
            self._commit(new, list(names))

    def holding(self, sources: Collection[str]) -> list[str]:
        """Batches that hold files of these sources."""
        if not sources:
            return []
        found = []
        for batch_id in self.batch_ids():
            with self._parquet(
                f"{self.batches}/{batch_id}/files.parquet"
            ) as file:
                here = set(file.read(columns=["source"])["source"].to_pylist())
            if here & set(sources):
                found.append(batch_id)
        return found

    def _copy(self, batch_id: str, batch: Batch, change: Change) -> None:
        """The changed rows of a batch in another one."""
        for name, table in batch.tables.items():
            source = f"{self.batches}/{batch_id}/{name}.parquet"
            for rows in self._changed(source, name, change):
                table.add(rows)
        source = self._quarantined(batch_id)
        if self.fs.exists(source):
            for rows in self._changed(source, "quarantine", change):
                batch.quarantine.add(rows)

    def _changed(
        self, path: str, name: str, change: Change
    ) -> Iterator[pa.Table]:
        with self._parquet(path) as file:
            for piece in file.iter_batches():
                rows = migrated(name, pa.Table.from_batches([piece]))
                yield change(name, rows).drop_columns(["batch_id"])

    def _commit(self, new: dict[str, Batch], old: list[str]) -> None:
        """Let whole batches appear and the old ones go."""
        self.fs.makedirs(self.batches, exist_ok=True)
        if old:
            journal = json.dumps({"new": list(new), "old": old}).encode()
            self.fs.pipe_file(self._journal, journal)
        for batch_id, batch in new.items():
            self._appear(batch, batch_id)
        if old:
            self._drop(set(old) - set(new))
            self.fs.rm(self._journal)

    def _appear(self, batch: Batch, batch_id: str) -> None:
        move = os.rename if self.is_local else self.fs.put_file
        if len(batch.quarantine):
            self.fs.makedirs(self._quarantine, exist_ok=True)
            move(batch.quarantine.path, self._quarantined(batch_id))
        target = f"{self.batches}/{batch_id}"
        if self.is_local:
            os.rename(f"{batch.folder}/tables", target)
            return
        self.fs.makedirs(target, exist_ok=True)
        for name in sorted(SCHEMAS, key=lambda n: n == "files"):
            move(batch.tables[name].path, f"{target}/{name}.parquet")

    def _migrate(self) -> None:
        """Bring batches of an older version to this one."""
        old = {}
        for batch_id in self.batch_ids():
            path = f"{self.batches}/{batch_id}/files.parquet"
            with self._parquet(path) as file:
                if version_of(file.schema_arrow.metadata, path) != SCHEMA:
                    old[batch_id] = content_hash(f"{batch_id} as {SCHEMA}")
        if old:
            self._replace({}, old, lambda _, rows: rows)

    def has_runs(self) -> bool:
        """Whether anything has landed that tables can be built from."""
        return any(n for (n,) in self.read("files", ["n_runs"]))


def require_bronze(lake: str) -> None:
    """Check that there is something to build tables from.

    Raises:
        RecordError: no batch with a run has landed.
    """
    bronze = Bronze(lake)
    if not bronze.has_runs():
        raise RecordError(
            f"no run has landed in {bronze.batches}: there is nothing to build tables "
            "from. Fix: autollm ingest PATH (a log, a table, an archive or a folder)."
        )


def _without(rows: pa.Table, sources: Collection[str]) -> pa.Table:
    is_in = pc.is_in(rows["source"], pa.array(sorted(sources), pa.string()))
    return rows.filter(pc.invert(is_in))


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
