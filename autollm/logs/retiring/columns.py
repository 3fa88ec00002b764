"""What the columns of a table hold: kinds, levels, grids, groups that sum to 1, what
determines what.

What does not belong here: what a column is for (`proposal.py`). Memory is bounded: of a
long table a half, a quarter ... of the rows are looked at, strewn over all of its
length; every second, fourth ... row would see one level of a knob that a nested sweep
varies fastest. Invariant: nothing here changes or repairs a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from autollm.logs.retiring.table import TableRow

MAX_ROWS = 20_000
"""Rows that are looked at."""
GRID_TOLERANCE = 0.02
"""Octaves: a printed value is no farther from its half- or quarter-octave."""
_LIST = re.compile(r"-?\d+(\.\d+)?(([-;|x ])-?\d+(\.\d+)?)(\3-?\d+(\.\d+)?)+")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")


@dataclass
class Sample:
    """Rows of a table in their order, some of them where there are many, the same each
    time; and its unreadable lines.
    """

    rows: list[TableRow] = field(default_factory=list)
    n_rows: int = 0
    bad: list[TableRow] = field(default_factory=list)
    n_bad: int = 0

    @classmethod
    def of(cls, rows: Iterable[TableRow]) -> Sample:
        """At most 2 * MAX_ROWS of the rows are held at any time."""
        sample, one_in = cls(), 1
        strewn: list[int] = []
        for row in rows:
            if row.values is None:
                sample.n_bad += row.n_lines if row.problem else 0
                if row.problem and len(sample.bad) < 5:
                    sample.bad.append(row)
                continue
            mixed = _mixed(sample.n_rows)
            sample.n_rows += 1
            if mixed % one_in == 0:
                sample.rows.append(row)
                strewn.append(mixed)
            if len(sample.rows) >= 2 * MAX_ROWS:
                one_in *= 2
                sample.rows = [
                    row
                    for row, m in zip(sample.rows, strewn, strict=True)
                    if m % one_in == 0
                ]
                strewn = [m for m in strewn if m % one_in == 0]
        return sample


def _mixed(number: int) -> int:
    """A number of 32 bits in which those of `number` are strewn: the last step of
    MurmurHash3 (A. Appleby, public domain).
    """
    number = ((number ^ number >> 16) * 0x85EBCA6B) % 2**32
    number = ((number ^ number >> 13) * 0xC2B2AE35) % 2**32
    return number ^ number >> 16


@dataclass(frozen=True)
class Column:
    """One column of a sample: its cells by row, None where they are missing."""

    name: str
    cells: tuple[Any, ...]
    lines: tuple[int, ...]

    @cached_property
    def present(self) -> tuple[Any, ...]:
        return tuple(c for c in self.cells if c is not None)

    @cached_property
    def numbers(self) -> tuple[float | None, ...]:
        """Every cell as a number, None where it is none."""
        return tuple(_as_number(c) for c in self.cells)

    @cached_property
    def finite(self) -> tuple[float, ...]:
        return tuple(x for x in self.numbers if x is not None and math.isfinite(x))

    @cached_property
    def kind(self) -> str:
        """number, integer, bool, list, text, mixed (mostly numbers, but not all) or
        empty.
        """
        if not self.present:
            return "empty"
        if all(
            isinstance(c, bool) or str(c).lower() in ("true", "false")
            for c in self.present
        ):
            return "bool"
        n_numbers = sum(x is not None for x in self.numbers)
        if n_numbers == len(self.present):
            whole = self.finite and all(x.is_integer() for x in self.finite)
            return "integer" if whole else "number"
        if all(isinstance(c, list) for c in self.present) or self.separator:
            return "list"
        return "mixed" if n_numbers >= 0.5 * len(self.present) else "text"

    @cached_property
    def separator(self) -> str:
        """What stands between the numbers of a list in one cell; empty when cells are
        no such lists.
        """
        matches = [
            _LIST.fullmatch(c)
            if isinstance(c, str) and not _DATE.fullmatch(c)
            else None
            for c in self.present
        ]
        found = {m[3] for m in matches if m}
        return found.pop() if all(matches) and len(found) == 1 else ""

    @cached_property
    def levels(self) -> tuple[Any, ...]:
        """Distinct values: numbers ascending (those of a mixed column too), others in
        order of appearance.
        """
        if self.kind in ("number", "integer", "mixed"):
            return tuple(sorted(set(self.finite)))
        return tuple(dict.fromkeys(map(str, self.present)))

    @property
    def n_distinct(self) -> int:
        return len(self.levels)

    @property
    def is_constant(self) -> bool:
        return self.n_distinct <= 1

    @property
    def is_unique(self) -> bool:
        return len(self.present) == len(self.cells) == len(set(map(str, self.cells)))

    @cached_property
    def odd_cells(self) -> list[tuple[int, Any]]:
        """(line, cell) of what is no number in a column of numbers."""
        if self.kind != "mixed":
            return []
        return [
            (line, c)
            for line, c, x in zip(self.lines, self.cells, self.numbers, strict=True)
            if c is not None and x is None
        ]

    @property
    def spans(self) -> float:
        """Largest over smallest value; 0 where not all are positive."""
        return (
            self.levels[-1] / self.levels[0]
            if self.levels and self.levels[0] > 0
            else 0.0
        )

    def octave_step(self) -> float | None:
        """The coarsest of 1, 1/2, 1/4 octaves that all values lie on, if it makes fewer
        levels of them than are printed.
        """
        if self.spans == 0.0:
            return None
        logs = [math.log2(x) for x in self.levels]
        for step in (1.0, 0.5, 0.25):
            ranks = [round(x / step) for x in logs]
            if all(
                abs(x - r * step) <= GRID_TOLERANCE
                for x, r in zip(logs, ranks, strict=True)
            ):
                return step if len(set(ranks)) < len(ranks) else None
        return None


def _as_number(cell: Any) -> float | None:
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


def columns_of(sample: Sample, names: list[str]) -> dict[str, Column]:
    """All columns of a sample, those that only some rows have included."""
    names = list(
        dict.fromkeys([*names, *(n for row in sample.rows for n in row.values)])
    )
    lines = tuple(row.line for row in sample.rows)
    empty = ("", None)
    return {
        n: Column(
            n,
            tuple(
                None if (c := row.values.get(n)) in empty else c for row in sample.rows
            ),
            lines,
        )
        for n in names
    }


def simplex_groups(
    columns: dict[str, Column], tolerance: float = 0.02
) -> list[tuple[str, list[Column], float]]:
    """(prefix, columns, largest distance of a row's sum from 1) of groups of at least
    two weights that sum to 1.
    """
    weights = [
        c
        for c in columns.values()
        if c.finite
        and len(c.finite) == len(c.cells)
        and c.levels[0] >= 0
        and c.levels[-1] <= 1
    ]
    found, used = [], set()
    for prefix in [*sorted(set(_prefixes(weights)), key=lambda p: (-len(p), p)), ""]:
        group = [c for c in weights if c.name.startswith(prefix) and c.name not in used]
        if len(group) < 2 or all(c.is_constant for c in group):
            continue
        worst = max(
            abs(math.fsum(row) - 1)
            for row in zip(*(c.finite for c in group), strict=True)
        )
        if worst <= tolerance:
            found.append((prefix, group, worst))
            used |= {c.name for c in group}
    return found


def _prefixes(columns: list[Column]) -> Iterator[str]:
    """Beginnings that end in a separator."""
    for column in columns:
        for match in re.finditer(r"[_/.:\- ]", column.name):
            yield column.name[: match.end()]


def determines(causes: list[Column], effect: Column, most_groups: float = 0.7) -> bool:
    """Whether `effect` has one value for each combination of `causes`; unknown (False)
    where combinations hardly repeat.
    """
    seen: dict[tuple[Any, ...], Any] = {}
    for *key, value in zip(*(c.cells for c in causes), effect.cells, strict=True):
        if seen.setdefault(tuple(map(str, key)), value) != value:
            return False
    return 0 < len(seen) <= most_groups * len(effect.cells)


def two_clusters(column: Column) -> float | None:
    """The factor between two far groups of positive values when it is that of a unit
    (1000, 60 ...), as of mixed units.
    """
    if column.spans < 30 or column.n_distinct < 6:
        return None
    gaps = [
        (b / a, i)
        for i, (a, b) in enumerate(
            zip(column.levels, column.levels[1:], strict=False), start=1
        )
    ]
    widest, at = max(gaps)
    low, high = column.levels[:at], column.levels[at:]
    if (
        min(len(low), len(high)) < 2
        or max(low[-1] / low[0], high[-1] / high[0]) ** 1.5 > widest
    ):
        return None
    factor = high[len(high) // 2] / low[len(low) // 2]
    return next(
        (
            f
            for f in (60.0, 1e3, 1024.0, 3600.0, 1e6, 2.0**20, 1e9)
            if abs(math.log2(factor / f)) < 0.5
        ),
        None,
    )
