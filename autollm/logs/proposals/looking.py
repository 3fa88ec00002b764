"""From a path to relations: the same files, readers and order as when it lands.

Of a folder, the run folders and files of the commonest format are looked at; a run
folder is one run, so that many of them make one table. Invariant: nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from autollm.core.errors import AutoLLMError, MappingError, RecordError
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.choosing.formats import Readers, readers_of
from autollm.logs.opening.archive_units import units_of_archive
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
from autollm.logs.units import parts_of

KNOWN_FORMATS = (
    ".csv, .tsv, .jsonl, .ndjson, .parquet, .pq or a log of a known tool"
)
MOST_UNITS = 2_000
"""Files or run folders of one folder that are looked at."""
MOST_MEMBERS = 20_000
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
    rest: Sequence[Found | Opened] = files
    root, folders = path, []
    if not is_folder and is_archive(files[0].name):
        root = files[0].path
        held = _held(files[0], readers)
        folders = [unit for unit in held if isinstance(unit, RunFolder)]
        rest = [unit for unit in held if isinstance(unit, Opened)]
    elif not is_folder:
        parts = parts_of_file(files[0], readers)
        looked = look_at_units(parts[:1] or files, readers, files[0].path)
        looked.others = [part.name for part in parts[1:]]
        return looked
    elif files:
        root = files[0].path.removesuffix(files[0].inside)
        folders = claimed_folders(files, readers.folders)
        claimed = set().union(*(folder.claimed for folder in folders))
        rest = [f for f in files if f.inside not in claimed and not f.is_hidden]
    units: Sequence[Unit] = _of_one_format(rest, readers)
    if folders:
        tables = tables_of_runs(folders, root, readers)
        units, root = max(tables, key=lambda table: len(table[0]))
    if not units:
        raise MappingError(
            f"{path} holds no log that can be read. Expected {KNOWN_FORMATS}."
        )
    looked = look_at_units(units, readers, root)
    names = {id(unit) for unit in units}
    looked.others = [f.name for f in (*folders, *rest) if id(f) not in names]
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


def held_units(
    archive: Found, readers: Readers
) -> Iterator[RunFolder | Opened]:
    """The run folders and members of an archive that can be read, as many as are looked
    at, and no more than MOST_MEMBER_BYTES of them.

    Raises:
        OSError: the archive cannot be opened.
    """
    n_bytes = n_members = 0
    for unit in units_of_archive(RawFile(archive), readers.folders):
        if isinstance(unit, RunFolder):
            sizes = [len(file.data or b"") for file in unit.files.values()]
        else:
            sizes = [unit.n_bytes]
        n_bytes, n_members = n_bytes + sum(sizes), n_members + len(sizes)
        if n_members > MOST_MEMBERS or n_bytes > MOST_MEMBER_BYTES:
            return
        if isinstance(unit, RunFolder) or not unit.problem:
            yield unit


def _held(archive: Found, readers: Readers) -> list[RunFolder | Opened]:
    try:
        return list(held_units(archive, readers))
    except OSError as error:
        raise MappingError(f"{archive.name}: {error}") from None


def parts_of_file(file: Found, readers: Readers) -> list[Opened]:
    """The tables of a file that holds several."""
    reader = reader_of(file, readers, MappingChoice())
    if reader is None or not hasattr(reader, "parts"):
        return []
    return parts_of(RawFile(file).opened(), reader)


def reader_of(
    file: Found | Opened, readers: Readers, choice: MappingChoice
) -> FileReader | None:
    """The reader of a file or of an archive's member, None where nobody knows it."""
    try:
        return None if file.problem else _reader_of(file, readers, choice)
    except (OSError, RecordError):
        return None


def _reader_of(
    file: Found | Opened, readers: Readers, choice: MappingChoice
) -> FileReader | None:
    if isinstance(file, Opened):
        head = head_of(file, HEAD_BYTES)
        return readers.for_file(file.name, head, choice)
    head = RawFile(file).head(HEAD_BYTES)
    return readers.for_file(file.place, head, choice)


def _of_one_format(
    files: Sequence[Found | Opened], readers: Readers
) -> list[Found | Opened]:
    """The files of the commonest format; of equally common ones the first."""
    by_format: dict[str, list[Found | Opened]] = {}
    for file in files:
        reader = reader_of(file, readers, MappingChoice())
        if reader is not None:
            by_format.setdefault(reader.format, []).append(file)
    return max(by_format.values(), key=len, default=[])


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


def read_unit(unit: Unit, readers: Readers) -> Iterator[Relation]:
    """The relations of what is read as one.

    Raises:
        MappingError: it cannot be read.
    """
    is_folder = isinstance(unit, RunFolder)
    read = _read_folder if is_folder else _read_file
    try:
        yield from read(unit, readers)
    except (AutoLLMError, OSError) as error:
        raise MappingError(f"{unit.name}: {error}") from None


def _read_folder(folder: RunFolder, readers: Readers) -> Iterator[Relation]:
    files = {}
    for inside, found in folder.files.items():
        files[inside] = replace(RawFile(found).opened(), name=inside)
    reader = readers.named(folder.format)
    yield from reader.read(OpenedFolder(folder.name, files))


def _read_file(file: Found | Opened, readers: Readers) -> Iterator[Relation]:
    if file.problem:
        raise RecordError(file.problem)
    reader = _reader_of(file, readers, MappingChoice())
    if reader is None:
        raise RecordError(
            f"cannot tell its format. Expected {KNOWN_FORMATS}, plain or compressed "
            "(.gz, .zst)."
        )
    opened = file if isinstance(file, Opened) else RawFile(file).opened()
    if opened.problem:
        raise RecordError(opened.problem)
    for relation in reader.read(opened):
        # the tool's table keeps the format of its file: that is what is mapped
        yield replace(recognized(relation), format=relation.format)
