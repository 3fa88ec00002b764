"""How a CSV file is written: encoding, what stands before its header, its separator.

One decision for everybody who reads such a file. It is taken from the first bytes:

    byte-order marks of UTF-8 and UTF-16; UTF-16 without one by its NUL bytes; Windows-1252
    where no character is UTF-8's and all others are letters and signs of Western Europe
    a first line `sep=;` (Excel) names the separator and is no header
    lines before the header that begin with # or // are comments
    the separator is the one of , tab ; | that cuts the first lines into equally many
    fields, most of them; a mark inside quotes does not count
    lines of one cell above the header (a sheet's title) are none of it
    an unnamed first column is the index of whoever wrote the table: `_index`; others are
    called as pandas calls them, `Unnamed: 6`
    a second line of units (`(s)`, `[tokens]`) stands behind the names, one of names below
    repeated or empty ones (as pandas writes groups of columns) is joined to them by `/`

Invariant: nothing before the header is lost: it counts as read.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from dataclasses import dataclass
from typing import IO

from autollm.core.errors import RecordError
from autollm.core.value_words import NOUNS, POWERS, SECONDS
from autollm.logs.reading import decode_line
from autollm.logs.tables.blocks import BLOCK_BYTES

_MORE_UNITS = (
    "%",
    "nats",
    "bits",
    "gb",
    "gib",
    "mb",
    "mib",
    "tok/s",
    "usd",
    "tflops",
)
SEPARATORS = (",", "\t", ";", "|")
MAX_COLUMNS = 10_000
"""More is no table of runs (the widest public one has 60), and each costs memory."""
SAMPLE_LINES = 20
ANSI = "cp1252"
_OF_ANSI = frozenset(
    "äöüßÄÖÜéèêëàâáçñóòôíìîïúùûœæøåÉÈÀÇØÅ±°²³µ×½€–—’“”\xa0".encode(ANSI)
)
_WIDEST_STEP = 10
"""Between neighbouring values of a sweep: a decade."""
LEAST_COLUMNS = 3
"""Of a table that nothing but its look tells from other text."""
INDEX = "_index"
NO_UNIT = ("", "-", "–", "1", "()", "[]", "(-)", "[-]", "(1)")
UNITS = frozenset({*SECONDS, *NOUNS, *POWERS, *_MORE_UNITS})
"""What a second line of a header holds below the names."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.|\\t)"?', re.IGNORECASE)
_COMMENT = re.compile(r"\s*(#|//)")
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf", re.IGNORECASE
)


@dataclass(frozen=True)
class Dialect:
    """`n_before`: lines before the header's. `header`: the columns' names; `printed`: the
    first line of names as it stands, `n_names` of them make the header.
    """

    encoding: str
    separator: str
    n_before: int
    header: tuple[str, ...]
    printed: str = ""
    n_names: int = 1

    @property
    def first_row(self) -> int:
        """The line after the header's."""
        return self.n_before + self.n_names + 1


def dialect_of(head: bytes) -> Dialect | None:
    """The dialect of a file that begins with `head`; None for an empty file.

    Raises:
        RecordError: the header cannot be read, is missing, names a column twice or has
            more than MAX_COLUMNS.
    """
    encoding = encoding_of(head)
    lines = _first_lines(head, encoding)
    separator = ""
    n_before = 0
    while lines and (not lines[0].strip() or _is_preamble(lines)):
        said = _SEPARATOR_LINE.fullmatch(lines[0].strip())
        if said and n_before == 0:
            separator = "\t" if said[1] == "\\t" else said[1]
        lines.pop(0)
        n_before += 1
    if not lines:
        return None
    separator = separator or separator_of(lines)
    rows = []
    for line in lines[:3]:
        rows.append([cell.strip() for cell in cells_of(line, separator)])
    header = _of_two_lines(*rows) if len(rows) == 3 else None
    n_names = 1 if header is None else 2
    header = header or rows[0]
    if header and not header[0]:
        header[0] = INDEX
    header = [cell or f"Unnamed: {n}" for n, cell in enumerate(header)]
    _check_header(header, n_before + 1)
    return Dialect(
        encoding, separator, n_before, tuple(header), lines[0], n_names
    )


