"""What the columns of a table hold: numbers as people write them, levels, kinds.

Memory is bounded: of a long table a half, a quarter ... of the rows are looked at, strewn
over all of its length; every second, fourth ... row would see one level of a knob that a
nested sweep varies fastest. Invariant: nothing here changes or repairs a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from autollm.core.mappings.mapping_entries import NameParts
from autollm.core.values import (
    PLAIN,
    Style,
    is_instant,
    is_nothing,
    parse_value,
    styles_of,
)
from autollm.logs.proposals.names import Name, is_optuna, read_name
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, Relation

MAX_ROWS = 20_000
"""Rows that are looked at."""
MAX_POINTS = 200_000
"""Points of histories that are looked at, the first ones."""
GRID_TOLERANCE = 0.02
"""Octaves: a printed value is no farther from its half- or quarter-octave."""
MOSTLY = 0.5
"""Share of cells that make a column what most of it is."""
_LIST = re.compile(r"-?\d+(\.\d+)?(([-;|x ])-?\d+(\.\d+)?)(\3-?\d+(\.\d+)?)+")
_MISSING_CODE = -1


class Sampler:
    """Relations of a log as they are read, thinned to less than 2 * MAX_ROWS rows that
    are strewn over all of it, the same each time; points are thinned to MAX_POINTS.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._one_in = 1
        self._parts: list[tuple[Relation, np.ndarray]] = []
        self._n_points = 0

    def add(self, relation: Relation) -> None:
        """Take a relation in."""
        n_rows = relation.runs.num_rows
        numbers = np.arange(self.n_rows, self.n_rows + n_rows, dtype=np.int64)
        self.n_rows += n_rows
        if relation.points is not None:
            left = max(0, MAX_POINTS - self._n_points)
            relation = replace(relation, points=relation.points.slice(0, left))
            self._n_points += relation.points.num_rows
        self._parts.append(self._thinned(relation, numbers))
        while sum(len(rows) for _, rows in self._parts) >= 2 * MAX_ROWS:
            self._one_in *= 2
            self._parts = [self._thinned(*part) for part in self._parts]

    def _thinned(
        self, relation: Relation, numbers: np.ndarray
    ) -> tuple[Relation, np.ndarray]:
        kept = np.flatnonzero(_mixed(numbers) % self._one_in == 0)
        if len(kept) == len(numbers):
            return relation, numbers
        return replace(relation, runs=relation.runs.take(kept)), numbers[kept]

    @property
    def relations(self) -> list[Relation]:
        """What is kept of them."""
        return [relation for relation, _ in self._parts]


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 32 bits in which those of `numbers` are strewn: the last step of
    MurmurHash3 (A. Appleby, public domain).
    """
    mixed = numbers.astype(np.uint64)
    mixed = (
        (mixed ^ mixed >> np.uint64(16)) * np.uint64(0x85EBCA6B)
    ) % np.uint64(2**32)
    mixed = (
        (mixed ^ mixed >> np.uint64(13)) * np.uint64(0xC2B2AE35)
    ) % np.uint64(2**32)
    return mixed ^ mixed >> np.uint64(16)


@dataclass(frozen=True)
class Column:
    """One column of a sample: its cells by row, None where they say nothing."""

    name: Name
    cells: tuple[Any, ...]
    style: Style = PLAIN

    @property
    def raw(self) -> str:
        """Its name as the table spells it."""
        return self.name.raw

    def is_a(self, *entries: str) -> bool:
        """See `Name.is_a`."""
        return self.name.is_a(*entries)

    @cached_property
    def present(self) -> tuple[Any, ...]:
        return tuple(c for c in self.cells if c is not None)

    @cached_property
    def numbers(self) -> tuple[float | None, ...]:
        """Every cell as a number, None where it is none."""
        return tuple(
            None if v is None else _as_float(v.number) for v in self.values
        )

    @cached_property
    def values(self) -> tuple[Any, ...]:
        """Every cell as a `Value` of core.values, None where it is no number."""
        known: dict[Any, Any] = {}
        found = []
        for cell in self.cells:
            if cell is None or isinstance(cell, (list, dict)):
                found.append(None)
                continue
            key = (type(cell), cell)
            if key not in known:
                known[key] = parse_value(cell, self.style)
            found.append(known[key])
        return tuple(found)

    @cached_property
    def finite(self) -> tuple[float, ...]:
        return tuple(
            x for x in self.numbers if x is not None and math.isfinite(x)
        )

    @cached_property
    def array(self) -> np.ndarray:
        """Every cell as a number [n], NaN where it is none."""
        return np.array(self.numbers, dtype=float)

    @property
    def is_full(self) -> bool:
        """Whether every cell is a finite number."""
        return len(self.finite) == len(self.cells)

    @cached_property
    def unit(self) -> str:
        """The unit that most numbers are written with (`s`, `share`, `tokens` ...)."""
        units = [v.unit for v in self.values if v is not None and v.unit]
        if len(units) < MOSTLY * max(1, len(self.finite)):
            return ""
        return max(set(units), key=units.count)

    @cached_property
    def kind(self) -> str:
        """empty, bool, number, integer, instant, list, text, or mixed: mostly numbers,
        but not all.
        """
        if not self.present:
            return "empty"
        if all(_is_truth(c) for c in self.present):
            return "bool"
        n_numbers = sum(x is not None for x in self.numbers)
        if n_numbers == len(self.present):
            whole = self.finite and all(x.is_integer() for x in self.finite)
            return "integer" if whole else "number"
        if all(_is_list(c) for c in self.present) or self.separator:
            return "list"
        if sum(is_instant(c) for c in self.present) > MOSTLY * len(
            self.present
        ):
            return "instant"
        return "mixed" if n_numbers >= MOSTLY * len(self.present) else "text"

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("number", "integer", "mixed")

    @cached_property
    def separator(self) -> str:
        """What stands between the numbers of a list in one cell; empty when cells are
        no such lists.
        """
        found = set()
        for cell in self.present:
            match = _LIST.fullmatch(cell) if isinstance(cell, str) else None
            if (
                match is None
                or is_instant(cell)
                or parse_value(cell) is not None
            ):
                return ""
            found.add(match[3])
        return found.pop() if len(found) == 1 else ""

    @cached_property
    def levels(self) -> tuple[Any, ...]:
        """Distinct values: numbers ascending (those of a mixed column too), others in
        order of appearance.
        """
        if self.is_numeric:
            return tuple(sorted(set(self.finite)))
        return tuple(dict.fromkeys(map(str, self.present)))

    @property
    def n_distinct(self) -> int:
        return len(self.levels)

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to tell rows apart: one value, and no cell without."""
        return self.n_distinct <= 1 and not self.is_partial

    @property
    def is_partial(self) -> bool:
        """Whether some cells hold a value and some hold none."""
        return 0 < len(self.present) < len(self.cells)

    @property
    def is_unique(self) -> bool:
        return (
            len(self.present)
            == len(self.cells)
            == len(set(map(str, self.cells)))
        )

    @cached_property
    def codes(self) -> np.ndarray:
        """A whole number for each distinct cell, by row; -1 where there is none. A
        number is the same however it is written.
        """
        known: dict[Any, int] = {}
        found = np.full(len(self.cells), _MISSING_CODE, dtype=np.int64)
        for row, (cell, number) in enumerate(
            zip(self.cells, self.numbers, strict=True)
        ):
            if cell is not None:
                key = (
                    str(cell) if number is None or number != number else number
                )
                found[row] = known.setdefault(key, len(known))
        return found

    @cached_property
    def odd_rows(self) -> tuple[int, ...]:
        """Rows whose cell is no number, in a column of numbers."""
        if self.kind != "mixed":
            return ()
        pairs = enumerate(zip(self.cells, self.numbers, strict=True))
        return tuple(
            row for row, (c, x) in pairs if c is not None and x is None
        )

    @property
    def spans(self) -> float:
        """Largest over smallest value; 0 where not all are positive."""
        if not self.is_numeric or not self.levels or self.levels[0] <= 0:
            return 0.0
        return self.levels[-1] / self.levels[0]

    @property
    def is_geometric(self) -> bool:
        """Whether ratios between neighbours of three or more positive levels are more
        alike than their differences: 128, 256, 512, or 0.01, 0.03, 0.1.
        """
        if self.spans == 0.0 or len(self.levels) < 3:
            return False
        levels = np.array(self.levels)
        return _unevenness(np.log(levels)) < _unevenness(levels)

    def octave_step(self) -> float | None:
        """The coarsest of 1, 1/2, 1/4 octaves that all values lie on, if it makes fewer
        levels of them than are printed.
        """
        if self.spans == 0.0:
            return None
        logs = np.log2(np.array(self.levels))
        for step in (1.0, 0.5, 0.25):
            ranks = np.rint(logs / step)
            if np.all(np.abs(logs - ranks * step) <= GRID_TOLERANCE):
                return step if len(set(ranks)) < len(ranks) else None
        return None

    def at(self, rows: np.ndarray) -> Column:
        """The column in some of the rows."""
        return Column(self.name, tuple(self.cells[r] for r in rows), self.style)


