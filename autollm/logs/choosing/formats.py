"""The registry of readers, one per format: other tools' logs, raw run logs, tables, and
what other packages bring (entry points `autollm.readers`).

Invariant: formats are unique; the first reader whose `matches` says yes reads a file,
unless a mapping that means the file says another format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from autollm.core.errors import RecordError, SetupError, UnknownNameError
from autollm.core.files import is_local, local_path
from autollm.logs.choosing.catalog import MappingChoice, short_name
from autollm.logs.opening.opened import plain_name
from autollm.logs.readers import file_readers, folder_readers, home_formats
from autollm.logs.relation import FileReader, FolderReader
from autollm.logs.tables.csv_table import CsvTable
from autollm.logs.tables.json_table import JsonTable
from autollm.logs.tables.parquet_table import ParquetTable
from autollm.logs.tables.run_log import RunLog

GROUP = "autollm.readers"


@dataclass(frozen=True)
class Readers:
    """All readers that a home has, in the order in which they are asked."""

    files: tuple[FileReader, ...]
    folders: tuple[FolderReader, ...]

    def named(self, file_format: str) -> FileReader | FolderReader:
        """The reader of a format.

        Raises:
            UnknownNameError: there is none.
        """
        known = {
            reader.format: reader for reader in (*self.files, *self.folders)
        }
        if file_format not in known:
            raise UnknownNameError("log format", file_format, known)
        return known[file_format]

    def for_file(
        self, place: str, head: bytes, choice: MappingChoice
    ) -> FileReader | None:
        """The reader of the file at a path; None when no reader knows it.

        The named mapping's format decides, else that of a mapping which surely means
        the file, else the readers are asked.
        """
        said = choice.format_of(place)
        if choice.named:
            said = choice.named.format
        plain = plain_name(short_name(place))
        for reader in self.files:
            if reader.format == said:
                return reader
        if choice.named:
            return None
        return next((r for r in self.files if _matches(r, plain, head)), None)


def _matches(reader: FileReader, name: str, head: bytes) -> bool:
    try:
        return reader.matches(name, head)
    except (RecordError, RecursionError, ValueError):  # hostile first bytes
        return False


def readers_of(home: str) -> Readers:
    """The readers of a home: shipped, of other packages, and of its own text formats.

    Raises:
        RecordError: a text format of the home is wrong.
        SetupError: another package's reader cannot be loaded.
    """
    own = home_formats(Path(local_path(home))) if is_local(home) else ()
    files = (
        RunLog(),
        *file_readers(own),
        CsvTable(),
        JsonTable(),
        ParquetTable(),
    )
    plugged = _plugged()
    folders = [r for r in plugged if hasattr(r, "matches_folder")]
    others = [r for r in plugged if not hasattr(r, "matches_folder")]
    return Readers((*others, *files), (*folders, *folder_readers(own)))


@cache
def _plugged() -> tuple[FileReader | FolderReader, ...]:
    found = []
    for point in entry_points(group=GROUP):
        try:
            found.append(point.load()())
        except Exception as error:
            raise SetupError(
                f"the reader {point.name!r} ({point.value}) cannot be loaded: {error}. "
                "Fix: update or uninstall the package that brings it."
            ) from error
    return tuple(found)