def _of_two_lines(
    names: list[str], below: list[str], row: list[str]
) -> list[str] | None:
    """The names where two lines make them; None where the second is a row already."""
    is_text = any(below) and not any(map(_NUMBER.fullmatch, below))
    has_numbers = any(
        _NUMBER.fullmatch(cell) and text
        for cell, text in zip(row, below, strict=False)
    )
    if len(names) != len(below) or not is_text or not has_numbers:
        return None
    units = ["" if cell in NO_UNIT else cell for cell in below]
    filled = [unit for unit in units if unit]
    if filled and all(map(_is_unit, filled)) and all(names):
        pairs = zip(names, units, strict=True)
        return [f"{n} ({u.strip('()[] ')})" if u else n for n, u in pairs]
    if len(set(names)) == len(names) and all(names[1:]):
        return None
    joined = []
    group = ""
    for name, inner in zip(names, below, strict=True):
        group = name or group
        joined.append("/".join(part for part in (group, inner) if part))
    return joined


def _is_unit(cell: str) -> bool:
    is_marked = re.fullmatch(r"\(.*\)|\[.*\]", cell) is not None
    return is_marked or cell.lower() in UNITS


def encoding_of(head: bytes) -> str:
    """utf-8, utf-8-sig, utf-16, utf-16-le, utf-16-be or cp1252."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    sample = head[:512]
    if len(sample) >= 8 and sample.count(0) > len(sample) // 3:
        if not any(sample[0::2]):
            return "utf-16-be"
        if not any(sample[1::2]):
            return "utf-16-le"
    return ANSI if _is_ansi(head) else "utf-8"


def _is_ansi(head: bytes) -> bool:
    """Whether these bytes are no UTF-8 and what Excel saves in Western Europe."""
    strange = {byte for byte in head if byte >= 0x80}
    if not strange or not strange <= _OF_ANSI:
        return False
    return head.decode("utf-8", "ignore").isascii()


def _first_lines(head: bytes, encoding: str) -> list[str]:
    """The first lines as text, the last cut one left out where there are others.

    Raises:
        RecordError: the header's line is not of that encoding.
    """
    if encoding.startswith("utf-16") or encoding == ANSI:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    else:
        data = head.removeprefix(codecs.BOM_UTF8)
        first = decode_line(data.split(b"\n", 1)[0])
        rest = data.split(b"\n", 1)[1:]
        text = "\n".join([first, *(r.decode("utf-8", "replace") for r in rest)])
    lines = text.split("\n")[: SAMPLE_LINES + 10]
    if len(lines) > 1 and "\n" not in lines[-1]:
        lines = (
            lines[:-1] if len(text.split("\n")) <= SAMPLE_LINES + 10 else lines
        )
    return [line.removesuffix("\r") for line in lines]


def _is_preamble(lines: list[str]) -> bool:
    """Whether the first line is a `sep=` line, a comment or a title before the header."""
    if _SEPARATOR_LINE.fullmatch(lines[0].strip()) or _is_title(lines):
        return True
    if not _COMMENT.match(lines[0]) or len(lines) < 2:
        return False
    # "#,lr,loss" is a header whose first column counts the rows
    after = next((line for line in lines[1:] if not _COMMENT.match(line)), "")
    separator = separator_of(
        [line for line in lines if not _COMMENT.match(line)]
    )
    return len(cells_of(lines[0], separator)) != len(cells_of(after, separator))


def _is_title(lines: list[str]) -> bool:
    """Whether the first line holds one cell at most, above a table of several columns."""
    below = lines[1:SAMPLE_LINES]
    separator = separator_of(below)
    n_filled = []
    for line in (lines[0], *below):
        cells = cells_of(line, separator)
        n_filled.append(sum(bool(cell.strip()) for cell in cells))
    usual = sorted(n_filled[1:])[len(below) // 2] if below else 0
    return n_filled[0] <= 1 and usual >= LEAST_COLUMNS


def holds_table(head: bytes) -> bool:
    """Whether a text begins as a table: names, and lines below that are cut into as many
    cells, numbers among them.
    """
    try:
        found = dialect_of(head)
        lines = _first_lines(head, found.encoding) if found else []
    except RecordError:
        return False
    if found is None or len(found.header) < LEAST_COLUMNS:
        return False
    rows = []
    for line in lines[found.first_row - 1 :]:
        rows.append([c.strip() for c in cells_of(line, found.separator)])
    rows = [row for row in rows if any(row)]
    right = [row for row in rows if len(row) == len(found.header)]
    n_numbers = sum(bool(_NUMBER.fullmatch(c)) for row in right for c in row)
    is_even = len(right) >= max(LEAST_COLUMNS, 0.9 * len(rows))
    return is_even and 3 * n_numbers >= len(right) * len(found.header)


def separator_of(lines: list[str]) -> str:
    """The separator that cuts the header into most fields, and the lines after it into
    as many; a comma where none does.
    """
    best = (0.0, 0, ",")
    for separator in SEPARATORS:
        counts = []
        for line in lines[:SAMPLE_LINES]:
            if line.strip():
                counts.append(len(cells_of(line, separator)))
        if not counts or counts[0] < 2:
            continue
        agreeing = sum(count == counts[0] for count in counts) / len(counts)
        if (agreeing, counts[0]) > best[:2]:
            best = (agreeing, counts[0], separator)
    return best[2]


def cells_of(line: str, separator: str) -> list[str]:
    """The fields of one line, quotes taken as far as they make sense."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _check_header(header: list[str], line: int) -> None:
    if len(header) > MAX_COLUMNS:
        raise RecordError(
            f"a header of {len(header)} columns, more than {MAX_COLUMNS}. Fix: leave out "
            "what says nothing of a run."
        )
    if len(set(header)) < len(header):
        twice = next(n for n in header if header.count(n) > 1)
        raise RecordError(
            f"the column {twice!r} stands in the header twice. Fix: rename one of them."
        )
    filled = [cell for cell in header if cell]
    n_numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
    if (
        len(filled) > 1
        and 2 * n_numbers >= len(filled)
        and not _is_axis(header)
    ):
        raise RecordError(
            f"no header: line {line} holds values ({', '.join(filled[:3])} ...). "
            "Fix: write the columns' names above it."
        )


