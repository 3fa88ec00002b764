"""Files, folders and archives to single log files: walking, unpacking, size limits.

Archives (.tar.xz, .tar.gz, .tar) are streamed and never extracted to disk; only regular
members are read, under a cleaned name. Tables that are files of their own are streamed
too (`LogFile`). What does not belong here: what a log says (the readers), keeping raw
bytes (`landing.py`).

Invariant: nothing here writes, follows a link inside an archive or out of a folder, or
holds more than MAX_FILE_BYTES of one file.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from autollm.core.errors import RecordError

MAX_FILE_BYTES = 256 * 2**20
"""Of one log, or of a table inside an archive, after decompression."""
MAX_TABLE_BYTES = 16 * 2**30
"""Of a table that is a compressed file of its own, after decompression."""
MAX_ARCHIVE_BYTES = 8 * 2**30
"""Of one archive, after decompression."""
ARCHIVE_SUFFIXES = (".tar.xz", ".tar.gz", ".tgz", ".tar")
COMPRESSIONS = {".zst": "zstd", ".gz": "gzip"}
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class RawFile:
    """A file as found: where it lies, what it is called (the last part of its path,
    cleaned), why it is not read.
    """

    url: str
    name: str
    problem: str = ""

    @property
    def folder(self) -> str:
        return self.url.rsplit("/", 1)[0]

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(ARCHIVE_SUFFIXES)


@dataclass(frozen=True)
class LogBytes:
    """One log or table in memory. `name` is `file` or `archive!member`; `problem` says
    why `data` is empty.
    """

    name: str
    data: bytes
    sha256: str
    problem: str = ""

    @property
    def n_bytes(self) -> int:
        return len(self.data)

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes as a stream."""
        yield io.BytesIO(self.data)

    open_seekable = open


@dataclass(frozen=True)
class LogFile:
    """One table that is a file, read as a stream. `n_bytes` after decompression;
    `problem` says why it is not read.
    """

    name: str
    url: str
    sha256: str
    n_bytes: int
    problem: str = ""

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The decompressed bytes as a stream.

        Raises:
            OSError: the file is not there any more. (Whether it decompresses was
                checked by `open_table`.)
        """
        with fsspec.open(self.url, "rb") as raw:
            codec = _codec(self.name)
            if codec is None:
                yield raw
            else:
                with pa.CompressedInputStream(raw, codec) as stream:
                    yield stream

    @contextlib.contextmanager
    def open_seekable(self) -> Iterator[IO[bytes]]:
        """The decompressed bytes for random access; those of a compressed file are held
        in memory.

        Raises:
            RecordError: that would be more than MAX_FILE_BYTES.
        """
        with self.open() as stream:
            if _codec(self.name) is None:
                yield stream
                return
            if self.n_bytes > MAX_FILE_BYTES:
                raise RecordError(
                    f"more than {MAX_FILE_BYTES} bytes in a compressed file. Fix: "
                    "decompress it."
                )
            yield io.BytesIO(stream.read())


def find_files(path: str) -> tuple[list[RawFile], bool]:
    """All files at a path or fsspec URL, sorted by path, and whether the path is a
    folder. Hidden ones are skipped.

    Raises:
        FileNotFoundError: nothing there.
    """
    fs, root = fsspec.core.url_to_fs(str(path))
    if fs.isfile(root):
        return [_raw_file(fs, root)], False
    if not fs.exists(root):
        raise FileNotFoundError(
            f"{path} does not exist. Expected a log file, a table, an archive or a "
            "folder of them."
        )
    below = sorted(fs.find(root))
    prefix = root.rstrip("/") + "/"
    return [
        _raw_file(fs, p, root)
        for p in below
        if not any(part.startswith(".") for part in p.removeprefix(prefix).split("/"))
    ], True


def _raw_file(fs: fsspec.AbstractFileSystem, path: str, root: str = "") -> RawFile:
    problem = (
        _link_problem(path, root) if root and isinstance(fs, LocalFileSystem) else ""
    )
    return RawFile(
        fs.unstrip_protocol(path), clean_name(path.rsplit("/", 1)[-1]), problem
    )


def _link_problem(path: str, root: str) -> str:
    """Why a symbolic link below the folder `root` is not followed; empty for anything
    else.
    """
    if not os.path.islink(path):
        return ""
    target = os.path.realpath(path)
    if not os.path.isfile(target):
        return f"a link to {target}, which is no file: not followed. Fix: remove it, or copy the file here."
    if os.path.commonpath([target, os.path.realpath(root)]) != os.path.realpath(root):
        return f"a link to {target}, out of the folder: not followed. Fix: copy the file here, or land it by its own path."
    return ""


def clean_name(name: str) -> str:
    """A name that is safe as a file name anywhere: no separators, no leading dots; at
    most 120 characters.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._=+,@-]+", "_", name).lstrip(".")
    return cleaned[-120:] or "unnamed"


