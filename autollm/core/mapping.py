"""A mapping (`autollm.mapping/1`): what the columns of a log or table mean.

A mapping names the files, run key, knobs, context, fidelity coordinates, objective,
cost, states and derived columns of one source. Raw run logs use the same mechanism:
their fields are called `config.x`, `fidelity.x`, `final.x`, `cost.x`. The model has the
shape of the TOML file, section by section; docs/mapping-files.md describes the language
for its users, `mapping_checks.py` holds what a single entry cannot know.

Invariant: a Mapping is the whole meaning of a source; nothing is guessed from data, and
an entry that nobody reads is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping as AnyMapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from autollm.core.errors import MappingError
from autollm.core.expressions import Expression, parse_expression
from autollm.core.ladders import Coordinate, Ladder
from autollm.core.mapping_checks import check_mapping
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json, content_hash
from autollm.core.scales import AnyDirection, Direction, Role, Scale
from autollm.core.statuses import Status
from autollm.core.validation import sentence_of

SCHEMA = "autollm.mapping/1"
RUN_LOG = "autollm.run/1"
"""The format whose fields carry the prefixes `config.`, `fidelity.` and `final.`."""
SOURCE_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
"""Of a source and of a group: they become part of ids and of folder names."""
NAME = r"[^\"\\\x00-\x1f]{1,100}"
"""Of a knob, coordinate or metric: it becomes a key of JSON texts that SQL reads by
path.
"""
MOST_ENTRIES = 400
"""Of one section. RegMix, the widest source, has 30; each entry costs time a row."""
_MOST_WHOLE = 2**63

Scalar = bool | int | float | str
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Range = Annotated[tuple[Finite, Finite], Field(description="lowest, highest")]
EntryName = Annotated[str, Field(pattern=f"^{NAME}$")]
Formula = Annotated[
    Expression,
    BeforeValidator(
        lambda e: e if isinstance(e, Expression) else parse_expression(e)
    ),
    PlainSerializer(lambda expression: expression.text),
]


class _Entry(BaseModel):
    """What all entries share: frozen, closed, and strict about types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


class When(_Entry):
    """The knob is chosen only where `knob`, named before it, has one of `values`."""

    knob: str
    values: tuple[Scalar, ...]


class KnobRule(_Entry):
    """How one knob is read.

    Attributes:
        step: In octaves on a log scale, in the knob's unit on a linear one.
        tolerance: Same measure as `step`. A value farther from the grid is set aside
            instead of being moved silently. Of a simplex: of the sum of its weights.
        values: The declared ones; of a list those of one item.
        columns, prefix: Of a simplex knob: one column a part, the prefix cut off.
        total: What the weights of a simplex knob sum to in the table: 100 of percent.
        separator: Of a list in one cell.
        bounds: A value beyond (lowest, highest) is set aside: a column of mixed units is
            otherwise only noticed in the results.
        missing: What an empty cell (or None, null, NA ...) stands for: "not used" is a
            value too. Without it, a row that lacks the knob is set aside.
    """

    name: EntryName
    column: str = ""
    scale: Scale = "linear"
    unit: str = ""
    step: Positive | None = None
    tolerance: Positive | None = None
    role: Role = ""
    window: Range | None = None
    values: tuple[Scalar, ...] | None = None
    columns: tuple[str, ...] = ()
    prefix: str = ""
    total: Positive = 1.0
    separator: str = Field("-", min_length=1)
    bounds: Range | None = None
    when: When | None = None
    missing: Scalar | None = None


class Quantity(_Entry):
    """A named number: a fidelity coordinate or a secondary metric."""

    name: EntryName
    column: str = ""
    unit: str = ""
    direction: AnyDirection = ""
    bounds: Range | None = None


class Objective(Quantity):
    """What is optimized. Its direction must be said: nothing later can notice that a
    guess was wrong.
    """

    direction: Direction = Field(description='write "min" or "max"')


