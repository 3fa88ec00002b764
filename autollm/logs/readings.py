"""One file or run folder while it lands, and the rows of many on their way to bronze.

Rows wait until there are enough of them for one query: a folder of ten thousand run logs
takes a handful of queries, a table of a million rows one a piece.

Invariant: every line of a reading is read or set aside, whatever becomes of its rows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import MappingError
from autollm.core.ids import Origin
from autollm.core.mappings.mapping import Mapping
from autollm.core.mappings.mapping_checks import TABLES
from autollm.core.values import Style
from autollm.logs.ingest_report import SHOWN, Quarantined
from autollm.logs.lake.bronze_tables import RUNS, SCHEMA, Batch
from autollm.logs.lake.ledger import Changed, Judged, Ledger
from autollm.logs.lake.points import (
    PointsOf,
    WaitingPoints,
    bronze_points,
)
from autollm.logs.mapped.mapper import Mapper, refused
from autollm.logs.mapped.raw_json import raw_json
from autollm.logs.reading import MAX_TEXT, quote
from autollm.logs.relation import BadLines, Relation
from autollm.logs.source_checks import SourceChecks
from autollm.logs.tables.columns import coded, constant, stack

QUERY_ROWS = 150_000
"""Rows that one query maps: about 100 MB with all that it makes of them."""
QUERY_BYTES = 128 * 2**20
"""Of rows that are wider than most."""
QUERY_READINGS = 2_000
"""Readings whose rows wait for one query."""
READING_COLUMN, KEY_COLUMN = "_reading", "_key"


@dataclass
class Reading:
    """One file or folder: who it is, and its account. `number` counts readings."""

    number: int
    name: str
    sha256: str
    raw_sha256: str
    path_id: str
    kind: str
    n_bytes: int
    format: str = ""
    mapping: Mapping | None = None
    source: str = ""
    prefix: str = ""
    styles: dict[str, Style] = field(default_factory=dict)
    points: WaitingPoints | None = None
    is_checked: bool = False
    n_lines: int = 0
    n_bad: int = 0
    n_runs: int = 0
    is_again: bool = False
    """Whether it is read from the raw files, since its source is read anew."""
    shown: list[Quarantined] = field(default_factory=list)
    """The first lines that were set aside."""

    @property
    def source_name(self) -> str:
        """That of its mapping, else what its header says."""
        return self.mapping.source if self.mapping else self.source

    def file_row(self, file_version: int) -> dict[str, Any]:
        """Its row of bronze's table of files."""
        mapping = self.mapping
        return {
            "source": self.source_name,
            "file": self.name,
            "raw_sha256": self.raw_sha256,
            "sha256": self.sha256,
            "path_id": self.path_id,
            "file_version": file_version,
            "kind": self.kind,
            "bytes": self.n_bytes,
            "mapping_id": mapping.mapping_id if mapping else "",
            "format": self.format,
            "n_lines": self.n_lines,
            "n_lines_read": self.n_lines - self.n_bad,
            "n_lines_quarantined": self.n_bad,
            "n_runs": self.n_runs,
        }


@dataclass
class Totals:
    """What the readings of one ingest came to."""

    n_seen: int = 0
    n_changed: int = 0
    changed: list[Changed] = field(default_factory=list)


