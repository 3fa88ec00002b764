"""Tables of runs that a tool exported, told by their columns (tool_tables.toml): W&B's runs
table and its export script, MLflow's `search_runs` and the download of its page, Optuna's
and Ray Tune's data frames.

A table reader (CSV, JSON lines, Parquet) cuts the rows; here they get the key and the
roles that the tool's own columns have, and settings that stand as text of a dictionary
become columns (`config.lr`).

Rules
- Only a known set of columns makes a table a tool's; every other table passes unchanged.
- A column that names runs twice is no key, and a note says so.
- A row whose dictionary cannot be read is set aside by its line: part of it would be
  taken for the whole.

Invariant: rows in, less rows set aside, are the rows out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.core.mappings.mapping_checks import TABLES
from autollm.logs.readers.cells import (
    MAX_COLUMNS,
    Cells,
    Row,
    column_of,
    flat_cells,
    metric_role,
)
from autollm.logs.readers.documents import parse_mapping_text
from autollm.logs.readers.texts.merged_cells import filled_down, one_row_a_run
from autollm.logs.readers.texts.wide_tables import turned, unpivoted, with_rows
from autollm.logs.readers.tools.wandb_offline import unwrapped
from autollm.logs.readers.words import names
from autollm.logs.reading import quote
from autollm.logs.relation import LINE_COLUMN, BadLines, Relation, Role

_NESTED = names("dictionaries")
OF_PEOPLE = (*TABLES, "json", "markdown", "text-table")
"""Formats of tables that anybody writes."""
_WRAPPED = re.compile(r"(?P<name>.+)\.(?P<part>value|desc)")
_OF_WANDB = re.compile(r"(.*\.)?_wandb\..*")
_VERSION_OF_WANDB = re.compile(r"(.*\.)?_wandb\..*_version")


@dataclass(frozen=True)
class _ToolTable:
    """The columns by which a tool's table is known: see tool_tables.toml."""

    title: str
    keys: Sequence[str]
    needs: Sequence[str] = ()
    needs_one: Sequence[str] = ()
    needs_prefix: Sequence[str] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    prefixes: Mapping[str, Role] = field(default_factory=dict)

    def fits(self, columns: Sequence[str]) -> bool:
        """Whether these are its columns."""
        has_all = set(self.needs) <= set(columns)
        if self.needs_one and not set(self.needs_one) & set(columns):
            return False
        starts = tuple(self.needs_prefix) or ("",)
        return has_all and any(name.startswith(starts) for name in columns)

    def roles_of(self, columns: Sequence[str]) -> dict[str, Role]:
        """What the tool says of columns; of others nothing."""
        found: dict[str, Role] = {}
        for name in columns:
            for prefix, role in {
                name: self.roles.get(name),
                **self.prefixes,
            }.items():
                if role and name.startswith(prefix):
                    is_result = role == "result" and prefix != name
                    metric = name.removeprefix(prefix)
                    found[name] = metric_role(metric) if is_result else role
                    break
        return found


@cache
def _tool_tables() -> tuple[_ToolTable, ...]:
    text = Path(__file__).with_name("tool_tables.toml").read_text("utf-8")
    return tuple(_ToolTable(**entry) for entry in tomllib.loads(text)["tables"])


def recognized(relation: Relation) -> Relation:
    """The table with what its tool says of its columns; unchanged where no tool is
    known by them.
    """
    if relation.format not in OF_PEOPLE or relation.points is not None:
        return relation  # of a tool's own log its reader knows all
    relation = without_envelopes(_unnested(filled_down(relation)))
    relation = unpivoted(with_rows(turned(one_row_a_run(relation))))
    columns = relation.runs.column_names
    tool = next(
        (table for table in _tool_tables() if table.fits(columns)), None
    )
    if tool is None:
        return relation
    key = ""
    roles = {**relation.roles, **tool.roles_of(columns)}
    notes = [*relation.notes, f"its columns are those of {tool.title}"]
    for name in [name for name in tool.keys if name in columns]:
        values = relation.runs[name]
        if values.null_count == 0 and len(values.unique()) == len(values):
            key = name
            roles[key] = "key"
            break
        notes.append(
            f"{name} does not name each run: some are empty or come twice"
        )
    return replace(relation, key=key, roles=roles, notes=tuple(notes))


def _unnested(relation: Relation) -> Relation:
    """Columns of dictionaries as text become columns of their own."""
    runs = relation.runs
    bad: dict[int, str] = {}
    added: dict[str, list[Any]] = {}
    nested = [name for name in runs.column_names if _may_nest(runs, name)]
    for name in nested:
        for index, text in enumerate(runs[name].to_pylist()):
            try:
                values = _without_wrappers(parse_mapping_text(text or "") or {})
                cells = flat_cells(values, f"{name}.")
            except RecordError as error:
                bad.setdefault(index, f"{name}: {error}")
                continue
            for column, content in cells.items():
                column_cells = added.setdefault(column, [None] * runs.num_rows)
                column_cells[index] = content
        if len(added) > MAX_COLUMNS:
            raise RecordError(
                f"more than {MAX_COLUMNS} names in the dictionaries of {name}. Fix: "
                "export fewer settings."
            )
    if not nested:
        return relation
    runs = runs.drop_columns(nested)
    for column, cells in added.items():
        if column not in runs.column_names:
            runs = runs.append_column(column, column_of(cells))
    kept = [index for index in range(runs.num_rows) if index not in bad]
    entries = []
    for index, reason in sorted(bad.items()):
        line = runs[LINE_COLUMN][index].as_py()
        entries.append(BadLines(line, 1, reason, quote(reason)))
    runs = runs.take(pa.array(kept, pa.int64()))
    return replace(relation, runs=runs, bad=(*relation.bad, *entries))


def _may_nest(runs: pa.Table, name: str) -> bool:
    """Whether a column of that name holds text that begins like a dictionary."""
    is_text = pa.types.is_string(runs.schema.field(name).type)
    if not is_text or name.lower() not in _NESTED:
        return False
    texts = (cell.as_py() for cell in runs[name])
    return next(filter(None, texts), "").lstrip().startswith("{")


def _without_wrappers(values: Row) -> Cells:
    """Settings as W&B's server keeps them: `{"lr": {"value": 0.1, "desc": null}}`."""
    out = {name: unwrapped(value) for name, value in values.items()}
    for name in ("_wandb", "wandb_version"):
        out.pop(name, None)
    return out


def without_envelopes(relation: Relation) -> Relation:
    """Columns of such wrappers, `config.lr.value` beside `config.lr.desc`, by the name of
    what is wrapped; what W&B keeps of itself is left out.
    """
    parts: dict[str, set[str]] = {"value": set(), "desc": set()}
    found = {}
    for name in relation.runs.column_names:
        match = _WRAPPED.fullmatch(name)
        if match and not _OF_WANDB.fullmatch(name):
            parts[match["part"]].add(match["name"])
            found[name] = match
    heads = {name.partition(".")[0] for name in parts["desc"]}
    if not parts["value"] & parts["desc"]:
        return relation
    columns = {}
    for name in relation.runs.column_names:
        match = found.get(name)
        is_inside = match and name.partition(".")[0] in heads
        if match is None and not _VERSION_OF_WANDB.fullmatch(name):
            columns[name] = name
        elif match and match["part"] == "value":
            columns[name] = match["name"] if is_inside else name
    if len(set(columns.values())) < len(columns):
        return relation
    runs = relation.runs.select(list(columns))
    return replace(relation, runs=runs.rename_columns(list(columns.values())))
