"""The registry of readers, one per file format.

What does not belong here: how a format is read. Invariant: formats and suffixes are
unique.
"""

from __future__ import annotations

from autollm.core.errors import UnknownNameError
from autollm.logs.retiring.catalog import MappingChoice
from autollm.logs.retiring.containers import plain_name
from autollm.logs.retiring.reader_autollm_run import AutollmRunReader
from autollm.logs.retiring.reader_table_csv import TableCsvReader
from autollm.logs.retiring.reader_table_jsonl import TableJsonlReader
from autollm.logs.retiring.reader_table_parquet import TableParquetReader
from autollm.logs.retiring.reading import Reader

_ALL: tuple[Reader, ...] = (
    AutollmRunReader(),
    TableCsvReader(),
    TableJsonlReader(),
    TableParquetReader(),
)
READERS: dict[str, Reader] = {reader.format: reader for reader in _ALL}


def reader_for(name: str, choice: MappingChoice) -> Reader | None:
    """The reader of a file; None when unknown. The named mapping's format decides, else
    that of a home's own mapping or of one which spells the file's name out, else the
    suffix (compressions set aside).

    Raises:
        UnknownNameError: the named mapping's format has no reader.
    """
    if choice.named is not None:
        if choice.named.format not in READERS:
            raise UnknownNameError("log format", choice.named.format, READERS)
        return READERS[choice.named.format]
    sure = choice.format_of(name)
    if sure in READERS:
        return READERS[sure]
    return next(
        (r for r in READERS.values() if plain_name(name).endswith(r.suffixes)), None
    )
