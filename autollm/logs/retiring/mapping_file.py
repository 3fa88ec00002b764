"""Mapping files to Mappings: TOML in, every mistake named with the file and the remedy.

What does not belong here: what the entries mean (`mapping.py`), which file to take
(`catalog.py`). Invariant: a Mapping that comes out is complete and consistent; an entry
that nobody reads is an error, not ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from autollm.core.errors import MappingError
from autollm.core.records import STATUSES, content_hash
from autollm.logs.retiring.expressions import parse_expression
from autollm.logs.retiring.mapping import (
    DIRECTIONS,
    ROLES,
    SCALES,
    SOURCE_NAME,
    KnobRule,
    Limit,
    Lookup,
    Mapping,
    Quantity,
    Signal,
    StatusRule,
    TablePart,
)

SCHEMA = "autollm.mapping/1"


def parse_mapping(text: str, where: str) -> Mapping:
    """A Mapping from the text of a TOML file; `where` names the file in messages.

    Raises:
        MappingError: not TOML, another schema, a missing, unknown or inconsistent
            entry.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{where} is not TOML: {error}") from None
    if raw.pop("schema", None) != SCHEMA:
        raise MappingError(
            f"{where}: expected schema = {SCHEMA!r}. Fix: add that line, or use the "
            "version that wrote it."
        )
    try:
        mapping = _build(raw)
    except MappingError as error:
        raise MappingError(f"{where}: {error}") from None
    _check(mapping, where)
    return dataclasses.replace(
        mapping, mapping_id=content_hash(repr(sorted(raw.items())))
    )


# fmt: off
_SECTIONS = ("source", "family", "format", "files", "tables", "join", "run_key", "replica", "group", "hardware", "columns",
             "lookup", "derived", "knobs", "limits", "fidelity", "objective", "secondary", "signal", "cost", "status")
_TEXTS = {"source", "family", "format", "name", "column", "unit", "direction", "scale", "role", "prefix", "separator",
          "file", "join", "device", "duplicate_cells"}
# fmt: on
_TABLES = {
    "join",
    "run_key",
    "replica",
    "group",
    "hardware",
    "columns",
    "objective",
    "signal",
    "cost",
}
_LISTS = {"files", "columns", "values", "window", "bounds", "on"}
ONE_NUMBER = ("log", "linear", "integer", "ordinal")
NAME = re.compile(r"[^\"\\\x00-\x1f]{1,100}")
"""Of a knob, coordinate or metric: it becomes a key of JSON texts that SQL reads by
path.
"""
_FREE = {"rows", "set", "weights"}
"""Tables whose keys are the data's own."""


def _build(raw: dict[str, Any]) -> Mapping:
    _known(raw, _SECTIONS, "section")
    _check_types(raw)
    missing = [
        n
        for n in ("source", "family", "format", "knobs", "fidelity", "objective")
        if not raw.get(n)
    ]
    if missing:
        raise MappingError(f"section {missing[0]!r} is missing")
    prefixed = raw["format"] == "autollm.run/1"
    sections = {
        name: raw.get(name, {})
        for name in ("run_key", "replica", "join", "group", "hardware", "signal")
    }
    _known(sections["run_key"], ("columns", "repeated"), "entry of [run_key]")
    _known(sections["replica"], ("column", "duplicate_cells"), "entry of [replica]")
    _known(sections["join"], ("on",), "entry of [join]")
    _known(sections["group"], ("column",), "entry of [group]")
    _known(sections["hardware"], ("device",), "entry of [hardware]")
    _known(sections["signal"], _names_of(Signal), "entry of [signal]")
    parts = tuple(
        TablePart(
            clean_pattern(t["file"]),
            clean_pattern(t.get("join", "")),
            dict(t.get("set", {})),
        )
        for t in _tables(raw, "tables", ("file", "join", "set"))
    )
    derived = {
        d["name"]: parse_expression(d.get("value"))
        for d in _tables(raw, "derived", ("name", "value"))
    }
    return Mapping(
        source=raw["source"],
        family=raw["family"],
        format=raw["format"],
        files=tuple(map(clean_pattern, raw.get("files", (p.file for p in parts)))),
        knobs=tuple(
            _knob(k, "config." if prefixed else "")
            for k in _tables(raw, "knobs", _names_of(KnobRule))
        ),
        fidelity=tuple(
            _quantity(q, "fidelity." if prefixed else "")
            for q in _tables(raw, "fidelity", _names_of(Quantity))
        ),
        objective=_quantity(raw["objective"], "final." if prefixed else ""),
        secondary=tuple(
            _quantity(q, "final." if prefixed else "")
            for q in _tables(raw, "secondary", _names_of(Quantity))
        ),
        run_key=tuple(sections["run_key"].get("columns", ())),
        repeated_run=sections["run_key"].get("repeated", "quarantine"),
        seed_column=sections["replica"].get("column", "seed" if prefixed else ""),
        columns=dict(raw.get("columns", {})),
        derived=derived,
        cost={
            name: parse_expression(text) for name, text in raw.get("cost", {}).items()
        },
        status_rules=tuple(
            _status_rule(s)
            for s in _tables(raw, "status", ("status", "when", "reason"))
        ),
        lookups=tuple(
            _lookup(entry)
            for entry in _listed(raw, "lookup", ("columns", "separator", "rows"))
        ),
        parts=parts,
        join_on=tuple(sections["join"].get("on", ())),
        group_column=sections["group"].get("column", ""),
        device=sections["hardware"].get("device", ""),
        duplicate_cells=sections["replica"].get("duplicate_cells", "average"),
        limits=tuple(
            _limit(entry) for entry in _listed(raw, "limits", ("weights", "most"))
        ),
        signal=Signal(
            sections["signal"].get("name", ""), sections["signal"].get("direction", "")
        )
        if "signal" in raw
        else None,
    )


