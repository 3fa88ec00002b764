"""Reader of tables, one row per run, whatever the file format: the mapping applied row
by row, in bounded memory.

A format (CSV, JSON lines, Parquet) only cuts its file into rows (`TableReader.open`).
Constant columns and joined files of a mapping are put in here. What does not belong
here: what columns mean (mapping files), landing.

Invariant: header and blank lines count as read; every other line is a run or
quarantined.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from autollm.core.errors import MappingError, RecordError
from autollm.core.records import canonical_json
from autollm.logs.retiring.canonical import build_run, key_text
from autollm.logs.retiring.catalog import MappingChoice, short_name
from autollm.logs.retiring.containers import LogBytes, LogFile, plain_name
from autollm.logs.retiring.mapping import Mapping
from autollm.logs.retiring.reading import BadLines, ReadFile, RunRow, merge, quote
from autollm.logs.retiring.seen import Seen

CHUNK_ROWS = 10_000
"""Rows that are in memory at once."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of a table: its values by column, or why there are none. Neither: a header
    or blank line.

    `line` counts from 1 (rows, where a format has no lines); a problem may cover
    `n_lines` of them.
    """

    line: int
    values: dict[str, Any] | None = None
    problem: str = ""
    text: str = ""
    n_lines: int = 1


@dataclass
class OpenTable:
    """A table being read: its columns, in order, and its rows; or `unusable` as a
    whole.
    """

    columns: list[str] = field(default_factory=list)
    rows: Iterator[TableRow] = field(default_factory=lambda: iter(()))
    is_empty: bool = False
    unusable: ReadFile | None = None


class TableReader:
    """What all table formats share. A format gives `format`, `suffixes` and `open`."""

    format: str
    suffixes: tuple[str, ...]
    streams = True

    def open(self, log: LogBytes | LogFile) -> AbstractContextManager[OpenTable]:
        """The rows of a file.

        Raises:
            MappingError: the header is unreadable or names a column twice.
        """
        raise TypeError(f"{type(self).__name__} must define open()")

    def read(self, log: LogBytes | LogFile, choice: MappingChoice) -> ReadFile:
        """See `reading.Reader`."""
        return merge(self.chunks(log, choice))

    def chunks(
        self,
        log: LogBytes | LogFile,
        choice: MappingChoice,
        joined: JoinedRows | None = None,
    ) -> Iterator[ReadFile]:
        """All runs of one file, at most CHUNK_ROWS at a time.

        Raises:
            MappingError: no mapping for this table, or a column that the mapping needs
                is missing.
        """
        with self.open(log) as table:
            if table.unusable is not None:
                yield table.unusable
                return
            mapping = choice.named or choice.for_file(log.name, self.format)
            if mapping is None:
                known = ", ".join(
                    m.source for m in choice.candidates if m.format == self.format
                )
                raise MappingError(
                    f"no mapping says what the columns of {log.name} mean. Fix: name "
                    f"one ({known}) or a mapping file; "
                    f"`autollm sources inspect {log.name}` proposes one."
                )
            if table.is_empty:
                yield ReadFile(0, mapping_id=mapping.mapping_id, source=mapping.source)
                return
            constants = _constants(mapping, log.name)
            if table.columns:
                check_columns(
                    mapping,
                    _all_columns(table.columns, constants, joined, log.name),
                    log.name,
                )
            yield from _Runs(mapping, constants, joined).read(table.rows)

    def join(self, log: LogBytes | LogFile, mapping: Mapping) -> JoinedRows:
        """The rows of a file that is joined to another one.

        Raises:
            MappingError: it lacks a column that the pair is joined on.
        """
        with self.open(log) as table:
            missing = [c for c in mapping.join_on if c not in table.columns]
            if missing and table.columns:
                raise MappingError(
                    f"{log.name} has no column {missing[0]!r}, on which it is joined. "
                    f"Columns: {', '.join(table.columns)}."
                )
            return JoinedRows(mapping, log.name, table)


class JoinedRows:
    """The second file of a pair, by the columns that both share, and the account of its
    lines.
    """

    def __init__(self, mapping: Mapping, name: str, table: OpenTable):
        self.name, self.columns = name, table.columns
        self._on, self._found = mapping.join_on, table.unusable or ReadFile(0)
        self._found.mapping_id, self._found.source = mapping.mapping_id, mapping.source
        self._rows: dict[tuple[str, ...], TableRow] = {}
        self._used: set[tuple[str, ...]] = set()
        for row in table.rows:
            self._found.n_lines += row.n_lines
            if row.values is None:
                self._set_aside(row, row.problem)
                continue
            try:
                key = _join_key(self._on, row.values)
            except RecordError as error:
                self._set_aside(row, str(error))
                continue
            if self._rows.setdefault(key, row) is not row:
                self._set_aside(
                    row,
                    f"{self._named(key)} stands in {name} already (line "
                    f"{self._rows[key].line}); the first row is kept",
                )

    def _named(self, key: tuple[str, ...]) -> str:
        return ", ".join(f"{c}={v}" for c, v in zip(self._on, key, strict=True))

    def _set_aside(self, row: TableRow, reason: str) -> None:
        if reason:
            self._found.bad.append(
                BadLines(
                    row.line,
                    row.n_lines,
                    reason,
                    row.text or quote(canonical_json(row.values, digits=None)),
                )
            )

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of the row that belongs to `values`.

        Raises:
            RecordError: there is none.
        """
        key = _join_key(self._on, values)
        if key not in self._rows:
            raise RecordError(f"no row of {self.name} has {self._named(key)}")
        self._used.add(key)
        return self._rows[key].values

    def report(self, main: str) -> ReadFile:
        """The account of this file's lines, once `main` has been read; a row that
        nobody took is set aside.
        """
        for key, row in self._rows.items():
            if key not in self._used:
                self._set_aside(row, f"no usable row of {main} has {self._named(key)}")
        return self._found


