"""CSV tables: one row per run, columns as a mapping says.

What does not belong here: what columns mean (mapping files). A record is one physical
line: a quoted field may hold commas and quotes but no line break, so that one unclosed
quote costs one line and not the rest of the file.

Invariant: one TableRow a line, the header included.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from autollm.core.errors import MappingError, RecordError
from autollm.logs.retiring.containers import LogBytes, LogFile
from autollm.logs.retiring.reading import (
    binary_problem,
    count_lines,
    decode_line,
    head_of,
    iter_lines,
    quote,
    whole_lines,
)
from autollm.logs.retiring.table import OpenTable, TableReader, TableRow


class TableCsvReader(TableReader):
    """CSV with a header line, comma-separated, UTF-8."""

    format = "csv"
    suffixes = (".csv",)

    @contextmanager
    def open(self, log: LogBytes | LogFile) -> Iterator[OpenTable]:
        """See `TableReader.open`."""
        problem = binary_problem(head_of(log), "a CSV table")
        if problem:
            yield OpenTable(
                unusable=whole_lines(count_lines(log), head_of(log), problem)
            )
            return
        with log.open() as stream:
            lines = iter_lines(stream)
            first = next(lines, None)
            if first is None:
                yield OpenTable(is_empty=True)
                return
            header = _header(first.removeprefix(b"\xef\xbb\xbf"), log.name)
            yield OpenTable(
                header, itertools.chain([TableRow(1)], _rows(lines, header))
            )


def _header(line: bytes, name: str) -> list[str]:
    try:
        header = [c.strip() for c in _cells(decode_line(line))]
    except RecordError as error:
        raise MappingError(
            f"{name}: the header line is unreadable: {error}. Fix: save the table as "
            "UTF-8 text."
        ) from None
    repeated = [c for c in header if header.count(c) > 1]
    if repeated:
        raise MappingError(
            f"{name}: the column {repeated[0]!r} stands in the header twice. Fix: "
            "rename one of them."
        )
    return header


def _rows(lines: Iterator[bytes], header: list[str]) -> Iterator[TableRow]:
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            yield TableRow(number)
            continue
        try:
            cells = _cells(decode_line(line))
        except RecordError as error:
            yield TableRow(number, None, str(error), quote(line))
            continue
        if len(cells) != len(header):
            yield TableRow(
                number,
                None,
                f"{len(cells)} fields, the header has {len(header)}",
                quote(line),
            )
            continue
        yield TableRow(
            number,
            dict(zip(header, (c.strip() for c in cells), strict=True)),
            "",
            quote(line),
        )


def _cells(line: str) -> list[str]:
    """Raises:
    RecordError: not one whole CSV record.
    """
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise RecordError(f"not a CSV record on one line: {error}") from None
