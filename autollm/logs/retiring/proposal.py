"""A mapping proposed from a table: commented TOML that reads the table as it stands,
for a person to correct.

What does not belong here: guessing what columns are for (`column_roles.py`), the text
(`proposal_toml.py`). Invariant: the TOML parses as a mapping, and what it makes of the
table was counted before it is shown.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autollm.core.errors import MappingError
from autollm.logs.retiring.catalog import MappingChoice, builtin_mappings
from autollm.logs.retiring.column_roles import assign_roles
from autollm.logs.retiring.columns import MAX_ROWS, Sample, columns_of
from autollm.logs.retiring.containers import (
    LogFile,
    find_files,
    hash_file,
    open_table,
    plain_name,
)
from autollm.logs.retiring.formats import READERS
from autollm.logs.retiring.mapping_file import parse_mapping
from autollm.logs.retiring.proposal_toml import write_toml
from autollm.logs.retiring.table import TableReader

FORMATS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class Proposal:
    """A mapping as TOML, what each column was taken for, and what a person should know."""

    file: str
    format: str
    n_rows: int
    n_looked_at: int
    n_land: int
    n_quarantined: int
    columns: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    toml: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def propose(file: str | Path, objective: str | None = None) -> Proposal:
    """Look at a table and propose a mapping.

    `objective`: the column to optimize, with `:min` or `:max` where its name does not
    say.

    Raises:
        FileNotFoundError: nothing there.
        MappingError: no table of a known format, no rows, or no column that looks like
            an outcome.
    """
    log, reader = _open(str(file))
    with reader.open(log) as table:
        if table.unusable is not None:
            raise MappingError(f"{log.name}: {table.unusable.bad[0].reason}")
        sample = Sample.of(table.rows)
        names = table.columns
    if not sample.rows:
        first = (
            f" First problem, line {sample.bad[0].line}: {sample.bad[0].problem}."
            if sample.bad
            else ""
        )
        raise MappingError(f"{log.name} has no row that can be read.{first}")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise MappingError(
            f"{log.name} has one column, {names[0]!r:.80}. Fix: separate columns by "
            "commas."
        )
    columns = columns_of(sample, names)
    roles = assign_roles(columns, objective)
    toml, notes = write_toml(log.name, reader.format, columns, roles)
    mapping = parse_mapping(toml, f"proposal for {log.name}")
    n_land, n_quarantined, problems = 0, 0, []
    for found in reader.chunks(log, MappingChoice(mapping)):
        n_land, n_quarantined = (
            n_land + len(found.runs),
            n_quarantined + found.n_lines_quarantined,
        )
        problems += [
            f"{log.name} line {b.line}: {b.reason}"
            for b in found.bad[: max(0, 5 - len(problems))]
        ]
        if n_land + n_quarantined >= MAX_ROWS:
            break
    known = [
        m.source
        for m in builtin_mappings().values()
        if MappingChoice(m).for_file(log.name, reader.format)
    ]
    if known:
        notes.insert(
            0,
            f"files called {log.name} are read by the built-in mapping {known[0]!r} "
            "already",
        )
    if sample.n_rows > len(sample.rows):
        notes.append(
            f"{len(sample.rows)} of {sample.n_rows} rows were looked at, strewn over "
            "the file"
        )
    first = " (of the first ones)" if n_land + n_quarantined >= MAX_ROWS else ""
    notes.append(
        f"with this mapping {n_land} rows land and {n_quarantined} are set aside{first}"
    )
    listed = tuple(
        {"name": n, "kind": c.kind, "n_distinct": c.n_distinct, **vars(roles.of[n])}
        for n, c in columns.items()
    )
    n_rows = sample.n_rows + sample.n_bad
    return Proposal(
        log.name,
        reader.format,
        n_rows,
        len(sample.rows),
        n_land,
        n_quarantined,
        listed,
        (*notes, *problems),
        toml,
    )


def _open(path: str) -> tuple[LogFile, TableReader]:
    files, is_folder = find_files(path)
    if is_folder:
        raise MappingError(f"{path} is a folder. Fix: name one table in it.")
    suffix = next((s for s in FORMATS if plain_name(files[0].name).endswith(s)), None)
    if suffix is None:
        known = ", ".join(FORMATS)
        raise MappingError(
            f"cannot tell the format of {files[0].name}. Expected {known}, plain or "
            "compressed (.gz, .zst)."
        )
    log = open_table(files[0], *hash_file(files[0]))
    if log.problem:
        raise MappingError(f"{log.name}: {log.problem}")
    return log, READERS[FORMATS[suffix]]
