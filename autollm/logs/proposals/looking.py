"""From paths to tables, and from a table to its relations: the same files, readers and
order as when they land.

    path -> run folders, files, members of archives (logs) -> tables -> relations

A run folder is one run, so that many of them make one table; files are one table where
they have the same columns. Invariant: nothing is written; what cannot be read stops
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autollm.core.errors import AutoLLMError, MappingError, RecordError
from autollm.core.mappings.mapping import RUN_LOG, Mapping
from autollm.core.mappings.mapping_checks import TABLES
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.choosing.formats import Readers, readers_of
from autollm.logs.opening.archive_units import units_of_archive
from autollm.logs.opening.archives import is_archive
from autollm.logs.opening.contents import contents_at, member_path_id, parts_of
from autollm.logs.opening.found import Found, clean_place
from autollm.logs.opening.opened import (
    Opened,
    RawFile,
    head_of,
    why_unread,
)
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.proposals.columns import Sampler
from autollm.logs.proposals.sweeps import sweeps_of
from autollm.logs.proposals.table_names import Log, common_name, names_of
from autollm.logs.readers.tools.tool_tables import recognized
from autollm.logs.relation import (
    OWN_COLUMNS,
    FileReader,
    OpenedFolder,
    Relation,
)
from autollm.logs.tables.blocks import HEAD_BYTES

KNOWN_FORMATS = (
    ".csv, .tsv, .jsonl, .ndjson, .parquet, .pq or a log of a known tool"
)
MOST_LOGS = 2_000
"""Files or run folders of one table that are looked at."""
MOST_MEMBERS = 20_000
MOST_MEMBER_BYTES = 256 * 2**20
"""Of an archive's members, which are held in memory."""


@dataclass
class LogTable:
    """Logs that are one table, the mapping that claims them, and the `folder` that
    names_of asks for.
    """

    logs: list[Log]
    folder: str
    mapping: Mapping | None = None