class Landing:
    """Rows of readings through mapping and ledger into the batch."""

    def __init__(self, batch: Batch, mapper: Mapper, ledger: Ledger):
        self._batch, self._mapper, self._ledger = batch, mapper, ledger
        self._beside = mapper.connection.cursor()  # of the thread that writes
        self._queue: list[tuple[Reading, Relation]] = []
        self._n_waiting = self._n_bytes = 0
        self._spaces: set[tuple[str, str, str, str]] = set()
        self.checks: dict[str, SourceChecks] = {}
        self.totals = Totals()

    def add(self, reading: Reading, relation: Relation) -> None:
        """Take a part of a reading: its account now, its rows when their turn comes."""
        reading.n_lines += relation.n_lines
        self.set_aside(reading, list(relation.bad))
        if not relation.runs.num_rows:
            return
        key = self._key(reading, relation)
        if self._queue and self._key(*self._queue[0]) != key:
            self.flush()
        self._queue.append((reading, relation))
        self._n_waiting += relation.runs.num_rows
        self._n_bytes += relation.runs.nbytes
        is_full = self._n_waiting >= QUERY_ROWS or self._n_bytes >= QUERY_BYTES
        if is_full or len(self._queue) >= QUERY_READINGS:
            self.flush()

    @staticmethod
    def _key(reading: Reading, relation: Relation) -> tuple[Any, ...]:
        # numbers of a table are written in its own style
        alone = reading.number if relation.format in TABLES else -1
        return (
            reading.mapping.mapping_id,
            relation.format,
            relation.key,
            alone,
        )

    def set_aside(self, reading: Reading, bad: list[BadLines]) -> None:
        """Put lines into quarantine, with their reasons."""
        if not bad:
            return
        rows = []
        for part in sorted(bad, key=lambda b: (b.file, b.line)):
            name = f"{reading.name}!{part.file}" if part.file else reading.name
            row = dataclasses.asdict(part) | {
                "file": name,
                "sha256": reading.sha256,
            }
            row["source"] = reading.mapping.source if reading.mapping else ""
            rows.append(row)
            if len(reading.shown) < SHOWN:
                entry = Quarantined(name, part.line, part.n_lines, part.reason)
                reading.shown.append(entry)
        reading.n_bad += sum(part.n_lines for part in bad)
        self._batch.quarantine.add_rows(rows)

    def flush(self) -> None:
        """Map and judge all rows that wait."""
        queue, self._queue = self._queue, []
        self._n_waiting = self._n_bytes = 0
        if not queue:
            return
        mapping = queue[0][0].mapping
        readings = {reading.number: reading for reading, _ in queue}
        relation = _stacked(queue)
        raw = relation.runs
        try:
            mapped = self._mapper.map(relation, mapping, queue[0][0].styles)
        except MappingError as error:
            self._set_aside_rows(refused(raw, str(error)), raw, readings)
            return
        self._set_aside_rows(mapped.bad, raw, readings)
        points = PointsOf(self._mapper.connection, readings.values())
        runs = _canonical(mapped.runs, raw, mapping, readings, points)
        judged = self._ledger.judge(runs, mapping)
        self._account(judged, readings)
        self._set_aside_rows(judged.refused(runs), raw, readings)
        self._land(judged.runs, raw, mapping)
        self._land_points(judged.runs, points)
        self._check(judged, mapping)

    def _set_aside_rows(
        self, rows: pa.Table, raw: pa.Table, readings: dict[int, Reading]
    ) -> None:
        """Rows of the relation `raw` that are no runs."""
        if not rows.num_rows:
            return
        chosen = raw.take(rows["row_"])
        texts = raw_json(chosen, self._mapper.connection)
        texts = texts.cast(pa.string())
        cells = [rows[n].to_pylist() for n in ("line", "n_lines", "reason")]
        by_reading: dict[int, list[BadLines]] = {}
        for number, text, *said in zip(
            chosen[READING_COLUMN].to_pylist(),
            pc.utf8_slice_codeunits(texts, 0, MAX_TEXT).to_pylist(),
            *cells,
            strict=True,
        ):
            bad = BadLines(*said, quote(text))
            by_reading.setdefault(number, []).append(bad)
        for number, bad in by_reading.items():
            self.set_aside(readings[number], bad)

    def _account(self, judged: Judged, readings: dict[int, Reading]) -> None:
        totals = self.totals
        is_again = any(reading.is_again for reading in readings.values())
        if not is_again:  # how raw files differ was told before
            totals.n_seen += judged.n_seen
            totals.n_changed += judged.n_changed
            totals.changed += judged.changed[: SHOWN - len(totals.changed)]
        for count in pc.value_counts(judged.runs["reading"]).to_pylist():
            readings[count["values"]].n_runs += count["counts"]

    def _land(self, runs: pa.Table, raw: pa.Table, mapping: Mapping) -> None:
        if not runs.num_rows:
            return
        here = [name for name in RUNS.names if name in runs.column_names]
        is_all = runs.num_rows == raw.num_rows

        def completed(table: pa.Table) -> pa.Table:
            cells = raw if is_all else raw.take(runs["row_"])
            texts = raw_json(cells, self._beside)
            return table.append_column("header_json", texts)

        self._batch.tables["runs"].add(runs.select(here), completed, raw.nbytes)
        for group in pc.unique(runs["group"]).to_pylist():
            self._add_space(mapping, group)

    def _land_points(self, runs: pa.Table, points: PointsOf) -> None:
        if pc.any(pc.greater(runs["n_points"], 0)).as_py():
            for piece in bronze_points(runs, points):
                self._batch.tables["run_metrics"].add(piece)

    def _add_space(self, mapping: Mapping, group: str) -> None:
        key = (mapping.source, group, mapping.space_id, mapping.ladder_id)
        if key in self._spaces:
            return
        self._spaces.add(key)
        row = {
            "source": mapping.source,
            "group": group,
            "family": mapping.family,
            "space_id": mapping.space_id,
            "space_json": mapping.space_json,
            "ladder_id": mapping.ladder_id,
            "ladder_json": mapping.ladder_json,
        }
        self._batch.tables["spaces"].add_rows([row])

    def _check(self, judged: Judged, mapping: Mapping) -> None:
        for group in pc.unique(judged.runs["group"]).to_pylist():
            origin = Origin(mapping.source, group)
            if origin not in self.checks:
                is_new = mapping.source not in self._ledger.sources
                self.checks[origin] = SourceChecks(mapping, origin, is_new)
            here = judged.runs
            if mapping.group:
                here = here.filter(pc.equal(here["group"], group))
            self.checks[origin].add(here)
        mine = [o for o in self.checks if o.source == mapping.source]
        if judged.n_repeated and mine:
            self.checks[mine[0]].add_repeated(judged)