def _unevenness(levels: np.ndarray) -> float:
    """Standard deviation over mean of the steps between ascending levels [n]."""
    steps = np.diff(levels)
    return float(steps.std() / steps.mean())


def _is_truth(cell: Any) -> bool:
    return isinstance(cell, bool) or str(cell).strip().lower() in (
        "true",
        "false",
    )


def _is_list(cell: Any) -> bool:
    """A list, or JSON text of one."""
    if isinstance(cell, str):
        return cell.startswith("[") and cell.endswith("]")
    return isinstance(cell, list)


def _as_float(number: int | float) -> float | None:
    try:
        return float(number)
    except OverflowError:
        return None


@dataclass(frozen=True)
class Table:
    """A sample of one table: its columns by name, where each row stands, and what its
    reader said of it.
    """

    file: str
    format: str
    columns: dict[str, Column]
    lines: tuple[int, ...]
    n_rows: int
    roles: dict[str, str] = field(default_factory=dict)
    key: str = ""
    notes: tuple[str, ...] = ()
    directions: dict[str, str] = field(default_factory=dict)
    n_repeated: int = 0
    """Rows that equal an earlier one in every cell, and are left out here."""
    name_parts: tuple[NameParts, ...] = ()
    """Settings that were read out of names; their columns are among `columns`."""

    @property
    def n_looked_at(self) -> int:
        return len(self.lines) + self.n_repeated

    def fact(self, column: Column) -> str:
        """What the reader says of a column."""
        return self.roles.get(column.raw, "")

    def is_setting(self, column: Column) -> bool:
        """Whether the tracker says that a column was chosen."""
        return "setting" in (column.name.origin, self.fact(column))

    def at(self, rows: np.ndarray) -> dict[str, Column]:
        """All columns in some of the rows."""
        return {name: column.at(rows) for name, column in self.columns.items()}


