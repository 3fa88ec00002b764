"""A stream of bytes as blocks of whole lines, worked on in threads.

Invariant: the lines of all blocks are the lines of the stream, and what is made of them
comes in their order; no more than N_AHEAD blocks and what they came to wait in memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TypeVar

import numpy as np
import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.logs.reading import MAX_LINE_BYTES, MAX_TEXT, quote
from autollm.logs.relation import BadLines

BLOCK_BYTES = 8 * 2**20
"""Large enough that parsing it as a whole pays, small beside 2 GB of memory."""
LEAF_BYTES = 64 * 2**10
"""A block that cannot be parsed as a whole is halved down to this size."""
HEAD_BYTES = 64 * 2**10
"""First bytes of a file, by which its format is told."""
N_THREADS = min(os.cpu_count() or 1, 4)
"""That parse: more give more than one thread can map."""
N_AHEAD = N_THREADS + 2
"""Blocks that are parsed, or are waiting to be, while an earlier one is mapped."""
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
    codes = np.frombuffer(data, np.uint8)
    n_ends = np.count_nonzero(codes == ord("\n"))
    return int(n_ends) + bool(data and not data.endswith(b"\n"))


def blocks_of(stream: IO[bytes], line: int = 1) -> Iterator[Block]:
    """The stream in blocks; the first line has the number `line`."""
    while data := stream.read(BLOCK_BYTES):
        is_whole = data.endswith(b"\n")
        rest = b"" if is_whole else stream.readline(MAX_LINE_BYTES)
        if len(rest) < MAX_LINE_BYTES or rest.endswith(b"\n"):
            block = Block(line, data + rest)
            yield block
            line += block.n_lines
            continue
        before = data.rfind(b"\n") + 1
        if before:
            yield Block(line, data[:before])
            line += count_lines(data[:before])
        long = data[before:] + rest
        yield Block(line, long[:MAX_LINE_BYTES], is_cut=True)
        line += 1
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)


def ahead(
    blocks: Iterable[Block], work: Callable[[Block], T]
) -> Iterator[tuple[Block, T]]:
    """Each block with what `work` makes of it, in their order. Blocks are worked on in
    threads while earlier ones are used; the last one, often the only one, is not.

    Raises:
        RecordError, OSError, ArrowException: as `blocks` does, after what came before.
    """
    last: Block | None = None
    problem: Exception | None = None
    waiting: deque[tuple[Block, Future[T]]] = deque()
    with ThreadPoolExecutor(N_THREADS, "reading") as pool:
        try:
            for block in blocks:
                if last is not None:
                    waiting.append((last, pool.submit(work, last)))
                last = block
                if len(waiting) == N_AHEAD:
                    earlier, made = waiting.popleft()
                    yield earlier, made.result()
        except (RecordError, OSError, pa.ArrowException) as error:
            problem = error
        for earlier, made in waiting:
            yield earlier, made.result()
    if last is not None:
        yield last, work(last)
    if problem is not None:
        raise problem


def halved(block: Block) -> tuple[Block, Block] | None:
    """Two blocks of about half the size, None where it is small or one line."""
    if len(block.data) <= LEAF_BYTES:
        return None
    half = len(block.data) // 2
    middle = block.data.find(b"\n", half) + 1
    if not 0 < middle < len(block.data):
        middle = block.data.rfind(b"\n", 0, half) + 1
    if not 0 < middle < len(block.data):
        return None
    first = block.data[:middle]
    line = block.line + first.count(b"\n")
    second = Block(line, block.data[middle:])
    return Block(block.line, first), second


def parsed(
    block: Block, whole: Callable[[Block], T | None]
) -> Iterator[tuple[Block, T | None]]:
    """A block, or its halves, each with what `whole` makes of it; None beside a small
    one of which it makes nothing, that is to be cut line by line.
    """
    waiting = [block]
    while waiting:
        one = waiting.pop()
        found = None if one.is_cut else whole(one)
        halves = None
        if found is None and not one.is_cut:
            halves = halved(one)
        if halves is None:
            yield one, found
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
