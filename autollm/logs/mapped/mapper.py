"""One relation and one mapping to canonical runs.

Invariant: every row of the relation comes out once, as a run or set aside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import MappingError
from autollm.core.mapping import Mapping
from autollm.core.values import Style
from autollm.logs.mapped.query import text
from autollm.logs.mapped.rows_sql import RowsSql
from autollm.logs.mapped.sheet import Sheet
from autollm.logs.relation import OWN_COLUMNS, Relation
from autollm.logs.tables.columns import text_of
from autollm.logs.tables.run_log import N_LINES_COLUMN, RAW_COLUMN

_SQL_COLUMNS = 400
"""More columns than these become JSON in Python: SQL of thousands of terms is slow."""


@dataclass
class MappedRuns:
    """Canonical runs, and rows that are none. Both have `n_lines`, the physical lines
    they stand on; `bad` has file, line, n_lines, reason, text.
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
        """The runs of a relation. `row_` is a row's place in it.

        Raises:
            MappingError: the mapping is beyond what can be computed.
        """
        runs = relation.runs
        sheet = Sheet(mapping, runs, styles)
        select = RowsSql(mapping, sheet, relation).select()
        self.connection.register("sheet", sheet.table())
        try:
            # a mapping's own text can be beyond what DuckDB plans
            found = self.connection.sql(select).to_arrow_table()
        except duckdb.Error as error:
            raise MappingError(
                f"the mapping {mapping.source!r} cannot be computed: {error}"
            ) from None
        finally:
            self.connection.unregister("sheet")
        found = found.append_column("header_json", self._raw_json(runs))
        found = found.append_column("n_lines", _n_lines(runs))
        is_bad = pc.is_valid(found["reason"])
        is_good = pc.invert(is_bad)
        runs = found if pc.all(is_good).as_py() else found.filter(is_good)
        return MappedRuns(
            runs.drop_columns(["reason"]),
            _bad(found.filter(is_bad)),
        )

    def _raw_json(self, runs: pa.Table) -> pa.Array | pa.ChunkedArray:
        """Each row as it was logged, as a JSON object with sorted keys."""
        if RAW_COLUMN in runs.column_names:
            return runs[RAW_COLUMN]
        names = sorted(n for n in runs.column_names if n not in OWN_COLUMNS)
        columns = {name: _finite(runs[name]) for name in names}
        if len(names) > _SQL_COLUMNS:
            cells = (column.to_pylist() for column in columns.values())
            rows = [
                dict(zip(names, row, strict=True))
                for row in zip(*cells, strict=True)
            ]
            return pa.array(
                [json.dumps(row, ensure_ascii=False) for row in rows]
            )
        raw = {
            f"r{index}": column for index, column in enumerate(columns.values())
        }
        raw["row_"] = pa.array(range(runs.num_rows), pa.int64())
        pairs = [f"{text(name)}, r{index}" for index, name in enumerate(names)]
        self.connection.register("raw", pa.table(raw))
        try:
            sql = (
                f"SELECT json_object({', '.join(pairs)})::VARCHAR AS j FROM raw"
            )
            return self.connection.sql(sql).to_arrow_table()["j"]
        finally:
            self.connection.unregister("raw")


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column that JSON can hold: one with NaN or infinities becomes text."""
    if pa.types.is_floating(column.type):
        are_finite = pc.all(pc.is_finite(column)).as_py()
        if are_finite is False:
            return pa.array(
                [text_of(c) for c in column.to_pylist()], pa.string()
            )
    return column


def _n_lines(runs: pa.Table) -> pa.Array | pa.ChunkedArray:
    if N_LINES_COLUMN in runs.column_names:
        return runs[N_LINES_COLUMN].cast(pa.int64())
    return pa.array([1] * runs.num_rows, pa.int64())


def _bad(rows: pa.Table) -> pa.Table:
    texts = pc.utf8_slice_codeunits(
        rows["header_json"].cast(pa.string()), 0, 500
    )
    return pa.table(
        {
            "file": rows["raw_file"],
            "line": rows["line"],
            "n_lines": rows["n_lines"],
            "reason": rows["reason"],
            "text": texts,
            "row_": rows["row_"],
        }
    )
