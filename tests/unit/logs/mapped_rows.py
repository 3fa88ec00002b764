"""What reader and mapping make of some bytes, without landing them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from autollm.core.mappings.mapping import RUN_LOG, Mapping
from autollm.logs.mapped.header_check import check_columns
from autollm.logs.mapped.mapper import Mapper
from autollm.logs.mapped.raw_json import raw_json
from autollm.logs.opening.opened import Opened
from autollm.logs.relation import BadLines, Relation
from autollm.logs.tables.csv_table import CsvTable
from autollm.logs.tables.json_table import JsonTable
from autollm.logs.tables.parquet_table import ParquetTable
from autollm.logs.tables.run_log import RunLog
from autollm.logs.taking import relations_of
from autollm.logs.units import Unit

TABLES = {
    "csv": CsvTable(),
    "jsonl": JsonTable(),
    "parquet": ParquetTable(),
    RUN_LOG: RunLog(),
}
_MAPPER = Mapper()


@dataclass
class Found:
    """Canonical rows, points as logged, and lines that are set aside."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    bad: list[BadLines] = field(default_factory=list)
    n_lines: int = 0

    @property
    def n_bad(self) -> int:
        return sum(part.n_lines for part in self.bad)

    @property
    def reasons(self) -> str:
        return " / ".join(part.reason for part in self.bad)


def relations(
    file_format: str, data: bytes, name: str = "t.csv"
) -> list[Relation]:
    """What the reader of a format makes of bytes."""
    opened = Opened(name, "", len(data), data)
    unit = Unit(opened, None, "file", "", "", TABLES[file_format])
    return list(relations_of(unit))


def read(
    file_format: str,
    data: bytes,
    mapping: Mapping | None = None,
    name: str = "t.csv",
) -> Found:
    """Bytes through their reader and, with a mapping, to canonical rows.

    Raises:
        MappingError: a column that the mapping needs is missing.
    """
    found, styles = Found(), {}
    for relation in relations(file_format, data, name):
        found.n_lines += relation.n_lines
        found.bad += relation.bad
        if relation.points is not None:
            found.points += relation.points.to_pylist()
        if not relation.runs.num_rows:
            continue
        if mapping is None:
            found.runs += relation.runs.to_pylist()
            continue
        if not found.runs:
            check_columns(mapping, relation, relation.runs.column_names)
        mapped = _MAPPER.map(relation, mapping, styles)
        logged = _raw(relation.runs, mapped.runs)
        runs = mapped.runs.append_column("header_json", logged)
        found.runs += runs.to_pylist()
        logged = _raw(relation.runs, mapped.bad)
        for row, text in zip(
            mapped.bad.to_pylist(), logged.to_pylist(), strict=True
        ):
            bad = BadLines(row["line"], row["n_lines"], row["reason"], text)
            found.bad.append(bad)
    found.bad.sort(key=lambda part: part.line)
    return found


def _raw(runs: pa.Table, rows: pa.Table) -> pa.ChunkedArray:
    return raw_json(runs.take(rows["row_"]), _MAPPER.connection)


def map_row(mapping: Mapping, values: dict[str, Any]) -> dict[str, Any]:
    """One row of values by column, as a canonical run; `reason` where it is none."""
    columns = {name: pa.array([value]) for name, value in values.items()}
    table = pa.table({**columns, "_file": ["t"], "_line": [1]})
    roles = {"status": "status"} if mapping.format == RUN_LOG else {}
    relation = Relation(mapping.format, table, key="run_id", roles=roles)
    mapped = _MAPPER.map(relation, mapping, {})
    rows = [*mapped.runs.to_pylist(), *mapped.bad.to_pylist()]
    return rows[0]
