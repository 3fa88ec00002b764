"""The relations of one file or folder on their way into the landing: checked against
their mapping, with what readers say of them.

Invariant: a table whose header does not fit its mapping is set aside as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import AutoLLMError, MappingError, RecordError
from autollm.core.mappings.mapping import RUN_LOG
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.ingest_report import SHOWN
from autollm.logs.lake.bronze_tables import Batch
from autollm.logs.lake.points import WaitingPoints
from autollm.logs.mapped.header_check import check_columns
from autollm.logs.opening.opened import Opened, plain_name
from autollm.logs.readers.tools.tool_tables import recognized
from autollm.logs.readings import Landing, Reading
from autollm.logs.relation import (
    BadLines,
    FolderReader,
    OpenedFolder,
    Relation,
)
from autollm.logs.tables.blocks import whole_file
from autollm.logs.units import Unit

TEXTS = ("csv", "jsonl", RUN_LOG)
"""Formats of which every line is accounted for."""
SAY_EVERY_S = 10.0
"""How often a long file says how far it is."""


class Taking:
    """Takes readings to their end. `notes` are what readers say of files."""

    def __init__(
        self,
        landing: Landing,
        choice: MappingChoice,
        batch: Batch,
        say: Callable[[str], None],
    ):
        self._landing, self._choice = landing, choice
        self._batch, self._say = batch, say
        self.notes: list[str] = []

    def take(self, reading: Reading, relations: Iterable[Relation]) -> None:
        """Take the relations of one file or folder to its end."""
        begun = said = time.monotonic()
        late: list[Relation] = []
        for relation in relations:
            for note in relation.notes[: max(SHOWN - len(self.notes), 0)]:
                self.notes.append(f"{reading.name}: {note}")
            ready = self._checked(reading, relation)
            if ready.points is None:
                self._landing.add(reading, ready)
            else:  # a run lands when its history is whole
                self._keep_points(reading, ready.points)
                late.append(ready)
            now = time.monotonic()
            if now - said >= SAY_EVERY_S:
                said = now
                pace = reading.n_lines / max(now - begun, 1e-9)
                self._say(
                    f"{reading.name}: {reading.n_lines:,} lines read, {pace:,.0f} a "
                    "second"
                )
        for relation in late:
            self._landing.add(reading, relation)

    def _keep_points(self, reading: Reading, points: pa.Table) -> None:
        if points["value"].null_count:  # a point without a value is none
            points = points.filter(pc.is_valid(points["value"]))
        if reading.points is None:
            reading.points = WaitingPoints(self._batch.folder)
        reading.points.add(points)

    def _checked(self, reading: Reading, relation: Relation) -> Relation:
        """The relation, where its mapping is known and its header fits; else all of its
        lines are bad.
        """
        if not relation.runs.num_rows:
            return relation
        if reading.mapping is None:
            reading.source = str(relation.runs["source"][0])
            reading.mapping = self._choice.for_source(reading.source)
            if reading.mapping is None:
                return self._unusable(
                    relation, self._unknown_source(reading.source)
                )
        try:
            if (
                not reading.is_checked
            ):  # later blocks of JSON lines may lack a key
                check_columns(
                    reading.mapping, relation, relation.runs.column_names
                )
        except MappingError as error:
            return self._unusable(relation, f"{reading.name}: {error}")
        reading.is_checked = True
        part = reading.mapping.part(plain_name(short_name(reading.name)))
        if reading.mapping.tables and part is not None:
            return _with_constants(relation, part.constants)
        return relation

    def _unknown_source(self, source: str) -> str:
        known = [
            m.source for m in self._choice.candidates if m.format == RUN_LOG
        ]
        return (
            f"no mapping for the source {source!r}. Known: {', '.join(known) or 'none'}. "
            "Fix: land it with a mapping file of that source."
        )

    @staticmethod
    def _unusable(relation: Relation, reason: str) -> Relation:
        """All lines of a relation as one bad entry."""
        n_lines = relation.n_lines
        line = min(1, n_lines)
        bad = (BadLines(line, n_lines, reason, ""),)
        return Relation(relation.format, pa.table({}), bad=bad, n_lines=n_lines)


def _with_constants(relation: Relation, constants: dict[str, Any]) -> Relation:
    rows = relation.runs
    for name, value in constants.items():
        rows = rows.append_column(
            name, pa.repeat(pa.scalar(value), rows.num_rows)
        )
    return replace(relation, runs=rows)


def relations_of(unit: Unit) -> Iterator[Relation]:
    """What a file's reader makes of it; a file that it refuses is one bad entry."""
    n_lines = 0
    try:
        for relation in unit.reader.read(unit.opened):
            n_lines += relation.n_lines
            yield replace(recognized(relation), format=relation.format)
    except (RecordError, OSError, pa.ArrowException) as error:
        file_format = unit.reader.format
        if n_lines:
            yield _refused(file_format, error)
        else:
            yield refused_whole(unit.opened, file_format, str(error))


def refused_whole(opened: Opened, file_format: str, reason: str) -> Relation:
    """A file of which nothing is read: the lines of a text as one bad entry."""
    if opened.problem or not opened.n_bytes or file_format not in TEXTS:
        return _refused(file_format, reason)
    with opened.open() as stream:
        account = whole_file(stream, reason)
    bad = tuple(account.bad)
    return Relation(file_format, pa.table({}), bad=bad, n_lines=account.n_lines)


def folder_relations(
    reader: FolderReader, folder: OpenedFolder
) -> Iterator[Relation]:
    """What a run folder's reader makes of it."""
    try:
        yield from reader.read(folder)
    except (AutoLLMError, OSError, pa.ArrowException) as error:
        yield _refused(reader.format, error)


def _refused(file_format: str, error: object) -> Relation:
    bad = (BadLines(0, 0, str(error), ""),)
    return Relation(file_format, pa.table({}), bad=bad)
