"""One relation and one mapping to canonical runs.

Invariant: every row of the relation comes out once, as a run or set aside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping
from autollm.core.values import Style
from autollm.logs.mapped.rows_sql import RowsSql
from autollm.logs.mapped.settings_sql import SettingsSql, is_part
from autollm.logs.mapped.sheet import Sheet, cleaned, one_piece
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, Relation
from autollm.logs.tables.columns import coded, constant
from autollm.logs.tables.run_log import N_LINES_COLUMN

_MOST_CODES = 2**40
"""Beyond, codes of several columns together are numbered anew: int64 ends at 2^63, and
a column has fewer than 2^23 distinct cells in one chunk.
"""


@dataclass
class MappedRuns:
    """Canonical runs, and rows that are none, with their `reason`. Both have `row_`, the
    place in the relation, and `line` and `n_lines`, the physical lines they stand on.
    """

    runs: pa.Table
    bad: pa.Table


@dataclass
class Mapper:
    """Maps relations; one in-memory DuckDB for all."""

    connection: duckdb.DuckDBPyConnection = field(
        default_factory=lambda: duckdb.connect(":memory:")
    )

    def __post_init__(self) -> None:
        self.connection.execute("SET enable_progress_bar = false")

    def map(
        self, relation: Relation, mapping: Mapping, styles: dict[str, Style]
    ) -> MappedRuns:
        """The runs of a relation.

        Raises:
            MappingError: the mapping is beyond what can be computed.
        """
        runs = cleaned(relation.runs)
        at_kind, first = distinct_rows(runs, setting_columns(mapping, runs))
        kinds = Sheet(mapping, runs.take(first), styles, runs)
        sheet = Sheet(mapping, runs, styles)
        settings = self._select(
            SettingsSql(mapping, kinds, "sheet").select(), kinds
        )
        select, texts = RowsSql(mapping, sheet, relation).select()
        found = self._select(select, sheet)
        for name, value in texts.items():
            found = found.append_column(name, constant(value, runs.num_rows))
        found = found.append_column("raw_file", _files(runs))
        found = found.append_column("line", _lines(runs))
        found = _with_settings(found, settings, at_kind, mapping)
        found = found.append_column("n_lines", _n_lines(runs))
        is_bad = pc.is_valid(found["reason"])
        bad = found.select(["row_", "line", "n_lines", "reason"])
        bad = bad.filter(is_bad)
        if bad.num_rows:
            found = found.filter(pc.invert(is_bad))
        return MappedRuns(found.drop_columns(["reason"]), bad)

    def _select(self, select: str, sheet: Sheet) -> pa.Table:
        self.connection.register("sheet", sheet.table())
        try:
            # a mapping's own text can be beyond what DuckDB plans
            return self.connection.sql(select).to_arrow_table()
        except duckdb.Error as error:
            raise MappingError(
                f"the mapping {sheet.mapping.source!r} cannot be computed: {error}"
            ) from None
        finally:
            self.connection.unregister("sheet")


def refused(runs: pa.Table, reason: str) -> pa.Table:
    """All rows of a relation as rows that are none, for one reason."""
    n_rows = runs.num_rows
    return pa.table(
        {
            "line": _lines(runs),
            "n_lines": _n_lines(runs),
            "reason": constant(reason, n_rows),
            "row_": np.arange(n_rows),
        }
    )


def _files(runs: pa.Table) -> pa.Array:
    if FILE_COLUMN not in runs.column_names:
        return constant("", runs.num_rows)
    return pc.fill_null(runs[FILE_COLUMN].chunk(0), "").dictionary_encode()


def _lines(runs: pa.Table) -> pa.Array:
    if LINE_COLUMN not in runs.column_names:
        return pa.array(np.zeros(runs.num_rows, np.int64))
    lines = runs[LINE_COLUMN].cast(pa.int64())
    return pc.fill_null(lines, 0) if lines.null_count else lines


def _with_settings(
    found: pa.Table, settings: pa.Table, at_kind: np.ndarray, mapping: Mapping
) -> pa.Table:
    """Rows with what their settings came to, as codes of the distinct ones."""
    codes = pa.array(at_kind, pa.int32())
    levels = settings["level_id"].to_pylist()
    if mapping.group is None:
        ids = pa.array([f"{mapping.source}:{level}" for level in levels])
        experiment = coded(codes, ids)
    else:
        group = found["group"].cast(pa.string())
        parts = (mapping.source + "/", group, ":")
        level = settings["level_id"].combine_chunks().take(codes)
        experiment = pc.binary_join_element_wise(*parts, level, "")
    found = found.append_column("experiment_id", experiment)
    for name in settings.column_names:
        if name not in ("level_id", "reason", "row_"):
            cells = settings[name].combine_chunks()
            found = found.append_column(name, coded(codes, cells))
    reasons = settings["reason"].combine_chunks()
    if reasons.null_count == len(reasons):
        return found
    reason = pc.coalesce(reasons.take(codes), found["reason"])
    index = found.schema.get_field_index("reason")
    return found.set_column(index, "reason", reason)


def setting_columns(mapping: Mapping, runs: pa.Table) -> list[str]:
    """The columns of a table that decide a run's configuration, context and fidelity."""
    formulas = {derived.name: derived.value for derived in mapping.derived}
    made = (*mapping.lookup_of, *mapping.name_parts_of)
    names = [*runs.column_names, *made]
    waiting = [entry.column for entry in (*mapping.context, *mapping.fidelity)]
    for knob in mapping.knobs:
        waiting += [n for n in names if is_part(knob, n)] or [knob.column]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name in formulas:
            for part in formulas.pop(name).names:
                waiting.append(mapping.column_of.get(part, part))
        elif name in mapping.lookup_of:
            waiting += mapping.lookup_of[name].columns
        elif name in mapping.name_parts_of:
            waiting.append(mapping.name_parts_of[name].column)
        elif name in runs.column_names:
            found[name] = None
    return list(found)


def distinct_rows(
    runs: pa.Table, columns: list[str]
) -> tuple[np.ndarray, pa.Array]:
    """Which distinct combination of these cells each row has, and the first row of
    each combination.
    """
    n_rows = runs.num_rows
    codes = np.zeros(n_rows, np.int64)
    n_codes = 1
    for name in columns:
        cells = one_piece(runs.column(name)).dictionary_encode("encode")
        n_cells = max(len(cells.dictionary), 1)
        if n_codes * n_cells > _MOST_CODES:
            codes = _dense(codes)
            n_codes = int(codes.max(initial=0)) + 1
        codes = codes * n_cells + cells.indices.to_numpy()
        n_codes *= n_cells
    codes = _dense(codes)
    first = np.zeros(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = np.arange(n_rows)[::-1]  # the last one written stays
    return codes, pa.array(first)


def _dense(codes: np.ndarray) -> np.ndarray:
    """Codes from 0 on, in the order in which they are met."""
    met = pa.array(codes).dictionary_encode().indices
    return met.to_numpy().astype(np.int64)


def _n_lines(runs: pa.Table) -> pa.Array | pa.ChunkedArray:
    if N_LINES_COLUMN in runs.column_names:
        return runs[N_LINES_COLUMN].cast(pa.int64())
    return pa.array(np.ones(runs.num_rows, np.int64))