def _join_key(columns: tuple[str, ...], values: dict[str, Any]) -> tuple[str, ...]:
    empty = next((c for c in columns if values.get(c) in (None, "")), None)
    if empty is not None:
        raise RecordError(
            f"{empty}, on which the files are joined, is missing or empty"
        )
    return tuple(key_text(values[c]) for c in columns)


def _constants(mapping: Mapping, name: str) -> dict[str, Any]:
    if not mapping.parts:
        return {}
    part = mapping.part(plain_name(short_name(name)))
    if part is None:
        raise MappingError(
            f"{name} is none of the tables of the mapping {mapping.source!r}: "
            f"{', '.join(p.file for p in mapping.parts)}. "
            "Fix: rename the file, or add a [[tables]] entry for it."
        )
    return part.constants


def _all_columns(
    columns: list[str], constants: dict[str, Any], joined: JoinedRows | None, name: str
) -> list[str]:
    """Raises:
    MappingError: two of the file, its partner and `set` give the same column.
    """
    twice = [c for c in constants if c in columns]
    if twice:
        raise MappingError(
            f"{name} has a column {twice[0]!r}, and the mapping sets one. Fix: rename "
            "it in `set`."
        )
    if joined is None:
        return [*columns, *constants]
    twice = [
        c for c in joined.columns if c in {*columns, *constants} and c not in joined._on
    ]
    if twice:
        raise MappingError(
            f"the column {twice[0]!r} stands in {name} and in {joined.name}. Fix: "
            "rename one of them, or join on it too."
        )
    return [*columns, *constants, *joined.columns]


def check_columns(mapping: Mapping, header: list[str], name: str) -> None:
    """Compare a header with what the mapping needs.

    Raises:
        MappingError: naming the file, the missing column, the nearest one there is, and
            the remedy.
    """
    missing = [c for c in mapping.needed_columns() if c not in header]
    if missing:
        close = difflib.get_close_matches(missing[0], header, n=1, cutoff=0.0)
        raise MappingError(
            f"{name} has no column {missing[0]!r}, which the mapping "
            f"{mapping.source!r} needs"
            f"{f' (missing too: {missing[1:]})' if missing[1:] else ''}. Nearest: "
            f"{close[0] if close else 'none'!r}. "
            f"Columns: {', '.join(header)}. "
            "Fix: name the right column in the mapping file, or use the mapping of "
            "this table."
        )
    for knob, pattern in mapping.unmatched_patterns(header):
        raise MappingError(
            f"{name} has no column like {pattern!r}, which the knob {knob!r} of the "
            f"mapping {mapping.source!r} needs. "
            f"Columns: {', '.join(header)}. Fix: correct `columns` of that knob."
        )


class _Runs:
    """The runs of one table, with the count of each run key so far."""

    def __init__(
        self, mapping: Mapping, constants: dict[str, Any], joined: JoinedRows | None
    ):
        self._mapping, self._constants, self._joined, self._seen = (
            mapping,
            constants,
            joined,
            Seen(),
        )

    def read(self, rows: Iterator[TableRow]) -> Iterator[ReadFile]:
        found = self._chunk()
        for row in rows:
            found.n_lines += row.n_lines
            if row.problem:
                found.bad.append(BadLines(row.line, row.n_lines, row.problem, row.text))
            elif row.values is not None:
                self._add(row, found)
            if len(found.runs) + len(found.bad) >= CHUNK_ROWS:
                yield found
                found = self._chunk()
        yield found

    def _chunk(self) -> ReadFile:
        return ReadFile(
            0, mapping_id=self._mapping.mapping_id, source=self._mapping.source
        )

    def _add(self, row: TableRow, found: ReadFile) -> None:
        try:
            found.runs.append(self._run(row))
        except RecordError as error:
            text = row.text or quote(canonical_json(row.values, digits=None))
            found.bad.append(BadLines(row.line, row.n_lines, str(error), text))

    def _run(self, row: TableRow) -> RunRow:
        values = row.values | self._constants if self._constants else row.values
        if self._joined is not None:
            values = values | self._joined.take(values)
        built = build_run(self._mapping, values)
        header_json = canonical_json(values, digits=None)
        built |= {
            "source": self._mapping.source + self._group(built.pop("group")),
            "run_id": self._run_id(values),
            "data_sha256": "",
            "created_at": "",
            "header_json": header_json,
        }
        return RunRow(built, [], row.line, row.n_lines, row.text or quote(header_json))

    @staticmethod
    def _group(group: str) -> str:
        return f"/{group}" if group else ""

    def _run_id(self, values: dict[str, Any]) -> str:
        empty = [c for c in self._mapping.run_key if values.get(c) in (None, "")]
        if empty:
            raise RecordError(f"the run key column {empty[0]!r} is empty")
        run_id = "|".join(str(values[c]) for c in self._mapping.run_key)
        count = self._seen.count(run_id)
        if count == 1:
            return run_id
        if self._mapping.repeated_run == "number":
            return f"{run_id}#{count}"
        raise RecordError(
            f"the run {run_id!r} stands in this table already; the first row is kept"
        )
