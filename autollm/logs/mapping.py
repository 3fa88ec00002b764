"""Mapping files (`autollm.mapping/1`, TOML): what the columns of a log or table mean.

A mapping names the files, run key, knobs, fidelity coordinates, objective, cost, status rules and derived columns of
one source. Raw logs use the same mechanism: their fields are called `config.x`, `fidelity.x`, `final.x`, `cost.x`.
What does not belong here: reading the file (`mapping_file.py`), finding it (`catalog.py`), using it (`canonical.py`).

Invariant: a Mapping is the whole meaning of a source; nothing is guessed from data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from autollm.logs.expressions import Expression
from autollm.records import canonical_json, content_hash

SCALES = ("log", "linear", "ordinal", "categorical", "simplex", "list")
DIRECTIONS = ("min", "max")
ROLES = ("", "rate", "size", "weight")


@dataclass(frozen=True)
class KnobRule:
    """How one knob is read. `step` is in octaves on a log scale and in the knob's unit on a linear one.

    `tolerance` (same measure as `step`): a value farther from the grid is quarantined instead of being moved silently.
    `columns` and `prefix` belong to simplex knobs (one column per part), `separator` to lists in one cell.
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


@dataclass(frozen=True)
class Quantity:
    """A named number: a fidelity coordinate, the objective or a secondary metric."""

    name: str
    column: str
    unit: str = ""
    direction: str = ""


@dataclass(frozen=True)
class StatusRule:
    """`status` holds where the expression `when` is true and the run has not a worse one already."""

    status: str
    when: Expression
    reason: str


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
    mapping_id: str = ""

    @property
    def space_json(self) -> str:
        """The knobs, as canonical JSON."""
        names = ("name", "scale", "unit", "step", "role", "window", "values")
        return canonical_json({"knobs": [{n: getattr(knob, n) for n in names} for knob in self.knobs]}, digits=12)

    @property
    def ladder_json(self) -> str:
        """The fidelity coordinates, as canonical JSON."""
        return canonical_json({"coordinates": [{"name": q.name, "unit": q.unit} for q in self.fidelity]})

    @property
    def space_id(self) -> str:
        """16 hex digits of the space."""
        return content_hash(self.space_json)

    @property
    def ladder_id(self) -> str:
        """16 hex digits of the ladder."""
        return content_hash(self.ladder_json)

    @property
    def column_of(self) -> dict[str, str]:
        """Canonical names and aliases -> column, for expressions."""
        quantities = (*self.fidelity, self.objective, *self.secondary)
        knobs = {k.name: k.column for k in self.knobs if k.column}
        return {**{q.name: q.column for q in quantities}, **knobs, **self.columns}

    def needed_columns(self) -> tuple[str, ...]:
        """Columns that a table must have, in the order of the mapping; simplex patterns are not among them."""
        quantities = (*self.fidelity, self.objective, *self.secondary)
        direct = [*self.run_key, *(k.column for k in self.knobs if k.column), *(q.column for q in quantities)]
        direct += [self.seed_column] if self.seed_column else []
        expressions = (*self.derived.values(), *self.cost.values(), *(rule.when for rule in self.status_rules))
        direct += [self.column_of.get(n, n) for e in expressions for n in e.names]
        return tuple(dict.fromkeys(c for c in direct if c not in self.derived))
