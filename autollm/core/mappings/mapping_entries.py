"""The entries of a mapping (`autollm.mapping/1`), section by section of the TOML file.

Invariant: an entry is frozen, closed, and strict about types; what one entry cannot know
is checked in `mapping_checks.py`.
"""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from autollm.core.mappings.expressions import Expression, parse_expression
from autollm.core.spaces.scales import AnyDirection, Direction, Role, Scale
from autollm.core.statuses import Status

RUN_LOG = "autollm.run/1"
"""The format whose fields carry the prefixes `config.`, `fidelity.` and `final.`."""
SOURCE_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
"""Of a source and of a group: they become part of ids and of folder names."""
NAME = r"[^\"\\\x00-\x1f]{1,100}"
"""Of a knob, coordinate or metric: it becomes a key of JSON texts that SQL reads by
path.
"""

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


class Entry(BaseModel):
    """What all entries share: frozen, closed, and strict about types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


class When(Entry):
    """The knob is chosen only where `knob`, named before it, has one of `values`."""

    knob: str
    values: tuple[Scalar, ...]


class KnobRule(Entry):
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


class Quantity(Entry):
    """A named number: a fidelity coordinate or a secondary metric."""

    name: EntryName
    column: str = ""
    unit: str = ""
    direction: AnyDirection = ""
    bounds: Range | None = None


class Objective(Quantity):
    """What is optimized. Its direction must be given: nothing later can notice that a
    guess was wrong.
    """

    direction: Direction = Field(description='write "min" or "max"')


class Context(Entry):
    """A setting that changes what a knob means (optimizer, parametrization, tokenizer
    ...): runs compare only where all contexts are equal. `missing` as for knobs.
    """

    name: EntryName
    column: str = ""
    missing: Scalar | None = None


class Signal(Entry):
    """The logged metric whose curve stands beside the objective: what a run that is
    paused has shown so far.
    """

    name: str
    direction: Direction


class Derived(Entry):
    """A new column by an expression."""

    name: str = Field(min_length=1)
    value: Formula


class StatusRule(Entry):
    """`status` holds where `when` is true and the run finished as far as known before."""

    status: Status
    when: Formula
    reason: str = ""

    @property
    def reason_text(self) -> str:
        """What `status_reason` says: the reason, else the condition itself."""
        return self.reason or self.when.text


class State(Entry):
    """The column that says how a run ended. `words`: its words to statuses, beside those
    that autollm.core.statuses knows; case does not matter. Any other word sets its row
    aside.
    """

    column: str
    words: dict[str, Status] = {}


class Lookup(Entry):
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


class NameParts(Entry):
    """Columns of settings that stand in another column's text, as in a run's name
    (core.name_parts). `words`: the new column to the spellings of the word beside its
    value; none for a size that stands alone, `"*"` for what is left of the name.
    """

    column: str = Field(min_length=1)
    words: dict[str, tuple[str, ...]] = Field(min_length=1)


class TablePart(Entry):
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


class Limit(Entry):
    """Which configurations exist: the sum of weight x natural-scale value over the
    named knobs is at most `most`.
    """

    weights: dict[str, Finite] = Field(min_length=1)
    most: Finite


class Join(Entry):
    """Columns that both files of a pair share."""

    on: tuple[str, ...] = ()


class RunKey(Entry):
    """What names a run. `repeated`: a second row of one key in one reading is
    quarantined, or numbered as a replica.
    """

    columns: tuple[str, ...] = ()
    repeated: Literal["quarantine", "number"] = "quarantine"


class Replica(Entry):
    """The seed; whether runs of one cell (same knobs, fidelity, seed) are averaged."""

    column: str = ""
    duplicate_cells: Literal["average", "quarantine"] = "average"


class Group(Entry):
    """Runs compare only within their group; each has a ladder of its own."""

    column: str


class Hardware(Entry):
    """`cuda` makes device hours GPU hours."""

    device: str


class Trunk(Entry):
    """The column that names the run from which this one was forked, resumed or
    annealed.
    """

    column: str


class Schedule(Entry):
    """Which share of its planned schedule a run went through, as an expression."""

    share: Formula


class Cost(Entry):
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


def with_columns(raw: dict[str, Any]) -> dict[str, Any]:
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
        elif isinstance(entries, (dict, Entry)):
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
        if isinstance(entry, Entry)
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
            part.model_dump(by_alias=True) if isinstance(part, Entry) else part
        )
        if isinstance(part, dict):
            cleaned = {
                n: _clean(part[n]) for n in ("file", "join") if n in part
            }
            part = {**part, **cleaned}
        parts.append(part)
    cleaned_parts: dict[str, Any] = {"tables": tuple(parts)} if parts else {}
    files = raw.get("files")
    if files is None:
        files = tuple(
            p["file"] for p in parts if isinstance(p, dict) and "file" in p
        )
    if isinstance(files, (list, tuple)):
        files = tuple(_clean(pattern) for pattern in files)
    return {**cleaned_parts, "files": files}


def _clean(pattern: Any) -> Any:
    return clean_pattern(pattern) if isinstance(pattern, str) else pattern


def clean_pattern(pattern: str) -> str:
    """A file pattern as the paths of found files are spelt: no spaces and the like."""
    composed = unicodedata.normalize("NFC", pattern)
    return re.sub(r"[^\w.=+,@*?/-]+", "_", composed)
