"""One landing: from paths to readings, told apart from those that came before.

A file walks forward once: found -> opened -> read (a relation) -> mapped -> written.
Here it is decided which reader and mapping it gets, whether it has landed, and what is
said of it where it has none.

Invariant: raw bytes are kept before anything is read; a file that cannot be read is set
aside with its reason and never stops another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import replace

from autollm.core.errors import MappingError, RecordError
from autollm.core.mappings.mapping import RUN_LOG, Mapping
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.choosing.formats import Readers
from autollm.logs.ingest_report import Ignored, IngestReport
from autollm.logs.lake.bronze import Bronze
from autollm.logs.lake.bronze_tables import Batch
from autollm.logs.lake.known_files import KnownFiles
from autollm.logs.lake.ledger import Ledger
from autollm.logs.lake.raw_copies import raw_copies
from autollm.logs.mapped.mapper import Mapper
from autollm.logs.opening import archives
from autollm.logs.opening.archive_units import units_of_archive
from autollm.logs.opening.contents import contents_at, member_path_id, parts_of
from autollm.logs.opening.found import Found
from autollm.logs.opening.opened import (
    Opened,
    RawFile,
    head_of,
    plain_name,
    why_unread,
)
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.pairs import JoinedRows, Waiting, WaitingFile
from autollm.logs.readings import Landing, Reading
from autollm.logs.relation import (
    FileReader,
    FolderReader,
    OpenedFolder,
    Relation,
)
from autollm.logs.reporting import report_of
from autollm.logs.tables.blocks import HEAD_BYTES
from autollm.logs.taking import (
    Taking,
    folder_relations,
    refused_whole,
    relations_of,
)
from autollm.logs.units import Unit


class Session:
    """One ingest: what the lake held before, and the batch that grows. `say` is told
    how far a long file is; `again` are sources that are read anew from their raw files.
    """

    def __init__(
        self,
        bronze: Bronze,
        choice: MappingChoice,
        readers: Readers,
        batch: Batch,
        say: Callable[[str], None] = lambda text: None,
        again: Iterable[str] = (),
        reasons: AnyMapping[str, str] | None = None,
    ):
        self._bronze, self._choice, self._batch = bronze, choice, batch
        self._readers, self._reasons = readers, reasons or {}
        self._known = KnownFiles(bronze, choice, again)
        mapper = Mapper()
        forgotten = frozenset(self._known.again)
        ledger = Ledger(bronze, mapper.connection, forgotten)
        self._landing = Landing(batch, mapper, ledger)
        self._taking = Taking(self._landing, choice, batch, say)
        self._waiting = Waiting()
        self._finished: list[Reading] = []
        self._n_readings = self._n_skipped = 0
        self._ignored: list[Ignored] = []
        self._landed_as = ""  # the source that is read anew, while it is

    def land_again(self) -> None:
        """Read the raw files of the sources that are read anew."""
        for source in self._known.again:
            files, folders = raw_copies(self._bronze, source)
            self._landed_as = source
            for found in files:
                self._land_found(found, in_folder=True)
            for folder in folders:
                self._land_folder(folder, self._readers.folders)
        self._landing.flush()
        self._landed_as = ""

    def land(self, path: str) -> None:
        """Read a file, or what lies in a folder.

        Raises:
            FileNotFoundError: nothing there.
        """
        readers = self._folder_readers()
        here = contents_at(path, readers)
        for folder in here.folders:
            self._land_folder(folder, readers)
        for found in here.files:
            self._land_found(found, in_folder=here.is_folder)

    def _folder_readers(self) -> tuple[FolderReader, ...]:
        named, readers = self._choice.named, self._readers.folders
        if named is None:
            return readers
        return tuple(r for r in readers if r.format == named.format)

    def land_rest(self) -> None:
        """Files of a pair that waited in vain for a partner in their own folder."""
        for held, other in self._waiting.rest():
            if isinstance(other, WaitingFile):
                self._land_pair(held, other)
            elif self._has_come(held.unit.opened):
                self._n_skipped += 1
            else:
                self._set_aside_whole(held.unit, other)

    def _land_found(self, found: Found, in_folder: bool) -> None:
        if found.problem:
            self._land_problem(found, found.problem)
            return
        try:
            raw = RawFile(found)
            if archives.is_archive(found.name):
                self._land_archive(raw)
                return
            head = raw.head(HEAD_BYTES)
            reader = self._readers.for_file(found.place, head, self._choice)
            if reader is None:
                self._ignore(found.name, why_unread(found.name))
                return
            parts = parts_of(raw.opened(), reader)
            if parts:
                self._land_parts(raw, parts, reader)
                return
            where = (found.place, reader, found.path_id, self._landed_as)
            if in_folder and not self._is_wanted(*where, log=raw):
                return
            if raw.is_large and not self._known.has_size(raw.n_bytes):
                self._keep(raw)
            opened = raw.opened()
        except (OSError, RecordError) as error:
            self._land_problem(found, f"cannot be read: {_plain(error)}")
            return
        unit = Unit(opened, raw, "file", found.path_id, found.folder_id, reader)
        self._land_unit(unit)

    def _land_parts(
        self, raw: RawFile, parts: Sequence[Opened], reader: FileReader
    ) -> None:
        """The tables of one file, as members of it."""
        whole = raw.found.path_id
        for part in parts:
            own_id = member_path_id(whole, part.name)
            if self._is_wanted(part.name, reader, own_id):
                self._land_unit(Unit(part, raw, "member", whole, "", reader))

    def _is_wanted(
        self,
        place: str,
        reader: FileReader,
        path_id: str,
        landed_as: str = "",
        log: RawFile | Opened | None = None,
    ) -> bool:
        """Whether a file of a folder is read: what a mapping claims, and run logs. A copy
        of what has landed is not.
        """
        if reader.format == RUN_LOG and self._choice.named is None:
            return True
        is_claimed = self._choice.claims(place, reader.format, landed_as)
        if is_claimed and path_id not in self._reasons:
            return True
        if log is not None and self._known.has_copy(log.sha256):
            self._n_skipped += 1
            return False
        name = short_name(place)
        self._ignore(name, self._unclaimed(name, reader.format, path_id))
        return False

    def _unclaimed(self, name: str, file_format: str, path_id: str) -> str:
        known = self._reasons.get(path_id)
        return known or (
            f"no mapping says what the columns of {name} mean ({file_format}). Fix: "
            f"autollm ingest guesses one; or correct what autollm sources inspect {name} "
            "proposes, then autollm sources add; or --as MAPPING."
        )

    def _ignore(self, name: str, reason: str) -> None:
        self._ignored.append(Ignored(name, reason))

    def _land_problem(self, found: Found, problem: str) -> None:
        """A file that is not even opened, once."""
        digest = hashlib.sha256(f"{found.name}: {problem}".encode()).hexdigest()
        opened = Opened(found.name, digest, 0, b"", problem=problem)
        if not self._known.holds(digest):
            unit = Unit(opened, None, "file", found.path_id, found.folder_id)
            self._set_aside_whole(unit, problem)

    def _land_archive(self, raw: RawFile) -> None:
        found, n_new = raw.found, 0
        readers = self._folder_readers()
        for opened in units_of_archive(raw, readers):
            if isinstance(opened, RunFolder):
                self._land_folder(opened, readers)
                continue
            if not opened.problem:
                own_id = member_path_id(found.path_id, opened.name)
                reader = self._member_reader(opened, own_id)
                if reader is None:
                    continue
                inner = opened.name.rpartition("/")[0] or raw.sha256
                unit = Unit(opened, raw, "member", found.path_id, inner, reader)
                n_new += self._land_unit(unit)
                continue
            if not self._known.holds(raw.sha256, opened.name):
                unit = Unit(opened, raw, "member", found.path_id, "")
                self._keep(raw)
                self._set_aside_whole(unit, opened.problem)
                n_new += 1
        if n_new:
            whole = Unit(raw.opened(), raw, "archive", found.path_id, "")
            self._finish(self._reading(whole))

    def _member_reader(self, opened: Opened, path_id: str) -> FileReader | None:
        name = opened.name.rsplit("!", 1)[-1]
        if archives.is_archive(name):
            self._ignore(opened.name, "an archive inside an archive")
            return None
        head = head_of(opened, HEAD_BYTES)
        reader = self._readers.for_file(opened.name, head, self._choice)
        if reader is None:
            self._ignore(opened.name, why_unread(opened.name))
            return None
        is_wanted = self._is_wanted(opened.name, reader, path_id, log=opened)
        return reader if is_wanted else None

    def _land_unit(self, unit: Unit) -> bool:
        """Read a file, unless it has landed; whether it was new."""
        opened, reader = unit.opened, unit.reader
        pair = self._choice.pair_of(opened.name)
        if pair is not None and pair[0].format == reader.format:
            return self._hold(unit, *pair)
        mapping = None
        if reader.format != RUN_LOG:
            mapping = self._mapping_for(unit, reader.format)
        if self._known.has_landed(
            opened, mapping, is_log=reader.format == RUN_LOG
        ):
            self._n_skipped += 1
            return False
        self._keep(unit.raw)
        if unit.raw is not None and unit.kind == "file":
            # a large file is read from its raw copy
            unit = replace(unit, opened=unit.raw.opened())
        if unit.opened.problem:
            self._set_aside_whole(unit, unit.opened.problem, mapping)
        elif mapping is None and reader.format != RUN_LOG:
            name, path_id = unit.opened.name, unit.own_path_id
            reason = self._unclaimed(name, reader.format, path_id)
            self._set_aside_whole(unit, reason)
        else:
            reading = self._reading(unit, mapping)
            self._read(reading, relations_of(unit))
        return True

    def _mapping_for(self, unit: Unit, file_format: str) -> Mapping | None:
        named = self._choice.named
        if named is not None:
            return named if named.format == file_format else None
        if unit.own_path_id in self._reasons:
            return None
        # an archive holds members of other sources, too
        landed_as = self._landed_as if unit.kind == "file" else ""
        return self._choice.for_file(unit.place, file_format, landed_as)

    def _reading(self, unit: Unit, mapping: Mapping | None = None) -> Reading:
        self._n_readings += 1
        is_again = bool(self._landed_as)
        return unit.reading(self._n_readings, mapping, is_again)

    def _has_come(self, opened: Opened) -> bool:
        """Whether a file of a pair came before, with its partner or without."""
        return self._known.holds(opened.sha256, opened.name)

    def _read(self, reading: Reading, relations: Iterable[Relation]) -> None:
        self._taking.take(reading, relations)
        self._finish(reading)

    def _set_aside_whole(
        self, unit: Unit, reason: str, mapping: Mapping | None = None
    ) -> None:
        """A file of which nothing is read."""
        reading = self._reading(unit, mapping)
        if unit.kind == "file":
            self._keep(unit.raw)
        refused = refused_whole(unit.opened, reading.format, reason)
        self._landing.add(reading, refused)
        self._finish(reading)

    def _hold(
        self, unit: Unit, mapping: Mapping, names: tuple[str, str]
    ) -> bool:
        """A table of a pair: read when both are there."""
        is_new = not self._has_come(unit.opened)
        if is_new:
            self._keep(unit.raw)
        is_main = names[0] == plain_name(short_name(unit.opened.name))
        pair = self._waiting.add(
            WaitingFile(unit, unit.folder, mapping, *names, is_main)
        )
        if pair is not None:
            return self._land_pair(*pair)
        return is_new

    def _land_pair(self, main: WaitingFile, partner: WaitingFile) -> bool:
        """Two files that make one table; a pair that has landed is skipped."""
        pair, mapping = (main, partner), main.mapping
        if all(
            self._known.has_landed(h.unit.opened, mapping, by_name=True)
            for h in pair
        ):
            self._n_skipped += 2
            return False
        opened = (held.unit.opened for held in pair)
        broken = next((file for file in opened if file.problem), None)
        if broken is not None:
            other = f"it belongs to {broken.name}, which cannot be read: {broken.problem}"
            for held in pair:
                own = held.unit.opened.problem
                self._set_aside_whole(held.unit, own or other, mapping)
            return True
        main_reading = self._reading(main.unit, mapping)
        partner_reading = self._reading(partner.unit, mapping)
        relations = list(relations_of(partner.unit))
        try:
            joined = JoinedRows(mapping, partner.unit.opened.name, relations)
            parts = []
            for relation in relations_of(main.unit):
                has_rows = relation.runs.num_rows
                parts.append(joined.join(relation) if has_rows else relation)
        except MappingError as error:
            for held in pair:
                self._set_aside_whole(held.unit, str(error), mapping)
            return True
        self._read(main_reading, parts)
        self._read(partner_reading, [joined.finish(main.unit.opened.name)])
        return True

    def _land_folder(
        self, folder: RunFolder, readers: tuple[FolderReader, ...]
    ) -> None:
        """A run folder, unless it has landed as it is."""
        reader = next(r for r in readers if r.format == folder.format)
        mapping = self._folder_mapping(folder)
        try:
            opened, raws = folder.opened()
        except OSError as error:
            found = next(iter(folder.files.values()))
            self._land_problem(found, f"cannot be read: {_plain(error)}")
            return
        if self._known.has_landed(opened, mapping):
            self._n_skipped += 1
            return
        if mapping is None:
            reason = self._unclaimed(folder.name, folder.format, folder.path_id)
            self._ignore(folder.name, reason)
            return
        for inside, raw in raws.items():
            self._keep(raw)
            member = Opened(
                f"{folder.name}!{inside}", raw.sha256, raw.n_bytes, b""
            )
            unit = Unit(member, raw, "part", folder.path_id, "")
            entry = self._reading(unit, mapping)
            self._finish(entry)
        unit = Unit(opened, None, "folder", folder.path_id, "")
        reading = self._reading(unit, mapping)
        reading.format, reading.prefix = folder.format, f"{folder.name}!"
        files = {}
        for inside, raw in raws.items():
            files[inside] = replace(raw.opened(), name=inside)
        whole = OpenedFolder(folder.name, files)
        self._read(reading, folder_relations(reader, whole))

    def _folder_mapping(self, folder: RunFolder) -> Mapping | None:
        named = self._choice.named
        if named is not None:
            return named if named.format == folder.format else None
        if folder.path_id in self._reasons:
            return None
        return self._choice.for_folder(
            folder.place, folder.files, folder.format, self._landed_as
        )

    def _keep(self, raw: RawFile | None) -> None:
        if raw is not None:
            raw.keep(self._bronze.fs, self._bronze.root)

    def _finish(self, reading: Reading) -> None:
        self._finished.append(reading)
        self._known.add(reading)

    def commit(self) -> IngestReport:
        """Write the batch, if there is anything in it."""
        self._landing.flush()
        files = []
        for reading in self._finished:
            version = self._known.next_version(reading.path_id)
            files.append(reading.file_row(version))
        batch_id = self._bronze.new_batch_id(files, bool(self._known.again))
        if batch_id is None:
            files = []
        self._batch.tables["files"].add_rows(files)
        if batch_id is not None or self._known.again:
            self._bronze.write(batch_id, self._batch, self._known.again)
        return report_of(
            batch_id,
            self._finished,
            self._landing,
            self._batch,
            self._known,
            self._n_skipped,
            self._ignored,
            self._taking.notes,
        )


def _plain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
