"""Which runs the lake holds, and what becomes of a run that comes again.

    new        nothing is known of it
    seen       it says what is known already
    replaces   a later reading of the same path says something else, or a run in flight
               has gone on: the new row counts, the old one stays in its batch
    set aside  the run came from another file, twice in one table, or cut short from a
               log that was whole before

A cell (experiment, configuration, seed) may hold several runs where the mapping lets it.

Invariant: of a run one row counts, that of the highest `file_version`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.mappings.mapping import Mapping
from autollm.logs.lake.bronze import Bronze

_KNOWN = """
    origin VARCHAR, run_id VARCHAR, reading BIGINT, path_id VARCHAR, digest UBIGINT,
    version BIGINT, status VARCHAR, n_points BIGINT, cell UBIGINT, raw_file VARCHAR,
    line BIGINT, objective DOUBLE, config_json VARCHAR
"""
_SAID = [
    "source", "group", "run_id", "path_id", "raw_file", "line",
    "config_json", "config_id", "context_json", "fidelity_json", "objective_value",
    "secondary_json", "seed", "status", "trunk_id", "schedule_share", "cost_flops",
    "device_hours", "wall_time_s", "n_points", "points_digest",
]  # fmt: skip
"""What is remembered of a run."""
_ORIGIN = "source || CASE WHEN \"group\" = '' THEN '' ELSE '/' || \"group\" END"
_DIGEST = (
    "hash(config_json, context_json, fidelity_json, objective_value, secondary_json, "
    "seed, status, trunk_id, schedule_share, cost_flops, device_hours, wall_time_s, "
    "n_points, points_digest)"
)
"""What a run says. Cells of the table that the mapping does not read are not in it."""
_RUN = 'hash(source, "group", run_id)'
_CELL = 'hash(source, "group", fidelity_json, context_json, config_id, seed)'
_JUDGED = (
    "place, reading, run_id, path_id, status, n_points, raw_file, line, config_json, "
    "fidelity_label, objective_name, objective_value"
)
"""What a verdict needs of a row; the others are taken from the chunk at the end."""
_EARLIER = -1
"""The reading of rows that landed before this ingest."""


@dataclass(frozen=True)
class Changed:
    """A run whose later reading says something else."""

    file: str
    line: int
    run_id: str
    what: str
    before: str
    after: str


@dataclass
class Judged:
    """Rows of one chunk: those that land (`runs`), and the others as (row, reason)."""

    runs: pa.Table
    set_aside: list[tuple[int, str]] = field(default_factory=list)
    n_seen: int = 0
    changed: list[Changed] = field(default_factory=list)
    n_changed: int = 0
    n_repeated: int = 0
    example: str = ""

    def refused(self, runs: pa.Table) -> pa.Table:
        """Those of a chunk's `runs` that do not land, with their `reason`."""
        places = pa.array([at for at, _ in self.set_aside], pa.int64())
        reasons = pa.array(
            [reason for _, reason in self.set_aside], pa.string()
        )
        rows = runs.select(["row_", "line", "n_lines"]).take(places)
        return rows.append_column("reason", reasons)