def table_of(relations: Sequence[Relation], file: str, n_rows: int) -> Table:
    """The runs of some relations, one below the other; rows that equal an earlier one in
    every cell are left out. `n_rows`: of the whole log.
    """
    names = [n for relation in relations for n in relation.runs.column_names]
    cells: dict[str, list[Any]] = {name: [] for name in names}
    roles: dict[str, str] = {}
    notes: dict[str, None] = {}
    directions: dict[str, str] = {}
    for relation in relations:
        part = relation.runs
        absent = [None] * part.num_rows
        for name, column in cells.items():
            is_here = name in part.column_names
            column += part[name].to_pylist() if is_here else absent
        roles.update(relation.roles)
        notes.update(dict.fromkeys(relation.notes))
        directions.update(relation.directions)
    lines = [line or 0 for line in cells.pop(LINE_COLUMN)]
    files = cells.pop(FILE_COLUMN)
    has_points = any(relation.points is not None for relation in relations)
    if len(set(files)) > 1 and not has_points:
        cells[FILE_COLUMN] = files
    kept = _first_of_equals(list(cells.values()))
    for name, column in cells.items():
        cells[name] = [column[row] for row in kept]
    return Table(
        file=file,
        format=relations[0].format,
        columns=columns_of(cells),
        lines=tuple(lines[row] for row in kept),
        n_rows=n_rows,
        roles=roles,
        key=relations[0].key,
        notes=tuple(notes),
        directions=directions,
        n_repeated=len(lines) - len(kept),
    )


def _first_of_equals(columns: list[list[Any]]) -> list[int]:
    """The rows that equal no earlier one in every cell: an export that was appended to
    another one repeats runs.
    """
    seen: set[tuple[str, ...]] = set()
    kept = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        key = tuple(map(str, cells))
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def columns_of(cells: dict[str, list[Any]]) -> dict[str, Column]:
    """Columns from cells: what says nothing becomes None, and the style of each column is
    decided.
    """
    optuna = is_optuna(cells)
    styles = styles_of(cells)
    columns = {}
    for name, column in cells.items():
        present = tuple(None if is_nothing(c) else c for c in column)
        columns[name] = Column(read_name(name, optuna), present, styles[name])
    return columns
