"""Building relations: runs as dictionaries in, typed Arrow columns out; points a chunk at
a time; and what cannot be read.

A column whose cells are all whole numbers is int64, all numbers float64; one that mixes
numbers and text is text, each number in its shortest spelling. Truth values are the text
`true` and `false`, lists and empty objects are JSON text, None is a null.

Invariant: nothing is lost between what a reader adds and what `relation()` gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Literal

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.core.records import canonical_json
from autollm.logs.readers.spilled_points import SpilledPoints
from autollm.logs.readers.words import TOKEN_METRICS, pattern
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
MAX_COLUMNS = 10_000
"""Of one run: more names are a fault of the log, and would make tables quadratic."""
MAX_DEPTH = 20
"""Of nested settings; what is deeper stands as JSON text in one cell."""
_CHUNK_POINTS = 65_536
_MAX_INT64 = 2**63 - 1
_MAX_EXACT = 2**53  # whole numbers up to here are exact in float64
_MAX_BAD = 1_000  # entries of one file; the rest is counted in a last one
_CHECKPOINT_PART = pattern("checkpoint")
_MEASURED = pattern("measured")
_NON_FINITE = ("nan", "inf", "infinity")

FORKED_FROM = "forked_from"
"""Column of the run that a run directly began from; `TRUNK` is made from it."""
TRUNK = "trunk"


def metric_role(name: str) -> Role:
    """`measured` for counts, clocks, rates and throughput by their usual names, else
    `result`.
    """
    is_count = name in TOKEN_METRICS or _MEASURED.search(name) is not None
    return "measured" if is_count else "result"


def clean_text(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair is spelt out as an escape."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cell(value: Any) -> str | int | float | None:
    """A value as one cell: see the module."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value if abs(value) <= _MAX_INT64 else str(value)
    if isinstance(value, (list, tuple, dict)):
        return clean_text(canonical_json(value, digits=None))
    return clean_text(str(value))


def flat_cells(
    values: Mapping[Any, Any], prefix: str = "", depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """Nested settings as cells by dotted name.

    Raises:
        RecordError: more than MAX_COLUMNS names.
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        full = prefix + clean_text(str(name))
        if isinstance(value, Mapping) and value and depth:
            out |= flat_cells(value, f"{full}.", depth - 1)
        else:
            out[full] = cell(value)
        if len(out) > MAX_COLUMNS:
            raise RecordError(
                f"more than {MAX_COLUMNS} names in one run. Expected settings and "
                "results. Fix: log large objects as files, not as settings."
            )
    return out


def number(value: Any) -> float | None:
    """A metric's value as a number: numbers, and the spellings of non-finite ones that
    JSON writers use; None for anything else, truth values included.
    """
    if isinstance(value, str):
        word = value.strip()
        is_number = word.lower().lstrip("+-") in _NON_FINITE
        return float(word) if is_number else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def whole_number(value: Any) -> int | None:
    """A step as a whole number; None where it is none."""
    as_float = number(value)
    if as_float is None or not as_float.is_integer():
        return None
    return int(value) if abs(as_float) <= _MAX_INT64 else None


def moment(seconds: float | None) -> str | None:
    """A clock's seconds as text; None for none, or beyond the calendar."""
    try:
        as_moment = datetime.fromtimestamp(seconds or math.nan, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return as_moment.isoformat()


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


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a typed table; columns in the order in which they first appear."""
    columns = {}
    for name in names_of(rows):
        columns[name] = column_of([row.get(name) for row in rows])
    if LINE_COLUMN in columns:
        columns[LINE_COLUMN] = columns[LINE_COLUMN].cast(pa.int64())
    return pa.table(columns)


def names_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names of rows, in the order in which they first stand."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return [*names]


def column_of(cells: Sequence[Any]) -> pa.Array:
    """Cells as int64, float64 or text: the narrowest that loses nothing."""
    kinds = {type(value) for value in cells} - {type(None)}
    if kinds == {int}:
        return pa.array(cells, pa.int64())
    if kinds and kinds <= {int, float} and _are_exact(cells):
        return pa.array([_as_float(value) for value in cells], pa.float64())
    return pa.array([_as_text(value) for value in cells], pa.string())


def _are_exact(cells: Iterable[Any]) -> bool:
    return all(not isinstance(v, int) or abs(v) <= _MAX_EXACT for v in cells)


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else repr(value)


def run_of_checkpoint(path: str) -> str:
    """The run that a checkpoint's path belongs to: the folder that holds it."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    while parts and _CHECKPOINT_PART.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1] if parts else ""


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


def as_number(text: str, thousands: str = "") -> Any:
    """A text's cell: what reads as a number is one, its thousands' signs left out; else
    the text as it stands.
    """
    stripped = text.strip()
    plain = stripped.replace(thousands, "") if thousands else stripped
    if "_" in plain:  # Python reads the trial 36656_00000 as a number
        return stripped
    try:
        return int(plain) if plain.lstrip("+-").isdecimal() else float(plain)
    except ValueError:
        return stripped


def last_part(path: str) -> str:
    """The last part of a path, or of an archive's member."""
    return path.replace("!", "/").rstrip("/").rsplit("/", 1)[-1] or path


def run_of_folder(path: str) -> str:
    """A folder's path below what was given, that included where only one part is left:
    `version_0` alone names many runs.
    """
    parts = path.replace("!", "/").strip("/").split("/")
    return "/".join(parts[1:] if len(parts) > 2 else parts)
