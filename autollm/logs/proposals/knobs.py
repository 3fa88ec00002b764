"""Knobs as entries of a mapping: scale, grid, declared values, where they exist.

A cell that is empty, or says None, is a value: where one setting decides whether
another one exists, `when` says so; elsewhere "none" is one of the values. The rates of
two optimizers are two knobs. Invariant: under these entries no row is set aside for a
cell that says nothing, unless a note names the column and how many rows it costs.
"""

from __future__ import annotations

import glob
import math
import re
from typing import Any

import numpy as np

from autollm.logs.proposals.choices import context_of
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.measured import is_learning_rate
from autollm.logs.proposals.names import plain
from autollm.logs.proposals.roles import Roles, listed
from autollm.logs.proposals.sizes import LEAST_SPAN
from autollm.logs.proposals.structure import Simplex, switch_of

NONE = "none"
"""How a value that is not there is called among others."""
MOST_ORDERED = 24
"""Values of a number that may also be none: they are listed one by one."""
MOST_DECLARED = 20
"""Values of a category that are declared; of more, any value may come."""
WIDE_BESIDE_ZERO = 4.0
"""Largest over smallest value beside 0 from which they rise by factors."""
EVEN = 0.1
"""Spread of the steps, as a share of their mean, up to which values are evenly spaced."""
WIDE = 8.0
"""Largest over smallest value from which a scale is logarithmic."""
Entry = dict[str, Any]
RATE = re.compile(
    r"(?!min_|final_|end_|last_)([a-z0-9]+_)*(lr|learning_?rate|eta|η|lernrate)"
    r"(_(max|peak|base|0|x_?\d\w*|actor|critic|policy|value|head|backbone|encoder"
    r"|decoder|embed\w*|emb|matrix|muon|adamw?|lora))?"
)
BATCH = re.compile(
    r"([a-z0-9]+_)*(bs|mbs|gbs|batch|batch_?(size|tokens|seqs|sequences))"
)
"""Names of learning rates and of batches, whose roles say how their optima move with
scale; no other number has such a role."""


