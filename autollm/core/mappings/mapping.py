"""A mapping (`autollm.mapping/1`): what the columns of a log or table mean.

A mapping names the files, run key, knobs, context, fidelity coordinates, objective,
cost, states and derived columns of one source. Raw run logs use the same mechanism:
their fields are called `config.x`, `fidelity.x`, `final.x`, `cost.x`. The model has the
shape of the TOML file, section by section; docs/mapping-files.md describes the language
for its users, `mapping_entries.py` holds the sections,
`mapping_checks.py` what a single entry cannot know.

Invariant: a Mapping is the whole meaning of a source; nothing is guessed from data, and
an entry that nobody reads is an error.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from autollm.core.errors import MappingError
from autollm.core.mappings.expressions import Expression
from autollm.core.mappings.mapping_checks import check_mapping
from autollm.core.mappings.mapping_entries import (
    RUN_LOG,
    SOURCE_NAME,
    Context,
    Cost,
    Derived,
    Entry,
    Group,
    Hardware,
    Join,
    KnobRule,
    Limit,
    Lookup,
    NameParts,
    Objective,
    Quantity,
    Replica,
    RunKey,
    Scalar,
    Schedule,
    Signal,
    State,
    StatusRule,
    TablePart,
    Trunk,
    When,
    with_columns,
)
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json, content_hash
from autollm.core.spaces.ladders import Coordinate, Ladder
from autollm.core.validation import sentence_of

__all__ = [
    "RUN_LOG",
    "SCHEMA",
    "SOURCE_NAME",
    "Context",
    "KnobRule",
    "Lookup",
    "Mapping",
    "Objective",
    "Quantity",
    "RunKey",
    "Scalar",
    "State",
    "When",
    "build_mapping",
    "parse_mapping",
]
SCHEMA = "autollm.mapping/1"
MOST_ENTRIES = 400
"""Of one section. RegMix, the widest source, has 30; each entry costs time a row."""
_MOST_WHOLE = 2**63


class Mapping(Entry):
    """One source of runs, fully described. `mapping_id` names its content.

    Build one by `parse_mapping` (TOML text) or `build_mapping` (plain values): both
    raise MappingError with the house's sentences.
    """

    source: str = Field(pattern=f"^{SOURCE_NAME}$")
    family: str = Field(min_length=1)
    format: str = Field(min_length=1)
    decimal: Literal["", ".", ","] = ""
    files: tuple[str, ...] = ()
    tables: tuple[TablePart, ...] = Field((), max_length=MOST_ENTRIES)
    join: Join = Join()
    run_key: RunKey = RunKey()
    replica: Replica = Replica()
    group: Group | None = None
    hardware: Hardware | None = None
    columns: dict[str, str] = {}
    lookup: tuple[Lookup, ...] = Field((), max_length=MOST_ENTRIES)
    name_parts: tuple[NameParts, ...] = Field((), max_length=MOST_ENTRIES)
    derived: tuple[Derived, ...] = Field((), max_length=MOST_ENTRIES)
    knobs: tuple[KnobRule, ...] = Field(min_length=1, max_length=MOST_ENTRIES)
    limits: tuple[Limit, ...] = Field((), max_length=MOST_ENTRIES)
    context: tuple[Context, ...] = Field((), max_length=MOST_ENTRIES)
    labels: tuple[str, ...] = ()
    fidelity: tuple[Quantity, ...] = Field(
        min_length=1, max_length=MOST_ENTRIES
    )
    objective: Objective
    secondary: tuple[Quantity, ...] = Field((), max_length=MOST_ENTRIES)
    signal: Signal | None = None
    trunk: Trunk | None = None
    schedule: Schedule | None = None
    state: State | None = None
    status: tuple[StatusRule, ...] = Field((), max_length=MOST_ENTRIES)
    cost: Cost

    @model_validator(mode="before")
    @classmethod
    def _fill_columns(cls, raw: Any) -> Any:
        return with_columns(raw) if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _consistent(self) -> Mapping:
        problem = check_mapping(self)
        if problem:
            raise ValueError(problem)
        return self

    @cached_property
    def mapping_id(self) -> str:
        """16 hex digits of everything that differs from a default."""
        content = self.model_dump(
            mode="json", exclude_defaults=True, by_alias=True
        )
        return content_hash(canonical_json(content, digits=None))

    @cached_property
    def space_json(self) -> str:
        """The knobs, with their conditions and limits where there are any, as canonical
        JSON.
        """
        names = ("name", "scale", "unit", "step", "role", "window", "values")
        knobs = []
        for knob in self.knobs:
            entry = {name: getattr(knob, name) for name in names}
            if knob.values is not None:
                entry["values"] = _as_landed(knob.values)
            if knob.when:
                entry["when"] = {
                    "knob": knob.when.knob,
                    "values": _as_landed(knob.when.values),
                }
            if knob.missing is not None:
                entry["missing"] = knob.missing
            knobs.append(entry)
        space: dict[str, Any] = {"knobs": knobs}
        if self.limits:
            space["limits"] = [limit.model_dump() for limit in self.limits]
        return canonical_json(space, digits=12)

    @cached_property
    def ladder_json(self) -> str:
        """The fidelity coordinates, the secondary metrics that have a direction, and
        the signal, as canonical JSON.
        """
        coordinates = tuple(Coordinate(q.name, q.unit) for q in self.fidelity)
        metrics = []
        for metric in self.secondary:
            if metric.direction:
                metrics.append(
                    Metric(metric.name, metric.unit, metric.direction)
                )
        signal = None
        if self.signal:
            signal = Metric(self.signal.name, direction=self.signal.direction)
        return Ladder(coordinates, tuple(metrics), signal).to_json()

    @cached_property
    def space_id(self) -> str:
        """16 hex digits of the space."""
        return content_hash(self.space_json)

    @cached_property
    def ladder_id(self) -> str:
        """16 hex digits of the ladder."""
        return content_hash(self.ladder_json)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Fidelity coordinates, objective and secondary metrics."""
        return (*self.fidelity, self.objective, *self.secondary)

    @cached_property
    def formulas(self) -> tuple[Expression, ...]:
        """All expressions of the mapping."""
        costs = (self.cost.flops, self.cost.device_hours, self.cost.wall_time_s)
        share = self.schedule.share if self.schedule else None
        derived = (entry.value for entry in self.derived)
        rules = (rule.when for rule in self.status)
        return tuple(
            e for e in (*derived, *costs, *rules, share) if e is not None
        )

    @cached_property
    def column_of(self) -> dict[str, str]:
        """Canonical names and aliases -> column, for expressions."""
        columns = {
            quantity.name: quantity.column for quantity in self.quantities
        }
        for entry in (*self.context, *self.knobs):
            if entry.column:
                columns[entry.name] = entry.column
        return {**columns, **self.columns}

    @cached_property
    def lookup_of(self) -> dict[str, Lookup]:
        """Column -> the look-up that gives it."""
        lookups = {}
        for lookup in self.lookup:
            for name in lookup.outputs:
                lookups[name] = lookup
        return lookups

    @cached_property
    def name_parts_of(self) -> dict[str, NameParts]:
        """Column -> the name that gives it."""
        found = {}
        for parts in self.name_parts:
            for name in parts.words:
                found[name] = parts
        return found

    @cached_property
    def made_columns(self) -> frozenset[str]:
        """Columns that the mapping makes itself."""
        derived = [entry.name for entry in self.derived]
        constants = self.tables[0].constants if self.tables else {}
        parts = self.name_parts_of
        return frozenset([*derived, *self.lookup_of, *parts, *constants])

    @property
    def own_names(self) -> dict[str, str]:
        """Canonical name -> the user's own column, for knobs and outcomes: what
        people are told. Columns that the mapping makes have no name of theirs.
        """
        named = (*self.knobs, self.objective, *self.secondary)
        return {
            entry.name: entry.column
            for entry in named
            if entry.column and entry.column not in self.made_columns
        }

    @property
    def has_replicas(self) -> bool:
        """Whether the mapping says that a cell may hold several runs on purpose."""
        return bool(self.replica.column) or self.run_key.repeated == "number"

    def needed_columns(self) -> tuple[str, ...]:
        """Columns that a table must have, in the order of the mapping; simplex patterns
        are not among them.
        """
        direct = [*self.run_key.columns]
        direct += [entry.column for entry in (*self.knobs, *self.context)]
        direct += [quantity.column for quantity in self.quantities]
        direct.append(self.replica.column)
        for section in (self.group, self.state, self.trunk):
            direct.append(section.column if section else "")
        for formula in self.formulas:
            direct += [self.column_of.get(name, name) for name in formula.names]
        direct += self.join.on
        for lookup in self.lookup:
            direct += lookup.columns
        direct += [parts.column for parts in self.name_parts]
        found = dict.fromkeys(
            c for c in direct if c and c not in self.made_columns
        )
        return tuple(found)

    def unmatched_patterns(self, header: list[str]) -> list[tuple[str, str]]:
        """(knob, pattern) of simplex knobs of which no column is in `header`, nor made
        by the mapping.
        """
        header = [*header, *self.made_columns]
        unmatched = []
        for knob in self.knobs:
            for pattern in knob.columns:
                if not any(fnmatchcase(column, pattern) for column in header):
                    unmatched.append((knob.name, pattern))
        return unmatched

    def part(self, name: str) -> TablePart | None:
        """The table that a file is, by the last part of its name."""
        return next((p for p in self.tables if fnmatchcase(name, p.file)), None)

    def pair_of(self, name: str) -> tuple[str, str] | None:
        """(main file, joined file) of the pair that a file belongs to."""
        pairs = (part.pair_of(name) for part in self.tables)
        return next((pair for pair in pairs if pair), None)