def _stacked(queue: list[tuple[Reading, Relation]]) -> Relation:
    """All relations as one, with the number of each row's reading, and the key by which
    points name its run.
    """
    tables = []
    for reading, relation in queue:
        runs = relation.runs
        numbers = np.full(runs.num_rows, reading.number, np.int64)
        runs = runs.append_column(READING_COLUMN, pa.array(numbers))
        keys = pa.nulls(runs.num_rows, pa.string())
        if relation.key in runs.column_names:
            keys = runs[relation.key].cast(pa.string())
        tables.append(runs.append_column(KEY_COLUMN, keys))
    first = queue[0][1]
    return Relation(
        first.format,
        stack(tables).combine_chunks(),
        key=first.key,
        roles=first.roles,
    )


def _canonical(
    runs: pa.Table,
    raw: pa.Table,
    mapping: Mapping,
    readings: dict[int, Reading],
    points: PointsOf,
) -> pa.Table:
    """Rows as bronze has them, with `reading`, `key` and `place`."""
    n_rows = runs.num_rows
    numbers = raw[READING_COLUMN].take(runs["row_"]).combine_chunks()
    keys = raw[KEY_COLUMN].take(runs["row_"])
    constants = {
        "schema": SCHEMA,
        "source": mapping.source,
        "mapping_id": mapping.mapping_id,
        "family": mapping.family,
        "space_id": mapping.space_id,
        "ladder_id": mapping.ladder_id,
        "objective_name": mapping.objective.name,
        "objective_direction": mapping.objective.direction,
    }
    for name, value in constants.items():
        runs = runs.append_column(name, constant(value, n_rows))
    met = numbers.dictionary_encode()
    here = [readings[number] for number in met.dictionary.to_pylist()]
    for name in ("raw_sha256", "path_id"):
        texts = pa.array([getattr(r, name) for r in here], pa.string())
        runs = runs.append_column(name, coded(met.indices, texts))
    runs = runs.append_column("reading", numbers)
    runs = runs.append_column("key", keys)
    runs = runs.append_column("place", pa.array(np.arange(n_rows)))
    if any(reading.prefix for reading in here):
        prefixes = pa.array([reading.prefix for reading in here], pa.string())
        files = pc.binary_join_element_wise(
            prefixes.take(met.indices), runs["raw_file"].cast(pa.string()), ""
        )
        index = runs.schema.get_field_index("raw_file")
        runs = runs.set_column(index, "raw_file", files)
    return points.summarized(runs)
