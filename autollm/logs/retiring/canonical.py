"""A run's raw fields to its canonical bronze row, as its mapping says.

What does not belong here: parsing files (the readers), writing Parquet (`bronze.py`).
Invariant: the same fields and mapping give the same row, bit for bit; a value that does
not fit raises, it is never repaired except by the mapping's own rounding rule.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping as AnyMapping
from fnmatch import fnmatchcase as fnmatch
from functools import lru_cache
from typing import Any

from autollm.core.errors import RecordError
from autollm.core.records import canonical_json, content_hash, parse_number
from autollm.logs.retiring.expressions import Expression
from autollm.logs.retiring.mapping import (
    SOURCE_NAME,
    KnobRule,
    Lookup,
    Mapping,
    Quantity,
)

Row = dict[str, Any]
_MAX_INT64 = 2**63


class _MissingValueError(RecordError):
    """A field that an expression or quantity needs is absent or empty."""


class RunFields:
    """A run's raw fields by column name, with the mapping's derived columns and names
    on top.
    """

    def __init__(self, mapping: Mapping, values: AnyMapping[str, Any]):
        self._mapping, self._values = mapping, values
        self._column_of, self._lookup_of = mapping.column_of, mapping.lookup_of

    def raw(self, column: str) -> Any:
        """The value of a column, derived ones included.

        Raises:
            RecordError: absent, empty, or not computable.
        """
        if column in self._mapping.derived:
            return self.evaluate(self._mapping.derived[column])
        if column in self._lookup_of:
            return self._looked_up(self._lookup_of[column], column)
        value = self._values.get(column)
        if value is None or value == "":
            raise _MissingValueError(f"{column} is missing or empty")
        return value

    def _looked_up(self, lookup: Lookup, output: str) -> Any:
        *keys, last = (self.raw(column) for column in lookup.columns)
        if not lookup.separator:
            return _row_of(lookup, [*keys, last])[output]
        return [
            _row_of(lookup, [*keys, item])[output]
            for item in _list_items(last, lookup.separator)
        ]

    def number(self, column: str) -> float:
        """The value of a column as a float, non-finite spellings included."""
        return _number(self.raw(column), column)

    def evaluate(self, expression: Expression) -> float:
        """An expression's value; names are aliases, canonical names, derived columns or
        columns.

        Raises:
            RecordError: a name without a value, or arithmetic that fails.
        """
        return expression(lambda name: self.number(self._column_of.get(name, name)))

    def optional(self, expression: Expression | None) -> float | None:
        """Like `evaluate`, None where there is no expression, a value is missing, or
        the result is not finite.
        """
        if expression is None:
            return None
        try:
            value = float(self.evaluate(expression))
        except _MissingValueError:
            return None
        return value if math.isfinite(value) else None


def _row_of(lookup: Lookup, values: list[Any]) -> dict[str, Any]:
    """Raises:
    RecordError: the values have no row.
    """
    key = "|".join(map(key_text, values))
    if key not in lookup.rows:
        close = difflib.get_close_matches(key, lookup.rows, n=1, cutoff=0.0)
        raise RecordError(
            f"{'|'.join(lookup.columns)}={key!r:.80} has no row in [lookup.rows] of "
            "the mapping. "
            f"Nearest: {close[0] if close else 'none'!r}. Fix: add a row for it."
        )
    return lookup.rows[key]


def key_text(value: Any) -> str:
    """A value as look-ups and joins spell it: 4, 4.0 and '4.0' alike."""
    plain = _plain(value)
    if isinstance(plain, bool):
        return str(plain).lower()
    return (
        str(int(plain))
        if isinstance(plain, float) and plain.is_integer() and abs(plain) < 1e15
        else str(plain)
    )


def build_run(mapping: Mapping, values: AnyMapping[str, Any]) -> Row:
    """The part of a `runs` row that the mapping decides.

    `values` maps columns to raw values; a run log also gives `status` and
    `status_reason`. `group`, which is no column of `runs`, is the part of the source
    that the run belongs to; empty where the mapping names no groups.

    Raises:
        RecordError: a knob or coordinate that is missing, not a number, out of its
            scale or off its grid.
    """
    fields = RunFields(mapping, values)
    config: dict[str, Any] = {}
    for knob in mapping.knobs:
        if knob.is_chosen(config):
            config[knob.name] = read_knob(knob, fields, values)
    config_json = canonical_json(config)
    fidelity = {
        q.name: _within(q, _positive(fields.number(q.column), q.column))
        for q in mapping.fidelity
    }
    objective = _optional_number(fields, mapping.objective)
    status, reason = _status(
        mapping,
        fields,
        objective,
        values.get("status", "finished"),
        values.get("status_reason", ""),
    )
    device_hours = fields.optional(mapping.cost.get("device_hours"))
    device = mapping.device or str(values.get("hardware.device") or "")
    return {
        "group": _group(mapping, fields),
        "family": mapping.family,
        "space_id": mapping.space_id,
        "ladder_id": mapping.ladder_id,
        "config_json": config_json,
        "config_id": content_hash(config_json),
        "fidelity_json": canonical_json(fidelity),
        "fidelity_label": ",".join(
            f"{name}={_short(value)}" for name, value in fidelity.items()
        ),
        "objective_name": mapping.objective.name,
        "objective_direction": mapping.objective.direction,
        "objective_value": objective,
        "secondary_json": canonical_json(_secondary(mapping, fields), digits=9),
        "seed": _seed(mapping, values),
        "status": status,
        "status_reason": reason,
        "cost_flops": fields.optional(mapping.cost.get("flops")),
        "device": device,
        "device_hours": device_hours,
        "gpu_hours": device_hours if device == "cuda" else None,
        "wall_time_s": fields.optional(mapping.cost.get("wall_time_s")),
    }


def read_knob(knob: KnobRule, fields: RunFields, values: AnyMapping[str, Any]) -> Any:
    """The canonical value of a knob.

    Raises:
        RecordError: as `build_run`.
    """
    if knob.scale == "simplex":
        return _simplex(knob, values)
    raw = fields.raw(knob.column)
    if knob.scale in ("log", "linear", "integer"):
        return _on_grid(knob, _within(knob, _number(raw, knob.column)))
    value = _list_items(raw, knob.separator) if knob.scale == "list" else _plain(raw)
    items = value if knob.scale == "list" else [value]
    if knob.values is not None and not all(item in knob.values for item in items):
        raise RecordError(
            f"{knob.column}={raw!r:.80} is none of the declared values "
            f"{list(knob.values)}. "
            f"Fix: add it to `values` of {knob.name!r} in the mapping, or correct the "
            "cell."
        )
    return value


def _within(entry: KnobRule | Quantity, value: float) -> float:
    """The value, if it lies within the stated bounds.

    Raises:
        RecordError: it does not.
    """
    if entry.bounds is not None and not entry.bounds[0] <= value <= entry.bounds[1]:
        unit = f" {entry.unit}" if entry.unit else ""
        raise RecordError(
            f"{entry.column}={value:g} is beyond the bounds {entry.bounds[0]:g} to "
            f"{entry.bounds[1]:g}{unit} of {entry.name!r}. "
            "Mixed units? Fix: write every row in the same unit, or widen `bounds` in "
            "the mapping."
        )
    return value


def _on_grid(knob: KnobRule, value: float) -> float:
    if not math.isfinite(value) or (knob.scale == "log" and value <= 0):
        raise RecordError(
            f"{knob.column}={value!r} is not a "
            f"{'positive ' if knob.scale == 'log' else ''}finite number"
        )
    if knob.scale == "integer" and not value.is_integer():
        raise RecordError(
            f'{knob.column}={value!r} is no whole number. Fix: scale = "linear", or '
            "correct the cell."
        )
    if knob.step is None:
        return value
    natural = math.log2(value) if knob.scale == "log" else value
    rounded = math.floor(natural / knob.step + 0.5) * knob.step
    if knob.tolerance is not None and abs(natural - rounded) > knob.tolerance:
        nearest, measure = (
            (2.0**rounded, "octaves") if knob.scale == "log" else (rounded, knob.unit)
        )
        raise RecordError(
            f"{knob.column}={value:g} is {abs(natural - rounded):.3g} {measure} from "
            f"the nearest step {nearest:.6g}, "
            f"more than {knob.tolerance:g}. Fix: widen `tolerance` or change `step` of "
            f"{knob.name!r} in the mapping."
        )
    return 2.0**rounded if knob.scale == "log" else rounded


def _simplex(knob: KnobRule, values: AnyMapping[str, Any]) -> dict[str, float]:
    """Weights by part, renormalized to sum 1: published tables round them to a few
    decimals.
    """
    names = _matching(knob.columns, tuple(values))
    weights = {c.removeprefix(knob.prefix): _number(values[c], c) for c in names}
    total, tolerance = sum(weights.values()), knob.tolerance or 0.01
    negative = next(
        (
            c
            for c, weight in zip(names, weights.values(), strict=True)
            if not weight >= 0
        ),
        None,
    )
    if negative is not None:
        raise RecordError(
            f"{negative}={values[negative]!r} is no weight of {knob.name!r}: expected "
            "a number of at least 0"
        )
    if not weights or abs(total - 1) > tolerance:
        raise RecordError(
            f"the weights of {knob.name!r} sum to {total:g} over {len(weights)} "
            f"columns, expected 1 within {tolerance:g}. "
            f"Fix: correct the row, or the `columns` or `tolerance` of {knob.name!r} "
            "in the mapping."
        )
    return {name: weight / total for name, weight in weights.items()}


@lru_cache(maxsize=64)
def _matching(patterns: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(c for c in columns if any(fnmatch(c, pattern) for pattern in patterns))


def _list_items(raw: Any, separator: str) -> list[Any]:
    return [
        _plain(item)
        for item in (raw if isinstance(raw, list) else str(raw).split(separator))
    ]


def _plain(raw: Any) -> Any:
    """Text from a table to bool or number where it spells one; JSON values as they are."""
    return _spelled(raw) if isinstance(raw, str) else raw


@lru_cache(maxsize=4096)
def _spelled(raw: str) -> Any:
    if raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    try:
        number = float(raw)
    except ValueError:
        return raw
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _number(raw: Any, column: str) -> float:
    """A float from a JSON number or a table's text.

    Raises:
        RecordError: anything else.
    """
    if isinstance(raw, str):
        try:
            return float(raw)
        except ValueError:
            raise RecordError(f"{column} must be a number, got {raw!r:.80}") from None
    try:
        return parse_number(raw, column)
    except OverflowError:
        raise RecordError(f"{column} is beyond float64") from None


def _positive(value: float, column: str) -> float:
    if not math.isfinite(value) or value <= 0:
        raise RecordError(f"{column}={value!r} is not a positive finite number")
    return value


def _optional_number(fields: RunFields, quantity: Quantity) -> float | None:
    try:
        value = fields.number(quantity.column)
    except _MissingValueError:
        return None
    return _within(quantity, value) if math.isfinite(value) else value


def _status(
    mapping: Mapping,
    fields: RunFields,
    objective: float | None,
    status: str,
    reason: str,
) -> tuple[str, str]:
    """The recorded status, made worse where the objective or a rule says so; never
    better.
    """
    if status != "finished":
        return status, reason
    if objective is None:
        return "failed", f"no objective {mapping.objective.column!r}"
    if not math.isfinite(objective):
        return "diverged", f"{mapping.objective.name} is {objective}"
    for rule in mapping.status_rules:
        try:
            if fields.evaluate(rule.when):
                return rule.status, rule.reason
        except _MissingValueError:
            continue
    return status, reason


def _secondary(mapping: Mapping, fields: RunFields) -> dict[str, float]:
    found = {q.name: _optional_number(fields, q) for q in mapping.secondary}
    return {
        name: value
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def _group(mapping: Mapping, fields: RunFields) -> str:
    if not mapping.group_column:
        return ""
    group = str(fields.raw(mapping.group_column))
    if not SOURCE_NAME.fullmatch(group):
        raise RecordError(
            f"{mapping.group_column}={group!r:.80} is no group: expected letters, "
            "digits and ._+-"
        )
    return group


def _seed(mapping: Mapping, values: AnyMapping[str, Any]) -> int | None:
    raw = values.get(mapping.seed_column) if mapping.seed_column else None
    if raw is None or raw == "":
        return None
    number = (
        raw
        if isinstance(raw, int) and not isinstance(raw, bool)
        else _number(raw, mapping.seed_column)
    )
    if not -_MAX_INT64 <= number < _MAX_INT64 or int(number) != number:
        raise RecordError(
            f"{mapping.seed_column} must be a 64-bit integer, got {raw!r:.80}"
        )
    return int(number)


def _short(value: float) -> str:
    """1.07e9, 25000, 2e10: for people, at most three digits beyond 10,000."""
    text = f"{value:.3g}"
    return text.replace("e+0", "e").replace("e+", "e")
