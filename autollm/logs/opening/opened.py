"""Files as they are when they are opened: read once, kept raw, decompressed.

Of a file that grows while it lands, the bytes that it had when it was opened count, in
the raw copy and in what is read. Small files are held in memory; large ones are copied
into the lake and read from there.

Invariant: what is read is what is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO, Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from autollm.core.errors import RecordError
from autollm.core.files import filesystem_of, is_local
from autollm.logs.opening import archives
from autollm.logs.opening.found import Found

SMALL_BYTES = 32 * 2**20
"""A file up to here is held in memory: one read for hash, raw copy and rows."""
MAX_TABLE_BYTES = 16 * 2**30
"""Of a compressed file of its own, after decompression."""
COMPRESSIONS = {".zst": "zstd", ".gz": "gzip"}
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Opened:
    """One log or table. `name` is `file` or `archive!member`, `inside` a member's path as
    it is spelt, `part` the table that is meant of several in one file; `problem` says why
    it is not read. `data` holds its bytes, or `fs` and `path` say where they lie.
    """

    name: str
    sha256: str
    n_bytes: int
    data: bytes | None = None
    fs: Any = None
    path: str = ""
    codec: str | None = None
    problem: str = ""
    inside: str = ""
    part: str = ""

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The decompressed bytes from their beginning."""
        with contextlib.ExitStack() as stack:
            if self.data is not None:
                raw: IO[bytes] = io.BytesIO(self.data)
            else:
                raw = stack.enter_context(self.fs.open(self.path, "rb"))
            if self.codec is None:
                yield raw
            else:
                packed = pa.CompressedInputStream(raw, self.codec)
                plain = io.BufferedReader(
                    stack.enter_context(packed), _CHUNK_BYTES
                )
                yield stack.enter_context(plain)


def codec_of(name: str) -> str | None:
    """The compression that a name's suffix says."""
    return next((c for s, c in COMPRESSIONS.items() if name.endswith(s)), None)


def plain_name(name: str) -> str:
    """A name without the suffix of its compression: `run.jsonl.zst` -> `run.jsonl`."""
    return next(
        (name.removesuffix(s) for s in COMPRESSIONS if name.endswith(s)), name
    )


