"""The raw-log schema `autollm.run/1` and canonical JSON: the one module that every part
may import.

A run is one file, `<run_id>.jsonl` or `.jsonl.zst`: a header line, step lines, an end
line. A run without an end line is in flight (`running`), or was killed.

Invariant: `parse_record(line)` either returns a record that `to_line` writes back with
the same meaning, or raises RecordError with the reason; it never guesses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autollm.core.errors import RecordError

SCHEMA = "autollm.run/1"
STATUSES = ("finished", "diverged", "failed", "killed", "pruned")
"""With which an end line may end a run. A run without one is in flight."""
MAX_STEPS = 200
"""A recorded run keeps about this many step lines."""


@dataclass(frozen=True)
class RunHeader:
    """What was decided before the run: who, what, on which data and machine."""

    run_id: str
    source: str
    family: str
    config: dict[str, Any]
    fidelity: dict[str, float]
    seed: int
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    schema: str = SCHEMA


@dataclass(frozen=True)
class RunStep:
    """One logged point. Steps are kept as logged; metrics may be uneven; non-finite
    values are legal.
    """

    step: int
    metrics: dict[str, float]
    tokens: float | None = None
    wall_time_s: float | None = None


@dataclass(frozen=True)
class RunEnd:
    """How the run ended; `final` holds the objective and what stands beside it, `cost`
    flops and device_hours.
    """

    status: Literal[
        "finished", "diverged", "failed", "killed", "pruned", "running"
    ]
    final: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    reason: str = ""


Record = RunHeader | RunStep | RunEnd
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I | re.A)
_KINDS: dict[str, type] = {"header": RunHeader, "step": RunStep, "end": RunEnd}
_KIND_OF = {cls: kind for kind, cls in _KINDS.items()}


def to_line(record: Record) -> str:
    """One JSON line without its newline. NaN and infinities are written as the strings
    'nan', 'inf', '-inf'.
    """
    return canonical_json(
        {"kind": _KIND_OF[type(record)], **dataclasses.asdict(record)},
        digits=None,
    )


def parse_record(line: str) -> Record:
    """Parse one line of a raw log.

    Raises:
        RecordError: not JSON, not an object, unknown kind or schema, a missing or
            unknown field, a wrong type.
    """
    try:
        raw = json.loads(line, object_pairs_hook=object_of)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"not a JSON line: {error}") from None
    except ValueError:  # a whole number of more digits than Python reads
        raise RecordError(
            "a number out of range: it has thousands of digits"
        ) from None
    if not isinstance(raw, dict):
        raise RecordError(f"expected a JSON object, got {type(raw).__name__}")
    kind = raw.pop("kind", None)
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RecordError(
            f"unknown kind {kind!r}, expected one of {', '.join(_KINDS)}"
        )
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(raw) - set(fields))
    if unknown:
        raise RecordError(f"unknown field {unknown[0]!r} in a {kind} line")
    required = [
        n
        for n, f in fields.items()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    missing = [n for n in required if raw.get(n) is None]
    if missing:
        raise RecordError(f"missing field {missing[0]!r} in a {kind} line")
    record = cls(**raw)
    _check(record)
    return dataclasses.replace(record, **_floats(record))


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs, for `json.loads`.

    Raises:
        RecordError: a key stands twice, of which JSON would keep one.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f"the key {twice!r} stands twice in one object")
    return values


def _check(record: Record) -> None:
    if isinstance(record, RunHeader):
        if record.schema != SCHEMA:
            raise RecordError(
                f"schema {record.schema!r} is not {SCHEMA!r}: no reader for it in this "
                "version"
            )
        for name in ("run_id", "source", "family"):
            if not isinstance(getattr(record, name), str) or not getattr(
                record, name
            ):
                raise RecordError(
                    f"{name} must be a non-empty string, got {getattr(record, name)!r}"
                )
        if type(record.seed) is not int:
            raise RecordError(f"seed must be an integer, got {record.seed!r}")
        if not isinstance(record.created_at, str):
            raise RecordError(
                f"created_at must be a string, got {record.created_at!r}"
            )
        for name in (
            "config",
            "fidelity",
            "model",
            "data",
            "hardware",
            "versions",
        ):
            if not isinstance(getattr(record, name), dict):
                raise RecordError(
                    f"{name} must be an object, got {getattr(record, name)!r}"
                )
    elif isinstance(record, RunStep):
        if not isinstance(record.step, int) or isinstance(record.step, bool):
            raise RecordError(f"step must be an integer, got {record.step!r}")
        if not isinstance(record.metrics, dict):
            raise RecordError(
                f"metrics must be an object, got {record.metrics!r}"
            )
    elif record.status not in STATUSES:
        raise RecordError(
            f"status {record.status!r}, expected one of {', '.join(STATUSES)}"
        )
    elif not isinstance(record.reason, str):
        raise RecordError(f"reason must be a string, got {record.reason!r}")


def _floats(record: Record) -> dict[str, Any]:
    """The numeric fields as floats, non-finite spellings included."""
    names = {
        RunHeader: ("fidelity",),
        RunStep: ("metrics",),
        RunEnd: ("final", "cost"),
    }[type(record)]
    out: dict[str, Any] = {}
    for name in names:
        values = getattr(record, name)
        if not isinstance(values, dict):
            raise RecordError(f"{name} must be an object, got {values!r}")
        out[name] = {
            key: parse_number(value, f"{name}.{key}")
            for key, value in values.items()
        }
    if isinstance(record, RunStep):
        for name in ("tokens", "wall_time_s"):
            value = getattr(record, name)
            out[name] = None if value is None else parse_number(value, name)
    return out


def parse_number(value: Any, where: str) -> float:
    """A float from a JSON number or one of the spellings of a non-finite one.

    Raises:
        RecordError: anything else, booleans included.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RecordError(
                f"a number out of range: {where} is beyond float64"
            ) from None
    if isinstance(value, str) and _NOT_FINITE.fullmatch(value):
        return float(value)
    raise RecordError(f"{where} must be a number, got {value!r}")