class Walk:
    """What lies at some paths, as tables. With a `choice` of mappings what they read is
    `known` and left out, but for what mappings of the home itself claim.
    """

    def __init__(self, readers: Readers, choice: MappingChoice | None = None):
        self._readers, self._choice = readers, choice
        self._archives: dict[str, Found] = {}
        self._path_of: dict[str, str] = {}
        self.known: set[str] = set()
        """Paths that hold something which is read without a guess."""
        self.unread: list[str] = []
        """Names of files that no reader knows."""

    def tables(self, paths: Iterable[str]) -> list[LogTable]:
        """The tables at some paths; run folders of several paths are one table where
        their settings are the same.

        Raises:
            FileNotFoundError: nothing there.
        """
        roots: list[str] = []
        folders: list[RunFolder] = []
        tables: dict[Any, LogTable] = {}
        for path in paths:
            here = contents_at(path, self._readers.folders)
            found = list(here.folders)
            for file in here.files:
                self._path_of[file.path_id] = path
                where = file.name if is_archive(file.name) else here.root
                for log in self._logs_of(file):
                    if isinstance(log, RunFolder):
                        found.append(log)
                    else:
                        self._add(tables, log, where)
            self._path_of |= {folder.path_id: path for folder in found}
            folders += found
            root = here.root if here.is_folder else here.files[0].path
            roots += [root] * bool(found)
        root = roots[0] if len(roots) == 1 else ""
        return [*self._tables_of_runs(folders, root), *tables.values()]

    def path_of(self, log: Log) -> str:
        """The path at which a log, or the archive that holds it, was found."""
        return self._path_of[self._outer_id(log)]

    def path_id(self, log: Log) -> str:
        """See `Found.path_id`; of a member, by that of its archive."""
        outer = self._outer_id(log)
        is_member = isinstance(log, Opened)
        return member_path_id(outer, log.name) if is_member else outer

    def _outer_id(self, log: Log) -> str:
        if isinstance(log, Opened):
            return self._archives[log.name.split("!")[0]].path_id
        return log.path_id

    def _logs_of(self, file: Found) -> Iterator[Log]:
        """The file, its tables where it holds several, or what an archive holds."""
        if is_archive(file.name) and not file.problem:
            self._archives[file.name] = file
            try:
                yield from held_logs(file, self._readers)
            except OSError:
                self.unread.append(file.name)
            return
        parts = _parts_of_file(file, self._readers)
        if parts:
            self._archives[file.name] = file
        yield from parts or [file]

    def _add(
        self, tables: dict[Any, LogTable], log: Found | Opened, where: str
    ) -> None:
        reader = reader_of(log, self._readers, self._choice)
        if reader is None:
            self.unread.append(log.name)
            return
        mapping = None
        if self._choice is not None:
            place = log.name if isinstance(log, Opened) else log.place
            mapping = self._choice.for_file(place, reader.format)
            is_kept = mapping is not None and mapping in self._choice.own
            is_claimed = self._choice.claims(place, reader.format)
            if reader.format == RUN_LOG or (is_claimed and not is_kept):
                self.known.add(self.path_of(log))
                return
        key = (where, mapping and mapping.source, *self._shared(log, reader))
        tables.setdefault(key, LogTable([], where, mapping)).logs.append(log)

    def _shared(
        self, log: Found | Opened, reader: FileReader
    ) -> tuple[str, ...]:
        """What a file shares with others of its table."""
        if reader.format not in TABLES:
            part = log.part if isinstance(log, Opened) else ""
            return reader.format, part
        try:
            first = next(read_log(log, self._readers), None)
        except MappingError:
            return reader.format, log.name
        columns = first.runs.column_names if first else ()
        return reader.format, *sorted(set(columns) - OWN_COLUMNS)

    def _tables_of_runs(
        self, folders: Sequence[RunFolder], root: str
    ) -> Iterator[LogTable]:
        """Those of run folders: what one mapping claims, or none does, of one format and
        one sweep.
        """
        kinds: dict[Any, LogTable] = {}
        for folder in folders:
            mapping = None
            if self._choice is not None:
                mapping = self._choice.for_folder(
                    folder.place, folder.files, folder.format
                )
            key = (mapping and mapping.source, folder.format)
            kind = kinds.setdefault(key, LogTable([], "", mapping))
            kind.logs.append(folder)
        for kind in kinds.values():
            sweeps = sweeps_of(kind.logs, lambda r: read_log(r, self._readers))
            for sweep in sweeps:
                parents = {run.place.rpartition("/")[0] for run in sweep}
                is_whole = len(parents) > 1 or sweep[0].place == clean_place(
                    root
                )
                is_root = is_whole and len(sweeps) == 1
                yield LogTable(sweep, root if is_root else "", kind.mapping)


@dataclass
class Looked:
    """What was found at a path. `others`: names of files of other formats; `source` and
    `files`: what the table may be called, and the patterns of its files.
    """

    name: str
    source: str = "table"
    files: list[str] = field(default_factory=list)
    sampler: Sampler = field(default_factory=Sampler)
    others: list[str] = field(default_factory=list)
    n_left: int = 0

    @property
    def relations(self) -> list[Relation]:
        """The relations, thinned."""
        return self.sampler.relations

    def take(self, relations: Iterable[Relation]) -> Looked:
        """Take relations in."""
        for relation in relations:
            self.sampler.add(relation)
        return self


def look_at(path: str, home: str = "") -> Looked:
    """The relations of a file, or of the largest table below a folder: run folders before
    files.

    Raises:
        FileNotFoundError: nothing there.
        MappingError: nothing of it can be read.
    """
    readers = readers_of(home)
    here = contents_at(path, readers.folders)
    if not here.is_folder and not is_archive(here.files[0].name):
        parts = _parts_of_file(here.files[0], readers)
        looked = look_at_logs(parts[:1] or here.files, readers, here.root)
        looked.others = [part.name for part in parts[1:]]
        return looked
    walk = Walk(readers)
    tables = walk.tables([path])
    if not tables:
        raise MappingError(
            f"{path} holds no log that can be read. Expected {KNOWN_FORMATS}."
        )
    chosen = max(
        tables, key=lambda t: (isinstance(t.logs[0], RunFolder), len(t.logs))
    )
    looked = look_at_logs(chosen.logs, readers, chosen.folder)
    others = [log.name for t in tables if t is not chosen for log in t.logs]
    looked.others = [*others, *walk.unread]
    return looked


