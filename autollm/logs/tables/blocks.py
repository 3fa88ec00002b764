"""A stream of bytes as blocks of whole lines, and lines as text.

Invariant: the lines of all blocks are the lines of the stream; no more than one block
and one line of MAX_LINE_BYTES are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TypeVar

from autollm.logs.reading import MAX_LINE_BYTES, MAX_TEXT, quote
from autollm.logs.relation import BadLines

BLOCK_BYTES = 8 * 2**20
"""Large enough that parsing it as a whole pays, small beside 2 GB of memory."""
LEAF_BYTES = 64 * 2**10
"""A block that cannot be parsed as a whole is halved down to this size."""
HEAD_BYTES = 64 * 2**10
"""First bytes of a file, by which its format is told."""
T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """Whole lines, of which the first has the number `line` (from 1). `is_cut`: a line
    that was longer than MAX_LINE_BYTES, of which `data` holds the beginning.
    """

    line: int
    data: bytes
    is_cut: bool = False

    @cached_property
    def n_lines(self) -> int:
        if self.is_cut:
            return 1
        return count_lines(self.data)


def count_lines(data: bytes) -> int:
    """Lines; a last line without an end counts, an empty rest does not."""
    return data.count(b"\n") + bool(data and not data.endswith(b"\n"))


def blocks_of(stream: IO[bytes], line: int = 1) -> Iterator[Block]:
    """The stream in blocks; the first line has the number `line`."""
    rest = b""
    while chunk := stream.read(BLOCK_BYTES):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            data = rest + chunk[:cut]
            yield Block(line, data)
            line += data.count(b"\n")
            rest = chunk[cut:]
            continue
        rest += chunk
        if len(rest) > MAX_LINE_BYTES:
            after = _skip_line(stream)
            yield Block(line, rest[:MAX_LINE_BYTES], is_cut=True)
            line += 1
            rest = after
    if rest:
        yield Block(line, rest)


def _skip_line(stream: IO[bytes]) -> bytes:
    """Read on to the end of a line; returns what was read beyond."""
    while chunk := stream.read(BLOCK_BYTES):
        end = chunk.find(b"\n") + 1
        if end:
            return chunk[end:]
    return b""


def halved(block: Block) -> tuple[Block, Block] | None:
    """Two blocks of about half the size, None where it is small or one line."""
    if len(block.data) <= LEAF_BYTES:
        return None
    middle = block.data.find(b"\n", len(block.data) // 2) + 1
    if not 0 < middle < len(block.data):
        middle = block.data.rfind(b"\n", 0, len(block.data) // 2) + 1
    if not 0 < middle < len(block.data):
        return None
    first = block.data[:middle]
    second = Block(block.line + first.count(b"\n"), block.data[middle:])
    return Block(block.line, first), second


def parsed(
    block: Block, whole: Callable[[Block], T | None]
) -> Iterator[T | Block]:
    """What `whole` makes of a block, or of its halves; where it makes nothing (None) of
    a small block, that block comes out as it is, to be cut line by line.
    """
    waiting = [block]
    while waiting:
        one = waiting.pop()
        found = None if one.is_cut else whole(one)
        if found is not None:
            yield found
            continue
        halves = None if one.is_cut else halved(one)
        if halves is None:
            yield one
        else:
            waiting += reversed(halves)


@dataclass
class Account:
    """Lines of one file as they are read: how many, and which are set aside."""

    n_lines: int = 0
    bad: list[BadLines] = field(default_factory=list)

    def set_aside(
        self, line: int, reason: str, text: bytes | str, n_lines: int = 1
    ) -> None:
        """Take `n_lines` lines from `line` on as unusable."""
        self.bad.append(BadLines(line, n_lines, reason, quote(text)))


def whole_file(stream: IO[bytes], reason: str) -> Account:
    """A file of which no line can be used."""
    account = Account()
    head = b""
    for block in blocks_of(stream):
        head = head or block.data[: 4 * MAX_TEXT]
        account.n_lines += block.n_lines
    account.set_aside(min(1, account.n_lines), reason, head, account.n_lines)
    return account


def binary_problem(head: bytes, what: str) -> str:
    """Why these first bytes are not those of a text; empty when they may be."""
    if b"\x00" in head[:8192]:
        return f"binary data: {what} has no NUL bytes"
    return ""
