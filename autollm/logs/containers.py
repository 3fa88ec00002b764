"""Files, folders and archives to single log files: walking, unpacking in memory, size limits.

Archives (.tar.xz, .tar.gz, .tar) are streamed and never extracted to disk; only regular members are read, under a
cleaned name. What does not belong here: what a log says (the readers), keeping raw bytes (`landing.py`).

Invariant: nothing here writes, follows a link inside an archive, or holds more than MAX_FILE_BYTES of one file.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import fsspec
import pyarrow as pa

from autollm.errors import RecordError

MAX_FILE_BYTES = 256 * 2**20
"""Of one log or table, after decompression."""
MAX_ARCHIVE_BYTES = 8 * 2**30
"""Of one archive, after decompression."""
ARCHIVE_SUFFIXES = (".tar.xz", ".tar.gz", ".tgz", ".tar")
COMPRESSIONS = {".zst": "zstd", ".gz": "gzip"}
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class RawFile:
    """A file as found: where it lies and what it is called (the last part of its path, cleaned)."""

    url: str
    name: str

    @property
    def is_archive(self) -> bool:
        return self.name.endswith(ARCHIVE_SUFFIXES)


@dataclass(frozen=True)
class LogBytes:
    """One log or table in memory. `name` is `file` or `archive!member`; `problem` says why `data` is empty."""

    name: str
    data: bytes
    sha256: str
    problem: str = ""


def find_files(path: str) -> tuple[list[RawFile], bool]:
    """All files at a path or fsspec URL, sorted by path, and whether the path is a folder. Hidden ones are skipped.

    Raises:
        FileNotFoundError: nothing there.
    """
    fs, root = fsspec.core.url_to_fs(str(path))
    if fs.isfile(root):
        return [_raw_file(fs, root)], False
    if not fs.exists(root):
        raise FileNotFoundError(f"{path} does not exist. Expected a log file, a table, an archive or a folder of them.")
    below = sorted(fs.find(root))
    prefix = root.rstrip("/") + "/"
    return [
        _raw_file(fs, p) for p in below if not any(part.startswith(".") for part in p.removeprefix(prefix).split("/"))
    ], True


def _raw_file(fs: fsspec.AbstractFileSystem, path: str) -> RawFile:
    return RawFile(fs.unstrip_protocol(path), clean_name(path.rsplit("/", 1)[-1]))


def clean_name(name: str) -> str:
    """A name that is safe as a file name anywhere: no separators, no leading dots; at most 120 characters."""
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
    """The logs in a file: itself, or the regular members of an archive in the archive's order.

    A broken archive gives what could be read before the break, then one entry with the problem.
    """
    with fsspec.open(raw.url, "rb") as stream:
        if raw.is_archive:
            yield from _members(stream, raw.name)
        else:
            yield _log(raw.name, stream.read(MAX_FILE_BYTES + 1), sha256)


class _CheckedStream:
    """A decompressed archive as it is read: counts its bytes and remembers the last block."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self._n_bytes, self._tail = stream, 0, b""

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._n_bytes += len(chunk)
        self._tail = (self._tail + chunk)[-tarfile.BLOCKSIZE :]
        if self._n_bytes > MAX_ARCHIVE_BYTES:
            raise tarfile.ReadError(f"more than {MAX_ARCHIVE_BYTES} bytes. Fix: unpack it and land the files")
        return chunk

    def check_end(self) -> None:
        """Read what is left. `tarfile` takes an archive that was cut between two members for a whole one.

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
                parts = (clean_name(p) for p in member.name.split("/") if p not in ("", ".", ".."))
                name = f"{archive}!{'/'.join(parts)}"
                if member.size > MAX_FILE_BYTES:
                    yield LogBytes(name, b"", "", f"{member.size} bytes, more than {MAX_FILE_BYTES}. Fix: split it.")
                    continue
                data = tar.extractfile(member).read()
                yield _log(name, data, hashlib.sha256(data).hexdigest())
        checked.check_end()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        yield LogBytes(archive, b"", "", f"broken archive: {error}. What came before this point was read.")


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


def _decompressed(name: str, data: bytes) -> bytes:
    """The bytes behind .zst and .gz.

    Raises:
        RecordError: not of that compression, cut short, or larger than MAX_FILE_BYTES.
    """
    codec = next((c for s, c in COMPRESSIONS.items() if name.endswith(s)), None)
    if codec is not None:
        try:
            with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, pa.ArrowException) as error:
            raise RecordError(f"not a whole {codec} file: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise RecordError(f"more than {MAX_FILE_BYTES} bytes. Fix: split the file.")
    return data