class RawFile:
    """A found file at one moment: its size then, its hash, its bytes.

    Raises (on construction):
        OSError: it cannot be opened or read.
    """

    def __init__(self, found: Found):
        self.found = found
        self._data: bytes | None = found.data
        if found.data is not None:
            self._fs, self._path, self.n_bytes = None, "", len(found.data)
            return
        self._fs, self._path = _filesystem(found.path)
        self.n_bytes = _size(self._fs, self._path)
        with self._open() as stream:
            if self.n_bytes <= SMALL_BYTES:
                self._data = stream.read(self.n_bytes)

    @property
    def is_large(self) -> bool:
        """Whether its bytes stay where they lie."""
        return self._data is None

    @cached_property
    def sha256(self) -> str:
        """Of the bytes; a large file is read through for it."""
        if self._data is None:
            return self._hash_to(None)
        return hashlib.sha256(self._data).hexdigest()

    def head(self, n_bytes: int) -> bytes:
        """The first bytes, decompressed; none where they cannot be."""
        packed = Opened(self.found.name, "", 0, **self._fields())
        try:
            return head_of(packed, n_bytes)
        except RecordError:
            return b""

    def _fields(self) -> dict[str, Any]:
        codec = codec_of(self.found.name)
        where = {"fs": self._fs, "path": self._path}
        return {"data": self._data, "codec": codec, **where}

    def _open(self) -> IO[bytes]:
        # fsspec's own open is slow for ten thousand small files
        is_plain = is_local(self.found.path)
        return (
            open(self._path, "rb")
            if is_plain
            else self._fs.open(self._path, "rb")
        )

    def _hash_to(self, target: IO[bytes] | None) -> str:
        """Read what the file had when it was opened, into `target` if there is one."""
        digest, left = hashlib.sha256(), self.n_bytes
        with self._open() as stream:
            while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
                if target is not None:
                    target.write(chunk)
        return digest.hexdigest()

    def keep(self, fs: Any, root: str) -> None:
        """Copy the bytes into the lake, through a temporary name, unless they are
        there; large files are read from there on, and hashed as they are copied where
        nobody has asked for their hash.
        """
        # fsspec's own ways are slow for ten thousand small files
        is_plain = isinstance(fs, LocalFileSystem)
        make = os.makedirs if is_plain else fs.makedirs
        move = os.replace if is_plain else fs.mv
        make(f"{root}/landing", exist_ok=True)
        part = f"{root}/landing/{os.getpid()}.part"
        is_copied = self._data is None and "sha256" not in vars(self)
        if is_copied:
            self.sha256 = self._copy(fs, part)
        folder = f"{root}/landing/{self.sha256[:2]}/{self.sha256}"
        target = f"{folder}/{self.found.name}"
        is_there = os.path.exists if is_plain else fs.exists
        if is_copied or not is_there(target):
            make(folder, exist_ok=True)
            if not is_copied and self._copy(fs, part) != self.sha256:
                raise OSError("it changed while it was copied; land it again")
            move(part, target)
        if self._data is None:
            self._fs, self._path = fs, target

    def _copy(self, fs: Any, target: str) -> str:
        """Write the bytes there; returns their hash. Where the disk is full, nothing of
        them is left to keep it full.
        """
        opener = open if isinstance(fs, LocalFileSystem) else fs.open
        try:
            with opener(target, "wb") as out:
                if self._data is None:
                    return self._hash_to(out)
                out.write(self._data)
                return self.sha256
        except OSError:
            with contextlib.suppress(OSError):
                fs.rm(target)
            raise

    def opened(self) -> Opened:
        """The file for reading. A compressed one is read through once, so that a bomb
        or a cut is found before any row.
        """
        name, fields = self.found.name, self._fields()
        if fields["codec"] is None:
            return Opened(name, self.sha256, self.n_bytes, **fields)
        n_bytes, problem = _measured(Opened(name, self.sha256, 0, **fields))
        return Opened(name, self.sha256, n_bytes, **fields, problem=problem)

    def members(self) -> Iterator[Opened]:
        """The members of an archive."""
        with contextlib.ExitStack() as stack:
            if self._data is not None:
                stream: IO[bytes] = io.BytesIO(self._data)
            else:
                stream = stack.enter_context(self._fs.open(self._path, "rb"))
            for member in archives.members_of(stream, self.found.name):
                yield replace(_member(member), inside=member.inside)


def _member(member: archives.Member) -> Opened:
    if member.problem:
        return Opened(member.name, "", 0, b"", problem=member.problem)
    sha256 = hashlib.sha256(member.data).hexdigest()
    codec = codec_of(member.name)
    size = len(member.data)
    packed = Opened(member.name, sha256, size, member.data, codec=codec)
    if codec is None:
        return packed
    n_bytes, problem = _measured(packed, archives.MAX_FILE_BYTES)
    return Opened(
        member.name, sha256, n_bytes, member.data, codec=codec, problem=problem
    )


def _measured(opened: Opened, most: int | None = None) -> tuple[int, str]:
    """(bytes after decompression, why the file is not read)."""
    most, n_bytes = most or MAX_TABLE_BYTES, 0
    try:
        with opened.open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > most:
                    reason = f"more than {most} bytes after decompression"
                    return 0, f"{reason}. Fix: split the file."
    except (OSError, pa.ArrowException) as error:
        return 0, f"not a whole {opened.codec} file: {error}"
    return n_bytes, ""


def _filesystem(path: str) -> tuple[Any, str]:
    return filesystem_of(path) if not is_local(path) else (_LOCAL, path)


_LOCAL = fsspec.filesystem("file")


def _size(fs: Any, path: str) -> int:
    return os.stat(path).st_size if fs is _LOCAL else fs.size(path)


def head_of(opened: Opened, n_bytes: int) -> bytes:
    """The first bytes.

    Raises:
        RecordError: they cannot be read.
    """
    try:
        with opened.open() as stream:
            return stream.read(n_bytes)
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"cannot be read: {error}") from None
