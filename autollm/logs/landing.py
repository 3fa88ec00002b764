"""Landing: raw logs into the lake, once, with nothing lost.

Each file is copied to `<lake>/landing/<sha[:2]>/<sha>/<name>` and read by its format's
reader; all files of one call are written as one bronze batch. A file that has landed (by
sha256, under the mapping that it has now) is skipped. Of a run the newest reading of a
file of the same path counts; a run that another file brought first goes to quarantine,
as does every line that cannot be used, with file, line and reason.

Invariant: killed at any moment, the lake holds the batch whole or not at all, and
landing again gives the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from pathlib import Path

import pyarrow as pa

from autollm.core.errors import UnknownNameError
from autollm.core.mappings.mapping import Mapping
from autollm.logs.choosing.catalog import MappingChoice, own_mappings
from autollm.logs.choosing.formats import readers_of
from autollm.logs.ingest_report import IngestReport
from autollm.logs.lake.bronze import Bronze, require_bronze
from autollm.logs.session import Session

__all__ = ["ingest", "landed_sources", "remove_source", "require_bronze"]


def ingest(
    paths: Iterable[str | Path],
    lake: str,
    mapping: Mapping | None = None,
    say: Callable[[str], None] = lambda text: None,
    again: Iterable[str] = (),
    reasons: AnyMapping[str, str] | None = None,
) -> IngestReport:
    """Land log files, tables, archives, run folders, or folders of them in the lake at
    `lake` (fsspec URL or path).

    With a mapping, files named in `paths` are read as its format and folders are
    searched for its `files`; without one, those added to the lake and the built-in ones
    are used (run logs by their header's source, tables by file name). `say` is told how
    far a long file is. Sources of `again`, and those whose mapping has changed since
    they landed, are read anew from their raw files. `reasons`: by path id, why a file
    has no mapping, where the caller knows.

    Raises:
        FileNotFoundError: a path does not exist.
        UnknownNameError: no reader for the mapping's format, or no such source landed.
        MappingError: a mapping file of the home is wrong.
        BusyError: another ingest is writing to this lake.
    """
    bronze, again = Bronze(lake), list(again)
    choice = MappingChoice(mapping, tuple(own_mappings(lake).values()))
    readers = readers_of(lake)
    if mapping is not None:
        readers.named(mapping.format)
    with _system_memory(), bronze.writing(), bronze.batch() as batch:
        _check_landed(bronze, again)
        session = Session(
            bronze, choice, readers, batch, say, again, reasons or {}
        )
        session.land_again()
        for path in paths:
            session.land(str(path))
        session.land_rest()
        return session.commit()


@contextlib.contextmanager
def _system_memory() -> Iterator[None]:
    """Arrow's memory taken from the system: its own allocator gives every block back
    and maps it anew, which took a seventh of the time of a large table.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def landed_sources(lake: str) -> list[str]:
    """The sources of which something has landed, sorted."""
    return sorted(
        {source for (source,) in Bronze(lake).read("files", ["source"])} - {""}
    )


def remove_source(lake: str, source: str) -> None:
    """Take a source out of bronze and quarantine; its raw files stay.

    Raises:
        UnknownNameError: no such source landed.
        BusyError: an ingest is writing to this lake.
    """
    bronze = Bronze(lake)
    with bronze.writing(), bronze.batch() as batch:
        _check_landed(bronze, [source])
        bronze.write(None, batch, (source,))


def _check_landed(bronze: Bronze, sources: list[str]) -> None:
    known = {source for (source,) in bronze.read("files", ["source"])} - {""}
    for source in sources:
        if source not in known:
            raise UnknownNameError("source", source, known)
