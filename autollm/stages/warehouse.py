"""Access to the warehouse, one writer at a time: our own lock first, then DuckDB's.

DuckDB's lock outlives ours when a process was killed while its dbt child still writes,
and somebody may have opened the file by hand. Invariant: when the block runs, no other
process writes the file.
"""

from __future__ import annotations

import fcntl
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autollm.core.errors import BusyError
from autollm.core.files import scratch_folder
from autollm.core.locks import POLL_S, hold
from autollm.core.places import Places
from autollm.logs.lake.bronze import Bronze

WAIT_S = 180.0
"""Three builds of a large warehouse."""
MAGIC = b"DUCK"
"""Bytes 8 to 11 of every DuckDB file."""
TABLES = "SELECT schema_name, table_name FROM duckdb_tables()"
DAMAGE = (
    "not a valid DuckDB database file",
    "Corrupt database file",
    "Could not read enough bytes from file",
    "Failed to load metadata pointer",
    "Serialization Error",
)
"""Words of DuckDB 2 about empty, cut and altered files (flipped bytes, tried)."""


@contextmanager
def hold_warehouse(places: Places, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only writer of the warehouse while the block runs.

    Raises:
        BusyError: somebody else still writes after `wait_s` seconds; the message names
            them.
    """
    begin = time.monotonic()
    with hold(
        places.locks / "warehouse.lock",
        f"the warehouse {places.warehouse}",
        wait_s,
    ):
        while (writer := writer_of(places.warehouse)) is not None:
            if time.monotonic() - begin >= wait_s:
                raise BusyError(
                    f"the warehouse {places.warehouse} is open in {writer}; waited "
                    f"{wait_s:.0f} s. "
                    "Fix: wait until it is done, or stop that process, then run this "
                    "again."
                )
            time.sleep(POLL_S)
        yield


@contextmanager
def lake_moment(places: Places) -> Iterator[dict[str, str]]:
    """Variables for dbt by which a whole build reads the lake as it is now, whatever
    lands meanwhile, and meets no name of the home inside SQL.

    A folder of links, one a landed batch: SQL has patterns of files and quotes, and a
    home may be called `it's [v2]`. A lake that is no local folder is read as it is.
    """
    lake = Bronze(places.home)
    if not lake.is_local:
        yield {}
        return
    with scratch_folder("lake") as folder:
        batches = folder / "bronze" / "batches"
        batches.mkdir(parents=True)
        for batch_id in lake.batch_ids():
            (batches / batch_id).symlink_to(Path(lake.batches, batch_id))
        (folder / "marts").symlink_to(places.marts)
        yield {
            "AUTOLLM_BRONZE": str(folder / "bronze"),
            "AUTOLLM_MARTS": str(folder / "marts"),
        }


def source_faults(places: Places) -> dict[str, str]:
    """What is wrong about sources as a whole, by name: the marts leave them out, and no
    other source is stopped. Empty before the first build.
    """
    import pyarrow.parquet as pq

    path = places.marts / "dim_sources.parquet"
    if not path.exists():
        return {}
    faults = {}
    for row in pq.read_table(path, columns=["source", "fault"]).to_pylist():
        if row["fault"]:
            faults[row["source"]] = row["fault"]
    return faults


def is_damage(message: str) -> bool:
    """Whether DuckDB's message says that the file is damaged."""
    return any(words in message for words in DAMAGE)


def set_aside(warehouse: Path) -> Path:
    """Move a damaged warehouse, with what DuckDB keeps beside it, out of the way: the
    next build makes it anew from the lake. Returns where it lies now.
    """
    aside = warehouse.with_suffix(".damaged")
    warehouse.replace(aside)
    Path(f"{warehouse}.wal").unlink(missing_ok=True)
    return aside


def is_damaged(warehouse: Path) -> bool:
    """Whether there is a file that is no DuckDB's, or of whose tables a block cannot be
    read. All are: DuckDB checks a block when it reads it, a build may read few of them.
    """
    if not warehouse.exists():
        return False
    with warehouse.open("rb") as file:
        if file.read(12)[8:] != MAGIC:
            return True
    import duckdb

    try:
        with duckdb.connect(str(warehouse)) as connection:
            tables = connection.execute(TABLES).fetchall()
            for schema, table in tables:
                connection.execute(
                    f'SELECT bit_xor(hash(t)) FROM "{schema}"."{table}" AS t'
                )
    except duckdb.Error as error:
        return is_damage(str(error))
    return False


def writer_of(warehouse: Path) -> str | None:
    """Who holds DuckDB's lock on a file, in words; None when it is free or not there."""
    if not warehouse.exists():
        return None
    with warehouse.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _describe(_holder_pid(file.fileno()))
        fcntl.lockf(file, fcntl.LOCK_UN)
    return None


def _holder_pid(handle: int) -> int | None:
    if not sys.platform.startswith(
        "linux"
    ):  # other systems lay the structure out differently
        return None
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(
        "hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, request)
    )
    return None if kind == fcntl.F_UNLCK else pid


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another process"
    try:
        command = (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()
        )
    except OSError:
        command = ""
    return f"process {pid} ({command[:200]})" if command else f"process {pid}"