def parse_mapping(text: str, where: str) -> Mapping:
    """A Mapping from the text of a TOML file; `where` names the file in messages.

    Raises:
        MappingError: not TOML, another schema, a missing, unknown or inconsistent
            entry.
    """
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise MappingError(f"{where} is not TOML: {error}") from None
    if raw.pop("schema", None) != SCHEMA:
        raise MappingError(
            f"{where}: expected schema = {SCHEMA!r}. Fix: add that line, or use the "
            "version that wrote it."
        )
    return build_mapping(raw, where)


def build_mapping(raw: AnyMapping[str, Any], where: str) -> Mapping:
    """A Mapping from plain values in the shape of the TOML file, without `schema`.

    Raises:
        MappingError: as `parse_mapping`.
    """
    try:
        return Mapping.model_validate(_frozen(dict(raw)))
    except ValidationError as error:
        raise MappingError(f"{where}: {sentence_of(error, Mapping)}") from None
    except (MappingError, RecursionError, OverflowError) as error:
        raise MappingError(f"{where}: {error}") from None


def _frozen(value: Any) -> Any:
    """Lists as tuples, at any depth: frozen entries hold nothing that can change.

    Raises:
        MappingError: a text that UTF-8 cannot hold, or a whole number beyond 64 bits.
    """
    if isinstance(value, dict):
        return {_frozen(key): _frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, str) and "\x00" in value:
        raise MappingError(f"{value!r:.80} holds a NUL character")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise MappingError(f"{value!r:.80} is no text in UTF-8") from None
    if isinstance(value, int) and abs(value) > _MOST_WHOLE:
        raise MappingError("a whole number beyond 64 bits")
    return value


def _as_landed(values: Iterable[Any]) -> list[Any]:
    """Declared values as configurations hold them, of which each comes once: numbers have
    the digits of canonical JSON.
    """
    texts = dict.fromkeys(canonical_json(value) for value in values)
    return [json.loads(text) for text in texts]
