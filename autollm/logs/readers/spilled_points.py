"""Points of histories, beyond some millions on disk.

Invariant: they come back in the order in which they were added.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO

import pyarrow as pa

from autollm.logs.relation import POINTS_SCHEMA

MAX_BATCHES = 30
"""Some 2 million points, about 200 MB; a log of 1 GB holds 50 million."""


class SpilledPoints:
    """Points in the order added: the first MAX_BATCHES of them in memory, beyond that
    all of them in a file without a name, of which pages are mapped as they are read.
    """

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._file: IO[bytes] | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        self._batches.append(batch)
        writer = self._writer
        if writer is None:
            if len(self._batches) <= MAX_BATCHES:
                return
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its points
            sink = pa.PythonFile(self._file, "w")
            writer = pa.ipc.new_file(sink, POINTS_SCHEMA)
            self._writer = writer
        for waiting in self._batches:
            writer.write_batch(waiting)
        self._batches = []

    def table(self) -> pa.Table | None:
        """All points; None where there are none. Nothing is added afterwards."""
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.flush()
            pages = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            buffer = pa.BufferReader(pa.py_buffer(pages))
            return pa.ipc.open_file(buffer).read_all()
        if not self._batches:
            return None
        return pa.Table.from_batches(self._batches, POINTS_SCHEMA)
