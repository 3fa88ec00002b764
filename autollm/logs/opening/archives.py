"""Archives (.tar, .tar.gz, .tar.xz, .zip) as streams of members, never extracted to disk.

The tar format is read here block by block, since Python's tarfile believes what a header
says: it reads a PAX header of 3 GiB into memory and walks on through a member of 2^80
bytes. Only regular members are read, under a cleaned name.

Invariant: no more than MAX_FILE_BYTES of a member and MAX_ARCHIVE_BYTES of an archive
are read; what came before a break is given.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from autollm.core.errors import RecordError
from autollm.logs.opening.found import clean_place

SUFFIXES = (".tar.xz", ".tar.gz", ".tgz", ".tar", ".zip")
MAX_FILE_BYTES = 256 * 2**20
"""Of one member, or of one small file, after decompression."""
MAX_ARCHIVE_BYTES = 8 * 2**30
"""Of one archive, after decompression."""
MAX_HEADER_BYTES = 2**20
"""Of a member's long name or PAX header; names have at most 4 KiB."""
_BLOCK = 512
_CHUNK_BYTES = 2**20
_BROKEN = (
    RecordError,
    EOFError,
    OSError,
    ValueError,  # names and offsets that zipfile cannot make sense of
    RuntimeError,  # a member with a password
    NotImplementedError,  # a compression that zipfile does not know
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Member:
    """One regular member, or why it is not read. `inside` is its path as it is spelt,
    without parts that lead elsewhere.
    """

    name: str
    data: bytes
    problem: str = ""
    inside: str = ""


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return name.endswith(SUFFIXES)


def members_of(stream: IO[bytes], archive: str) -> Iterator[Member]:
    """The regular members of an archive, in its order; after a break one entry with the
    problem and the archive's own name.
    """
    try:
        if archive.endswith(".zip"):
            yield from _zip_members(stream, archive)
        else:
            yield from _Tar(_opened(stream, archive), archive).members()
    except _BROKEN as error:
        problem = (
            f"broken archive: {error}. What came before this point was read."
        )
        yield Member(archive, b"", problem)


def _member(archive: str, inside: str, data: bytes, n_bytes: int) -> Member:
    """A member of `n_bytes`; one that is too large is not read."""
    name = f"{archive}!{clean_place(inside)}"
    if n_bytes <= MAX_FILE_BYTES:
        return Member(name, data, inside=inside)
    problem = f"more than {MAX_FILE_BYTES} bytes. Fix: split it."
    return Member(name, b"", problem, inside)


def _zip_members(stream: IO[bytes], archive: str) -> Iterator[Member]:
    """Members as their directory lists them; what a member says of its size is not
    believed.
    """
    n_bytes = 0
    with zipfile.ZipFile(stream) as packed:
        for entry in packed.infolist():
            inside = _inside(entry.filename)
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            if entry.is_dir() or is_link or _is_litter(inside):
                continue
            n_left = MAX_ARCHIVE_BYTES - n_bytes
            with packed.open(entry) as member:
                data = member.read(min(MAX_FILE_BYTES, n_left) + 1)
            n_bytes += len(data)
            _check_size(n_bytes)
            yield _member(archive, inside, data, len(data))


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_ARCHIVE_BYTES:
        raise RecordError(
            f"more than {MAX_ARCHIVE_BYTES} bytes. Fix: unpack it and land the files"
        )


def _opened(stream: IO[bytes], archive: str) -> IO[bytes]:
    if archive.endswith(".xz"):
        return lzma.open(stream)
    return gzip.open(stream) if archive.endswith("gz") else stream


class _Tar:
    """A tar stream read forward."""

    def __init__(self, stream: IO[bytes], archive: str):
        self._stream = stream
        self._archive = archive
        self._n_bytes = 0

    def members(self) -> Iterator[Member]:
        long_name = ""
        is_sparse = False
        while any(block := self._exactly(_BLOCK)):
            size = _checked(block)
            kind = block[156:157]
            if kind in (b"x", b"g", b"L", b"K"):
                if size > MAX_HEADER_BYTES:
                    raise RecordError(
                        f"a header of {size} bytes, more than {MAX_HEADER_BYTES}"
                    )
                data = self._padded(size)
                if kind == b"L":
                    long_name = data.split(b"\0")[0].decode("utf-8", "replace")
                elif kind == b"x":
                    found = _pax(data)
                    long_name = found.get("path", long_name)
                    is_sparse = any(k.startswith("GNU.sparse") for k in found)
                    if "size" in found:
                        raise RecordError("a member of more than 8 GiB")
                continue
            inside = _inside(long_name or _short_name(block))
            is_regular = kind in (b"0", b"\0", b"7")
            if kind == b"S":
                self._skip_sparse_map(block)
            if kind == b"S" or (is_regular and is_sparse):
                self._skip(size)
                name = f"{self._archive}!{clean_place(inside)}"
                problem = "a sparse member: not read. Fix: unpack it."
                yield Member(name, b"", problem)
            elif is_regular and not _is_litter(inside):
                is_small = size <= MAX_FILE_BYTES
                data = self._padded(size) if is_small else self._skip(size)
                yield _member(self._archive, inside, data, size)
            elif is_regular or kind not in b"123456":
                self._skip(size)
            long_name = ""
            is_sparse = False
        while chunk := self._stream.read(_CHUNK_BYTES):
            self._count(len(chunk))  # a broken compression is noticed

    def _padded(self, size: int) -> bytes:
        """What a member holds; it ends at a block's end."""
        data = self._exactly(size)
        self._exactly(-size % _BLOCK)
        return data

    def _skip_sparse_map(self, block: bytes) -> None:
        is_continued = block[482:483] not in (b"\0", b"")
        while is_continued:
            is_continued = self._exactly(_BLOCK)[504:505] not in (b"\0", b"")

    def _skip(self, size: int) -> bytes:
        left = size + -size % _BLOCK
        if left > MAX_ARCHIVE_BYTES:
            raise RecordError(f"a member of {size} bytes")
        while left:
            left -= len(self._exactly(min(left, _CHUNK_BYTES)))
        return b""

    def _exactly(self, size: int) -> bytes:
        """Raises:
        RecordError: the archive ends before, or is too large.
        """
        parts = []
        left = size
        while left:
            part = self._stream.read(left)
            if not part:
                raise RecordError(
                    "it ends without its end mark, so it was cut short"
                )
            parts.append(part)
            left -= len(part)
        self._count(size)
        return b"".join(parts)

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        _check_size(self._n_bytes)


def _checked(block: bytes) -> int:
    """The size that a header says.

    Raises:
        RecordError: no header of a tar archive.
    """
    said = _number(block[148:156])
    plain = block[:148] + b" " * 8 + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in plain)
    if said not in (sum(plain), signed):
        raise RecordError("no tar header where one must be")
    return _number(block[124:136])


