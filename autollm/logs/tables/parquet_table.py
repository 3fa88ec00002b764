"""Parquet tables: one row a run, read a row group at a time.

Lines are rows here, counted from 1. A file that is no Parquet has no rows that could be
counted: it is one bad entry.

Invariant: every row of the file's own count is a row or set aside; a row group that
cannot be decoded costs its rows only.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core.errors import RecordError
from autollm.logs.relation import (
    FILE_COLUMN,
    BadLines,
    OpenedFile,
    Relation,
)
from autollm.logs.tables.columns import numbered, repeated, text_of, unnested
from autollm.logs.tables.dialect import MAX_COLUMNS

MAX_ROWS = 100_000_000
MAX_GROUP_BYTES = 4 * 2**30
"""Of a row group before compression, by the file's own word."""
CHUNK_ROWS = 200_000
"""Rows that become one relation: about 100 MB of a table of 60 columns."""
_BROKEN = (OSError, pa.ArrowException, UnicodeDecodeError, RecordError)


class ParquetTable:
    """Parquet. Nested structs become dotted columns."""

    format = "parquet"

    def matches(self, name: str, head: bytes) -> bool:
        """By its first bytes, or its name."""
        return head[:4] == b"PAR1" or name.endswith((".parquet", ".pq"))

    def read(self, opened: OpenedFile) -> Iterator[Relation]:
        """See `FileReader.read`."""
        with opened.open() as stream:
            try:
                file = pq.ParquetFile(_seekable(stream, opened.n_bytes))
                columns = _checked(file)
            except RecordError:
                raise
            except _BROKEN as error:
                reason = f"not a readable Parquet file: {error}"
                raise RecordError(reason) from None
            yield from _groups(file, columns, opened.name)


def _seekable(stream: object, n_bytes: int) -> object:
    """The stream, or its bytes in memory where it cannot be read at any place.

    Raises:
        RecordError: that would be more than MAX_GROUP_BYTES.
    """
    if hasattr(stream, "seekable") and stream.seekable():
        return stream
    if n_bytes > MAX_GROUP_BYTES:
        raise RecordError(
            "too large while it is compressed. Fix: decompress it."
        )
    return pa.BufferReader(stream.read())


def _checked(file: pq.ParquetFile) -> list[str]:
    """The columns of a file that may be read.

    Raises:
        RecordError: why it may not.
    """
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    n_rows = sum(group.num_rows for group in groups)
    if metadata.num_rows > MAX_ROWS:
        raise RecordError(
            f"{metadata.num_rows} rows, more than {MAX_ROWS}. Fix: split the file."
        )
    if metadata.num_rows != n_rows:
        raise RecordError(
            f"damaged: it says that it holds {metadata.num_rows} rows, its row groups "
            f"{n_rows}"
        )
    largest = max((group.total_byte_size for group in groups), default=0)
    if largest > MAX_GROUP_BYTES:
        raise RecordError(
            f"a row group of {largest} bytes, more than {MAX_GROUP_BYTES}. Fix: write "
            "smaller row groups."
        )
    columns = _leaves("", file.schema_arrow)
    if len(columns) > MAX_COLUMNS:
        raise RecordError(f"{len(columns)} columns, more than {MAX_COLUMNS}")
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise RecordError(
            f"the column {repeated[0]!r} stands in the table twice. Fix: rename one of "
            "them."
        )
    return columns


def _leaves(prefix: str, fields: pa.Schema | pa.StructType) -> list[str]:
    found: list[str] = []
    for field in fields:
        if pa.types.is_struct(field.type):
            found += _leaves(f"{prefix}{field.name}.", field.type)
        else:
            found.append(f"{prefix}{field.name}")
    return found


def _groups(
    file: pq.ParquetFile, columns: list[str], name: str
) -> Iterator[Relation]:
    line = 1
    for group in range(file.metadata.num_row_groups):
        end = line + file.metadata.row_group(group).num_rows
        bad: tuple[BadLines, ...] = ()
        try:
            for batch in file.iter_batches(
                batch_size=CHUNK_ROWS, row_groups=[group]
            ):
                rows = _rows(
                    pa.Table.from_batches([batch]), columns, name, line
                )
                line += rows.num_rows
                yield Relation("parquet", rows, n_lines=rows.num_rows)
        except _BROKEN as error:
            reason = f"row group {group} cannot be read: {error}"
            bad = (BadLines(line, end - line, reason, ""),)
        if not bad and line < end:
            reason = (
                f"row group {group} ends {end - line} rows before its own count"
            )
            bad = (BadLines(line, end - line, reason, ""),)
        if bad:
            yield Relation("parquet", pa.table({}), bad=bad, n_lines=end - line)
        line = end


def _rows(
    table: pa.Table, columns: list[str], name: str, line: int
) -> pa.Table:
    """Plain columns: numbers, truth values, text; what else there is as text.

    Raises:
        ArrowException: text that is no UTF-8.
    """
    table.validate(full=True)  # damaged bytes must not be followed as offsets
    table = unnested(table)
    plain = [_plain(column) for column in table.columns]
    plain.append(repeated(name, table.num_rows))
    return numbered(pa.table(plain, names=[*columns, FILE_COLUMN]), line)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_signed_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_unsigned_integer(kind) and kind.bit_width < 64:
        return column.cast(pa.int64())
    cells = column.to_pylist()
    return pa.array(map(_spelled, cells), pa.string())


def _spelled(cell: object) -> str | None:
    if isinstance(cell, list):
        return text_of(
            [c if isinstance(c, (int, float)) else str(c) for c in cell]
        )
    return None if cell is None else str(cell)