class Context(_Entry):
    """A setting that changes what a knob means (optimizer, parametrization, tokenizer
    ...): runs compare only where all contexts are equal. `missing` as for knobs.
    """

    name: EntryName
    column: str = ""
    missing: Scalar | None = None


class Signal(_Entry):
    """The logged metric whose curve stands beside the objective: what a run that is
    paused has shown so far.
    """

    name: str
    direction: Direction


class Derived(_Entry):
    """A new column by an expression."""

    name: str = Field(min_length=1)
    value: Formula


class StatusRule(_Entry):
    """`status` holds where `when` is true and the run finished as far as known before."""

    status: Status
    when: Formula
    reason: str = ""

    @property
    def reason_text(self) -> str:
        """What `status_reason` says: the reason, else the condition itself."""
        return self.reason or self.when.text


class State(_Entry):
    """The column that says how a run ended. `words`: its words to statuses, beside those
    that autollm.core.statuses knows; case does not matter. Any other word sets its row
    aside.
    """

    column: str
    words: dict[str, Status] = {}


class Lookup(_Entry):
    """Columns that a table of the mapping gives: `rows` by the values of `columns`,
    joined by '|'.

    With a `separator` the last column is a list in one cell; each item is looked up,
    and the new columns are lists too.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, dict[str, Scalar]] = Field(min_length=1)
    separator: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the columns that it gives."""
        return tuple(next(iter(self.rows.values())))


class TablePart(_Entry):
    """One table of a source that has several: its file, the file joined to it, and
    columns that are constant in it (`set`).

    `file` may hold one `*`; the same text then stands for the `*` of `join`.
    """

    file: str
    join: str = ""
    constants: dict[str, Scalar] = Field({}, alias="set")

    def pair_of(self, name: str) -> tuple[str, str] | None:
        """Names of both files of the pair that the file `name` belongs to; None when
        there is no such pair.
        """
        for pattern in (self.file, self.join):
            if self.join and fnmatchcase(name, pattern):
                head, _, tail = pattern.partition("*")
                star = (
                    name[len(head) : len(name) - len(tail)]
                    if "*" in pattern
                    else ""
                )
                return self.file.replace("*", star), self.join.replace(
                    "*", star
                )
        return None


class Limit(_Entry):
    """Which configurations exist: the sum of weight x natural-scale value over the
    named knobs is at most `most`.
    """

    weights: dict[str, Finite] = Field(min_length=1)
    most: Finite


class Join(_Entry):
    """Columns that both files of a pair share."""

    on: tuple[str, ...] = ()


class RunKey(_Entry):
    """What names a run. `repeated`: a second row of one key in one reading is
    quarantined, or numbered as a replica.
    """

    columns: tuple[str, ...] = ()
    repeated: Literal["quarantine", "number"] = "quarantine"


class Replica(_Entry):
    """The seed; whether runs of one cell (same knobs, fidelity, seed) are averaged."""

    column: str = ""
    duplicate_cells: Literal["average", "quarantine"] = "average"


class Group(_Entry):
    """Runs compare only within their group; each has a ladder of its own."""

    column: str


class Hardware(_Entry):
    """`cuda` makes device hours GPU hours."""

    device: str


class Trunk(_Entry):
    """The column that names the run from which this one was forked, resumed or
    annealed.
    """

    column: str


class Schedule(_Entry):
    """Which share of its planned schedule a run went through, as an expression."""

    share: Formula


class Cost(_Entry):
    """What one run cost. `flops` orders the experiments from cheap to expensive."""

    flops: Formula = Field(
        description="it orders the experiments from cheap to expensive"
    )
    device_hours: Formula | None = None
    wall_time_s: Formula | None = None
    guessed: bool = Field(
        False,
        description="`flops` is no count of FLOPs: it orders the experiments, no more",
    )


