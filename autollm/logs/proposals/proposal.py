"""A mapping proposed from a log: commented TOML that reads it as it stands, for a person
to correct.

    path -> relations -> table (a sample) -> roles, ladder, choices -> draft -> TOML
         -> tried on the rows -> summary

Invariant: a proposal that comes with a mapping was tried, and at least half of the rows
land with it; where a question is open there is no mapping, and nothing can land.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import SCHEMA, Mapping, parse_mapping
from autollm.core.statuses import status_of
from autollm.logs.choosing.catalog import MappingChoice, builtin_mappings
from autollm.logs.proposals.choices import choose
from autollm.logs.proposals.columns import Table, table_of
from autollm.logs.proposals.draft import write_draft
from autollm.logs.proposals.first_roles import first_roles
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.ladder import Ladder, find_ladder
from autollm.logs.proposals.looking import Looked, look_at
from autollm.logs.proposals.measured import DOUBTFUL
from autollm.logs.proposals.notes import Note, Notebook, Question
from autollm.logs.proposals.options import TableOptions
from autollm.logs.proposals.roles import Roles, listed
from autollm.logs.proposals.run_names import with_name_parts
from autollm.logs.proposals.summary import (
    Summary,
    check_share,
    summarize,
    try_mapping,
)
from autollm.logs.proposals.toml_text import Draft
from autollm.logs.relation import Relation

_NO_NUMBERS = ("key", "label", "ignored", "trunk", "group")
"""Roles of columns in which odd cells are no matter."""
MOST_CURVES = 20
"""Curves that are told one by one."""


@dataclass(frozen=True)
class Proposal:
    """A mapping, what each column was taken for, and what a person should know.

    Attributes:
        toml: The mapping as text, with comments.
        mapping: The mapping; None while a question is open, and where less than half of
            the rows would land (`problem` says so).
        columns: name, kind, n_distinct, role and why, of each.
        problem: Why the proposal must not be used as it stands.
    """

    file: str
    format: str
    n_rows: int
    n_looked_at: int
    n_land: int
    n_quarantined: int
    columns: tuple[dict[str, Any], ...]
    notes: tuple[Note, ...]
    questions: tuple[Question, ...]
    summary: Summary | None
    toml: str
    mapping: Mapping | None = None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        fields = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self)
        }
        mapping = fields.pop("mapping")
        for name in ("notes", "questions"):
            fields[name] = [dataclasses.asdict(entry) for entry in fields[name]]
        fields["summary"] = self.summary and dataclasses.asdict(self.summary)
        dumped = mapping and mapping.model_dump(
            mode="json", exclude_defaults=True
        )
        return fields | {"columns": list(self.columns), "mapping": dumped}


def propose(
    source: str | Path | Looked | Sequence[Relation],
    said: TableOptions | None = None,
    home: str = "",
) -> Proposal:
    """Look at a log and propose a mapping.

    Args:
        source: A path (file or folder), what was found there, or relations that were
            read already.
        said: What a person said; it is never guessed over.
        home: Whose own text formats are read too.

    Raises:
        FileNotFoundError: nothing there.
        MappingError: nothing that can be read, no rows, or no column that looks like an
            outcome.
    """
    said, book = said or TableOptions(), Notebook()
    if isinstance(source, (str, Path)):
        source = look_at(str(source), home)
    elif not isinstance(source, Looked):
        source = Looked("table").take(source)
    looked = source
    _check_rows(looked)
    table = table_of(looked.relations, looked.name, looked.sampler.n_rows)
    _say_reading(book, looked, table)
    table = with_name_parts(table, said, book)
    if said.mapping is not None:
        content = said.mapping.model_dump(
            mode="json", exclude_defaults=True, by_alias=True
        )
        draft = Draft({"schema": SCHEMA, **content})
        return _tried(looked, table, said.mapping, draft, book, ())
    curves = _curves(looked.relations, table)
    if curves:
        book.say("curve", _curve_text(looked, table))
    naming = Naming(table.columns)
    roles = first_roles(table, said, book)
    ladder = find_ladder(roles, naming, are_curves=bool(curves))
    choose(roles, ladder)
    _say_cells(book, looked.name, roles)
    if not roles.named("knob", "simplex"):
        _say_no_knob(looked, roles, ladder)
    draft = write_draft(roles, ladder, naming)
    draft.raw["source"] = looked.source
    draft.raw["files"] = looked.files or [looked.name]
    draft.head += curves
    mapping = parse_mapping(_decided(draft), f"proposal for {looked.name}")
    return _tried(looked, table, mapping, draft, book, roles.described())


def _check_rows(looked: Looked) -> None:
    if any(relation.runs.num_rows for relation in looked.relations):
        return
    bad = [part for relation in looked.relations for part in relation.bad]
    first = (
        f" First problem, line {bad[0].line}: {bad[0].reason}" if bad else ""
    )
    raise MappingError(f"{looked.name} has no row that can be read.{first}")


def _say_reading(book: Notebook, looked: Looked, table: Table) -> None:
    for note in table.notes:
        book.say("reader", f"{looked.name}: {note}")
    if looked.others:
        book.say(
            "reader",
            f"{len(looked.others)} other files were not looked at "
            f"({listed(looked.others)}): inspect them by name.",
        )
    if table.n_repeated:
        book.say(
            "repeated-rows",
            f"{table.n_repeated} rows of {looked.name} equal an earlier one in every "
            "cell: they say nothing new.",
        )
    if table.n_rows > table.n_looked_at or looked.n_left:
        book.say(
            "sampled",
            f"{table.n_looked_at} of {table.n_rows} rows were looked at, strewn over the "
            "file",
        )
    known = []
    for mapping in builtin_mappings().values():
        if MappingChoice(mapping).for_file(looked.name, table.format):
            known.append(mapping.source)
    if known:
        book.say(
            "built-in-mapping",
            f"files called {looked.name} are read by the built-in mapping {known[0]!r} "
            "already",
        )


def _say_cells(book: Notebook, file: str, roles: Roles) -> None:
    percent = []
    for name, column in roles.table.columns.items():
        if roles.of[name].role in _NO_NUMBERS:
            continue
        odd = [r for r in column.odd_rows if not status_of(column.cells[r])]
        if odd:
            line, cell = roles.table.lines[odd[0]], column.cells[odd[0]]
            more = f" and {len(odd) - 1} more" if odd[1:] else ""
            book.say(
                "odd-cells",
                f"{file} line {line}{more}: {name}={cell!r:.60} "
                "among numbers. Mixed units? Fix: write plain numbers in one unit.",
                name,
            )
        texts = [c for c in column.present if isinstance(c, str)]
        commas = [c for c in texts if "," in c] * column.is_numeric
        if commas and column.style.decided == "nobody":
            value = column.finite[0] if column.finite else 0.0
            book.say(
                "decimal-guessed",
                f"{name}: does the comma of {commas[0]!r} group digits or begin decimals? "
                f"Nothing in the table tells; it groups them here ({value:g}). Fix: "
                'write decimal = "," in the mapping if it begins decimals.',
                name,
            )
        if column.is_numeric and column.unit == "share":
            percent += [name] * any("%" in text for text in texts)
    if percent:
        book.say(
            "percent",
            f"{listed(percent)}: percent are read as shares: 12.5 % is 0.125",
            *percent,
        )


def _curves(relations: Sequence[Relation], table: Table) -> list[str]:
    """What is told of the curve of one run, or of those of some without settings, a
    metric a line; nothing of other logs.
    """
    if not any(relation.points is not None for relation in relations):
        return []
    varying = [c for c in table.columns.values() if not c.is_constant]
    if table.n_rows > 1 and any(map(table.is_setting, varying)):
        return []
    parts = [r.points for r in relations if r.points is not None]
    unit = "epochs" if "last_epoch" in table.columns else "steps"
    return _curve_lines(pa.concat_tables(parts), unit)[:MOST_CURVES]


def _curve_lines(points: pa.Table, unit: str) -> list[str]:
    ends = [(name, end) for name in ("value", "step") for end in ("min", "max")]
    by_curve = points.unify_dictionaries().group_by(["run_key", "metric"])
    lines = []
    for row in by_curve.aggregate(ends).to_pylist():
        steps = f"{unit} {row['step_min']} to {row['step_max']}"
        values = f"values {row['value_min']:g} to {row['value_max']:g}"
        lines.append(f"{row['run_key']}: {row['metric']}, {steps}, {values}")
    return lines


def _curve_text(looked: Looked, table: Table) -> str:
    n_points = 0
    for relation in looked.relations:
        n_points += 0 if relation.points is None else relation.points.num_rows
    n_runs = "one run" if table.n_rows == 1 else f"{table.n_rows} runs"
    return (
        f"{looked.name} is a learning curve, {n_points} points of {n_runs}, and no table "
        "of runs: each run lands with its history, and its last values are its result. "
        "No settings stand beside it. For advice on settings, put the curves of several "
        "runs with their configurations into one folder, or give a table with one row a "
        "run."
    )


def _say_no_knob(looked: Looked, roles: Roles, ladder: Ladder) -> None:
    """Say that no setting varies.

    Raises:
        MappingError: a number may well have been chosen, and no size varies beside it.
    """
    entries = [(name, roles.of[name]) for name in roles.table.columns]
    is_doubtful = any(role.why.endswith(DOUBTFUL) for _, role in entries)
    if is_doubtful and not ladder.levels:
        taken = " ".join(f"{name}: {r.role} ({r.why})." for name, r in entries)
        raise MappingError(
            f"{looked.name}: no column varies that looks like a choice. {taken} Fix: a "
            "table in which knobs vary, or --knobs COLUMN,COLUMN."
        )
    roles.say(
        "no-knob",
        "no knob varies: no column looks like a choice, and all runs count as one recipe. "
        "They tell how the outcome grows with size, and nothing about settings. If "
        "something was chosen, say --knobs with it, or write it under [[knobs]].",
    )


def _decided(draft: Draft) -> str:
    """The TOML with a direction filled in that only a person can write, to count rows:
    which of them land does not hang on it.
    """
    return draft.text().replace("# direction = ", 'direction = "min"  # ', 1)


def _tried(
    looked: Looked,
    table: Table,
    mapping: Mapping,
    draft: Draft,
    book: Notebook,
    columns: tuple[dict[str, Any], ...],
) -> Proposal:
    """What a mapping makes of the log."""
    trial = try_mapping(looked.relations, mapping, looked.name)
    problem = check_share(trial)
    if trial.n_set_aside:
        is_whole = table.n_looked_at == table.n_rows
        first = "" if is_whole else " (of those that were looked at)"
        book.say(
            "rows-set-aside",
            f"with this mapping {trial.n_land} rows land and {trial.n_set_aside} are set "
            f"aside{first}: {'; '.join(trial.reasons)}",
        )
    summary = summarize(trial, mapping, book)
    is_usable = not problem and not book.questions
    n_bad = sum(relation.n_lines_bad for relation in looked.relations)
    return Proposal(
        file=looked.name,
        format=table.format,
        n_rows=table.n_rows + n_bad,
        n_looked_at=table.n_looked_at,
        n_land=trial.n_land,
        n_quarantined=trial.n_set_aside,
        columns=columns,
        notes=tuple(book.notes),
        questions=tuple(book.questions),
        summary=summary,
        toml=draft.text(),
        mapping=mapping if is_usable else None,
        problem=problem,
    )
