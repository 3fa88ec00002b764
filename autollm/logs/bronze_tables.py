"""The tables of bronze (`autollm.bronze/2`): their columns, and rows on their way there.

No clock and no path of this machine enters a table: `path_id` tells paths apart and
nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.core.files import scratch_folder

SCHEMA = "autollm.bronze/2"
_KINDS = {
    "text": pa.string(),
    "code": pa.dictionary(pa.int32(), pa.string()),
    "real": pa.float64(),
    "count": pa.int64(),
    "truth": pa.bool_(),
}
"""`code` is text of which a batch has few: held and written as codes, read as text."""


def _schema(lines: str) -> pa.Schema:
    """Columns in their order, a line of them a kind."""
    fields = []
    for line in lines.strip().split("\n"):
        kind, *names = line.split()
        fields += [pa.field(name, _KINDS[kind]) for name in names]
    return pa.schema(fields, metadata={"schema": SCHEMA})


RUNS = _schema("""
    code  batch_id schema source group
    text  run_id
    count file_version
    code  experiment_id raw_file raw_sha256 path_id
    count line
    code  mapping_id family space_id ladder_id config_json config_id
    code  context_json context_id fidelity_json fidelity_label
    code  objective_name objective_direction
    real  objective_value
    text  secondary_json
    count seed
    code  trunk_id
    real  schedule_share
    code  status status_reason
    truth is_outcome
    real  cost_flops
    code  device
    real  device_hours gpu_hours wall_time_s
    count n_points
    code  points_digest data_sha256
    text  header_json created_at
""")
RUN_METRICS = _schema("""
    code  batch_id source group run_id
    count file_version
    code  metric
    count line step
    real  tokens value wall_time_s
""")
SPACES = _schema("""
    text  batch_id source group family space_id space_json ladder_id
    text  ladder_json
""")
FILES = _schema("""
    text  batch_id source file raw_sha256 sha256 path_id
    count file_version
    text  kind
    count bytes
    text  mapping_id format
    count n_lines n_lines_read n_lines_quarantined n_runs
""")
QUARANTINE = _schema("""
    text  batch_id source file sha256
    count line n_lines
    text  reason text
""")
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
    fields = (field for field in schema if field.type == _KINDS["code"])
    return [field.name for field in fields]


def constant(text: str, n_rows: int) -> pa.DictionaryArray:
    """A column of one text, as codes."""
    return pa.DictionaryArray.from_arrays(np.zeros(n_rows, np.int32), [text])


class Rows:
    """Rows of one table, without their batch_id, in the order of arrival."""

    def __init__(self, schema: pa.Schema, folder: str):
        fields = [field for field in schema if field.name != "batch_id"]
        self.schema = pa.schema(fields, metadata=schema.metadata)
        self._folder = folder
        self._waiting: list[pa.Table] = []
        self._n_bytes = self._n_rows = 0
        self._earlier: list[Callable[[], Iterator[pa.Table]]] = []

    def __len__(self) -> int:
        return self._n_rows

    def add(self, table: pa.Table) -> None:
        """Append a table; its columns are brought into order."""
        if not table.num_rows:
            return
        ordered = self._ordered(table)
        self._waiting.append(ordered)
        self._n_bytes += ordered.nbytes
        self._n_rows += ordered.num_rows
        if self._n_bytes > SPILL_BYTES:
            self._spill()

    def add_rows(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if rows:
            self.add(pa.Table.from_pylist(rows, schema=self.schema))

    def add_later(
        self, make: Callable[[], Iterator[pa.Table]], n_rows: int
    ) -> None:
        """Append the `n_rows` rows of tables that are made when they are asked for."""
        waiting, self._waiting, self._n_bytes = self._waiting, [], 0
        self._earlier.append(lambda: _together(waiting))
        self._earlier.append(lambda: map(self._ordered, make()))
        self._n_rows += n_rows

    def _ordered(self, table: pa.Table) -> pa.Table:
        return table.select(self.schema.names).cast(self.schema)

    def _spill(self) -> None:
        path = f"{self._folder}/{id(self)}-{len(self._earlier)}.arrow"
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        with (
            pa.OSFile(path, "wb") as out,
            pa.ipc.new_file(out, self.schema) as writer,
        ):
            writer.write_table(table)
        self._earlier.append(lambda: _spilled(path))
        self._waiting, self._n_bytes = [], 0

    def tables(self) -> Iterator[pa.Table]:
        """All rows, in pieces."""
        for tables in self._earlier:
            yield from tables()
        yield from _together(self._waiting)


def _spilled(path: str) -> Iterator[pa.Table]:
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(index)])


def _together(tables: list[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together to GROUP_ROWS rows or more."""
    together: list[pa.Table] = []
    for table in tables:
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
