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
from collections.abc import Callable, Iterator
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
_SHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
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
            raw: IO[bytes] = io.BytesIO(self.data or b"")
            if self.data is None:
                raw = stack.enter_context(self.fs.open(self.path, "rb"))
            if self.codec is None:
                yield raw
                return
            packed = stack.enter_context(
                pa.CompressedInputStream(raw, self.codec)
            )
            plain = io.BufferedReader(packed, _CHUNK_BYTES)
            yield stack.enter_context(plain)


def codec_of(name: str) -> str | None:
    """The compression that a name's suffix says."""
    return next((c for s, c in COMPRESSIONS.items() if name.endswith(s)), None)


def why_unread(name: str) -> str:
    """What is said of a file that no reader knows."""
    if name.lower().endswith(_SHEETS):
        return "a spreadsheet's own format. Fix: export the sheet as CSV"
    return "no reader knows its format"


def plain_name(name: str) -> str:
    """A name without the suffix of its compression: `run.jsonl.zst` -> `run.jsonl`."""
    found = next(filter(name.endswith, COMPRESSIONS), "")
    return name.removesuffix(found)


class RawFile:
    """A found file at one moment: its size then, its hash, its bytes.

    Raises (on construction):
        OSError: it cannot be opened or read.
    """

    def __init__(self, found: Found):
        self.found = found
        self._data = found.data
        self._fs: Any = None
        self._path = ""
        self._codec = codec_of(found.name)
        if found.data is not None:
            self.n_bytes = len(found.data)
            return
        is_here = is_local(found.path)
        where = (_LOCAL, found.path) if is_here else filesystem_of(found.path)
        self._fs, self._path = where
        # fsspec's own ways are slow for ten thousand small files
        size = (
            os.stat(self._path).st_size
            if is_here
            else self._fs.size(self._path)
        )
        self.n_bytes = size
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
        try:
            return head_of(self._packed(""), n_bytes)
        except RecordError:
            return b""

    def _packed(self, sha256: str) -> Opened:
        return Opened(
            self.found.name,
            sha256,
            self.n_bytes,
            self._data,
            self._fs,
            self._path,
            self._codec,
        )

    def _open(self) -> IO[bytes]:
        return _opener(self._fs)(self._path, "rb")

    def _hash_to(self, target: IO[bytes] | None) -> str:
        """Read what the file had when it was opened, into `target` if there is one."""
        digest = hashlib.sha256()
        left = self.n_bytes
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
        is_here = isinstance(fs, LocalFileSystem)
        make = os.makedirs if is_here else fs.makedirs
        make(f"{root}/landing", exist_ok=True)
        part = f"{root}/landing/{os.getpid()}.part"
        is_copied = self._data is None and "sha256" not in vars(self)
        if is_copied:
            self.sha256 = self._copy(fs, part)
        folder = f"{root}/landing/{self.sha256[:2]}/{self.sha256}"
        target = f"{folder}/{self.found.name}"
        is_there = os.path.exists if is_here else fs.exists
        if is_copied or not is_there(target):
            make(folder, exist_ok=True)
            if not is_copied and self._copy(fs, part) != self.sha256:
                raise OSError("it changed while it was copied; land it again")
            (os.replace if is_here else fs.mv)(part, target)
        if self._data is None:
            self._fs = fs
            self._path = target

    def _copy(self, fs: Any, target: str) -> str:
        """Write the bytes there; returns their hash. Where the disk is full, nothing of
        them is left to keep it full.
        """
        try:
            with _opener(fs)(target, "wb") as out:
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
        return _measured(self._packed(self.sha256), MAX_TABLE_BYTES)

    def members(self) -> Iterator[Opened]:
        """The members of an archive."""
        packed = replace(self._packed(""), codec=None)
        with packed.open() as stream:
            for member in archives.members_of(stream, self.found.name):
                yield _member(member)


def _opener(fs: Any) -> Callable[[str, str], IO[bytes]]:
    """How files are opened: fsspec's own way is slow for ten thousand small files."""
    return open if isinstance(fs, LocalFileSystem) else fs.open


def _member(member: archives.Member) -> Opened:
    data = member.data
    codec = codec_of(member.name)
    if member.problem:
        return Opened(
            member.name,
            "",
            0,
            b"",
            problem=member.problem,
            inside=member.inside,
        )
    sha256 = hashlib.sha256(data).hexdigest()
    packed = Opened(
        member.name, sha256, len(data), data, codec=codec, inside=member.inside
    )
    return _measured(packed, archives.MAX_FILE_BYTES)


def _measured(opened: Opened, most: int) -> Opened:
    """The file with its size after decompression, or why it is not read."""
    if opened.codec is None:
        return opened
    n_bytes = 0
    problem = ""
    try:
        with opened.open() as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > most:
                    reason = f"more than {most} bytes after decompression"
                    problem = f"{reason}. Fix: split the file."
                    break
    except (OSError, pa.ArrowException) as error:
        problem = f"not a whole {opened.codec} file: {error}"
    return replace(opened, n_bytes=0 if problem else n_bytes, problem=problem)


_LOCAL = fsspec.filesystem("file")


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
