"""Mapping files (`autollm.mapping/1`, TOML): what the columns of a log or table mean.

A mapping names the files, run key, knobs, fidelity coordinates, objective, cost, status
rules and derived columns of one source. Raw logs use the same mechanism: their fields
are called `config.x`, `fidelity.x`, `final.x`, `cost.x`. docs/mapping-files.md
describes the language for its users. What does not belong here: reading the file
(`mapping_file.py`), finding it (`catalog.py`), using it (`canonical.py`).

Invariant: a Mapping is the whole meaning of a source; nothing is guessed from data.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase as fnmatch
from functools import cached_property
from typing import Any

from autollm.core.records import canonical_json, content_hash
from autollm.logs.retiring.expressions import Expression

SCALES = ("log", "linear", "integer", "ordinal", "categorical", "simplex", "list")
DIRECTIONS = ("min", "max")
ROLES = ("", "rate", "size", "weight")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Of a source and of a group: they become part of ids and of folder names."""


@dataclass(frozen=True)
class KnobRule:
    """How one knob is read. `step` is in octaves on a log scale and in the knob's unit
    on a linear one.

    `tolerance` (same measure as `step`): a value farther from the grid is quarantined
    instead of being moved silently. `columns` and `prefix` belong to simplex knobs (one
    column per part), `separator` to lists in one cell. `values` are the declared ones,
    of a list those of one item. `bounds` (lowest, highest): a value beyond is
    quarantined, since a column of mixed units is otherwise only noticed in the results.
    `when` (knob, values): the knob is chosen only where that one, named before it, has
    one of these values.
    """

    name: str
    column: str = ""
    scale: str = "linear"
    unit: str = ""
    step: float | None = None
    tolerance: float | None = None
    role: str = ""
    window: tuple[float, float] | None = None
    values: tuple[Any, ...] | None = None
    columns: tuple[str, ...] = ()
    prefix: str = ""
    separator: str = "-"
    bounds: tuple[float, float] | None = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def is_chosen(self, config: dict[str, Any]) -> bool:
        """Whether the knob is there at all, given the knobs before it."""
        return self.when is None or config.get(self.when[0]) in self.when[1]


@dataclass(frozen=True)
class Quantity:
    """A named number: a fidelity coordinate, the objective or a secondary metric.
    `bounds` as for knobs.
    """

    name: str
    column: str
    unit: str = ""
    direction: str = ""
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Signal:
    """The logged metric whose curve stands beside the objective: what a run that is
    paused has shown so far.
    """

    name: str
    direction: str


@dataclass(frozen=True)
class StatusRule:
    """`status` holds where the expression `when` is true and the run has not a worse
    one already.
    """

    status: str
    when: Expression
    reason: str


