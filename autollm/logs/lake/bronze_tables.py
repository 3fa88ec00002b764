"""The tables of bronze (`autollm.bronze/2`): their columns, and their Parquet files.

No clock and no path of this machine enters a table: `path_id` tells paths apart and
nothing else.

Invariant: the rows of a file come in the order in which they were added.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.logs.tables.columns import constant

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
    code  batch_id
    text  source group family space_id space_json ladder_id
    text  ladder_json
""")
FILES = _schema("""
    code  batch_id
    text  source file raw_sha256 sha256 path_id
    count file_version
    text  kind
    count bytes
    text  mapping_id format
    count n_lines n_lines_read n_lines_quarantined n_runs
""")
QUARANTINE = _schema("""
    code  batch_id
    text  source file sha256
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
GROUP_ROWS = 100_000
"""Rows that are written as one row group, or more of them."""
GROUP_BYTES = 64 * 2**20
"""Of rows that are wider than most."""
Part = Callable[[], pa.Table]
"""Makes rows when they are written."""
_AHEAD = 2
"""Row groups that may wait for the one that is being written."""
_LEVEL = 1
"""Of zstd. 3, the default, takes twice the time here for 4 % fewer bytes."""
_VALUES = 2**16
"""Encoded at a time. With 2^10, the default, a table of runs takes a tenth longer."""
_PENDING = "batch-id-pending"
"""Stands where a batch's id will stand: a text of the same length."""


def codes_of(schema: pa.Schema) -> list[str]:
    """The columns of a table that are written as codes."""
    fields = (field for field in schema if field.type == _KINDS["code"])
    return [field.name for field in fields]


class TableFile:
    """The Parquet file of one table, written in a thread while rows still come.

    Whose batch they are is known last: its id hangs on all files of the landing. Each
    row group keeps a place for it.
    """

    def __init__(self, schema: pa.Schema, path: str, pool: ThreadPoolExecutor):
        self.path, self._schema, self._pool = path, schema, pool
        fields = [field for field in schema if field.name != "batch_id"]
        self._given = pa.schema(fields)
        self._waiting: list[Part] = []
        self._n_waiting = self._n_bytes = self._n_rows = 0
        self._written: deque[Future[None]] = deque()
        self._writer: pq.ParquetWriter | None = None

    def __len__(self) -> int:
        return self._n_rows

    def add(
        self,
        table: pa.Table,
        completed: Callable[[pa.Table], pa.Table] = lambda table: table,
        n_bytes: int = 0,
    ) -> None:
        """Append rows without their batch_id. `completed` adds, in the thread, the
        columns that take time; it holds `n_bytes` until then.
        """
        if not table.num_rows:
            return
        self._waiting.append(lambda: self._ordered(completed(table)))
        self._n_rows += table.num_rows
        self._n_waiting += table.num_rows
        self._n_bytes += table.nbytes + n_bytes
        if self._n_waiting >= GROUP_ROWS or self._n_bytes >= GROUP_BYTES:
            self._send()

    def add_rows(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        self.add(pa.Table.from_pylist(rows, schema=self._given))

    def _ordered(self, table: pa.Table) -> pa.Table:
        return table.select(self._given.names).cast(self._given)

    def _send(self) -> None:
        """Let the thread write what waits."""
        waiting, self._waiting = self._waiting, []
        self._n_waiting = self._n_bytes = 0
        if len(self._written) >= _AHEAD:
            self._written.popleft().result()
        self._written.append(self._pool.submit(self._write, waiting))

    def _write(self, waiting: list[Part]) -> None:
        tables = [make() for make in waiting]
        table = tables[0]
        if len(tables) > 1:
            table = pa.concat_tables(tables).combine_chunks()
        ids = constant(_PENDING, table.num_rows)
        table = table.add_column(0, "batch_id", ids)
        self._opened().write_table(table.cast(self._schema))

    def _opened(self) -> pq.ParquetWriter:
        if self._writer is None:
            others = [n for n in self._schema.names if n != "batch_id"]
            # without Arrow's own schema codes are read as the text that they stand for
            self._writer = pq.ParquetWriter(
                self.path,
                self._schema,
                compression={"batch_id": "none"}
                | dict.fromkeys(others, "zstd"),
                compression_level=dict.fromkeys(others, _LEVEL),
                store_schema=False,
                use_dictionary=[*codes_of(self._schema), "file_version"],
                write_statistics=["source"],
                write_batch_size=_VALUES,
            )
            self._writer.add_key_value_metadata(self._schema.metadata)
        return self._writer

    def finish(self, batch_id: str) -> None:
        """Write what is left, and whose batch it is."""
        if self._waiting:
            self._send()
        while self._written:
            self._written.popleft().result()
        self._opened().close()
        groups = pq.read_metadata(self.path)
        with open(self.path, "r+b") as file:
            for index in range(groups.num_row_groups):
                column = groups.row_group(index).column(0)
                start = column.dictionary_page_offset
                file.seek(start)
                # nothing but this text is in the dictionary, plain: see _opened
                page = file.read(column.data_page_offset - start)
                file.seek(start + page.index(_PENDING.encode()))
                file.write(batch_id.encode())
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Leave the file as it is."""
        if self._writer is not None:
            self._writer.close()


class Batch:
    """The tables of one landing in a folder of their own: `tables/NAME.parquet`, and the
    quarantine beside it. A context manager: the thread that writes ends with it.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._pool = ThreadPoolExecutor(1, "writing")
        os.makedirs(f"{folder}/tables")
        self.tables = {}
        for name, schema in SCHEMAS.items():
            path = f"{folder}/tables/{name}.parquet"
            self.tables[name] = TableFile(schema, path, self._pool)
        path = f"{folder}/quarantine.parquet"
        self.quarantine = TableFile(QUARANTINE, path, self._pool)

    def finish(self, batch_id: str) -> None:
        """All files whole on the disk."""
        for table in (*self.tables.values(), self.quarantine):
            table.finish(batch_id)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as closing:
            for table in (*self.tables.values(), self.quarantine):
                closing.callback(table.close)
            closing.callback(self._pool.shutdown, cancel_futures=True)
