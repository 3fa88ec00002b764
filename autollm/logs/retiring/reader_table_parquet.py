"""Parquet tables: one row per run, columns as a mapping says, read in batches.

What does not belong here: what columns mean (mapping files). Lines are rows here,
counted from 1. A file that is no Parquet has no rows that could be counted: it is one
entry of the quarantine.

Invariant: every row of the file's own count is a TableRow; a row group that cannot be
decoded costs its rows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core.errors import MappingError, RecordError
from autollm.logs.retiring.containers import LogBytes, LogFile
from autollm.logs.retiring.reader_table_jsonl import flatten
from autollm.logs.retiring.reading import BadLines, ReadFile
from autollm.logs.retiring.table import OpenTable, TableReader, TableRow

BATCH_ROWS = 1000
MAX_ROWS = 100_000_000
MAX_GROUP_BYTES = 4 * 2**30
"""Of a row group before compression, by the file's own word."""
_BROKEN = (OSError, pa.ArrowException, UnicodeDecodeError, RecordError)


class TableParquetReader(TableReader):
    """Parquet. Nested structs become dotted columns."""

    format = "parquet"
    suffixes = (".parquet", ".pq")

    @contextmanager
    def open(self, log: LogBytes | LogFile) -> Iterator[OpenTable]:
        """See `TableReader.open`."""
        with ExitStack() as stack:
            try:
                file = pq.ParquetFile(stack.enter_context(log.open_seekable()))
            except _BROKEN as error:
                yield OpenTable(
                    unusable=_unusable(f"not a readable Parquet file: {error}")
                )
                return
            problem = _problem(file.metadata)
            if problem:
                yield OpenTable(unusable=_unusable(problem))
                return
            columns = _columns(file.schema_arrow)
            repeated = [n for n in columns if columns.count(n) > 1]
            if repeated:
                raise MappingError(
                    f"{log.name}: the column {repeated[0]!r} stands in the table "
                    "twice. Fix: rename one of them."
                )
            yield OpenTable(columns, _rows(file), is_empty=file.metadata.num_rows == 0)


def _unusable(reason: str) -> ReadFile:
    return ReadFile(0, bad=[BadLines(0, 0, reason, "")])


def _problem(metadata: pq.FileMetaData) -> str:
    """Why a file is not read, empty when it is."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if metadata.num_rows > MAX_ROWS:
        return f"{metadata.num_rows} rows, more than {MAX_ROWS}. Fix: split the file."
    if metadata.num_rows != sum(g.num_rows for g in groups):
        return f"damaged: it says that it holds {metadata.num_rows} rows, its row groups {sum(g.num_rows for g in groups)}"
    largest = max((g.total_byte_size for g in groups), default=0)
    return (
        f"a row group of {largest} bytes, more than {MAX_GROUP_BYTES}. Fix: write "
        "smaller row groups."
        if largest > MAX_GROUP_BYTES
        else ""
    )


def _columns(schema: pa.Schema) -> list[str]:
    return [name for entry in schema for name in _leaves(entry.name, entry.type)]


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if not pa.types.is_struct(kind):
        return [name]
    return [
        leaf
        for i in range(kind.num_fields)
        for leaf in _leaves(f"{name}.{kind.field(i).name}", kind.field(i).type)
    ]


def _rows(file: pq.ParquetFile) -> Iterator[TableRow]:
    line = 1
    for group in range(file.metadata.num_row_groups):
        end = line + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
                for raw in batch.to_pylist():
                    yield _row(line, raw)
                    line += 1
        except _BROKEN as error:
            yield TableRow(
                line, None, f"row group {group} cannot be read: {error}", "", end - line
            )
        else:
            if line < end:
                yield TableRow(
                    line,
                    None,
                    f"row group {group} ends {end - line} rows before its own count",
                    "",
                    end - line,
                )
        line = end


def _row(line: int, raw: dict[str, Any]) -> TableRow:
    try:
        return TableRow(
            line, {name: _plain(value) for name, value in flatten(raw).items()}
        )
    except RecordError as error:
        return TableRow(line, None, str(error), str(raw)[:100])


def _plain(value: Any) -> Any:
    """Values that JSON can hold; others as text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