def hash_file(raw: RawFile) -> tuple[str, int]:
    """sha256 and size in bytes, read in chunks."""
    digest, size = hashlib.sha256(), 0
    with fsspec.open(raw.url, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def open_logs(raw: RawFile, sha256: str) -> Iterator[LogBytes]:
    """The logs in a file: itself, or the regular members of an archive in the archive's
    order.

    A broken archive gives what could be read before the break, then one entry with the
    problem.
    """
    with fsspec.open(raw.url, "rb") as stream:
        if raw.is_archive:
            yield from _members(stream, raw.name)
        else:
            yield _log(raw.name, stream.read(MAX_FILE_BYTES + 1), sha256)


def open_table(raw: RawFile, sha256: str, size: int) -> LogFile:
    """A table file for streaming. A compressed one is read through once, so that a bomb
    or a cut is found before any row.

    `size`: bytes of the file as it is.
    """
    codec = _codec(raw.name)
    if codec is None:
        return LogFile(raw.name, raw.url, sha256, size)
    n_bytes = 0
    try:
        with LogFile(raw.name, raw.url, sha256, 0).open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > MAX_TABLE_BYTES:
                    problem = f"more than {MAX_TABLE_BYTES} bytes after decompression. Fix: split the file."
                    return LogFile(raw.name, raw.url, sha256, 0, problem)
    except (OSError, pa.ArrowException) as error:
        return LogFile(
            raw.name, raw.url, sha256, 0, f"not a whole {codec} file: {error}"
        )
    return LogFile(raw.name, raw.url, sha256, n_bytes)


class _CheckedStream:
    """A decompressed archive as it is read: counts its bytes and remembers the last
    block.
    """

    def __init__(self, stream: IO[bytes]):
        self._stream, self._n_bytes, self._tail = stream, 0, b""

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._n_bytes += len(chunk)
        self._tail = (self._tail + chunk)[-tarfile.BLOCKSIZE :]
        if self._n_bytes > MAX_ARCHIVE_BYTES:
            raise tarfile.ReadError(
                f"more than {MAX_ARCHIVE_BYTES} bytes. Fix: unpack it and land the "
                "files"
            )
        return chunk

    def check_end(self) -> None:
        """Read what is left. `tarfile` takes an archive that was cut between two
        members for a whole one.

        Raises:
            tarfile.ReadError: no end mark, so the archive was cut short.
        """
        while self.read(_CHUNK_BYTES):
            pass
        if self._tail != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends without its end mark, so it was cut short")


def _members(stream: IO[bytes], archive: str) -> Iterator[LogBytes]:
    checked = _CheckedStream(_opened(stream, archive))
    try:
        with tarfile.open(fileobj=checked, mode="r|") as tar:
            for member in tar:
                if not member.isreg():
                    continue
                parts = (
                    clean_name(p)
                    for p in member.name.split("/")
                    if p not in ("", ".", "..")
                )
                name = f"{archive}!{'/'.join(parts)}"
                if member.size > MAX_FILE_BYTES:
                    yield LogBytes(
                        name,
                        b"",
                        "",
                        f"{member.size} bytes, more than {MAX_FILE_BYTES}. Fix: split "
                        "it.",
                    )
                    continue
                data = tar.extractfile(member).read()
                yield _log(name, data, hashlib.sha256(data).hexdigest())
        checked.check_end()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        yield LogBytes(
            archive,
            b"",
            "",
            f"broken archive: {error}. What came before this point was read.",
        )


def _opened(stream: IO[bytes], archive: str) -> IO[bytes]:
    if archive.endswith(".xz"):
        return lzma.open(stream)
    return gzip.open(stream) if archive.endswith("gz") else stream


def _log(name: str, data: bytes, sha256: str) -> LogBytes:
    try:
        return LogBytes(name, _decompressed(name, data), sha256)
    except RecordError as error:
        return LogBytes(name, b"", sha256, str(error))


def plain_name(name: str) -> str:
    """A name without the suffix of its compression: `run.jsonl.zst` -> `run.jsonl`."""
    return next((name.removesuffix(s) for s in COMPRESSIONS if name.endswith(s)), name)


def _codec(name: str) -> str | None:
    return next((c for s, c in COMPRESSIONS.items() if name.endswith(s)), None)


def _decompressed(name: str, data: bytes) -> bytes:
    """The bytes behind .zst and .gz.

    Raises:
        RecordError: not of that compression, cut short, or larger than MAX_FILE_BYTES.
    """
    codec = _codec(name)
    if codec is not None:
        try:
            with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, pa.ArrowException) as error:
            raise RecordError(f"not a whole {codec} file: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise RecordError(f"more than {MAX_FILE_BYTES} bytes. Fix: split the file.")
    return data
