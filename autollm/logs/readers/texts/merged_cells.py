"""Merged cells of a sheet: a group's name stands in its first row only, and the cells below
are empty.

    Model,LR,Loss          125M,1e-3,3.1
    125M,1e-3,3.1     ->   125M,3e-3,3.2
    ,3e-3,3.2              350M,1e-3,2.8
    350M,1e-3,2.8

Only the leading columns can be such groups, where no value comes twice in a group and no
two rows after another are filled: an empty cell of any other column says "not used".

Rows that speak of one run at several moments (`event` is run_started, then run_finished)
are one row, too.

Invariant: a cell that is filled stays as it is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autollm.logs.readers.cells import Cells, table_of
from autollm.logs.readers.words import names as names_in
from autollm.logs.relation import LINE_COLUMN, OWN_COLUMNS, Relation

MOST_BYTES = 2**20
"""Of a sheet that a person merged cells in; a block of a larger table is far larger."""
FIRST_LINES = 40
"""Its first row stands within these."""
LEAST_EMPTY = 0.4
"""Share of the rows that are empty in the first such column."""
LEAST_ROWS = 4
_EVENTS = names_in("phases")
_RUNS = (*names_in("runs"), "id")
_MOMENT = re.compile(r"time|date|^ts$|_at$", re.IGNORECASE)


def filled_down(relation: Relation) -> Relation:
    """The relation with the cells of merged groups filled, and a note that says so."""
    runs = relation.runs
    if runs.num_rows < LEAST_ROWS or runs.nbytes > MOST_BYTES:
        return relation
    is_text = LINE_COLUMN in runs.column_names
    if not is_text or (pc.min(runs[LINE_COLUMN]).as_py() or 0) > FIRST_LINES:
        return relation
    names = _merged(runs)
    if not names:
        return relation
    for name in names:
        at = runs.column_names.index(name)
        cells = runs[name].combine_chunks()
        runs = runs.set_column(at, name, pc.fill_null_forward(cells))
    note = (
        f"empty cells of {', '.join(names)} continue the cell above them: the sheet's "
        "cells were merged"
    )
    return replace(relation, runs=runs, notes=(*relation.notes, note))


def one_row_a_run(relation: Relation) -> Relation:
    """The relation with the rows of each run's events in one, where they contradict one
    another in nothing but their moments.
    """
    runs = relation.runs
    by_name = {name.lower(): name for name in runs.column_names}
    event = next((by_name[n] for n in _EVENTS if n in by_name), None)
    key = next((by_name[n] for n in _RUNS if n in by_name), None)
    if event is None or key is None or runs.nbytes > MOST_BYTES:
        return relation
    merged: dict[Any, Cells] = {}
    for row in runs.to_pylist():
        so_far = merged.setdefault(row[key], {})
        for name, cell in row.items():
            is_own = name in OWN_COLUMNS and name in so_far
            if cell is None or name == event or is_own:
                continue
            if so_far.setdefault(name, cell) != cell:
                if not _MOMENT.search(name):
                    return relation
                so_far[name] = cell
    if len(merged) * 2 > runs.num_rows:
        return relation
    note = (
        f"the rows of one {key} are what is said of it as it goes on: one run"
    )
    rows = table_of(list(merged.values()))
    return replace(relation, runs=rows, notes=(*relation.notes, note))


def _merged(runs: pa.Table) -> list[str]:
    """The leading columns whose cells were merged."""
    own = [name for name in runs.column_names if name in OWN_COLUMNS]
    rows = _whole_rows(list(runs.drop_columns(own).to_pydict().values()))
    found: list[str] = []
    starts = [False] * len(rows)
    n_full = 0
    for name, cells in zip(
        runs.drop_columns(own).column_names,
        zip(*rows, strict=True),
        strict=True,
    ):
        if None not in cells:
            n_full += 1
        elif not n_full and len(found) < 2:
            filled = [cell is not None for cell in cells]
            is_sparse = found or filled.count(False) >= LEAST_EMPTY * len(rows)
            if is_sparse and _are_groups(cells, filled, starts):
                found.append(name)
                starts = filled
    return found if n_full >= len(found) else []


def _whole_rows(columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The rows that are no line of averages below the table: most of their cells are
    filled, or as many as usual.
    """
    rows = list(zip(*columns, strict=True))
    n_filled = [len(columns) - row.count(None) for row in rows]
    usual = sorted(n_filled)[len(rows) // 2]
    least = min(usual, len(columns) / 2)
    return [row for row, n in zip(rows, n_filled, strict=True) if n >= least]


def _are_groups(
    cells: Sequence[Any], filled: Sequence[bool], outer: Sequence[bool]
) -> bool:
    """Whether a column's filled cells begin groups, within those of the column before."""
    if not filled[0] or sum(filled) < 2:
        return False
    if any(here and after for here, after in itertools.pairwise(filled)):
        return False
    seen: set[Any] = set()
    for cell, is_filled, is_outer in zip(cells, filled, outer, strict=True):
        seen = set() if is_outer else seen
        if cell in seen or (is_outer and not is_filled):
            return False
        seen |= {cell} - {None}
    return True