class Knobs:
    """The knobs of one table, in an order in which each follows what decides on it."""

    def __init__(self, roles: Roles, naming: Naming):
        self._roles = roles
        self._naming = naming
        self._names: dict[str, str] = {}
        self.comments: dict[int, dict[str, str]] = {}
        """Of the entry at an index: key to comment; "" is that of the entry itself."""

    def entries(self) -> list[Entry]:
        """All knobs, as plain values of a mapping."""
        entries = [
            self._mixture(i, g) for i, g in enumerate(self._roles.groups)
        ]
        for index, group in enumerate(self._roles.groups):
            sums = f"sums are within {group.worst:.2g} of {group.total:g}"
            self.comments[index] = {
                "": f"{len(group.columns)} weights",
                "tolerance": sums,
            }
        columns = [self._roles.finished[n] for n in self._roles.named("knob")]
        switches = [c for c in columns if context_of(c) == "optimizer"]
        first = [c for c in switches if not c.is_partial]
        is_first = {id(c) for c in first}
        for column in [*first, *(c for c in columns if id(c) not in is_first)]:
            self._add(entries, column, columns, first)
        return entries

    def _add(
        self,
        entries: list[Entry],
        column: Column,
        columns: list[Column],
        optimizers: list[Column],
    ) -> None:
        if len(optimizers) == 1 and _is_rate_of_optimizer(column):
            for optimizer in self._optimizers_of(column, optimizers[0]):
                entry = self._of_optimizer(column, optimizers[0], optimizer)
                self._append(entries, *entry)
            return
        if column.is_partial:
            known = [c for c in columns if c.name.raw in self._names]
            # what comes later may decide too, but then it is written first
            switch = switch_of(column, known) or self._later_switch(
                entries, column, columns, optimizers
            )
            if switch is not None:
                entry, comments = self._entry(column)
                decider, rows = switch
                values = [_plain(decider, row) for row in rows]
                knob = self._names[decider.name.raw]
                entry["when"] = {"knob": knob, "values": values}
                comments["when"] = (
                    f"empty wherever {decider.name.raw} is another one"
                )
                self._append(entries, entry, comments)
                return
        if column.name.raw not in self._names:
            self._append(
                entries, *self._entry(column, is_open=column.is_partial)
            )

    def _later_switch(
        self,
        entries: list[Entry],
        column: Column,
        columns: list[Column],
        optimizers: list[Column],
    ) -> tuple[Column, tuple[int, ...]] | None:
        later = [
            c
            for c in columns
            if c.name.raw not in self._names and not c.is_partial
        ]
        later = [
            c for c in later if not _is_rate_of_optimizer(c) or not optimizers
        ]
        switch = switch_of(column, later)
        if switch is not None:
            self._add(entries, switch[0], columns, optimizers)
        return switch

    def _append(
        self, entries: list[Entry], entry: Entry, comments: dict[str, str]
    ) -> None:
        self.comments[len(entries)] = comments
        entries.append(entry)

    def _mixture(self, index: int, group: Simplex) -> Entry:
        prefix = group.prefix
        weights = {c.name.raw for c in group.columns}
        others = [n for n in self._roles.table.columns if n.startswith(prefix)]
        patterns = [glob.escape(c.name.raw) for c in group.columns]
        if prefix and all(n in weights for n in others):
            patterns = [glob.escape(prefix) + "*"]
        name = "mixture" if index == 0 else f"mixture_{index + 1}"
        entry = {
            "name": self._naming.free(name),
            "scale": "simplex",
            "columns": patterns,
            "prefix": prefix,
            "tolerance": max(0.001, math.ceil(group.worst * 1200) / 1000),
            "role": "weight",
        }
        return entry if group.total == 1 else entry | {"total": group.total}

    def _optimizers_of(self, column: Column, optimizer: Column) -> list[str]:
        """The optimizers under which a rate stands in the table."""
        found = {}
        for cell, value in zip(optimizer.cells, column.cells, strict=True):
            if cell is not None and value is not None:
                found[str(cell)] = None
        return list(found)

    def _of_optimizer(
        self, column: Column, optimizer: Column, value: str
    ) -> tuple[Entry, dict[str, str]]:
        rows = np.array(
            [r for r, c in enumerate(optimizer.cells) if str(c) == value]
        )
        part = column.at(rows)
        entry, comments = self._entry(
            part, f"{plain(column.name.path)}_{plain(value)}"
        )
        knob = self._names[optimizer.name.raw]
        entry["when"] = {"knob": knob, "values": [_spelled(value)]}
        comments[""] = "the rates of two optimizers are two knobs"
        return entry, comments

    def _entry(
        self, column: Column, wanted: str | None = None, is_open: bool = False
    ) -> tuple[Entry, dict[str, str]]:
        """One knob and its comments. `is_open`: "none" is one of its values."""
        raw = column.name.raw
        if wanted:
            name = self._naming.free(wanted)
            self._naming.reserve(f"{raw}\0{wanted}", name)
        else:
            name = self._naming.reserve(raw)
        self._names[raw] = name
        entry: Entry = {"name": name, "column": raw}
        if column.kind == "list":
            entry["scale"] = "list"
            if column.separator:
                entry["separator"] = column.separator
            return entry, {}
        if column.is_numeric and not is_open:
            return self._number(entry, column)
        core = column.name.core
        is_needed = RATE.fullmatch(core) or BATCH.fullmatch(core)
        is_long = column.n_distinct > MOST_ORDERED
        if column.is_numeric and (is_needed or is_long):
            n_rows = len(column.cells) - len(column.present)
            self._roles.book.say(
                "missing-values",
                f"{raw} is empty in {n_rows} rows, which are set aside, and nothing says "
                "when. Fix: write `missing` or `when` under this knob.",
                raw,
            )
            return self._number(entry, column)
        return self._listed(entry, column, is_open)

    def _listed(
        self, entry: Entry, column: Column, is_open: bool
    ) -> tuple[Entry, dict[str, str]]:
        whole = self._roles.table.columns[column.name.raw]
        texts = dict.fromkeys(str(cell) for cell in whole.present)
        if len(texts) > MOST_DECLARED:
            entry["scale"] = "categorical"
            return entry, {}
        levels: list[Any] = list(
            dict.fromkeys(_spelled(text) for text in texts)
        )
        is_number = (
            all(isinstance(x, (int, float)) for x in levels) and len(levels) > 1
        )
        is_number = is_number and column.kind != "bool"
        if is_number or column.kind == "bool":
            levels.sort()
        entry["scale"] = "ordinal" if is_number else "categorical"
        if is_open:
            levels = [*([NONE] if NONE not in levels else []), *levels]
            entry["missing"] = NONE
        entry["values"] = levels
        return entry, (
            {"missing": "an empty cell means: not used"} if is_open else {}
        )

    def _number(
        self, entry: Entry, column: Column
    ) -> tuple[Entry, dict[str, str]]:
        is_rate = column.name.is_a("rate", "knobs")
        shown = (
            f"{column.levels[0]:g} to {column.levels[-1]:g}, "
            if column.levels
            else ""
        )
        shown += f"{column.n_distinct} levels"
        comments = {"scale": shown}
        step = None
        is_size = column.name.is_a("size", "knobs")
        is_octaves = (is_rate or is_size) and column.spans >= LEAST_SPAN
        is_whole = self._roles.table.n_rows == self._roles.table.n_looked_at
        if _is_off_or_geometric(column) and is_whole:
            entry |= {"scale": "ordinal", "values": _declared(column)}
            comments["values"] = "0 is off; the others rise by factors"
        elif column.spans >= WIDE or is_octaves or column.is_geometric:
            entry["scale"] = "log"
            step = column.octave_step()
        elif column.kind == "integer":
            entry["scale"] = "integer"
        else:
            entry["scale"] = "linear"
        if step:
            ranks = np.rint(np.log2(np.array(column.levels)) / step)
            n_steps = len(set(ranks))
            entry |= {"step": step, "tolerance": 0.02}
            comments["step"] = (
                f"octaves: {column.n_distinct} spellings of {n_steps} steps"
            )
        if RATE.fullmatch(column.name.core):
            entry["role"] = "rate"
        elif BATCH.fullmatch(column.name.core):
            entry["role"] = "size"
        return entry, comments


