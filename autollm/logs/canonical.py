"""A run's raw fields to its canonical bronze row, as its mapping says.

What does not belong here: parsing files (the readers), writing Parquet (`bronze.py`).
Invariant: the same fields and mapping give the same row, bit for bit; a value that does not fit raises, it is never
repaired except by the mapping's own rounding rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AnyMapping
from fnmatch import fnmatch
from typing import Any

from autollm.errors import RecordError
from autollm.logs.expressions import Expression
from autollm.logs.mapping import KnobRule, Mapping
from autollm.records import canonical_json, config_id, parse_number

Row = dict[str, Any]
_MAX_INT64 = 2**63


class _MissingValueError(RecordError):
    """A field that an expression or quantity needs is absent or empty."""


class RunFields:
    """A run's raw fields by column name, with the mapping's derived columns and names on top."""

    def __init__(self, mapping: Mapping, values: AnyMapping[str, Any]):
        self._mapping, self._values = mapping, values
        self._column_of = mapping.column_of

    def raw(self, column: str) -> Any:
        """The value of a column, derived ones included.

        Raises:
            RecordError: absent, empty, or not computable.
        """
        if column in self._mapping.derived:
            return self.evaluate(self._mapping.derived[column])
        value = self._values.get(column)
        if value is None or value == "":
            raise _MissingValueError(f"{column} is missing or empty")
        return value

    def number(self, column: str) -> float:
        """The value of a column as a float, non-finite spellings included."""
        return _number(self.raw(column), column)

    def evaluate(self, expression: Expression) -> float:
        """An expression's value; names are aliases, canonical names, derived columns or columns.

        Raises:
            RecordError: a name without a value, or arithmetic that fails.
        """
        return expression(lambda name: self.number(self._column_of.get(name, name)))

    def optional(self, expression: Expression | None) -> float | None:
        """Like `evaluate`, None where there is no expression, a value is missing, or the result is not finite."""
        if expression is None:
            return None
        try:
            value = float(self.evaluate(expression))
        except _MissingValueError:
            return None
        return value if math.isfinite(value) else None


def build_run(mapping: Mapping, values: AnyMapping[str, Any]) -> Row:
    """The part of a `runs` row that the mapping decides.

    `values` maps columns to raw values; a run log also gives `status` and `status_reason`.

    Raises:
        RecordError: a knob or coordinate that is missing, not a number, out of its scale or off its grid.
    """
    fields = RunFields(mapping, values)
    config = {knob.name: read_knob(knob, fields, values) for knob in mapping.knobs}
    fidelity = {q.name: _positive(fields.number(q.column), q.column) for q in mapping.fidelity}
    objective = _optional_number(fields, mapping.objective.column)
    status, reason = _status(
        mapping, fields, objective, values.get("status", "finished"), values.get("status_reason", "")
    )
    device_hours = fields.optional(mapping.cost.get("device_hours"))
    device = str(values.get("hardware.device") or "")
    return {
        "family": mapping.family,
        "space_id": mapping.space_id,
        "ladder_id": mapping.ladder_id,
        "config_json": canonical_json(config),
        "config_id": config_id(config),
        "fidelity_json": canonical_json(fidelity),
        "fidelity_label": ",".join(f"{name}={_short(value)}" for name, value in fidelity.items()),
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
    if knob.scale in ("log", "linear"):
        return _on_grid(knob, _number(raw, knob.column))
    value = _list_items(raw, knob.separator) if knob.scale == "list" else _plain(raw)
    if knob.scale != "list" and knob.values is not None and value not in knob.values:
        raise RecordError(f"{knob.column}={raw!r} is none of the declared values {list(knob.values)}")
    return value


def _on_grid(knob: KnobRule, value: float) -> float:
    if not math.isfinite(value) or (knob.scale == "log" and value <= 0):
        raise RecordError(f"{knob.column}={value!r} is not a {'positive ' if knob.scale == 'log' else ''}finite number")
    if knob.step is None:
        return value
    natural = math.log2(value) if knob.scale == "log" else value
    rounded = math.floor(natural / knob.step + 0.5) * knob.step
    if knob.tolerance is not None and abs(natural - rounded) > knob.tolerance:
        nearest, measure = (2.0**rounded, "octaves") if knob.scale == "log" else (rounded, knob.unit)
        raise RecordError(
            f"{knob.column}={value:g} is {abs(natural - rounded):.3g} {measure} from the nearest step {nearest:.6g}, "
            f"more than {knob.tolerance:g}. Fix: widen `tolerance` or change `step` of {knob.name!r} in the mapping."
        )
    return 2.0**rounded if knob.scale == "log" else rounded


def _simplex(knob: KnobRule, values: AnyMapping[str, Any]) -> dict[str, float]:
    """Weights by part, renormalized to sum 1: published tables round them to a few decimals."""
    names = [c for c in values if any(fnmatch(c, pattern) for pattern in knob.columns)]
    weights = {c.removeprefix(knob.prefix): _number(values[c], c) for c in names}
    total = sum(weights.values())
    if (
        not weights
        or not math.isfinite(total)
        or min(weights.values()) < 0
        or abs(total - 1) > (knob.tolerance or 0.01)
    ):
        raise RecordError(f"the weights of {knob.name!r} sum to {total:g} over {len(weights)} columns, expected 1")
    return {name: weight / total for name, weight in weights.items()}


def _list_items(raw: Any, separator: str) -> list[Any]:
    return [_plain(item) for item in (raw if isinstance(raw, list) else str(raw).split(separator))]


def _plain(raw: Any) -> Any:
    """Text from a table to bool or number where it spells one; JSON values as they are."""
    if not isinstance(raw, str):
        return raw
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


def _optional_number(fields: RunFields, column: str) -> float | None:
    try:
        return fields.number(column)
    except _MissingValueError:
        return None


def _status(mapping: Mapping, fields: RunFields, objective: float | None, status: str, reason: str) -> tuple[str, str]:
    """The recorded status, made worse where the objective or a rule says so; never better."""
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
    found = {q.name: _optional_number(fields, q.column) for q in mapping.secondary}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _seed(mapping: Mapping, values: AnyMapping[str, Any]) -> int | None:
    raw = values.get(mapping.seed_column) if mapping.seed_column else None
    if raw is None or raw == "":
        return None
    number = raw if isinstance(raw, int) and not isinstance(raw, bool) else _number(raw, mapping.seed_column)
    if not -_MAX_INT64 <= number < _MAX_INT64 or int(number) != number:
        raise RecordError(f"{mapping.seed_column} must be a 64-bit integer, got {raw!r:.80}")
    return int(number)


def _short(value: float) -> str:
    """1.07e9, 25000, 2e10: for people, at most three digits beyond 10,000."""
    text = f"{value:.3g}"
    return text.replace("e+0", "e").replace("e+", "e")