@dataclass(frozen=True)
class Lookup:
    """Columns that a table of the mapping gives: `rows` by the values of `columns`,
    joined by '|'.

    With a `separator` the last column is a list in one cell; each item is looked up,
    and the new columns are lists too.
    """

    columns: tuple[str, ...]
    rows: dict[str, dict[str, Any]]
    separator: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the columns that it gives."""
        return tuple(dict.fromkeys(name for row in self.rows.values() for name in row))


@dataclass(frozen=True)
class TablePart:
    """One table of a source that has several: its file, the file joined to it, and
    columns that are constant in it.

    `file` may hold one `*`; the same text then stands for the `*` of `join`.
    """

    file: str
    join: str = ""
    constants: dict[str, Any] = dataclasses.field(default_factory=dict)

    def pair_of(self, name: str) -> tuple[str, str] | None:
        """Names of both files of the pair that the file `name` belongs to; None when
        there is no such pair.
        """
        for pattern in (self.file, self.join):
            if self.join and fnmatch(name, pattern):
                head, _, tail = pattern.partition("*")
                star = name[len(head) : len(name) - len(tail)] if "*" in pattern else ""
                return self.file.replace("*", star), self.join.replace("*", star)
        return None


@dataclass(frozen=True)
class Limit:
    """Which configurations exist: the sum of weight x natural-scale value over the
    named knobs is at most `most`.
    """

    weights: dict[str, float]
    most: float


@dataclass(frozen=True)
class Mapping:
    """One source of runs, fully described. `mapping_id` names its content."""

    source: str
    family: str
    format: str
    files: tuple[str, ...]
    knobs: tuple[KnobRule, ...]
    fidelity: tuple[Quantity, ...]
    objective: Quantity
    secondary: tuple[Quantity, ...] = ()
    run_key: tuple[str, ...] = ()
    repeated_run: str = "quarantine"
    seed_column: str = ""
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    derived: dict[str, Expression] = dataclasses.field(default_factory=dict)
    cost: dict[str, Expression] = dataclasses.field(default_factory=dict)
    status_rules: tuple[StatusRule, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    parts: tuple[TablePart, ...] = ()
    join_on: tuple[str, ...] = ()
    group_column: str = ""
    device: str = ""
    duplicate_cells: str = "average"
    limits: tuple[Limit, ...] = ()
    signal: Signal | None = None
    mapping_id: str = ""

    @cached_property
    def space_json(self) -> str:
        """The knobs, with their conditions and limits where there are any, as canonical
        JSON.
        """
        names = ("name", "scale", "unit", "step", "role", "window", "values")
        knobs = [{n: getattr(knob, n) for n in names} for knob in self.knobs]
        for entry, knob in zip(knobs, self.knobs, strict=True):
            entry |= (
                {"when": {"knob": knob.when[0], "values": knob.when[1]}}
                if knob.when
                else {}
            )
        limits = [dataclasses.asdict(limit) for limit in self.limits]
        return canonical_json(
            {"knobs": knobs} | ({"limits": limits} if limits else {}), digits=12
        )

    @cached_property
    def ladder_json(self) -> str:
        """The fidelity coordinates, the secondary metrics that have a direction, and
        the signal, as canonical JSON.
        """
        ladder: dict[str, Any] = {
            "coordinates": [{"name": q.name, "unit": q.unit} for q in self.fidelity]
        }
        metrics = [q for q in self.secondary if q.direction]
        if metrics:
            ladder["metrics"] = [
                {"name": q.name, "direction": q.direction, "unit": q.unit}
                for q in metrics
            ]
        if self.signal:
            ladder["signal"] = dataclasses.asdict(self.signal)
        return canonical_json(ladder)

    @cached_property
    def space_id(self) -> str:
        """16 hex digits of the space."""
        return content_hash(self.space_json)

    @cached_property
    def ladder_id(self) -> str:
        """16 hex digits of the ladder."""
        return content_hash(self.ladder_json)

    @cached_property
    def column_of(self) -> dict[str, str]:
        """Canonical names and aliases -> column, for expressions."""
        quantities = (*self.fidelity, self.objective, *self.secondary)
        knobs = {k.name: k.column for k in self.knobs if k.column}
        return {**{q.name: q.column for q in quantities}, **knobs, **self.columns}

    @cached_property
    def lookup_of(self) -> dict[str, Lookup]:
        """Column -> the look-up that gives it."""
        return {name: lookup for lookup in self.lookups for name in lookup.outputs}

    @property
    def has_replicas(self) -> bool:
        """Whether the mapping says that a cell may hold several runs on purpose."""
        return bool(self.seed_column) or self.repeated_run == "number"

    def needed_columns(self) -> tuple[str, ...]:
        """Columns that a table must have, in the order of the mapping; simplex patterns
        are not among them.
        """
        quantities = (*self.fidelity, self.objective, *self.secondary)
        direct = [
            *self.run_key,
            *(k.column for k in self.knobs if k.column),
            *(q.column for q in quantities),
        ]
        direct += [c for c in (self.seed_column, self.group_column) if c]
        expressions = (
            *self.derived.values(),
            *self.cost.values(),
            *(rule.when for rule in self.status_rules),
        )
        direct += [self.column_of.get(n, n) for e in expressions for n in e.names]
        direct += [
            *self.join_on,
            *(c for lookup in self.lookups for c in lookup.columns),
        ]
        made = {
            *self.derived,
            *self.lookup_of,
            *(n for part in self.parts for n in part.constants),
        }
        return tuple(dict.fromkeys(c for c in direct if c not in made))

    def unmatched_patterns(self, header: list[str]) -> list[tuple[str, str]]:
        """(knob, pattern) of simplex knobs of which no column is in `header`."""
        return [
            (knob.name, pattern)
            for knob in self.knobs
            for pattern in knob.columns
            if not any(fnmatch(column, pattern) for column in header)
        ]

    def part(self, name: str) -> TablePart | None:
        """The table that a file is, by the last part of its name."""
        return next((p for p in self.parts if fnmatch(name, p.file)), None)

    def pair_of(self, name: str) -> tuple[str, str] | None:
        """(main file, joined file) of the pair that a file belongs to."""
        return next((pair for part in self.parts if (pair := part.pair_of(name))), None)
