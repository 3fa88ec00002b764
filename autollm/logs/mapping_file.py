"""Mapping files to Mappings: TOML in, every mistake named with the file and the remedy.

What does not belong here: what the entries mean (`mapping.py`), which file to take (`catalog.py`).
Invariant: a Mapping that comes out is complete and consistent; an entry that nobody reads is an error, not ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from autollm.errors import MappingError
from autollm.logs.expressions import parse_expression
from autollm.logs.mapping import DIRECTIONS, ROLES, SCALES, KnobRule, Mapping, Quantity, StatusRule
from autollm.records import STATUSES, content_hash

SCHEMA = "autollm.mapping/1"


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
        mapping = _build(raw)
    except MappingError as error:
        raise MappingError(f"{where}: {error}") from None
    _check(mapping, where)
    return dataclasses.replace(mapping, mapping_id=content_hash(repr(sorted(raw.items()))))


# fmt: off
_SECTIONS = ("source", "family", "format", "files", "run_key", "replica", "columns", "derived", "knobs", "fidelity",
             "objective", "secondary", "cost", "status")
# fmt: on
_TEXTS = {"source", "family", "format", "name", "column", "unit", "direction", "scale", "role", "prefix", "separator"}
_TABLES = {"run_key", "replica", "columns", "objective", "cost"}
_LISTS = {"files", "columns", "values", "window"}


def _build(raw: dict[str, Any]) -> Mapping:
    _known(raw, _SECTIONS, "section")
    _check_types(raw)
    missing = [n for n in ("source", "family", "format", "knobs", "fidelity", "objective") if not raw.get(n)]
    if missing:
        raise MappingError(f"section {missing[0]!r} is missing")
    prefixed = raw["format"] == "autollm.run/1"
    run_key = raw.get("run_key", {})
    _known(run_key, ("columns", "repeated"), "entry of [run_key]")
    derived = {d["name"]: parse_expression(d.get("value")) for d in _tables(raw, "derived", ("name", "value"))}
    return Mapping(
        source=raw["source"],
        family=raw["family"],
        format=raw["format"],
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


def _check_types(table: dict[str, Any], path: str = "") -> None:
    """Texts are texts and lists are lists, at any depth; `columns` may also be a table of names.

    Raises:
        MappingError: the first that is not.
    """
    for name, value in table.items():
        where = f"{path}{name}"
        if not path and name in _TABLES and not isinstance(value, dict):
            raise MappingError(f"[{name}] must be a table, got {value!r}")
        if name in _TEXTS and path != "columns." and not isinstance(value, str):
            raise MappingError(f"{where} must be a string, got {value!r}")
        if name in _LISTS and not isinstance(value, (list, dict) if where == "columns" else list):
            raise MappingError(f"{where} must be a list, got {value!r}")
        if isinstance(value, dict):
            _check_types(value, f"{where}.")
        elif isinstance(value, list):
            for entry in (e for e in value if isinstance(e, dict)):
                _check_types(entry, f"{where}.")


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
    if "name" not in raw:
        raise MappingError("[objective] has no 'name'")
    _known(raw, _names_of(Quantity), "entry of [objective]")
    return Quantity(**{"column": prefix + raw["name"], **raw})


def _status_rule(raw: dict[str, Any]) -> StatusRule:
    return StatusRule(raw["status"], parse_expression(raw.get("when")), raw.get("reason", str(raw.get("when"))))


def _check(mapping: Mapping, where: str) -> None:
    """Everything that a single entry cannot know.

    Raises:
        MappingError: the first inconsistency.
    """

    def fail(problem: str) -> NoReturn:
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


def _check_knob(knob: KnobRule, fail: Callable[[str], NoReturn]) -> None:
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