def _is_axis(header: list[str]) -> bool:
    """Whether the names are the values of one setting behind a word: a sweep's, which
    rise by one step after another.
    """
    if _NUMBER.fullmatch(header[0]) or len(header) <= LEAST_COLUMNS:
        return False
    if not all(map(_NUMBER.fullmatch, header[1:])):
        return False
    values = [float(cell) for cell in header[1:]]
    pairs = list(itertools.pairwise(values))
    are_near = all(0 < low < high <= _WIDEST_STEP * low for low, high in pairs)
    return are_near or all(high == low + 1 for low, high in pairs)


class TextStream:
    """A stream of another encoding as UTF-8 bytes."""

    def __init__(self, stream: IO[bytes], encoding: str):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Up to about `size` bytes; empty at the end only."""
        while chunk := self._stream.read(size):
            text = self._decoder.decode(chunk)
            if text:
                return text.encode()
        return self._decoder.decode(b"", final=True).encode()


def as_utf8(stream: IO[bytes], encoding: str) -> IO[bytes]:
    """The stream without its byte-order mark, in UTF-8."""
    if encoding.startswith("utf-16") or encoding == ANSI:
        return io.BufferedReader(
            _Raw(TextStream(stream, encoding)), BLOCK_BYTES
        )
    if encoding == "utf-8-sig":
        stream.read(len(codecs.BOM_UTF8))
    return stream


class _Raw(io.RawIOBase):
    """A TextStream as what io.BufferedReader takes."""

    def __init__(self, source: TextStream):
        self._source, self._rest = source, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        if not self._rest:
            self._rest = self._source.read(len(buffer))
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n
