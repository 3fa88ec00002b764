"""Histories on their way to bronze: summed up a run, then named by the run that landed.

Invariant: points stay as logged, in their order; those of a run that did not land are
kept raw only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.logs.bronze_tables import constant

if TYPE_CHECKING:
    from autollm.logs.readings import Reading

_SUMMARY = (
    "SELECT run_key, count(*) AS n, bit_xor(hash(metric, step, tokens, value, line)) AS "
    "digest, max(wall_time_s) AS wall FROM points GROUP BY run_key"
)
_TOGETHER_ROWS = 2_000_000
"""Points of small readings that are joined in one query."""


class PointsOf:
    """The points of several readings."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, readings: list[Reading]
    ):
        self._connection = connection
        self.with_points = []
        for index, reading in enumerate(readings):
            if reading.points is not None and len(reading.points):
                self.with_points.append((index, reading.points))

    def pieces(self) -> Iterator[pa.Table]:
        """All points with `at_reading`, those of small readings in one piece."""
        waiting, n_waiting = [], 0
        for index, rows in self.with_points:
            for table in rows.tables():
                at = pa.array(np.full(table.num_rows, index))
                waiting.append(table.append_column("at_reading", at))
                n_waiting += table.num_rows
                if n_waiting >= _TOGETHER_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting, n_waiting = [], 0
        if waiting:
            yield pa.concat_tables(waiting)

    def summarized(self, runs: pa.Table) -> pa.Table:
        """Runs with `n_points`, `points_digest`, and the wall time that their points
        reached where nothing else says it.
        """
        sums: dict[tuple[int, str], tuple[int, int, float | None]] = {}
        for piece in self.pieces():
            self._add_up(piece, sums)
        n_rows = runs.num_rows
        if not sums:
            none = pa.array(np.zeros(n_rows, np.int64))
            runs = runs.append_column("n_points", none)
            return runs.append_column("points_digest", constant("", n_rows))
        counts, digests, walls = [], [], []
        keys = runs["at_reading"].to_pylist(), runs["key"].to_pylist()
        for key in zip(*keys, strict=True):
            n_points, digest, wall = sums.get(key, (0, 0, None))
            counts.append(n_points)
            digests.append(f"{digest:016x}" if n_points else "")
            walls.append(wall)
        runs = runs.append_column("n_points", pa.array(counts, pa.int64()))
        runs = runs.append_column(
            "points_digest", pa.array(digests, pa.string())
        )
        wall_time = pc.coalesce(
            runs["wall_time_s"], pa.array(walls, pa.float64())
        )
        index = runs.schema.get_field_index("wall_time_s")
        return runs.set_column(index, "wall_time_s", wall_time)

    def _add_up(
        self,
        piece: pa.Table,
        sums: dict[tuple[int, str], tuple[int, int, float | None]],
    ) -> None:
        self._connection.register("points", piece)
        sql = _SUMMARY.replace("run_key", "at_reading, run_key")
        for at, key, n, digest, wall in self._connection.execute(
            sql
        ).fetchall():
            before = sums.get((at, key), (0, 0, None))
            walls = [w for w in (wall, before[2]) if w is not None]
            total = before[0] + n, before[1] ^ digest, max(walls, default=None)
            sums[at, key] = total
        self._connection.unregister("points")


def bronze_points(
    connection: duckdb.DuckDBPyConnection,
    runs: pa.Table,
    readings: list[Reading],
    points: PointsOf,
) -> Iterator[pa.Table]:
    """The points of runs that land, with the names of their runs."""
    names = ["source", "group", "run_id", "file_version", "at_reading", "key"]
    landed = runs.select(names)
    for piece in points.pieces():
        numbered = piece.append_column(
            "place", pa.array(np.arange(piece.num_rows))
        )
        connection.register("landed", landed)
        connection.register("points", numbered)
        sql = (
            'SELECT l.source, l."group", l.run_id, l.file_version, p.metric, p.line, '
            "p.step, p.tokens, p.value, p.wall_time_s FROM points p JOIN landed l "
            "ON l.at_reading = p.at_reading AND l.key = p.run_key ORDER BY p.place"
        )
        yield connection.sql(sql).to_arrow_table()
        connection.unregister("points")
        connection.unregister("landed")
