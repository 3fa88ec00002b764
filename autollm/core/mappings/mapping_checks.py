"""What a single entry of a mapping cannot know: names used twice, order, references.

Invariant: the first inconsistency is named; "" means that there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from autollm.core.spaces.scales import ONE_COORDINATE

if TYPE_CHECKING:
    from autollm.core.mappings.mapping import KnobRule, Mapping

TABLES = ("csv", "jsonl", "parquet")
"""Formats of one row a run, in which nothing names the run but the mapping, and which
hold no histories.
"""

_ON_A_GRID = ("log", "linear", "integer")


def check_mapping(mapping: Mapping) -> str:
    """The first problem of a mapping whose entries are fine one by one."""
    checks = (
        _files,
        _run_key,
        _quantities,
        _knobs,
        _limits,
        _made_columns,
        _lookups,
        _derived,
        _repeated_names,
        _signal,
    )
    for check in checks:
        for problem in check(mapping):
            return problem
    return ""


def _files(mapping: Mapping) -> Iterator[str]:
    for part in mapping.tables:
        n_stars = part.file.count("*")
        if n_stars > 1 or (part.join and part.join.count("*") != n_stars):
            yield (
                f"[[tables]] {part.file!r} joined with {part.join!r}: at most one *, in "
                "both names or in none"
            )
        first = sorted(mapping.tables[0].constants)
        if sorted(part.constants) != first:
            yield (
                f"[[tables]] {part.file!r} sets {sorted(part.constants)}, the first one "
                f"{first}: set all the same"
            )
        if part.join and not mapping.join.on:
            yield (
                "[join] on = [...] is missing: the columns that both files of a pair "
                "share"
            )
    if mapping.tables and set(mapping.files) != {
        part.file for part in mapping.tables
    }:
        yield (
            "`files` and [[tables]] name different files. Fix: leave `files` out, "
            "[[tables]] says it all"
        )
    if mapping.join.on and not any(part.join for part in mapping.tables):
        yield "[join] without a [[tables]] entry that has `join`: nothing is joined"


def _run_key(mapping: Mapping) -> Iterator[str]:
    constants = mapping.tables[0].constants if mapping.tables else {}
    for column in mapping.run_key.columns:
        if column in mapping.made_columns and column not in constants:
            yield (
                f"run_key column {column!r} is made by the mapping: a run is named by "
                "the table's own columns"
            )
    if mapping.format in TABLES and not mapping.run_key.columns:
        yield "a table needs [run_key] columns: what makes a row a run"


def _quantities(mapping: Mapping) -> Iterator[str]:
    for entry in (*mapping.knobs, *mapping.quantities):
        if entry.bounds is not None and not entry.bounds[0] < entry.bounds[1]:
            yield (
                f"bounds {list(entry.bounds)} of {entry.name!r}, expected [lowest, "
                "highest]"
            )


def _knobs(mapping: Mapping) -> Iterator[str]:
    before: dict[str, KnobRule] = {}
    for knob in mapping.knobs:
        if (knob.scale == "simplex") != bool(knob.columns):
            yield (
                f"knob {knob.name!r}: `columns` belong to simplex knobs, `column` to all "
                "others"
            )
        if knob.step and knob.scale not in _ON_A_GRID:
            yield (
                f"knob {knob.name!r}: step belongs to log and linear scales, and to "
                "integers"
            )
        low, high = knob.window or (1, 2)
        if not low < high or (knob.scale == "log" and low <= 0):
            yield (
                f"knob {knob.name!r}: window {[low, high]}, expected low < high, "
                "positive on a log scale"
            )
        yield from _missing(knob)
        earlier = before.get(knob.when.knob) if knob.when else None
        if knob.when and (
            earlier is None or earlier.scale in ("list", "simplex")
        ):
            yield (
                f"knob {knob.name!r} hangs on {knob.when.knob!r}, which is no number or "
                "category named before it"
            )
        before[knob.name] = knob


def _missing(knob: KnobRule) -> Iterator[str]:
    if knob.missing is None:
        return
    if knob.scale == "simplex":
        yield f"knob {knob.name!r}: `missing` belongs to knobs of one column"
    is_number = (
        isinstance(knob.missing, (int, float)) and knob.missing is not True
    )
    if knob.scale in _ON_A_GRID and not is_number:
        yield (
            f"knob {knob.name!r}: missing = {knob.missing!r} on a {knob.scale} scale, "
            'expected a number. Fix: scale = "categorical" or "ordinal", where "not '
            'used" is a value.'
        )


def _limits(mapping: Mapping) -> Iterator[str]:
    scales = {knob.name: knob.scale for knob in mapping.knobs}
    for limit in mapping.limits:
        for name in limit.weights:
            if scales.get(name) not in ONE_COORDINATE:
                yield (
                    f"[[limits]] {name!r} is no knob of one number. Known: "
                    f"{', '.join(scales)}"
                )


def _made_columns(mapping: Mapping) -> Iterator[str]:
    made = [entry.name for entry in mapping.derived]
    for lookup in mapping.lookup:
        made += lookup.outputs
    for parts in mapping.name_parts:
        made += parts.words
        if parts.column in mapping.made_columns:
            yield (
                f"[[name_parts]] of {parts.column!r}, which the mapping makes itself: "
                "name one of the table's own columns"
            )
    for part in mapping.tables[:1]:
        made += part.constants
    for name in _twice(made):
        yield (
            f"the column {name!r} is made twice, among look-ups, parts of names, derived "
            "columns and `set` of tables"
        )


def _lookups(mapping: Mapping) -> Iterator[str]:
    made = {entry.name for entry in mapping.derived} | set(mapping.lookup_of)
    for lookup in mapping.lookup:
        names = sorted(lookup.outputs)
        for key, row in lookup.rows.items():
            if not row or sorted(row) != names:
                yield (
                    f"[lookup.rows] {key!r} gives {sorted(row)}, the first row {names}: "
                    "give all the same columns"
                )
        for column in lookup.columns:
            if column in made:
                yield (
                    f"a look-up by {column!r}, which the mapping makes itself: look up "
                    "the table's own columns"
                )


def _derived(mapping: Mapping) -> Iterator[str]:
    later = {entry.name for entry in mapping.derived}
    for entry in mapping.derived:
        for name in entry.value.names:
            if mapping.column_of.get(name, name) in later:
                yield (
                    f"the derived column {entry.name!r} needs {name!r}, which is not "
                    "defined before it"
                )
        later.discard(entry.name)


def _repeated_names(mapping: Mapping) -> Iterator[str]:
    outcomes = [mapping.objective.name, *(q.name for q in mapping.secondary)]
    for name in _twice(outcomes):
        yield (
            f"the name {name!r} is used twice among the objective and secondary metrics"
        )
    chosen = [entry.name for entry in (*mapping.knobs, *mapping.context)]
    for name in _twice([*chosen, *(q.name for q in mapping.fidelity)]):
        yield (
            f"the name {name!r} is used twice among knobs, contexts and fidelity "
            "coordinates"
        )


def _signal(mapping: Mapping) -> Iterator[str]:
    if mapping.signal and not mapping.signal.name:
        yield "[signal] needs the `name` of a logged metric"
    if mapping.signal and mapping.format in TABLES:
        yield (
            "[signal] names a metric that is logged while a run goes on, and a row of "
            f"{mapping.format!r} has none. Fix: leave [signal] out"
        )


def _twice(names: Iterable[Any]) -> list[Any]:
    earlier: set[Any] = set()
    repeated = []
    for name in names:
        if name in earlier:
            repeated.append(name)
        earlier.add(name)
    return repeated
