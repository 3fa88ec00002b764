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

from autollm.logs.mapped.sheet import plain as value_of_text
from autollm.logs.proposals.choices import context_of
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.measured import is_learning_rate
from autollm.logs.proposals.names import plain
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.sizes import LEAST_SPAN
from autollm.logs.proposals.structure import Simplex, switch_of
from autollm.logs.proposals.toml_text import Noted

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
LEAST_TOLERANCE = 0.001
"""Of the sum of weights, which are printed with three decimals."""
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
        self._roles, self._naming = roles, naming
        self._names: dict[str, str] = {}
        self._entries: list[Noted] = []
        self._columns = roles.columns("knob")
        switches = [c for c in self._columns if context_of(c) == "optimizer"]
        self._optimizers = [c for c in switches if not c.is_partial]

    def entries(self) -> list[Noted]:
        """All knobs, as values of a mapping."""
        self._entries = list(map(self._mixture, self._roles.groups))
        for column in (*self._optimizers, *self._columns):
            if column.raw not in self._names:
                self._add(column)
        return self._entries

    def _add(self, column: Column) -> None:
        if len(self._optimizers) == 1 and is_rate(column):
            self._add_rates(column, self._optimizers[0])
            return
        switch = self._switch_of(column) if column.is_partial else None
        entry = self._entry(column, is_open=column.is_partial and not switch)
        if switch is not None:
            decider, rows = switch
            values = [_landed(decider, row) for row in rows]
            knob = self._names[decider.raw]
            why = f"empty wherever {decider.raw} is another one"
            entry["when"] = Noted({"knob": knob, "values": values}, why)
        self._entries.append(Noted(entry))

    def _switch_of(
        self, column: Column
    ) -> tuple[Column, tuple[int, ...]] | None:
        """The setting under which one exists: an earlier one, else a later one, which is
        then written first.
        """
        switch = switch_of(
            column, (c for c in self._columns if c.raw in self._names)
        )
        if switch is None:
            later = [c for c in self._columns if c.raw not in self._names]
            later = [c for c in later if not c.is_partial]
            if self._optimizers:
                later = [c for c in later if not is_rate(c)]
            switch = switch_of(column, later)
            if switch is not None:
                self._add(switch[0])
        return switch

    def _mixture(self, group: Simplex) -> Noted:
        prefix, index = group.prefix, self._roles.groups.index(group)
        weights = {c.raw for c in group.columns}
        others = [n for n in self._roles.table.columns if n.startswith(prefix)]
        patterns = [glob.escape(c.raw) for c in group.columns]
        if prefix and weights.issuperset(others):
            patterns = [glob.escape(prefix) + "*"]
        name = "mixture" if index == 0 else f"mixture_{index + 1}"
        # a fifth more than the worst sum, to three decimals
        tolerance = math.ceil(group.worst * 1200) / 1000
        sums = f"sums are within {group.worst:.2g} of {group.total:g}"
        entry = {
            "name": self._naming.free(name),
            "scale": "simplex",
            "columns": patterns,
            "prefix": prefix,
            "tolerance": Noted(max(LEAST_TOLERANCE, tolerance), sums),
            "role": "weight",
        }
        if group.total != 1:
            entry["total"] = group.total
        return Noted(entry, f"{len(group.columns)} weights")

    def _add_rates(self, column: Column, optimizer: Column) -> None:
        """A knob for each optimizer under which a rate stands in the table."""
        is_there = column.codes >= 0
        cells = np.array([str(c) for c in optimizer.cells])
        for value in dict.fromkeys(cells[is_there].tolist()):
            part = column.at(np.flatnonzero(cells == value))
            name = f"{plain(column.name.path)}_{plain(value)}"
            entry = self._entry(part, name)
            knob = self._names[optimizer.raw]
            entry["when"] = {"knob": knob, "values": [_spelled(value)]}
            why = "the rates of two optimizers are two knobs"
            self._entries.append(Noted(entry, why))

    def _entry(
        self, column: Column, wanted: str | None = None, is_open: bool = False
    ) -> Entry:
        """One knob. `is_open`: "none" is one of its values."""
        raw = column.raw
        name = self._naming.free(wanted or plain(raw))
        self._naming.reserve(f"{raw}\0{wanted}" if wanted else raw, name)
        self._names[raw] = name
        entry: Entry = {"name": name, "column": raw}
        if column.kind == "list":
            entry["scale"] = "list"
            if column.separator:
                entry["separator"] = column.separator
            return entry
        if not column.is_numeric:
            return self._listed(entry, column, is_open)
        core = column.name.core
        is_needed = RATE.fullmatch(core) or BATCH.fullmatch(core)
        if is_open and not is_needed and column.n_distinct <= MOST_ORDERED:
            return self._listed(entry, column, is_open)
        if is_open:
            self._say_set_aside(column)
        return self._number(entry, column)

    def _say_set_aside(self, column: Column) -> None:
        n_rows = len(column.cells) - len(column.present)
        self._roles.say(
            "missing-values",
            f"{column.raw} is empty in {n_rows} rows, which are set aside, and nothing "
            "says when. Fix: write `missing` or `when` under this knob.",
            column.raw,
        )

    def _listed(self, entry: Entry, column: Column, is_open: bool) -> Entry:
        whole = self._roles.table.columns[column.raw]
        texts = dict.fromkeys(str(cell) for cell in whole.present)
        if len(texts) > MOST_DECLARED:
            return entry | {"scale": "categorical"}
        levels = list(dict.fromkeys(map(_spelled, texts)))
        is_bool = column.kind == "bool"
        are_numbers = all(isinstance(x, (int, float)) for x in levels)
        is_number = are_numbers and len(levels) > 1 and not is_bool
        if is_number or is_bool:
            levels.sort()
        entry["scale"] = "ordinal" if is_number else "categorical"
        if is_open:
            levels = [NONE] * (NONE not in levels) + levels
            entry["missing"] = Noted(NONE, "an empty cell means: not used")
        return entry | {"values": levels}

    def _number(self, entry: Entry, column: Column) -> Entry:
        shown = f"{column.n_distinct} levels"
        if column.levels:
            low, high = column.levels[0], column.levels[-1]
            shown = f"{low:g} to {high:g}, {shown}"
        is_octaves = column.is_a("rate", "size") and column.spans >= LEAST_SPAN
        is_whole = self._roles.table.n_rows == self._roles.table.n_looked_at
        grid: Entry = {}
        scale = "integer" if column.kind == "integer" else "linear"
        if _is_off_or_geometric(column) and is_whole:
            scale = "ordinal"
            values = [int(x) if x.is_integer() else x for x in column.levels]
            why = "0 is off; the others rise by factors"
            grid = {"values": Noted(values, why)}
        elif column.spans >= WIDE or is_octaves or column.is_geometric:
            scale = "log"
            grid = _steps(column)
        if RATE.fullmatch(column.name.core):
            grid["role"] = "rate"
        elif BATCH.fullmatch(column.name.core):
            grid["role"] = "size"
        return entry | {"scale": Noted(scale, shown)} | grid


def _steps(column: Column) -> Entry:
    """The grid of a logarithmic scale, where its values lie on one."""
    step = column.octave_step()
    if not step:
        return {}
    ranks = np.rint(np.log2(np.array(column.levels)) / step)
    shown = f"{column.n_distinct} spellings of {len(set(ranks))} steps"
    return {"step": Noted(step, f"octaves: {shown}"), "tolerance": 0.02}


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


def is_rate(column: Column) -> bool:
    """Whether a knob is the learning rate."""
    return column.is_numeric and is_learning_rate(column.name)


def _landed(column: Column, row: int) -> Any:
    """A cell as landing stores it."""
    number = column.numbers[row]
    if not column.is_numeric or number is None or not math.isfinite(number):
        return _spelled(str(column.cells[row]))
    return int(number) if number.is_integer() else number


def _spelled(text: str) -> Any:
    """Text as landing reads it in a category; what is no finite number stays text."""
    value = value_of_text(text)
    is_odd = isinstance(value, float) and not math.isfinite(value)
    return text if is_odd else value