def clean_pattern(pattern: str) -> str:
    """A file pattern as the names of found files are spelt (`containers.clean_name`):
    no spaces and the like.
    """
    return re.sub(r"[^A-Za-z0-9._=+,@*?-]+", "_", pattern)


def _limit(raw: dict[str, Any]) -> Limit:
    weights, most = raw.get("weights"), raw.get("most")
    numbers = (
        [*weights.values(), most] if isinstance(weights, dict) and weights else [None]
    )
    if not all(_is_number(n) for n in numbers):
        raise MappingError(
            "[[limits]] needs weights = { knob = number, ... } and most = number"
        )
    return Limit(dict(weights), most)


def _lookup(raw: dict[str, Any]) -> Lookup:
    rows = raw.get("rows")
    if not raw.get("columns") or not isinstance(rows, dict) or not rows:
        raise MappingError(
            "[[lookup]] needs `columns` (whose values are looked up) and [lookup.rows]"
        )
    if not all(isinstance(row, dict) and row for row in rows.values()):
        raise MappingError(
            'each of [lookup.rows] is a table of new columns, such as "small" = { '
            "params = 1e6 }"
        )
    names = set(next(iter(rows.values())))
    odd = next((key for key, row in rows.items() if set(row) != names), None)
    if odd is not None:
        raise MappingError(
            f"[lookup.rows] {odd!r} gives {sorted(rows[odd])}, the first row "
            f"{sorted(names)}: give all the same columns"
        )
    return Lookup(
        tuple(raw["columns"]),
        {str(key): dict(row) for key, row in rows.items()},
        raw.get("separator", ""),
    )


def _names_of(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(cls))


def _check_types(table: dict[str, Any], path: str = "") -> None:
    """Texts are texts and lists are lists, at any depth; `columns` may also be a table
    of names.

    Raises:
        MappingError: the first that is not.
    """
    for name, value in table.items():
        where = f"{path}{name}"
        is_section = not path and name in _TABLES
        if is_section and not isinstance(value, dict):
            raise MappingError(f"[{name}] must be a table, got {value!r}")
        if (
            name in _TEXTS
            and not is_section
            and path != "columns."
            and not isinstance(value, str)
        ):
            raise MappingError(f"{where} must be a string, got {value!r}")
        if name in _LISTS and not isinstance(
            value, (list, dict) if where == "columns" else list
        ):
            raise MappingError(f"{where} must be a list, got {value!r}")
        if isinstance(value, dict) and name not in _FREE:
            _check_types(value, f"{where}.")
        elif isinstance(value, list):
            for entry in (e for e in value if isinstance(e, dict)):
                _check_types(entry, f"{where}.")


