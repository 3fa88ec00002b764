"""From a path to relations: the same files, readers and order as when it lands.

Of a folder, the run folders and files of the commonest format are looked at; a run
folder is one run, so that many of them make one table. Invariant: nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from autollm.core.errors import AutoLLMError, MappingError, RecordError
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.choosing.formats import Readers, readers_of
from autollm.logs.opening.archives import is_archive
from autollm.logs.opening.found import Found, clean_place, find_files
from autollm.logs.opening.opened import Opened, RawFile, head_of
from autollm.logs.opening.run_folders import RunFolder, claimed_folders
from autollm.logs.proposals.columns import Sampler
from autollm.logs.proposals.sweeps import sweeps_of
from autollm.logs.proposals.table_names import Unit, common_name, names_of
from autollm.logs.readers.tool_tables import recognized
from autollm.logs.relation import FileReader, OpenedFolder, Relation
from autollm.logs.tables.blocks import HEAD_BYTES

KNOWN_FORMATS = (
    ".csv, .tsv, .jsonl, .ndjson, .parquet, .pq or a log of a known tool"
)
MOST_UNITS = 2_000
"""Files or run folders of one folder that are looked at."""
MOST_MEMBER_BYTES = 256 * 2**20
"""Of an archive's members, which are held in memory."""


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
    n_units: int = 1
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
    """The relations of a file, or of the files and run folders of a folder.

    Raises:
        FileNotFoundError: nothing there.
        MappingError: nothing of it can be read.
    """
    readers = readers_of(home)
    files, is_folder = find_files(path)
    if not is_folder and not is_archive(files[0].name):
        return look_at_units(files, readers, files[0].path)
    if not is_folder:
        return _look_into(files[0], readers)
    root = files[0].path.removesuffix(files[0].inside) if files else path
    folders = claimed_folders(files, readers.folders)
    claimed = set().union(*(folder.claimed for folder in folders))
    rest = [f for f in files if f.inside not in claimed and not f.is_hidden]
    units: Sequence[Unit] = _of_one_format(rest, readers)
    others: list[RunFolder] = []
    if folders:
        tables = tables_of_runs(folders, root, readers)
        units, root = max(tables, key=lambda table: len(table[0]))
        others = [f for f in folders if f not in units]
    if not units:
        raise MappingError(
            f"{path} holds no log that can be read. Expected {KNOWN_FORMATS}."
        )
    looked = look_at_units(units, readers, root)
    names = {id(unit) for unit in units}
    looked.others = [f.name for f in (*others, *rest) if id(f) not in names]
    return looked


def tables_of_runs(
    folders: Sequence[RunFolder], root: str, readers: Readers
) -> list[tuple[list[RunFolder], str]]:
    """The run folders below `root` that are one table each, with the `folder` that
    names_of asks for.
    """
    by_format: dict[str, list[RunFolder]] = {}
    for folder in folders:
        by_format.setdefault(folder.format, []).append(folder)
    tables = []
    for runs in by_format.values():
        sweeps = sweeps_of(runs, lambda run: read_unit(run, readers))
        for sweep in sweeps:
            parents = {run.place.rpartition("/")[0] for run in sweep}
            is_whole = len(parents) > 1 or sweep[0].place == clean_place(root)
            is_root = is_whole and len(sweeps) == 1
            tables.append((sweep, root if is_root else ""))
    return tables


def look_at_units(
    units: Sequence[Unit], readers: Readers, folder: str
) -> Looked:
    """The relations of files, run folders and members of one format below a folder; one
    that cannot be read stops no other.

    Raises:
        MappingError: none of them can be read.
    """
    source, patterns = next(names_of(units, folder))
    looked = Looked(shown_name(units, folder), source, patterns)
    looked.n_units = len(units)
    looked.n_left = max(0, len(units) - MOST_UNITS)
    broken: list[MappingError] = []
    for unit in units[:MOST_UNITS]:
        try:
            looked.take(read_unit(unit, readers))
        except MappingError as error:
            broken.append(error)
    if broken and len(broken) == len(units[:MOST_UNITS]):
        raise broken[0]
    return looked


def members_of(found: Found) -> Iterator[Opened]:
    """The members of an archive that can be read, as many as are looked at, and no more
    than MOST_MEMBER_BYTES of them.

    Raises:
        OSError: the archive cannot be opened.
    """
    n_bytes = 0
    for number, member in enumerate(RawFile(found).members(), start=1):
        n_bytes += member.n_bytes
        if number > MOST_UNITS or n_bytes > MOST_MEMBER_BYTES:
            return
        if not member.problem:
            yield member


