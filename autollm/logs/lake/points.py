"""Histories on their way to bronze: summed up a run, then named by the run that landed.

Invariant: points stay as logged, in their order; those of a run that did not land are
kept raw only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.logs.relation import CODED_POINTS
from autollm.logs.tables.columns import coded, constant

if TYPE_CHECKING:
    from autollm.logs.readings import Reading

SPILL_BYTES = 384 * 2**20
"""Of a reading's points that wait in memory; more of them wait in files."""
_SUMMARY = (
    "SELECT run_key, count(*) AS n, bit_xor(hash(metric, step, tokens, value, line)) AS "
    "digest, max(wall_time_s) AS wall FROM points GROUP BY run_key"
)
Key = tuple[int, str]
"""The number of a reading, and the key of a run in it."""
Sums = dict[Key, tuple[int, int, float | None]]
_NOTHING = (0, 0, None)
_TOGETHER_ROWS = 2_000_000
"""Points of small readings that are joined in one query."""


class WaitingPoints:
    """The points of one reading in the order of their arrival."""

    def __init__(self, folder: str):
        self._folder = folder
        self._files: list[str] = []
        self._waiting: list[pa.Table] = []
        self._n_bytes = self._n_rows = 0

    def __len__(self) -> int:
        return self._n_rows

    def add(self, points: pa.Table) -> None:
        """Append points; the columns are brought into order."""
        if not points.num_rows:
            return
        points = points.select(CODED_POINTS.names).cast(CODED_POINTS)
        self._waiting.append(points)
        self._n_rows += points.num_rows
        self._n_bytes += points.nbytes
        if self._n_bytes > SPILL_BYTES:
            self._spill()

    def _spill(self) -> None:
        path = f"{self._folder}/{id(self)}-{len(self._files)}.arrow"
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        with (
            pa.OSFile(path, "wb") as out,
            pa.ipc.new_file(out, CODED_POINTS) as writer,
        ):
            writer.write_table(table)
        self._files.append(path)
        self._waiting, self._n_bytes = [], 0

    def tables(self) -> Iterator[pa.Table]:
        """All points, in pieces."""
        for path in self._files:
            with pa.memory_map(path) as source:
                reader = pa.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)])
        yield from self._waiting


class PointsOf:
    """The points of several readings."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, readings: Iterable[Reading]
    ):
        self._connection = connection
        self.with_points = []
        for reading in readings:
            if reading.points is not None and len(reading.points):
                self.with_points.append((reading.number, reading.points))

    def pieces(self) -> Iterator[pa.Table]:
        """All points with `reading`, those of small readings in one piece."""
        waiting, n_waiting = [], 0
        for number, rows in self.with_points:
            for table in rows.tables():
                numbers = pa.array(np.full(table.num_rows, number))
                waiting.append(table.append_column("reading", numbers))
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
        sums: Sums = {}
        for piece in self.pieces():
            self._add_up(piece, sums)
        n_rows = runs.num_rows
        if not sums:
            none = pa.array(np.zeros(n_rows, np.int64))
            runs = runs.append_column("n_points", none)
            return runs.append_column("points_digest", constant("", n_rows))
        counts, digests, walls = [], [], []
        for key in _keys_of(runs):
            n_points, digest, wall = sums.get(key, _NOTHING)
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

    def _add_up(self, piece: pa.Table, sums: Sums) -> None:
        self._connection.register("points", piece)
        sql = _SUMMARY.replace("run_key", "reading, run_key")
        for at, key, n, digest, wall in self._connection.execute(
            sql
        ).fetchall():
            before = sums.get((at, key), _NOTHING)
            walls = [w for w in (wall, before[2]) if w is not None]
            total = before[0] + n, before[1] ^ digest, max(walls, default=None)
            sums[at, key] = total
        self._connection.unregister("points")


def bronze_points(runs: pa.Table, points: PointsOf) -> Iterator[pa.Table]:
    """The points of runs that land, with the names of their runs."""
    places: dict[Key, int] = {}
    for place, key in enumerate(_keys_of(runs)):
        places[key] = place
    names = {}
    for name in ("source", "group", "run_id"):
        names[name] = runs[name].cast(pa.string()).combine_chunks()
    for piece in points.pieces():
        at = _places(piece, places)
        if (at < 0).any():
            piece = piece.filter(pa.array(at >= 0))
            at = at[at >= 0]
        codes = pa.array(at, pa.int32())
        named = piece.drop_columns(["reading", "run_key"])
        for name, texts in names.items():
            named = named.append_column(name, coded(codes, texts))
        version = runs["file_version"].combine_chunks().take(codes)
        yield named.append_column("file_version", version)


def _keys_of(runs: pa.Table) -> Iterator[Key]:
    keys = runs["reading"].to_pylist(), runs["key"].to_pylist()
    return zip(*keys, strict=True)


def _places(piece: pa.Table, places: dict[Key, int]) -> np.ndarray:
    """The place of each point's run among those that land; -1 where it does not."""
    keys = piece["run_key"].combine_chunks()
    n_keys = max(len(keys.dictionary), 1)
    combined = piece["reading"].to_numpy() * n_keys
    combined = pa.array(combined + keys.indices.to_numpy())
    met = combined.dictionary_encode()
    texts = keys.dictionary.to_pylist()
    found = []
    for code in met.dictionary.to_pylist():
        reading, key = divmod(code, n_keys)
        found.append(places.get((reading, texts[key]), -1))
    return np.array(found, np.int64)[met.indices.to_numpy()]