class Ledger:
    """The runs of the lake, in tables of an in-memory DuckDB."""

    def __init__(
        self,
        bronze: Bronze,
        connection: duckdb.DuckDBPyConnection,
        forgotten: frozenset[str],
    ):
        self._bronze, self._sql, self._forgotten = bronze, connection, forgotten
        self._sql.execute(f"CREATE TABLE known ({_KNOWN})")
        self._sql.execute(
            "CREATE TABLE met (run UBIGINT, cell UBIGINT, is_earlier BOOLEAN)"
        )
        self._sql.execute(
            "CREATE TABLE counted (reading BIGINT, run_id VARCHAR, n BIGINT)"
        )
        self._loaded: set[str] = set()
        self._exemplified: set[str] = set()
        self._waiting: list[pa.Table] = []
        self.sources: set[str] = set()

    def load(self, source: str) -> None:
        """Take in the runs of a source that landed before."""
        if source in self._loaded:
            return
        self._loaded.add(source)
        if source in self._forgotten:
            return
        for piece in self._bronze.scan("runs", [*_SAID, "file_version"]):
            rows = pa.Table.from_batches([piece])
            rows = rows.filter(pc.equal(rows["source"], source))
            if rows.num_rows:
                self.sources.add(source)
                self._sql.register("earlier", rows)
                self._sql.execute(
                    f"INSERT INTO known SELECT {_ORIGIN}, run_id, {_EARLIER}, path_id, "
                    f"{_DIGEST}, file_version, status, n_points, {_CELL}, raw_file, line, "
                    "objective_value, config_json FROM earlier"
                )
                self._sql.execute(
                    f"INSERT INTO met SELECT {_RUN}, {_CELL}, true FROM earlier"
                )
                self._sql.unregister("earlier")
        self._sql.execute(
            "DELETE FROM known k WHERE version < (SELECT max(version) FROM known o "
            "WHERE o.origin = k.origin AND o.run_id = k.run_id)"
        )

    def judge(self, runs: pa.Table, mapping: Mapping) -> Judged:
        """What becomes of canonical runs. `runs` has, beside bronze's columns, `reading`
        (which file of this ingest) and `place` (its place in the chunk).
        """
        self.load(mapping.source)
        self._sql.register("chunk", runs)
        try:
            judged = self._all_new(runs, mapping)
            return judged or self._one_by_one(runs, mapping)
        finally:
            self._sql.unregister("chunk")

    def _all_new(self, runs: pa.Table, mapping: Mapping) -> Judged | None:
        """The verdict where no run of the chunk is known or comes twice, as in nearly
        every chunk; None elsewhere.
        """
        if mapping.run_key.repeated == "number":
            return None
        self._sql.execute(
            f"CREATE OR REPLACE TEMP TABLE now AS SELECT {_RUN} AS run, {_CELL} AS cell, "
            "place FROM chunk"
        )
        is_strict = mapping.replica.duplicate_cells == "quarantine"
        scope = "" if is_strict else "WHERE NOT is_earlier"
        n_runs, is_known, n_cells = self._one(
            "SELECT (SELECT count(DISTINCT run) FROM now), "
            "EXISTS (SELECT 1 FROM met SEMI JOIN now USING (run)), "
            "(SELECT count(*) FROM (SELECT DISTINCT cell FROM now) ANTI JOIN "
            f"(SELECT cell FROM met {scope}) USING (cell))"
        )
        n_repeated = runs.num_rows - n_cells
        if n_runs < runs.num_rows or is_known or (is_strict and n_repeated):
            return None
        judged = Judged(runs, n_repeated=n_repeated)
        if n_repeated and mapping.source not in self._exemplified:
            self._exemplified.add(mapping.source)
            judged.example = self._example(runs)
        self._sql.execute("INSERT INTO met SELECT run, cell, false FROM now")
        self._waiting.append(runs.select([*_SAID, "reading"]))
        versions = pa.array(np.ones(runs.num_rows, np.int64))
        judged.runs = runs.append_column("file_version", versions)
        return judged

    def _settle(self) -> None:
        """Put the runs that wait into the table of known ones."""
        for runs in self._waiting:
            self._sql.register("earlier", runs)
            self._sql.execute(
                f"INSERT INTO known SELECT {_ORIGIN}, run_id, reading, path_id, "
                f"{_DIGEST}, 1, status, n_points, {_CELL}, raw_file, line, "
                "objective_value, config_json FROM earlier"
            )
            self._sql.unregister("earlier")
        self._waiting = []

    def _example(self, runs: pa.Table) -> str:
        """Two runs of one cell, of which the later one stands in the chunk."""
        self._settle()
        place, first, reading, line = self._one(
            "SELECT m.place, f.place, k.reading, k.line FROM now m JOIN "
            "(SELECT cell, min(place) AS place FROM now GROUP BY cell) f USING (cell) "
            "LEFT JOIN known k USING (cell) WHERE f.place < m.place OR k.cell IS NOT NULL "
            "ORDER BY m.place LIMIT 1"
        )
        where = f"line {line}"
        if reading is None:
            where = f"line {runs['line'][first]}"
        elif reading == _EARLIER:
            where = "an earlier batch"
        return (
            f"{runs['raw_file'][place]} line {runs['line'][place]} and {where}"
        )

    def _one_by_one(self, runs: pa.Table, mapping: Mapping) -> Judged:
        self._settle()
        self._sql.execute(
            f"CREATE OR REPLACE TEMP TABLE rows AS SELECT {_JUDGED}, {_ORIGIN} AS "
            f"origin, {_DIGEST} AS digest, {_CELL} AS cell FROM chunk"
        )
        if mapping.run_key.repeated == "number":
            self._number()
        judged = Judged(runs.slice(0, 0))
        landed = []
        (n_turns,) = self._one(
            "SELECT coalesce(max(n), 0) FROM "
            "(SELECT count(*) AS n FROM rows GROUP BY origin, run_id)"
        )
        for turn in range(1, n_turns + 1):
            self._turn(turn, mapping, judged)
            landed.append(self._landing())
        if landed:
            chosen = pa.concat_tables(landed).sort_by("place")
            is_all = chosen.num_rows == runs.num_rows
            found = runs if is_all else runs.take(chosen["place"])
            index = found.schema.get_field_index("run_id")
            found = found.set_column(index, "run_id", chosen["run_id"])
            judged.runs = found.append_column(
                "file_version", chosen["file_version"]
            )
        return judged

    def _one(self, sql: str) -> tuple:
        return self._sql.execute(sql).fetchall()[0]

    def _number(self) -> None:
        """Second and later rows of a key in one reading are replicas `key#2` ..."""
        self._sql.execute(
            "CREATE OR REPLACE TEMP TABLE numbered AS SELECT r.place, r.reading, r.run_id, "
            "coalesce(c.n, 0) + row_number() OVER (PARTITION BY r.reading, r.run_id "
            "ORDER BY r.place) AS n FROM rows r LEFT JOIN counted c USING (reading, run_id)"
        )
        self._sql.execute(
            "DELETE FROM counted WHERE (reading, run_id) IN "
            "(SELECT (reading, run_id) FROM numbered)"
        )
        self._sql.execute(
            "INSERT INTO counted SELECT reading, run_id, max(n) FROM numbered "
            "GROUP BY reading, run_id"
        )
        self._sql.execute(
            "UPDATE rows SET run_id = rows.run_id || '#' || n.n FROM numbered n "
            "WHERE n.place = rows.place AND n.n > 1"
        )

    def _turn(self, turn: int, mapping: Mapping, judged: Judged) -> None:
        """Judge the rows that come as the `turn`-th of their run."""
        self._sql.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE verdicts AS
            SELECT r.*, k.version AS known_version, k.reading AS known_reading,
                k.raw_file AS known_file, k.status AS known_status,
                k.objective AS known_objective, k.config_json AS known_config,
                CASE
                    WHEN k.run_id IS NULL THEN 'new'
                    WHEN k.reading = r.reading THEN 'twice'
                    WHEN k.digest = r.digest THEN 'seen'
                    WHEN r.status = 'running' AND k.status <> 'running' THEN 'cut'
                    WHEN k.status = 'running' AND r.status <> 'running' THEN 'replaces'
                    WHEN k.status = 'running' AND r.n_points < k.n_points THEN 'cut'
                    WHEN k.status = 'running' OR
                        (k.path_id = r.path_id AND k.path_id <> '') THEN 'replaces'
                    ELSE 'first'
                END AS verdict
            FROM (SELECT *, row_number() OVER (PARTITION BY origin, run_id ORDER BY place)
                AS turn FROM rows) r
            LEFT JOIN known k USING (origin, run_id)
            WHERE r.turn = {turn}
            """
        )
        judged.set_aside += self._refused()
        self._cells(mapping, judged)
        (n_seen,) = self._one(
            "SELECT count(*) FROM verdicts WHERE verdict = 'seen'"
        )
        judged.n_seen += n_seen
        self._changes(judged)
        self._remember()

    def _refused(self) -> list[tuple[int, str]]:
        found = self._sql.execute(
            "SELECT place, verdict, run_id, origin, known_reading, known_file FROM verdicts "
            "WHERE verdict IN ('twice', 'cut', 'first') ORDER BY place"
        ).fetchall()
        refused = []
        for at, verdict, run_id, origin, reading, file in found:
            where = "an earlier batch" if reading == _EARLIER else file
            reasons = {
                "twice": f"the run {run_id!r} stands in this table already; the first "
                "row is kept",
                "cut": f"the run {run_id!r} of {origin!r} came whole from {where}; this "
                "log is a part of it and kept raw only",
                "first": f"the run {run_id!r} of {origin!r} came first from {where}; "
                "this one is kept raw only",
            }
            refused.append((at, reasons[verdict]))
        return refused

    def _cells(self, mapping: Mapping, judged: Judged) -> None:
        """Runs in a cell that another run holds: set aside or counted, as the mapping
        says. Cells of earlier batches count where they are set aside.
        """
        is_strict = mapping.replica.duplicate_cells == "quarantine"
        scope = "" if is_strict else f"AND k.reading <> {_EARLIER}"
        self._sql.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE shared AS
            SELECT v.place, v.config_json, v.fidelity_label, v.raw_file, v.line,
                coalesce(k.reading, v.reading) AS other_reading,
                coalesce(k.line, first_value(v.line) OVER cell) AS other_line,
                k.run_id IS NOT NULL OR row_number() OVER cell > 1 AS is_shared
            FROM verdicts v LEFT JOIN (
                SELECT cell, min(run_id) AS run_id, arg_min(reading, version) AS reading,
                    arg_min(line, version) AS line
                FROM known k WHERE true {scope}
                AND NOT EXISTS (SELECT 1 FROM verdicts o WHERE o.origin = k.origin
                    AND o.run_id = k.run_id AND o.verdict = 'replaces')
                GROUP BY cell
            ) k ON k.cell = v.cell
            WHERE v.verdict IN ('new', 'replaces')
            WINDOW cell AS (PARTITION BY v.cell ORDER BY v.place)
            """
        )
        found = self._sql.execute(
            "SELECT place, config_json, fidelity_label, raw_file, line, other_reading, "
            "other_line FROM shared WHERE is_shared ORDER BY place"
            + ("" if is_strict else " LIMIT 1")
        ).fetchall()
        for at, config, label, file, line, reading, other in found:
            where = (
                "an earlier batch" if reading == _EARLIER else f"line {other}"
            )
            if not is_strict:
                judged.example = (
                    judged.example or f"{file} line {line} and {where}"
                )
                continue
            reason = (
                f"the cell {config:.200} at {label} stands in {where} already; the first "
                'is kept. Fix: if these are replicas, take duplicate_cells = "quarantine" '
                "out of the mapping; else a knob is missing in it."
            )
            judged.set_aside.append((at, reason))
        if is_strict:
            self._sql.execute(
                "UPDATE verdicts SET verdict = 'cell' WHERE place IN "
                "(SELECT place FROM shared WHERE is_shared)"
            )
        else:
            (n,) = self._one("SELECT count(*) FROM shared WHERE is_shared")
            judged.n_repeated += n

    def _changes(self, judged: Judged) -> None:
        found = self._sql.execute(
            "SELECT raw_file, line, run_id, objective_name, known_objective, "
            "objective_value, known_status, status, known_config, config_json "
            "FROM verdicts WHERE verdict = 'replaces' ORDER BY place"
        ).fetchall()
        judged.n_changed += len(found)
        for file, line, run_id, name, *pairs in found[
            : 20 - len(judged.changed)
        ]:
            values, states, configs = pairs[:2], pairs[2:4], pairs[4:]
            told = ("its costs, metrics or points", "", "")
            for what, (before, after) in (
                ("configuration", configs),
                ("status", states),
                (name, values),
            ):
                if before != after:
                    told = (what, str(before), str(after))
            judged.changed.append(Changed(file, line, run_id, *told))

    def _remember(self) -> None:
        self._sql.execute(
            "DELETE FROM known WHERE (origin, run_id) IN "
            "(SELECT (origin, run_id) FROM verdicts WHERE verdict = 'replaces')"
        )
        self._sql.execute(
            "INSERT INTO known SELECT origin, run_id, reading, path_id, digest, "
            "coalesce(known_version, 0) + 1, status, n_points, cell, raw_file, line, "
            "objective_value, config_json FROM verdicts "
            "WHERE verdict IN ('new', 'replaces')"
        )
        self._sql.execute(
            "INSERT INTO met SELECT hash(origin, run_id), cell, false FROM verdicts "
            "WHERE verdict IN ('new', 'replaces')"
        )

    def _landing(self) -> pa.Table:
        return self._sql.sql(
            "SELECT place, run_id, coalesce(known_version, 0) + 1 AS file_version "
            "FROM verdicts WHERE verdict IN ('new', 'replaces') ORDER BY place"
        ).to_arrow_table()
