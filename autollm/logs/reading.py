"""What every reader shares: its shape, cutting bytes into lines, and how lines that cannot be used are reported.

A reader turns the bytes of one file into canonical runs, metric points and bad lines. What does not belong here:
finding files, keeping them, writing tables. A new format is one module and one entry in `formats.READERS`.

Invariant: `n_lines_read + sum(bad.n_lines) == n_lines` for every file, whatever its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from autollm.errors import RecordError
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import LogBytes

MAX_TEXT = 500
"""Characters of a bad line that quarantine keeps; the raw file keeps all of it."""


@dataclass(frozen=True)
class BadLines:
    """Lines that could not be used: from `line` (1-based; 0: not known by lines), `n_lines` of them."""

    line: int
    n_lines: int
    reason: str
    text: str


@dataclass(frozen=True)
class RunRow:
    """One canonical run: a `runs` row (without batch and file columns), its points, and the lines it stands on."""

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


class Reader(Protocol):
    """What every format offers."""

    format: str
    suffixes: tuple[str, ...]

    def read(self, log: LogBytes, choice: MappingChoice) -> ReadFile:
        """All runs of one file.

        Raises:
            MappingError: the file's columns do not fit the mapping (tables only).
        """
        ...


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends; a last line without an end counts, an empty rest does not."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def decode_line(line: bytes) -> str:
    """UTF-8 text.

    Raises:
        RecordError: other bytes.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}") from None


def looks_binary(data: bytes) -> bool:
    """Whether the first 8 KiB hold a NUL byte, which no log has."""
    return b"\x00" in data[:8192]


def quote(line: bytes | str) -> str:
    """The start of a bad line as printable text."""
    text = line[: 4 * MAX_TEXT].decode("utf-8", errors="backslashreplace") if isinstance(line, bytes) else line
    return text.replace("\x00", "\\x00").encode("utf-8", errors="backslashreplace").decode()[:MAX_TEXT]


def whole_file(data: bytes, reason: str) -> ReadFile:
    """A file of which no line can be used."""
    n_lines = len(split_lines(data))
    bad = [BadLines(1 if n_lines else 0, n_lines, reason, quote(data[: 4 * MAX_TEXT]))]
    return ReadFile(n_lines, bad=bad)
