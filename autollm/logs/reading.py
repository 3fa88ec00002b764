"""Bytes to lines, and lines to text: what all readers share.

Invariant: the lines of a file are the same whatever the size of the pieces it is read in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from autollm.core.errors import RecordError

MAX_TEXT = 500
"""Characters of a bad line that quarantine keeps; the raw file keeps all of it."""
MAX_LINE_BYTES = 16 * 2**20
"""A longer line is set aside; no more than this of it is ever in memory."""
_CHUNK_BYTES = 2**20


class CutLine(bytes):
    """The first bytes of a line that is longer than MAX_LINE_BYTES."""


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends; a last line without an end counts, an empty rest does
    not.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def iter_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of `split_lines`, without holding the file; a line that is too long is
    a CutLine.
    """
    rest, is_cut = b"", False
    while chunk := stream.read(_CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        if not is_cut:
            rest += first
        if len(rest) > MAX_LINE_BYTES:
            rest, is_cut = rest[:MAX_LINE_BYTES], True
        if not others:
            continue
        yield CutLine(rest) if is_cut else rest.removesuffix(b"\r")
        yield from (line.removesuffix(b"\r") for line in others[:-1])
        rest, is_cut = others[-1], False
    if rest:
        yield CutLine(rest) if is_cut else rest.removesuffix(b"\r")


def decode_line(line: bytes) -> str:
    """UTF-8 text.

    Raises:
        RecordError: other bytes, or a CutLine.
    """
    if isinstance(line, CutLine):
        raise RecordError(too_long())
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1} (save "
            "the file as UTF-8)"
        ) from None


def too_long() -> str:
    """Why a cut line is set aside."""
    return f"a line of more than {MAX_LINE_BYTES} bytes"


def quote(line: bytes | str) -> str:
    """The start of a bad line as printable text."""
    text = line
    if isinstance(line, bytes):
        text = line[: 4 * MAX_TEXT].decode("utf-8", errors="backslashreplace")
    printable = text[: 4 * MAX_TEXT].replace("\x00", "\\x00")
    return printable.encode("utf-8", errors="backslashreplace").decode()[
        :MAX_TEXT
    ]
