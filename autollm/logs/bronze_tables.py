"""The tables of bronze (`autollm.bronze/2`): their columns, and rows on their way there.

No clock and no path of this machine enters a table: `path_id` tells paths apart and
nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.core.files import scratch_folder

SCHEMA = "autollm.bronze/2"
_TEXT, _REAL, _COUNT, _TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_CODE = pa.dictionary(pa.int32(), pa.string())
"""Text of which a batch has few: held and written as codes, read as text."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    fields = [pa.field(name, kind) for name, kind in columns.items()]
    return pa.schema(fields, metadata={"schema": SCHEMA})


RUNS = _schema(
    batch_id=_CODE,
    schema=_CODE,
    source=_CODE,
    group=_CODE,
    run_id=_TEXT,
    file_version=_COUNT,
    experiment_id=_CODE,
    raw_file=_CODE,
    raw_sha256=_CODE,
    path_id=_CODE,
    line=_COUNT,
    mapping_id=_CODE,
    family=_CODE,
    space_id=_CODE,
    ladder_id=_CODE,
    config_json=_CODE,
    config_id=_CODE,
    context_json=_CODE,
    context_id=_CODE,
    fidelity_json=_CODE,
    fidelity_label=_CODE,
    objective_name=_CODE,
    objective_direction=_CODE,
    objective_value=_REAL,
    secondary_json=_TEXT,
    seed=_COUNT,
    trunk_id=_CODE,
    schedule_share=_REAL,
    status=_CODE,
    status_reason=_CODE,
    is_outcome=_TRUTH,
    cost_flops=_REAL,
    device=_CODE,
    device_hours=_REAL,
    gpu_hours=_REAL,
    wall_time_s=_REAL,
    n_points=_COUNT,
    points_digest=_CODE,
    data_sha256=_CODE,
    header_json=_TEXT,
    created_at=_TEXT,
)
RUN_METRICS = _schema(
    batch_id=_CODE,
    source=_CODE,
    group=_CODE,
    run_id=_CODE,
    file_version=_COUNT,
    metric=_CODE,
    line=_COUNT,
    step=_COUNT,
    tokens=_REAL,
    value=_REAL,
    wall_time_s=_REAL,
)
SPACES = _schema(
    batch_id=_TEXT,
    source=_TEXT,
    group=_TEXT,
    family=_TEXT,
    space_id=_TEXT,
    space_json=_TEXT,
    ladder_id=_TEXT,
    ladder_json=_TEXT,
)
FILES = _schema(
    batch_id=_TEXT,
    source=_TEXT,
    file=_TEXT,
    raw_sha256=_TEXT,
    sha256=_TEXT,
    path_id=_TEXT,
    file_version=_COUNT,
    kind=_TEXT,
    bytes=_COUNT,
    mapping_id=_TEXT,
    format=_TEXT,
    n_lines=_COUNT,
    n_lines_read=_COUNT,
    n_lines_quarantined=_COUNT,
    n_runs=_COUNT,
)
QUARANTINE = _schema(
    batch_id=_TEXT,
    source=_TEXT,
    file=_TEXT,
    sha256=_TEXT,
    line=_COUNT,
    n_lines=_COUNT,
    reason=_TEXT,
    text=_TEXT,
)
SCHEMAS = {
    "runs": RUNS,
    "run_metrics": RUN_METRICS,
    "spaces": SPACES,
    "files": FILES,
}
"""Tables of a batch; the quarantine lies beside them."""
SPILL_BYTES = 384 * 2**20
"""Of a table's rows that wait in memory; more of them wait in files of a temporary
folder.
"""
GROUP_ROWS = 100_000
"""A table of so many rows becomes a row group as it is; smaller ones are put together."""


def codes_of(schema: pa.Schema) -> list[str]:
    """The columns of a table that are written as codes."""
    fields = (field for field in schema if field.type == _CODE)
    return [field.name for field in fields]


def constant(text: str, n_rows: int) -> pa.DictionaryArray:
    """A column of one text, as codes."""
    return pa.DictionaryArray.from_arrays(np.zeros(n_rows, np.int32), [text])


class Rows:
    """Rows of one table, without their batch_id, in the order of arrival."""

    def __init__(
        self, schema: pa.Schema, folder: str, spill_bytes: int | None = None
    ):
        fields = [field for field in schema if field.name != "batch_id"]
        self.schema = pa.schema(fields, metadata=schema.metadata)
        self._folder, self._spill_bytes = folder, spill_bytes
        self._waiting: list[pa.Table] = []
        self._n_bytes = self._n_rows = 0
        self._pieces: list[str] = []

    def __len__(self) -> int:
        return self._n_rows

    def add(self, table: pa.Table) -> None:
        """Append a table; its columns are brought into order."""
        if not table.num_rows:
            return
        ordered = table.select(self.schema.names).cast(self.schema)
        self._waiting.append(ordered)
        self._n_bytes += ordered.nbytes
        self._n_rows += ordered.num_rows
        if self._n_bytes > (self._spill_bytes or SPILL_BYTES):
            self._spill()

    def add_rows(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if rows:
            self.add(pa.Table.from_pylist(rows, schema=self.schema))

    def _spill(self) -> None:
        path = f"{self._folder}/{id(self)}-{len(self._pieces)}.arrow"
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        with (
            pa.OSFile(path, "wb") as out,
            pa.ipc.new_file(out, self.schema) as writer,
        ):
            writer.write_table(table)
        self._pieces.append(path)
        self._waiting, self._n_bytes = [], 0

    def tables(self) -> Iterator[pa.Table]:
        """All rows, in pieces."""
        for path in self._pieces:
            with pa.memory_map(path) as source:
                reader = pa.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)])
        together: list[pa.Table] = []
        for table in self._waiting:
            together.append(table)
            if sum(part.num_rows for part in together) >= GROUP_ROWS:
                yield _one(together)
                together = []
        if together:
            yield _one(together)


def _one(tables: list[pa.Table]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables).combine_chunks()


class Batch:
    """Rows of one landing. As a context manager it removes its temporary folder."""

    def __init__(self) -> None:
        self._scratch = contextlib.ExitStack()
        self._folder = self._scratch.enter_context(scratch_folder("landing"))
        self.tables = {n: self.rows(schema) for n, schema in SCHEMAS.items()}
        self.quarantine = self.rows(QUARANTINE)
        self.files: list[dict[str, Any]] = []

    def rows(self, schema: pa.Schema) -> Rows:
        """A new table that waits in this batch's folder."""
        return Rows(schema, str(self._folder))

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()
