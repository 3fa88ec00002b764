"""Mapping files (`autollm.mapping/1`, TOML): what the columns of a log or table mean.

A mapping names the files, run key, knobs, fidelity coordinates, objective, cost, status rules and derived columns of
one source. Raw logs use the same mechanism: their fields are called `config.x`, `fidelity.x`, `final.x`, `cost.x`.
What does not belong here: applying it to a run (`canonical.py`), finding it (`catalog.py`).

Invariant: a Mapping that was built is complete and consistent; nothing in it is guessed from data.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autollm.errors import MappingError
from autollm.logs.expressions import Expression, parse_expression
from autollm.records import STATUSES, canonical_json, content_hash

SCHEMA = "autollm.mapping/1"
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


def parse_mapping(text: str, where: str) -> Mapping:
    """A Mapping from the text of a TOML file; `where` names the file in messages.

    Raises:
        MappingError: not TOML, another schema, a missing, unknown or inconsistent entry.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{where} is not TOML: {error}") from None
    if raw.pop("schema", None) != SCHEMA:
        raise MappingError(
            f"{where}: expected schema = {SCHEMA!r}. Fix: add that line, or use the version that wrote it."
        )
    try:
        mapping = _build(raw, where)
    except MappingError as error:
        raise MappingError(f"{where}: {error}" if not str(error).startswith(where) else str(error)) from None
    _check(mapping, where)
    return dataclasses.replace(mapping, mapping_id=content_hash(canonical_json(raw, digits=None)))


_SECTIONS = (
    "source",
    "family",
    "format",
    "files",
    "run_key",
    "replica",
    "columns",
    "derived",
    "knobs",
    "fidelity",
    "objective",
    "secondary",
    "cost",
    "status",
)


def _build(raw: dict[str, Any], where: str) -> Mapping:
    _known(raw, _SECTIONS, "section")
    missing = [n for n in ("source", "family", "format", "knobs", "fidelity", "objective") if not raw.get(n)]
    if missing:
        raise MappingError(f"{where}: section {missing[0]!r} is missing")
    prefixed = raw["format"] == "autollm.run/1"
    run_key = raw.get("run_key", {})
    _known(run_key, ("columns", "repeated"), "entry of [run_key]")
    derived = {d["name"]: parse_expression(d.get("value")) for d in _tables(raw, "derived", ("name", "value"))}
    return Mapping(
        source=_text(raw, "source"),
        family=_text(raw, "family"),
        format=_text(raw, "format"),
        files=tuple(raw.get("files", ())),
        knobs=tuple(_knob(k, "config." if prefixed else "") for k in _tables(raw, "knobs", _names_of(KnobRule))),
        fidelity=tuple(
            _quantity(q, "fidelity." if prefixed else "") for q in _tables(raw, "fidelity", _names_of(Quantity))
        ),
        objective=_quantity(raw["objective"], "final." if prefixed else ""),
        secondary=tuple(
            _quantity(q, "final." if prefixed else "") for q in _tables(raw, "secondary", _names_of(Quantity))
        ),
        run_key=tuple(run_key.get("columns", ())),
        repeated_run=run_key.get("repeated", "quarantine"),
        seed_column=raw.get("replica", {}).get("column", "seed" if prefixed else ""),
        columns=dict(raw.get("columns", {})),
        derived=derived,
        cost={name: parse_expression(text) for name, text in raw.get("cost", {}).items()},
        status_rules=tuple(_status_rule(s) for s in _tables(raw, "status", ("status", "when", "reason"))),
    )


def _names_of(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(cls))


def _text(raw: dict[str, Any], name: str) -> str:
    if not isinstance(raw[name], str):
        raise MappingError(f"{name} must be a string, got {raw[name]!r}")
    return raw[name]


def _tables(raw: dict[str, Any], section: str, allowed: tuple[str, ...]) -> list[dict[str, Any]]:
    """The tables of [[section]], each with a name and known entries only."""
    tables = raw.get(section, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise MappingError(f"write [[{section}]] with two brackets: it is a list of tables")
    for table in tables:
        _known(table, allowed, f"entry of [[{section}]]")
        if not isinstance(table.get(allowed[0]), str):
            raise MappingError(f"an entry of [[{section}]] has no {allowed[0]!r}")
    return tables


def _known(table: dict[str, Any], allowed: Iterable[str], what: str) -> None:
    allowed = tuple(allowed)
    for name in table:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(allowed)}."
            raise MappingError(f"unknown {what} {name!r}.{hint}")


