"""What one landing made of some bytes, for tests: rows, bad lines and their account."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq

from autollm.core.mappings.mapping import Mapping
from autollm.logs.ingest_report import IngestReport
from autollm.logs.landing import ingest
from tests.unit.logs.raw_logs import write


@dataclass
class Landed:
    """`runs`, `points` and `bad` are rows of bronze and of the quarantine, in the order
    of their lines.
    """

    report: IngestReport
    runs: list[dict[str, Any]]
    points: list[dict[str, Any]]
    bad: list[dict[str, Any]]

    @property
    def n_lines(self) -> int:
        return self.report.n_lines

    @property
    def n_bad(self) -> int:
        return self.report.n_lines_quarantined

    @property
    def reasons(self) -> str:
        return " / ".join(row["reason"] for row in self.bad)


def land_bytes(
    name: str, data: bytes, mapping: Mapping | None = None
) -> Landed:
    """Land one file in a lake of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), name, data)
        lake = f"{folder}/lake"
        report = ingest([path], lake, mapping)
        return Landed(
            report,
            sorted(rows(lake, "runs"), key=lambda r: r["line"]),
            rows(lake, "run_metrics"),
            sorted(rows(lake, "quarantine"), key=lambda r: r["line"]),
        )


def rows(lake: str, table: str) -> list[dict[str, Any]]:
    """Rows of a table of all batches of a lake, or of its quarantine."""
    fs, root = fsspec.core.url_to_fs(lake)
    pattern = f"{root}/bronze/batches/*/{table}.parquet"
    if table == "quarantine":
        pattern = f"{root}/quarantine/*.parquet"
    found = []
    for path in sorted(fs.glob(pattern)):
        with fs.open(path, "rb") as stream:
            found += pq.read_table(stream).to_pylist()
    return found