def _number(field: bytes) -> int:
    try:
        if field[0] & 0x80:  # a binary number; 0xff begins a negative one
            value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
        else:
            value = int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        value = -1
    if value < 0:
        raise RecordError(f"a number {field!r} in a tar header")
    return value


def _short_name(block: bytes) -> str:
    prefix = block[345:500] if block[257:262] == b"ustar" else b""
    parts = [part.split(b"\0")[0] for part in (prefix, block[:100])]
    return b"/".join(filter(None, parts)).decode("utf-8", "replace")


def _pax(data: bytes) -> dict[str, str]:
    """The records of a PAX header: `length key=value` and a newline each."""
    found: dict[str, str] = {}
    while data:
        head, _, _ = data.partition(b" ")
        length = int(head) if head.isdigit() and len(head) < 8 else 0
        if not len(head) < length <= len(data):
            raise RecordError("a damaged PAX header")
        record = data[len(head) + 1 : length].removesuffix(b"\n")
        key, _, value = record.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        data = data[length:]
    return found


def _is_litter(inside: str) -> bool:
    """Whether a member is what macOS adds to archives."""
    name = inside.rpartition("/")[2]
    return inside.startswith("__MACOSX/") or name.startswith(
        ("._", ".DS_Store")
    )


def _inside(name: str) -> str:
    parts = name.replace("\0", "").split("/")
    return "/".join(p for p in parts if p not in ("", ".", ".."))