def _knob(raw: dict[str, Any], prefix: str) -> KnobRule:
    lists = {n: tuple(raw[n]) for n in ("window", "values", "columns") if n in raw}
    column = raw.get("column", "" if "columns" in raw else prefix + raw["name"])
    return KnobRule(**{**raw, **lists, "column": column})


def _quantity(raw: dict[str, Any], prefix: str) -> Quantity:
    _known(raw, _names_of(Quantity), "entry of a quantity")
    if not isinstance(raw.get("name"), str):
        raise MappingError("the objective has no 'name'")
    return Quantity(**{"column": prefix + raw["name"], **raw})


def _status_rule(raw: dict[str, Any]) -> StatusRule:
    return StatusRule(raw["status"], parse_expression(raw.get("when")), raw.get("reason", str(raw.get("when"))))


def _check(mapping: Mapping, where: str) -> None:
    """Everything that a single entry cannot know.

    Raises:
        MappingError: the first inconsistency.
    """

    def fail(problem: str) -> None:
        raise MappingError(f"{where}: {problem}")

    if mapping.objective.direction not in DIRECTIONS:
        fail(f"objective direction {mapping.objective.direction!r}, expected 'min' or 'max'")
    if mapping.repeated_run not in ("quarantine", "number"):
        fail(f"run_key repeated = {mapping.repeated_run!r}, expected 'quarantine' or 'number'")
    if mapping.format != "autollm.run/1" and not mapping.run_key:
        fail("a table needs [run_key] columns: what makes a row a run")
    unknown_costs = set(mapping.cost) - {"flops", "device_hours", "wall_time_s"}
    if unknown_costs:
        fail(f"unknown cost {sorted(unknown_costs)[0]!r}, expected flops, device_hours or wall_time_s")
    if "flops" not in mapping.cost:
        fail("[cost] flops is missing: it orders the experiments from cheap to expensive")
    for rule in mapping.status_rules:
        if rule.status not in STATUSES:
            fail(f"status {rule.status!r}, expected one of {', '.join(STATUSES)}")
    for knob in mapping.knobs:
        _check_knob(knob, fail)
    known: set[str] = set()
    for name, expression in mapping.derived.items():
        early = [n for n in expression.names if mapping.column_of.get(n, n) in set(mapping.derived) - known]
        if early:
            fail(f"the derived column {name!r} needs {early[0]!r}, which is not defined before it")
        known.add(name)
    names = [k.name for k in mapping.knobs] + [q.name for q in mapping.fidelity]
    repeated = [n for n in names if names.count(n) > 1]
    if repeated:
        fail(f"the name {repeated[0]!r} is used twice among knobs and fidelity coordinates")


def _check_knob(knob: KnobRule, fail: Any) -> None:
    if knob.scale not in SCALES:
        fail(f"knob {knob.name!r}: scale {knob.scale!r}, expected one of {', '.join(SCALES)}")
    if knob.role not in ROLES:
        fail(f"knob {knob.name!r}: role {knob.role!r}, expected one of {', '.join(r for r in ROLES if r)}")
    if (knob.scale == "simplex") != bool(knob.columns):
        fail(f"knob {knob.name!r}: `columns` belong to simplex knobs, `column` to all others")
    for name in ("step", "tolerance"):
        value = getattr(knob, name)
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            fail(f"knob {knob.name!r}: {name} = {value!r}, expected a positive number")
    if knob.step and knob.scale not in ("log", "linear"):
        fail(f"knob {knob.name!r}: step belongs to log and linear scales")
    if knob.window is not None:
        low_high = all(isinstance(v, (int, float)) and math.isfinite(v) for v in knob.window) and len(knob.window) == 2
        if not low_high or knob.window[0] >= knob.window[1] or (knob.scale == "log" and knob.window[0] <= 0):
            fail(f"knob {knob.name!r}: window {list(knob.window)}, expected low < high, positive on a log scale")
