"""Streams as blocks of whole lines, and blocks that are worked on in threads."""

import io
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autollm.core.errors import RecordError
from autollm.logs.reading import split_lines
from autollm.logs.tables import blocks
from autollm.logs.tables.blocks import (
    N_AHEAD,
    Account,
    Block,
    ahead,
    blocks_of,
    count_lines,
    halved,
    parsed,
    whole_file,
)

LINES = st.lists(
    st.sampled_from([b"", b"a", b"bb,cc", b"\r", b"x" * 40]), max_size=12
)


@given(lines=LINES, has_end=st.booleans(), size=st.integers(1, 60))
def test_blocks_of__any_size__whole_lines_by_their_number(lines, has_end, size):
    data = b"\n".join(lines) + (b"\n" if has_end and lines else b"")
    before, blocks.BLOCK_BYTES = blocks.BLOCK_BYTES, size
    try:
        found = list(blocks_of(io.BytesIO(data)))
    finally:
        blocks.BLOCK_BYTES = before
    assert b"".join(block.data for block in found) == data
    line = 1
    for block in found:
        assert block.line == line
        assert block is found[-1] or block.data.endswith(b"\n")
        line += block.n_lines
    assert line - 1 == count_lines(data) == len(split_lines(data))


@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_of__line_beyond_the_limit__stands_alone_and_is_cut(
    monkeypatch, size
):
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 50)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    data = b"a\nb\n" + b"z" * 400 + b"\nc\nd"
    found = list(blocks_of(io.BytesIO(data)))
    (long,) = [block for block in found if block.is_cut]
    assert long.line == 3 and long.data == b"z" * 50 and long.n_lines == 1
    others = [block for block in found if not block.is_cut]
    assert b"".join(block.data for block in others) == b"a\nb\nc\nd"
    after = [block for block in found if block.line > 3]
    assert after[0].line == 4 and after[0].data.startswith(b"c")
    assert sum(block.n_lines for block in found) == 5


def test_blocks_of__last_line_beyond_the_limit__ends_the_stream(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 50)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 30)
    found = list(blocks_of(io.BytesIO(b"a\n" + b"z" * 200)))
    assert [block.is_cut for block in found] == [False, True]
    assert found[1].line == 2 and len(found[1].data) == 50


@example(data=b"")
@given(data=st.binary(max_size=60))
def test_count_lines__any_bytes__are_those_of_split_lines(data):
    assert count_lines(data) == len(split_lines(data))


def _blocks(n_blocks):
    return [Block(i + 1, b"%d\n" % i) for i in range(n_blocks)]


@pytest.mark.parametrize("n_blocks", [0, 1, 2, N_AHEAD, N_AHEAD + 1, 40])
def test_ahead__any_number_of_blocks__come_in_order_with_their_own_result(
    n_blocks,
):
    found = list(ahead(_blocks(n_blocks), lambda block: block.data * 2))
    assert [block for block, _ in found] == _blocks(n_blocks)
    assert [made for _, made in found] == [
        b"%d\n" % i * 2 for i in range(n_blocks)
    ]


def test_ahead__slow_first_block__does_not_stop_the_next_ones_nor_overtake():
    is_free = threading.Event()

    def work(block):
        if block.line == 1:
            assert is_free.wait(60)
        elif block.line == 2:
            is_free.set()
        return block.line

    if blocks.N_THREADS == 1:
        is_free.set()
    found = [made for _, made in ahead(_blocks(6), work)]
    assert found == [1, 2, 3, 4, 5, 6]


def test_ahead__one_block__is_worked_on_by_the_caller():
    here = threading.get_ident()
    (found,) = ahead(_blocks(1), lambda block: threading.get_ident())
    assert found[1] == here
    *others, last = ahead(_blocks(5), lambda block: threading.get_ident())
    assert last[1] == here and here not in {made for _, made in others}


def test_ahead__no_more_than_its_limit__are_taken_before_the_first_is_used():
    taken = []

    def source():
        for block in _blocks(100):
            taken.append(block.line)
            yield block

    found = ahead(source(), lambda block: block.line)
    assert next(found)[1] == 1
    assert len(taken) <= N_AHEAD + 1
    assert [made for _, made in found] == list(range(2, 101))


@pytest.mark.parametrize("n_before", [0, 1, 2, 20])
def test_ahead__stream_that_breaks__gives_what_came_before_and_its_error(
    n_before,
):
    def source():
        yield from _blocks(n_before)
        raise RecordError("broken")

    found = []
    with pytest.raises(RecordError, match="broken"):
        for block, _ in ahead(source(), lambda block: None):
            found.append(block)
    assert found == _blocks(n_before)


def test_ahead__work_that_fails__is_the_callers_to_see():
    def work(block):
        if block.line == 3:
            raise ValueError("line 3")
        return block.line

    found = []
    with pytest.raises(ValueError, match="line 3"):
        for _, made in ahead(_blocks(9), work):
            found.append(made)
    assert found == [1, 2]


def test_ahead__reader_that_is_left__ends_its_threads():
    found = ahead(_blocks(50), lambda block: block.line)
    next(found)
    found.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("reading") for name in names)


@given(data=st.lists(st.sampled_from([b"good", b"odd!"]), min_size=1))
def test_parsed__odd_lines__stand_in_small_blocks_and_the_others_are_whole(
    data,
):
    before, blocks.LEAF_BYTES = blocks.LEAF_BYTES, 5
    text = b"\n".join(data) + b"\n"

    def whole(block):
        return None if b"odd" in block.data else block.data

    try:
        found = list(parsed(Block(1, text), whole))
    finally:
        blocks.LEAF_BYTES = before
    line = 1
    for block, made in found:
        assert block.line == line
        line += block.n_lines
        assert (made is None) == (block.data == b"odd!\n")
        assert made is None or made == block.data
    assert b"".join(block.data for block, _ in found) == text


def test_halved__one_line__cannot_be(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_BYTES", 4)
    assert halved(Block(1, b"x" * 50 + b"\n")) is None
    assert halved(Block(1, b"abc\n")) is None
    first, second = halved(Block(5, b"aa\nbb\ncc\ndd\n"))
    assert first.data + second.data == b"aa\nbb\ncc\ndd\n"
    assert second.line == 5 + first.n_lines


def test_whole_file__any_blocks__is_one_entry_of_all_lines(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3)
    account = whole_file(io.BytesIO(b"one\ntwo\nthree"), "no table")
    (bad,) = account.bad
    assert (account.n_lines, bad.n_lines, bad.line) == (3, 3, 1)
    assert bad.reason == "no table" and bad.text == "one\n"
    empty = whole_file(io.BytesIO(b""), "empty")
    assert (empty.n_lines, empty.bad[0].n_lines, empty.bad[0].line) == (0, 0, 0)


def test_account__lines_set_aside__are_kept_with_the_start_of_their_text():
    account = Account(5)
    account.set_aside(2, "wrong", b"\x00\xff" + b"x" * 900, 3)
    (bad,) = account.bad
    assert (bad.line, bad.n_lines, bad.reason) == (2, 3, "wrong")
    assert bad.text.startswith("\\x00\\xffx") and len(bad.text) == 500