def canonical_json(value: Any, digits: int | None = 6) -> str:
    """JSON with sorted keys and no spaces; floats to `digits` significant digits (None:
    as they are).

    Equal values give equal text: 1.0 and 1 are both written 1 where `digits` is given.
    """
    return _CANONICAL(_canonical(value, digits))


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
).encode


def _canonical(value: Any, digits: int | None) -> Any:
    if (
        type(value) is int and digits is not None and abs(value) < 10**digits
    ):  # the common case, below in other words
        return value
    if isinstance(value, dict):
        return {
            str(key): _canonical(item, digits) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_canonical(item, digits) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    scalar: Any = value  # of NumPy, or a number already
    number = scalar.item() if hasattr(scalar, "item") else scalar
    if isinstance(number, float) and not math.isfinite(number):
        return str(number)
    if (
        digits is None
        or isinstance(number, bool)
        or not isinstance(number, (int, float))
    ):
        return number
    try:
        rounded = float(f"{number:.{digits}g}")
    except OverflowError:  # a whole number beyond float64
        return number
    return (
        int(rounded)
        if rounded.is_integer() and abs(rounded) < 1e15
        else rounded
    )


def content_hash(text: str | bytes, length: int = 16) -> str:
    """First `length` hex digits of a sha256. A name of a file may hold bytes that are no
    UTF-8; Python shows them as halves of surrogate pairs.
    """
    is_text = isinstance(text, str)
    data = text.encode(errors="surrogatepass") if is_text else text
    return hashlib.sha256(data).hexdigest()[:length]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        out |= (
            flat(value, f"{name}.")
            if isinstance(value, Mapping)
            else {name: value}
        )
    return out
