"""Values of logs as cells of a table, and cells as typed Arrow columns.

A column whose cells are all whole numbers is int64, all numbers float64; one that mixes
numbers and text is text, each number in its shortest spelling. Truth values are the text
`true` and `false`, lists and empty objects are JSON text, None is a null.

Invariant: a cell loses nothing of the value that it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.core.records import canonical_json
from autollm.logs.readers.words import TOKEN_METRICS, pattern
from autollm.logs.relation import LINE_COLUMN, Role

Cells = dict[str, Any]
"""Values by column, or by a name that becomes one."""
Row = Mapping[str, Any]
"""Cells that are only read."""
MAX_COLUMNS = 10_000
"""Of one run: more names are a fault of the log, and would make tables quadratic."""
MAX_DEPTH = 20
"""Of nested settings; what is deeper stands as JSON text in one cell."""
_MAX_INT64 = 2**63 - 1
_MAX_EXACT = 2**53  # whole numbers up to here are exact in float64
_MEASURED = pattern("measured")
_NON_FINITE = ("nan", "inf", "infinity")


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
