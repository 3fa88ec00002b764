"""SQLite databases that trackers keep: MLflow's tracking store and Optuna's RDB storage,
read with the standard library.

The file is held in memory, opened read-only, and what its schema says is never executed.
Which tool wrote it is told by its tables.

Invariant: a damaged, foreign or endless database ends in a RecordError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Row
from autollm.logs.readers.rows import RelationBuilder, read_whole
from autollm.logs.readers.tools.mlflow_runs import read_mlflow_tables
from autollm.logs.readers.tools.optuna_trials import storage_of_tables
from autollm.logs.relation import OpenedFile, Relation

MAGIC = b"SQLite format 3\x00"
MAX_DATABASE_BYTES = 2**30
"""It is held in memory while it is read."""
_OPERATIONS_A_CALL = 1_000_000
_MAX_CALLS = 20_000
"""Together 2e10 operations of SQLite's machine, some minutes: a damaged index can lead
in circles.
"""
_LOCK_BYTES = slice(18, 20)
"""File format versions; 2 is write-ahead logging, which a copy in memory cannot do."""

_BROKEN = (
    sqlite3.Error,
    sqlite3.Warning,
    OverflowError,
    MemoryError,
    UnicodeDecodeError,  # the message of an error that quotes the file
)


class SqliteStoreReader:
    """`mlflow.db`, `optuna.db`, whatever they are called."""

    format = "sqlite"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return head.startswith(MAGIC)

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: it is neither MLflow's nor Optuna's.
        """
        builder = RelationBuilder(self.format)
        name = opened.name
        with _opened(opened) as database:
            if database.was_wal:
                builder.note(
                    f"{name} is written ahead of: what stood only in {name}-wal is not "
                    "read"
                )
            if {"runs", "metrics", "params", "tags"} <= database.tables:
                read_mlflow_tables(builder, database, name)
            elif {"studies", "trials", "trial_params"} <= database.tables:
                storage = storage_of_tables(builder, database)
                storage.add_to(builder, name, getattr(opened, "part", ""))
            else:
                found = ", ".join(sorted(database.tables)[:8]) or "none"
                raise RecordError(
                    f"a SQLite database with the tables {found}. Expected MLflow's "
                    "(runs, metrics, params, tags) or Optuna's (studies, trials, "
                    "trial_params). Fix: export its table of runs as CSV."
                )
        return [builder.relation()]

    def parts(self, opened: OpenedFile) -> tuple[str, ...]:
        """See `FileReader`."""
        with _opened(opened) as database:
            builder = RelationBuilder(self.format)
            return storage_of_tables(builder, database).parts()


class Database:
    """Whole tables of an open SQLite file, row by row."""

    def __init__(self, connection: sqlite3.Connection, was_wal: bool) -> None:
        self._connection = connection
        self.was_wal = was_wal
        self.tables: set[str] = set()
        query = "select name from sqlite_master where type = 'table'"
        for (table,) in connection.execute(query):
            self.tables.add(str(table))

    def rows(self, table: str) -> Iterator[Row]:
        """The rows in the order written, by column; a missing table has none."""
        if table not in self.tables:
            return
        cursor = self._connection.execute(f'select * from "{table}"')
        names = [column[0] for column in cursor.description]
        for values in cursor:
            yield dict(zip(names, values, strict=True))


@contextmanager
def _opened(opened: OpenedFile) -> Iterator[Database]:
    data = bytearray(read_whole(opened, MAX_DATABASE_BYTES))
    was_wal = data[_LOCK_BYTES] == b"\x02\x02"
    if was_wal:
        data[_LOCK_BYTES] = b"\x01\x01"
    n_calls = 0

    def count() -> bool:
        nonlocal n_calls
        n_calls += 1
        return n_calls > _MAX_CALLS

    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(bytes(data))
            connection.set_progress_handler(count, _OPERATIONS_A_CALL)
            connection.execute("pragma trusted_schema = off")
            connection.execute("pragma query_only = on")
            connection.execute("pragma cell_size_check = on")
            connection.text_factory = _decode
            yield Database(connection, was_wal)
    except _BROKEN as error:
        raise RecordError(f"a damaged SQLite database: {error}") from None


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