def look_at_logs(logs: Sequence[Log], readers: Readers, folder: str) -> Looked:
    """The relations of logs of one table; one that cannot be read stops no other.

    Raises:
        MappingError: none of them can be read.
    """
    source, patterns = next(names_of(logs, folder))
    looked = Looked(shown_name(logs, folder), source, patterns)
    looked.n_left = max(0, len(logs) - MOST_LOGS)
    broken: list[MappingError] = []
    for log in logs[:MOST_LOGS]:
        try:
            looked.take(read_log(log, readers))
        except MappingError as error:
            broken.append(error)
    if len(broken) == min(len(logs), MOST_LOGS):
        raise broken[0]
    return looked


def held_logs(archive: Found, readers: Readers) -> Iterator[RunFolder | Opened]:
    """The run folders and members of an archive that can be read, as many as are looked
    at, and no more than MOST_MEMBER_BYTES of them.

    Raises:
        OSError: the archive cannot be opened.
    """
    n_bytes = n_members = 0
    for log in units_of_archive(RawFile(archive), readers.folders):
        if isinstance(log, RunFolder):
            sizes = [len(file.data or b"") for file in log.files.values()]
        else:
            sizes = [log.n_bytes]
        n_bytes, n_members = n_bytes + sum(sizes), n_members + len(sizes)
        if n_members > MOST_MEMBERS or n_bytes > MOST_MEMBER_BYTES:
            return
        if isinstance(log, RunFolder) or not log.problem:
            yield log


def _parts_of_file(file: Found, readers: Readers) -> list[Opened]:
    """The tables of a file that holds several."""
    reader = reader_of(file, readers)
    if reader is None or not hasattr(reader, "parts"):
        return []
    return parts_of(RawFile(file).opened(), reader)


def reader_of(
    file: Found | Opened, readers: Readers, choice: MappingChoice | None = None
) -> FileReader | None:
    """The reader of a file or of an archive's member, None where nobody knows it."""
    if file.problem:
        return None
    try:
        if isinstance(file, Opened):
            place, head = file.name, head_of(file, HEAD_BYTES)
        else:
            place, head = file.place, RawFile(file).head(HEAD_BYTES)
    except (OSError, RecordError):
        return None
    return readers.for_file(place, head, choice or MappingChoice())


def shown_name(logs: Sequence[Log], folder: str) -> str:
    """What messages call some logs."""
    if len(logs) == 1:
        name = logs[0].name
        return short_name(name) if isinstance(logs[0], Opened) else name
    _, patterns = next(names_of(logs, folder))
    if "*" in patterns[0]:
        return patterns[0]
    names = [short_name(log.name) for log in logs]
    return f"{clean_place(folder).rpartition('/')[2]}/{common_name(names)}"


def read_log(log: Log, readers: Readers) -> Iterator[Relation]:
    """The relations of what is read as one.

    Raises:
        MappingError: it cannot be read.
    """
    is_folder = isinstance(log, RunFolder)
    read = _read_folder if is_folder else _read_file
    try:
        yield from read(log, readers)
    except (AutoLLMError, OSError) as error:
        raise MappingError(f"{log.name}: {error}") from None


def _read_folder(folder: RunFolder, readers: Readers) -> Iterator[Relation]:
    files = {}
    for inside, found in folder.files.items():
        files[inside] = replace(RawFile(found).opened(), name=inside)
    reader = readers.named(folder.format)
    yield from reader.read(OpenedFolder(folder.name, files))


def _read_file(file: Found | Opened, readers: Readers) -> Iterator[Relation]:
    if file.problem:
        raise RecordError(file.problem)
    opened = file if isinstance(file, Opened) else RawFile(file).opened()
    if opened.problem:
        raise RecordError(opened.problem)
    reader = reader_of(file, readers)
    if reader is None:
        raise RecordError(
            f"{why_unread(file.name)}. Expected {KNOWN_FORMATS}, plain or compressed "
            "(.gz, .zst)."
        )
    for relation in reader.read(opened):
        # the tool's table keeps the format of its file: that is what is mapped
        yield replace(recognized(relation), format=relation.format)