class Mapping(_Entry):
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
        return _with_columns(raw) if isinstance(raw, dict) else raw

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
            if knob.when:
                entry["when"] = {
                    "knob": knob.when.knob,
                    "values": knob.when.values,
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
        found = {quantity.name: quantity.column for quantity in self.quantities}
        for entry in (*self.context, *self.knobs):
            if entry.column:
                found[entry.name] = entry.column
        return {**found, **self.columns}

    @cached_property
    def lookup_of(self) -> dict[str, Lookup]:
        """Column -> the look-up that gives it."""
        found = {}
        for lookup in self.lookup:
            for name in lookup.outputs:
                found[name] = lookup
        return found

    @cached_property
    def made_columns(self) -> frozenset[str]:
        """Columns that the mapping makes itself."""
        derived = [entry.name for entry in self.derived]
        constants = self.tables[0].constants if self.tables else {}
        return frozenset([*derived, *self.lookup_of, *constants])

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
        found = dict.fromkeys(
            c for c in direct if c and c not in self.made_columns
        )
        return tuple(found)

    def unmatched_patterns(self, header: list[str]) -> list[tuple[str, str]]:
        """(knob, pattern) of simplex knobs of which no column is in `header`."""
        found = []
        for knob in self.knobs:
            for pattern in knob.columns:
                if not any(fnmatchcase(column, pattern) for column in header):
                    found.append((knob.name, pattern))
        return found

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


def _with_columns(raw: dict[str, Any]) -> dict[str, Any]:
    """Columns that are left out: the name, with a run log's prefix; file patterns as
    the names of found files are spelt.
    """
    is_log = raw.get("format") == RUN_LOG
    filled = dict(raw)
    prefixes = {
        "knobs": "config.",
        "context": "config.",
        "fidelity": "fidelity.",
    }
    prefixes |= {"objective": "final.", "secondary": "final."}
    for section, prefix in prefixes.items():
        entries = raw.get(section)
        if isinstance(entries, (list, tuple)):
            filled[section] = tuple(
                _filled(e, prefix * is_log) for e in entries
            )
        elif isinstance(entries, (dict, _Entry)):
            filled[section] = _filled(entries, prefix * is_log)
    if is_log:
        replica = _plain(raw.get("replica", {}))
        if isinstance(replica, dict):
            filled["replica"] = {"column": "seed", **replica}
    return filled | _with_clean_patterns(filled)


def _plain(entry: Any) -> Any:
    """An entry that was built in Python, as what it was built from."""
    return (
        entry.model_dump(exclude_unset=True)
        if isinstance(entry, _Entry)
        else entry
    )


def _filled(entry: Any, prefix: str) -> Any:
    entry = _plain(entry)
    if not isinstance(entry, dict) or entry.get("columns") or "column" in entry:
        return entry
    return {**entry, "column": f"{prefix}{entry.get('name', '')}"}


def _with_clean_patterns(raw: dict[str, Any]) -> dict[str, Any]:
    parts = []
    for part in raw.get("tables") or ():
        part = (
            part.model_dump(by_alias=True) if isinstance(part, _Entry) else part
        )
        if isinstance(part, dict):
            cleaned = {
                n: _clean(part[n]) for n in ("file", "join") if n in part
            }
            part = {**part, **cleaned}
        parts.append(part)
    found: dict[str, Any] = {"tables": tuple(parts)} if parts else {}
    files = raw.get("files")
    if files is None:
        files = tuple(
            p["file"] for p in parts if isinstance(p, dict) and "file" in p
        )
    if isinstance(files, (list, tuple)):
        files = tuple(_clean(pattern) for pattern in files)
    return {**found, "files": files}


def _clean(pattern: Any) -> Any:
    return clean_pattern(pattern) if isinstance(pattern, str) else pattern


def clean_pattern(pattern: str) -> str:
    """A file pattern as the names of found files are spelt: no spaces and the like."""
    return re.sub(r"[^A-Za-z0-9._=+,@*?-]+", "_", pattern)
