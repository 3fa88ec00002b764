"""Building relations: runs as dictionaries in, typed Arrow columns out; points a chunk at
a time; and what cannot be read.

Invariant: nothing is lost between what a reader adds and what `relation()` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Literal

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import (
    clean_text,
    metric_role,
    number,
    table_of,
)
from autollm.logs.readers.spilled_points import SpilledPoints
from autollm.logs.readers.words import TOKEN_METRICS
from autollm.logs.reading import iter_lines, quote
from autollm.logs.relation import (
    FILE_COLUMN,
    LINE_COLUMN,
    POINTS_SCHEMA,
    BadLines,
    OpenedFile,
    Relation,
    Role,
)

MAX_DOCUMENT_BYTES = 256 * 2**20
"""Of a file that has to be held whole (JSON documents, binary logs)."""
MAX_CONFIG_BYTES = 16 * 2**20
"""Of a configuration file: people's are a few kB, tools dump up to some hundred."""
_CHUNK_POINTS = 65_536
_MAX_BAD = 1_000  # entries of one file; the rest is counted in a last one

FORKED_FROM = "forked_from"
"""Column of the run that a run directly began from; `TRUNK` is made from it."""
TRUNK = "trunk"


class RelationBuilder:
    """Collects what a reader finds in one file or folder.

    Args:
        format: The reader's name.
        key: The column that names a run; "" when none does.
        roles: Of columns that the tool always writes.
    """

    def __init__(
        self,
        format: str,
        key: str = "",
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        self.format = format
        self.key = key
        self.roles: dict[str, Role] = dict(roles or {})
        self.directions: dict[str, Literal["min", "max"]] = {}
        self.notes: list[str] = []
        self.n_lines = 0
        self._runs: list[dict[str, Any]] = []
        self._bad: list[BadLines] = []
        self._n_more_bad = 0
        self._points = SpilledPoints()
        self._waiting: list[tuple[Any, ...]] = []

    def lines(self, opened: OpenedFile) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of each line of a text; they are counted as they come."""
        with opened.open() as stream:
            for line_number, line in enumerate(iter_lines(stream), start=1):
                self.n_lines += 1
                yield line_number, line

    @contextmanager
    def setting_aside(
        self, line: int, text: bytes | str, file: str = ""
    ) -> Iterator[None]:
        """A line that cannot be used, as an error within says, is set aside."""
        try:
            yield
        except RecordError as error:
            self.add_bad(line, str(error), text, file=file)

    def document(
        self,
        opened: OpenedFile,
        parse: Callable[[bytes, str], Any],
        limit: int = MAX_CONFIG_BYTES,
    ) -> Any:
        """What a file of a run folder holds, given to `parse` with its name; an empty
        mapping where it cannot be read: it is set aside, and the folder goes on.
        """
        data = b"\n"
        try:
            data = read_whole(opened, limit)
            return parse(data, opened.name)
        except RecordError as error:
            n_lines = count_lines(data)
            first = min(1, n_lines)
            self.add_bad(first, str(error), data[:2000], n_lines, opened.name)
            return {}
        finally:
            self.n_lines += count_lines(data)

    def put(
        self,
        cells: dict[str, Any],
        values: Mapping[str, Any],
        role: Role,
        prefix: str = "",
    ) -> None:
        """Values of one role into a run's cells, under `prefix` and their names."""
        for name, value in values.items():
            cells[prefix + name] = value
            self.roles[prefix + name] = role

    def put_results(
        self,
        cells: dict[str, Any],
        values: Mapping[str, Any],
        prefix: str = "metrics.",
    ) -> None:
        """What a run gave, or how it went, by its metrics' names."""
        for name, value in values.items():
            self.put(cells, {name: value}, metric_role(name), prefix)

    def add_run(
        self, cells: Mapping[str, Any], file: str, line: int = 0
    ) -> None:
        """One run: cells by column, where it stands."""
        row: dict[str, Any] = {}
        for name, value in cells.items():
            is_text = isinstance(value, str)
            row[clean_text(name)] = clean_text(value) if is_text else value
        row[FILE_COLUMN] = clean_text(file)
        row[LINE_COLUMN] = line
        self._runs.append(row)

    def amend_run(self, cells: Mapping[str, Any]) -> None:
        """Cells of the last run that are known only after its history."""
        row = self._runs.pop()
        self.add_run({**row, **cells}, row[FILE_COLUMN], row[LINE_COLUMN])

    def add_point(
        self,
        run_key: str,
        metric: str,
        value: float,
        step: int | None = None,
        tokens: float | None = None,
        wall_time_s: float | None = None,
        line: int = 0,
    ) -> None:
        """One logged value, as logged."""
        name = clean_text(metric)
        run = clean_text(run_key)
        self._waiting.append(
            (run, name, step, tokens, wall_time_s, value, line)
        )
        if len(self._waiting) >= _CHUNK_POINTS:
            self._flush()

    def add_row(
        self,
        run_key: str,
        metrics: Mapping[str, Any],
        step: int | None,
        wall_time_s: float | None = None,
        line: int = 0,
    ) -> None:
        """Values that were logged together. What is no number is no point."""
        tokens = None
        for name in TOKEN_METRICS & metrics.keys():
            tokens = number(metrics[name])
        for name, raw in metrics.items():
            value = number(raw)
            if value is not None:
                self.add_point(
                    run_key, name, value, step, tokens, wall_time_s, line
                )

    def add_bad(
        self,
        line: int,
        reason: str,
        text: bytes | str,
        n_lines: int = 1,
        file: str = "",
    ) -> None:
        """Lines that could not be used."""
        if len(self._bad) >= _MAX_BAD:
            self._n_more_bad += n_lines
            return
        self._bad.append(BadLines(line, n_lines, reason, quote(text), file))

    def drop_bad(self, file: str) -> None:
        """Forget the lines set aside of a file that is set aside as a whole."""
        self._bad = [part for part in self._bad if part.file != file]

    def note(self, text: str) -> None:
        """Something that a person should know, said once."""
        if text not in self.notes:
            self.notes.append(text)

    def relation(self) -> Relation:
        """What was collected."""
        self._flush()
        self._name_trunks()
        runs = table_of(self._runs)
        roles: dict[str, Role] = {}
        if self.key:
            self.roles[self.key] = "key"
        for name, role in self.roles.items():
            if clean_text(name) in runs.column_names:
                roles[clean_text(name)] = role
        bad = tuple(self._bad)
        if self._n_more_bad:
            reason = (
                f"more lines of the {_MAX_BAD} kinds before could not be read"
            )
            bad += (BadLines(0, self._n_more_bad, reason, ""),)
        return Relation(
            self.format,
            runs,
            self._points.table(),
            self.key,
            roles,
            bad,
            self.n_lines,
            tuple(self.notes),
            self.directions,
        )

    def _name_trunks(self) -> None:
        """The run from which a lineage began, for each run that was forked: a fork of a
        fork goes back to the first that is among these runs.
        """
        parents: dict[str, str] = {}
        for row in self._runs:
            if row.get(FORKED_FROM):
                parents[str(row.get(self.key))] = str(row[FORKED_FROM])
        for row in self._runs:
            trunk = row.get(FORKED_FROM)
            if not trunk:
                continue
            seen = {str(row.get(self.key))}
            while trunk in parents and parents[trunk] not in seen:
                seen.add(trunk)
                trunk = parents[trunk]
            row[TRUNK] = trunk
            self.roles |= {TRUNK: "trunk", FORKED_FROM: "label"}

    def _flush(self) -> None:
        if not self._waiting:
            return
        columns = zip(*self._waiting, strict=True)
        arrays = []
        for values, field in zip(columns, POINTS_SCHEMA, strict=True):
            arrays.append(pa.array(values, field.type))
        self._points.add(
            pa.RecordBatch.from_arrays(arrays, schema=POINTS_SCHEMA)
        )
        self._waiting = []


def read_whole(opened: OpenedFile, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """All bytes of a file.

    Raises:
        RecordError: there are more than `limit`.
    """
    with opened.open() as stream:
        data = _read_upto(stream, limit + 1)
    if len(data) > limit:
        raise RecordError(
            f"{opened.name} holds more than {limit} bytes. Expected at most that for a "
            "file that is read whole. Fix: split it, or export it as CSV or JSON lines."
        )
    return data


def _read_upto(stream: IO[bytes], limit: int) -> bytes:
    """Up to `limit` bytes; a stream may give fewer at a time than it is asked for."""
    parts = []
    while limit and (part := stream.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def count_lines(data: bytes) -> int:
    """Physical lines; a last one without an end counts."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