def _is_off_or_geometric(column: Column) -> bool:
    """Whether 0 turns a setting off, and its other values rise by factors: on a linear
    scale 0, .001 and .01 beside .1 are one value, on a logarithmic one 0 is none.
    """
    zero, *others = column.levels[: MOST_DECLARED + 1] or (1.0,)
    if zero != 0 or not 2 <= len(others) < MOST_DECLARED:
        return False
    gaps = np.diff(column.levels)
    is_even = bool(np.ptp(gaps) <= EVEN * gaps.mean())
    return others[-1] >= WIDE_BESIDE_ZERO * others[0] and not is_even


def _declared(column: Column) -> list[int | float]:
    """Its values as landing reads them, in order."""
    return [int(x) if x.is_integer() else x for x in column.levels]


def _is_rate_of_optimizer(column: Column) -> bool:
    return column.is_numeric and is_learning_rate(column.name)


def _plain(column: Column, row: int) -> Any:
    """A cell as landing stores it."""
    number = column.numbers[row]
    if not column.is_numeric or number is None or not math.isfinite(number):
        return _spelled(str(column.cells[row]))
    return int(number) if number.is_integer() else number


def _spelled(text: str) -> Any:
    """Text as landing reads it in a category: true, false and numbers are what they
    are.
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def say_missing(roles: Roles, columns: list[str], what: str) -> None:
    """Name columns whose empty cells set rows aside."""
    for name in columns:
        column = roles.finished[name]
        n = len(column.cells) - len(column.present)
        if n:
            roles.book.say(
                "missing-values",
                f"{listed([name])} is empty in {n} rows: they are set aside, since a "
                f"{what} is needed.",
                name,
            )
