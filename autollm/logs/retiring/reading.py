"""What every reader shares: its shape, cutting bytes into lines, and how lines that
cannot be used are reported.

A reader turns the bytes of one file into canonical runs, metric points and bad lines.
What does not belong here:
finding files, keeping them, writing tables. A new format is one module and one entry in
`formats.READERS`; a new format of tables says only how its rows are cut (`TableFormat`
in `table.py`).

Invariant: `n_lines_read + sum(bad.n_lines) == n_lines` for every file, whatever its
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from autollm.core.errors import RecordError
from autollm.logs.relation import BadLines
from autollm.logs.retiring.catalog import MappingChoice
from autollm.logs.retiring.containers import LogBytes, LogFile

MAX_TEXT = 500
"""Characters of a bad line that quarantine keeps; the raw file keeps all of it."""
MAX_LINE_BYTES = 16 * 2**20
"""Of a line in a streamed table: longer ones are set aside, and no more than this of
them is ever in memory.
"""
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class RunRow:
    """One canonical run: a `runs` row (without batch and file columns), its points, and
    the lines it stands on.
    """

    row: dict[str, Any]
    points: list[dict[str, Any]]
    line: int
    n_lines: int
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.row["source"], self.row["run_id"]


@dataclass
class ReadFile:
    """What a reader found in one file."""

    n_lines: int
    runs: list[RunRow] = field(default_factory=list)
    bad: list[BadLines] = field(default_factory=list)
    mapping_id: str = ""
    source: str = ""

    @property
    def n_lines_quarantined(self) -> int:
        return sum(b.n_lines for b in self.bad)


def merge(chunks: Iterator[ReadFile]) -> ReadFile:
    """The chunks of one file as one."""
    whole = ReadFile(0)
    for chunk in chunks:
        whole.n_lines += chunk.n_lines
        whole.runs += chunk.runs
        whole.bad += chunk.bad
        whole.mapping_id, whole.source = chunk.mapping_id, chunk.source
    return whole


class Reader(Protocol):
    """What every format offers."""

    format: str
    suffixes: tuple[str, ...]
    streams: bool
    """Whether it reads a LogFile in bounded memory, by `chunks`."""

    def read(self, log: LogBytes, choice: MappingChoice) -> ReadFile:
        """All runs of one file.

        Raises:
            MappingError: the file's columns do not fit the mapping (tables only).
        """
        ...


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends; a last line without an end counts, an empty rest does
    not.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


class CutLine(bytes):
    """The first bytes of a line that is longer than MAX_LINE_BYTES."""


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
        raise RecordError(f"a line of more than {MAX_LINE_BYTES} bytes")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}"
        ) from None


def looks_binary(data: bytes) -> bool:
    """Whether the first 8 KiB hold a NUL byte, which no log has."""
    return b"\x00" in data[:8192]


def head_of(log: LogBytes | LogFile) -> bytes:
    """The first 8 KiB."""
    with log.open() as stream:
        return stream.read(8192)


def binary_problem(head: bytes, what: str) -> str:
    """Why these first bytes are not those of `what`; empty when they may be."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"UTF-16 text: {what} is UTF-8. Fix: save it as UTF-8."
    return f"binary data: {what} has no NUL bytes" if looks_binary(head) else ""


def count_lines(log: LogBytes | LogFile) -> int:
    """Lines of a file, as `split_lines` counts them."""
    with log.open() as stream:
        return sum(1 for _ in iter_lines(stream))


def quote(line: bytes | str) -> str:
    """The start of a bad line as printable text."""
    text = (
        line[: 4 * MAX_TEXT].decode("utf-8", errors="backslashreplace")
        if isinstance(line, bytes)
        else line
    )
    return (
        text.replace("\x00", "\\x00")
        .encode("utf-8", errors="backslashreplace")
        .decode()[:MAX_TEXT]
    )


def whole_file(data: bytes, reason: str) -> ReadFile:
    """A file of which no line can be used."""
    return whole_lines(len(split_lines(data)), data, reason)


def whole_lines(n_lines: int, head: bytes, reason: str) -> ReadFile:
    """`n_lines` lines of which none can be used; `head` are their first bytes."""
    bad = [BadLines(1 if n_lines else 0, n_lines, reason, quote(head[: 4 * MAX_TEXT]))]
    return ReadFile(n_lines, bad=bad)