def _listed(
    raw: dict[str, Any], section: str, allowed: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The tables of [[section]], with known entries only."""
    tables = raw.get(section, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise MappingError(
            f"write [[{section}]] with two brackets: it is a list of tables"
        )
    for table in tables:
        _known(table, allowed, f"entry of [[{section}]]")
    return tables


def _tables(
    raw: dict[str, Any], section: str, allowed: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The tables of [[section]], each with a name and known entries only."""
    tables = _listed(raw, section, allowed)
    for table in tables:
        if not isinstance(table.get(allowed[0]), str):
            raise MappingError(f"an entry of [[{section}]] has no {allowed[0]!r}")
    return tables


def _known(table: dict[str, Any], allowed: Iterable[str], what: str) -> None:
    allowed = tuple(allowed)
    for name in table:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = (
                f" Did you mean {close[0]!r}?"
                if close
                else f" Known: {', '.join(allowed)}."
            )
            raise MappingError(f"unknown {what} {name!r}.{hint}")


def _knob(raw: dict[str, Any], prefix: str) -> KnobRule:
    lists = {
        n: tuple(raw[n]) for n in ("window", "values", "columns", "bounds") if n in raw
    }
    column = raw.get("column", "" if "columns" in raw else prefix + raw["name"])
    when = raw.get("when")
    if when is not None:
        if (
            not isinstance(when, dict)
            or set(when) != {"knob", "values"}
            or not isinstance(when["values"], list)
        ):
            raise MappingError(
                f"knob {raw['name']!r}: when = {when!r}, expected {{ knob = NAME, "
                f"values = [...] }}"
            )
        when = (when["knob"], tuple(when["values"]))
    return KnobRule(**{**raw, **lists, "column": column, "when": when})


def _quantity(raw: dict[str, Any], prefix: str) -> Quantity:
    if "name" not in raw:
        raise MappingError("[objective] has no 'name'")
    _known(raw, _names_of(Quantity), "entry of [objective]")
    bounds = {"bounds": tuple(raw["bounds"])} if "bounds" in raw else {}
    return Quantity(**{"column": prefix + raw["name"], **raw, **bounds})


def _status_rule(raw: dict[str, Any]) -> StatusRule:
    return StatusRule(
        raw["status"],
        parse_expression(raw.get("when")),
        raw.get("reason", str(raw.get("when"))),
    )


def _check(mapping: Mapping, where: str) -> None:
    """Everything that a single entry cannot know.

    Raises:
        MappingError: the first inconsistency.
    """

    def fail(problem: str) -> NoReturn:
        raise MappingError(f"{where}: {problem}")

    if not SOURCE_NAME.fullmatch(mapping.source):
        fail(
            f"source {mapping.source!r}, expected letters, digits and ._+- (it becomes "
            "part of ids and of folder names)"
        )
    if mapping.objective.direction not in DIRECTIONS:
        fail(
            f"objective direction {mapping.objective.direction!r}, expected 'min' or "
            "'max'"
        )
    for quantity in mapping.secondary:
        if quantity.direction and quantity.direction not in DIRECTIONS:
            fail(
                f"direction {quantity.direction!r} of {quantity.name!r}, expected "
                "'min' or 'max', or none where it is no objective"
            )
    if mapping.signal and (
        not mapping.signal.name or mapping.signal.direction not in DIRECTIONS
    ):
        fail(
            "[signal] needs the `name` of a logged metric, and its `direction`, 'min' "
            "or 'max'"
        )
    if mapping.signal and mapping.format != "autollm.run/1":
        fail(
            "[signal] names a metric that is logged while a run goes on, and a row of "
            f"{mapping.format!r} has none. Fix: leave [signal] out"
        )
    for entry in (
        *mapping.knobs,
        *mapping.fidelity,
        mapping.objective,
        *mapping.secondary,
    ):
        if entry.bounds is not None and not _is_range(entry.bounds):
            fail(
                f"bounds {list(entry.bounds)} of {entry.name!r}, expected [lowest, "
                "highest]"
            )
        if not NAME.fullmatch(entry.name):
            fail(
                f"the name {entry.name!r}, expected 1 to 100 characters without "
                "quotes, backslashes and control characters"
            )
    if mapping.duplicate_cells not in ("average", "quarantine"):
        fail(
            f"replica duplicate_cells = {mapping.duplicate_cells!r}, expected "
            "'average' or 'quarantine'"
        )
    _check_tables(mapping, fail)
    if mapping.repeated_run not in ("quarantine", "number"):
        fail(
            f"run_key repeated = {mapping.repeated_run!r}, expected 'quarantine' or "
            "'number'"
        )
    made_key = [
        c for c in mapping.run_key if c in {*mapping.derived, *mapping.lookup_of}
    ]
    if made_key:
        fail(
            f"run_key column {made_key[0]!r} is made by the mapping: a run is named by "
            "the table's own columns"
        )
    if mapping.format != "autollm.run/1" and not mapping.run_key:
        fail("a table needs [run_key] columns: what makes a row a run")
    unknown_costs = set(mapping.cost) - {"flops", "device_hours", "wall_time_s"}
    if unknown_costs:
        fail(
            f"unknown cost {sorted(unknown_costs)[0]!r}, expected flops, device_hours "
            "or wall_time_s"
        )
    if "flops" not in mapping.cost:
        fail(
            "[cost] flops is missing: it orders the experiments from cheap to expensive"
        )
    for rule in mapping.status_rules:
        if rule.status not in STATUSES:
            fail(f"status {rule.status!r}, expected one of {', '.join(STATUSES)}")
    before: dict[str, KnobRule] = {}
    for knob in mapping.knobs:
        _check_knob(knob, fail)
        if knob.when and (
            knob.when[0] not in before
            or before[knob.when[0]].scale in ("list", "simplex")
        ):
            fail(
                f"knob {knob.name!r} hangs on {knob.when[0]!r}, which is no number or "
                "category named before it"
            )
        before[knob.name] = knob
    for limit in mapping.limits:
        odd = next(
            (
                n
                for n in limit.weights
                if n not in before or before[n].scale not in ONE_NUMBER
            ),
            None,
        )
        if odd is not None:
            fail(
                f"[[limits]] {odd!r} is no knob of one number. Known: "
                f"{', '.join(before)}"
            )
    known: set[str] = set()
    looked_up = [name for lookup in mapping.lookups for name in lookup.outputs]
    made = [
        *looked_up,
        *mapping.derived,
        *(n for part in mapping.parts[:1] for n in part.constants),
    ]
    twice = [n for n in made if made.count(n) > 1]
    if twice:
        fail(
            f"the column {twice[0]!r} is made twice, among look-ups, derived columns "
            "and `set` of tables"
        )
    for lookup in mapping.lookups:
        late = [c for c in lookup.columns if c in {*mapping.derived, *looked_up}]
        if late:
            fail(
                f"a look-up by {late[0]!r}, which the mapping makes itself: look up "
                "the table's own columns"
            )
    for name, expression in mapping.derived.items():
        early = [
            n
            for n in expression.names
            if mapping.column_of.get(n, n) in set(mapping.derived) - known
        ]
        if early:
            fail(
                f"the derived column {name!r} needs {early[0]!r}, which is not defined "
                "before it"
            )
        known.add(name)
    outcomes = [mapping.objective.name, *(q.name for q in mapping.secondary)]
    same = [n for n in outcomes if outcomes.count(n) > 1]
    if same:
        fail(
            f"the name {same[0]!r} is used twice among the objective and secondary "
            "metrics"
        )
    names = [k.name for k in mapping.knobs] + [q.name for q in mapping.fidelity]
    repeated = [n for n in names if names.count(n) > 1]
    if repeated:
        fail(
            f"the name {repeated[0]!r} is used twice among knobs and fidelity "
            "coordinates"
        )


def _check_tables(mapping: Mapping, fail: Callable[[str], NoReturn]) -> None:
    for part in mapping.parts:
        if part.file.count("*") > 1 or (
            part.join and part.join.count("*") != part.file.count("*")
        ):
            fail(
                f"[[tables]] {part.file!r} joined with {part.join!r}: at most one *, "
                "in both names or in none"
            )
        if set(part.constants) != set(mapping.parts[0].constants):
            fail(
                f"[[tables]] {part.file!r} sets {sorted(part.constants)}, the first "
                f"one {sorted(mapping.parts[0].constants)}: set all the same"
            )
        if part.join and not mapping.join_on:
            fail(
                "[join] on = [...] is missing: the columns that both files of a pair "
                "share"
            )
    if mapping.parts and set(mapping.files) != {part.file for part in mapping.parts}:
        fail(
            "`files` and [[tables]] name different files. Fix: leave `files` out, "
            "[[tables]] says it all"
        )
    if mapping.join_on and not any(part.join for part in mapping.parts):
        fail("[join] without a [[tables]] entry that has `join`: nothing is joined")


def _is_range(pair: tuple[Any, ...]) -> bool:
    return all(map(_is_number, pair)) and len(pair) == 2 and pair[0] < pair[1]


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _check_knob(knob: KnobRule, fail: Callable[[str], NoReturn]) -> None:
    if knob.scale not in SCALES:
        fail(
            f"knob {knob.name!r}: scale {knob.scale!r}, expected one of "
            f"{', '.join(SCALES)}"
        )
    if knob.role not in ROLES:
        fail(
            f"knob {knob.name!r}: role {knob.role!r}, expected one of "
            f"{', '.join(r for r in ROLES if r)}"
        )
    if (knob.scale == "simplex") != bool(knob.columns):
        fail(
            f"knob {knob.name!r}: `columns` belong to simplex knobs, `column` to all "
            "others"
        )
    for name in ("step", "tolerance"):
        value = getattr(knob, name)
        if value is not None and not (
            isinstance(value, (int, float)) and math.isfinite(value) and value > 0
        ):
            fail(f"knob {knob.name!r}: {name} = {value!r}, expected a positive number")
    if knob.step and knob.scale not in ("log", "linear", "integer"):
        fail(
            f"knob {knob.name!r}: step belongs to log and linear scales, and to "
            "integers"
        )
    if knob.window is not None and (
        not _is_range(knob.window) or (knob.scale == "log" and knob.window[0] <= 0)
    ):
        fail(
            f"knob {knob.name!r}: window {list(knob.window)}, expected low < high, "
            "positive on a log scale"
        )