def _look_into(found: Found, readers: Readers) -> Looked:
    """The members of an archive that are of its commonest format."""
    try:
        members = list(members_of(found))
    except OSError as error:
        raise MappingError(f"{found.name}: {error}") from None
    formats = {}
    for member in members:
        reader = reader_of_member(member, readers)
        if reader is not None:
            formats[member.name] = reader.format
    if not formats:
        raise MappingError(
            f"{found.name} holds no log that can be read. Expected {KNOWN_FORMATS}."
        )
    commonest = _commonest(formats.values())
    units = [m for m in members if formats.get(m.name) == commonest]
    looked = look_at_units(units, readers, found.name)
    looked.others = [n for n, kind in formats.items() if kind != commonest]
    return looked


def reader_of_member(member: Opened, readers: Readers) -> FileReader | None:
    """The reader of an archive's member, None where nobody knows it."""
    try:
        head = head_of(member, HEAD_BYTES)
    except RecordError:
        return None
    return readers.for_file(short_name(member.name), head, MappingChoice())


def _of_one_format(files: list[Found], readers: Readers) -> list[Found]:
    """The files of the commonest format."""
    formats = {}
    for found in files:
        reader = _reader_of(found, readers)
        if reader is not None:
            formats[found.inside] = reader.format
    if not formats:
        return []
    commonest = _commonest(formats.values())
    return [f for f in files if formats.get(f.inside) == commonest]


def _commonest(formats: Iterable[str]) -> str:
    """Of equally common ones the first."""
    ((format_, _),) = Counter(formats).most_common(1)
    return format_


def shown_name(units: Sequence[Unit], folder: str) -> str:
    """What messages call some units."""
    if len(units) == 1:
        name = units[0].name
        return short_name(name) if isinstance(units[0], Opened) else name
    _, patterns = next(names_of(units, folder))
    if "*" in patterns[0]:
        return patterns[0]
    names = [short_name(unit.name) for unit in units]
    return f"{clean_place(folder).rpartition('/')[2]}/{common_name(names)}"


def _reader_of(found: Found, readers: Readers) -> FileReader | None:
    if found.problem:
        return None
    try:
        head = RawFile(found).head(HEAD_BYTES)
    except OSError:
        return None
    return readers.for_file(found.name, head, MappingChoice())


def read_unit(unit: Unit, readers: Readers) -> Iterator[Relation]:
    """The relations of what is read as one.

    Raises:
        MappingError: it cannot be read.
    """
    if isinstance(unit, Found):
        yield from read_file(unit, readers)
        return
    if isinstance(unit, Opened):
        yield from read_member(unit, readers)
        return
    files = {}
    for inside, found in unit.files.items():
        files[inside] = replace(RawFile(found).opened(), name=inside)
    reader = readers.named(unit.format)
    try:
        yield from reader.read(OpenedFolder(unit.name, files))
    except AutoLLMError as error:
        raise MappingError(f"{unit.name}: {error}") from None


def read_member(member: Opened, readers: Readers) -> Iterator[Relation]:
    """The relations of an archive's member.

    Raises:
        MappingError: it cannot be read.
    """
    reader = reader_of_member(member, readers)
    if reader is None:
        raise MappingError(f"cannot tell the format of {member.name}.")
    try:
        for relation in reader.read(member):
            yield replace(recognized(relation), format=relation.format)
    except (RecordError, OSError) as error:
        raise MappingError(f"{member.name}: {error}") from None


def read_file(found: Found, readers: Readers) -> Iterator[Relation]:
    if found.problem:
        raise MappingError(f"{found.name}: {found.problem}")
    try:
        raw = RawFile(found)
        reader = readers.for_file(
            found.name, raw.head(HEAD_BYTES), MappingChoice()
        )
        if reader is None:
            raise MappingError(
                f"cannot tell the format of {found.name}. Expected {KNOWN_FORMATS}, "
                "plain or compressed (.gz, .zst)."
            )
        opened = raw.opened()
        if opened.problem:
            raise MappingError(f"{found.name}: {opened.problem}")
        for relation in reader.read(opened):
            # the tool's table keeps the format of its file: that is what is mapped
            yield replace(recognized(relation), format=relation.format)
    except (RecordError, OSError) as error:
        raise MappingError(f"{found.name}: {error}") from None
