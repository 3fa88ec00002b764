"""The registry of readers, one per file format.

What does not belong here: how a format is read. Invariant: formats and suffixes are unique.
"""

from __future__ import annotations

from autollm.errors import UnknownNameError
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import plain_name
from autollm.logs.reader_autollm_run import AutollmRunReader
from autollm.logs.reader_table_csv import TableCsvReader
from autollm.logs.reading import Reader

READERS: dict[str, Reader] = {reader.format: reader for reader in (AutollmRunReader(), TableCsvReader())}


def reader_for(name: str, choice: MappingChoice) -> Reader | None:
    """The reader of a file: by the named mapping's format, else by suffix (compressions set aside); None when unknown.

    Raises:
        UnknownNameError: the named mapping's format has no reader.
    """
    if choice.named is not None:
        if choice.named.format not in READERS:
            raise UnknownNameError("log format", choice.named.format, READERS)
        return READERS[choice.named.format]
    return next((r for r in READERS.values() if plain_name(name).endswith(r.suffixes)), None)
