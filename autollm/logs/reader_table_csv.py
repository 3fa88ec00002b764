"""Reader of CSV tables: one row per run, columns as a mapping says.

What does not belong here: what columns mean (mapping files). A record is one physical line: a quoted field may hold
commas and quotes but no line break, so that one unclosed quote costs one line and not the rest of the file.

Invariant: the header and every blank line count as read; every other line is a run or quarantined.
"""

from __future__ import annotations

import csv
import difflib

from autollm.errors import MappingError, RecordError
from autollm.logs.canonical import build_run
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import LogBytes
from autollm.logs.mapping import Mapping
from autollm.logs.reading import BadLines, ReadFile, RunRow, decode_line, looks_binary, quote, split_lines, whole_file
from autollm.records import canonical_json


class TableCsvReader:
    """CSV with a header line, comma-separated, UTF-8."""

    format = "csv"
    suffixes = (".csv",)

    def read(self, log: LogBytes, choice: MappingChoice) -> ReadFile:
        """See `reading.Reader`.

        Raises:
            MappingError: no mapping for this table, or a column that the mapping needs is missing.
        """
        if looks_binary(log.data):
            return whole_file(log.data, "binary data: a CSV table has no NUL bytes")
        mapping = choice.named or choice.for_file(log.name, self.format)
        if mapping is None:
            known = ", ".join(m.source for m in choice.candidates if m.format == self.format)
            raise MappingError(
                f"no mapping says what the columns of {log.name} mean. Fix: name one ({known}) or a mapping file."
            )
        lines = split_lines(log.data.removeprefix(b"\xef\xbb\xbf"))
        if not lines:
            return ReadFile(0, mapping_id=mapping.mapping_id, source=mapping.source)
        header = _header(lines[0], log.name)
        check_columns(mapping, header, log.name)
        return _Table(mapping, header).read(lines)


def _header(line: bytes, name: str) -> list[str]:
    try:
        header = [c.strip() for c in _cells(decode_line(line))]
    except RecordError as error:
        raise MappingError(f"{name}: the header line is unreadable: {error}") from None
    repeated = [c for c in header if header.count(c) > 1]
    if repeated:
        raise MappingError(f"{name}: the column {repeated[0]!r} stands in the header twice. Fix: rename one of them.")
    return header


def check_columns(mapping: Mapping, header: list[str], name: str) -> None:
    """Compare a header with what the mapping needs.

    Raises:
        MappingError: naming the file, the missing column, the nearest one there is, and the remedy.
    """
    missing = [c for c in mapping.needed_columns() if c not in header]
    if missing:
        close = difflib.get_close_matches(missing[0], header, n=1, cutoff=0.0)
        raise MappingError(
            f"{name} has no column {missing[0]!r}, which the mapping {mapping.source!r} needs"
            f"{f' (missing too: {missing[1:]})' if missing[1:] else ''}. Nearest: {close[0] if close else 'none'!r}. "
            f"Columns: {', '.join(header)}. "
            "Fix: name the right column in the mapping file, or use the mapping of this table."
        )


def _cells(line: str) -> list[str]:
    """Raises:
    RecordError: not one whole CSV record.
    """
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise RecordError(f"not a CSV record on one line: {error}") from None


class _Table:
    """The rows of one table, with the count of each run key so far."""

    def __init__(self, mapping: Mapping, header: list[str]):
        self._mapping, self._header, self._seen = mapping, header, {}

    def read(self, lines: list[bytes]) -> ReadFile:
        found = ReadFile(len(lines), mapping_id=self._mapping.mapping_id, source=self._mapping.source)
        for number, line in enumerate(lines[1:], start=2):
            if not line.strip():
                continue
            try:
                found.runs.append(self._run(decode_line(line), number))
            except RecordError as error:
                found.bad.append(BadLines(number, 1, str(error), quote(line)))
        return found

    def _run(self, line: str, number: int) -> RunRow:
        cells = _cells(line)
        if len(cells) != len(self._header):
            raise RecordError(f"{len(cells)} fields, the header has {len(self._header)}")
        values = dict(zip(self._header, (c.strip() for c in cells), strict=True))
        row = build_run(self._mapping, values)
        row |= {
            "source": self._mapping.source,
            "run_id": self._run_id(values),
            "data_sha256": "",
            "created_at": "",
            "header_json": canonical_json(values, digits=None),
        }
        return RunRow(row, [], number, 1, quote(line))

    def _run_id(self, values: dict[str, str]) -> str:
        empty = [c for c in self._mapping.run_key if not values[c]]
        if empty:
            raise RecordError(f"the run key column {empty[0]!r} is empty")
        run_id = "|".join(values[c] for c in self._mapping.run_key)
        self._seen[run_id] = count = self._seen.get(run_id, 0) + 1
        if count == 1:
            return run_id
        if self._mapping.repeated_run == "number":
            return f"{run_id}#{count}"
        raise RecordError(f"the run {run_id!r} stands in this table already; the first row is kept")
