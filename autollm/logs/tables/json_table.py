"""JSON lines as a table: one object a line and run; nested objects become dotted
columns (`config.lr`), lists and what mixes types become JSON text.

Lines may name different keys. Blocks are parsed by Arrow, which refuses a key that
stands twice in one object and a column of two types; such lines, and those whose digits
a float cannot hold, are read one by one by Python's json.

Invariant: blank lines count as read; every other line is a row or set aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from autollm.core.errors import RecordError
from autollm.core.records import object_of
from autollm.logs.reading import decode_line, split_lines, too_long
from autollm.logs.relation import FILE_COLUMN, OpenedFile, Relation
from autollm.logs.tables.blocks import (
    HEAD_BYTES,
    Account,
    Block,
    ahead,
    binary_problem,
    blocks_of,
    parsed,
)
from autollm.logs.tables.columns import (
    numbered,
    repeated,
    stack,
    table_of,
    unnested,
)

MAX_DEPTH = 64
"""Of nesting. No configuration that a tool wrote is deeper than about ten."""
_EXACT = 2.0**53
"""From here on float64 leaves whole numbers out, and a 64-bit seed its last digits."""
_LONG_DIGITS = re.compile(rb"(?<![\d.])\d{16,}(?![\d.eE])")


class JsonTable:
    """One JSON object per line, UTF-8."""

    format = "jsonl"

    def matches(self, name: str, head: bytes) -> bool:
        """A .jsonl or .ndjson file; raw run logs are asked before."""
        return name.endswith((".jsonl", ".ndjson"))

    def read(self, opened: OpenedFile) -> Iterator[Relation]:
        """See `FileReader.read`."""
        with opened.open() as stream:
            problem = binary_problem(
                stream.read(HEAD_BYTES), "a table of JSON lines"
            )
        if problem:
            raise RecordError(problem)
        with opened.open() as stream:
            for block, parts in ahead(blocks_of(stream), _parts):
                account = Account(block.n_lines)
                tables = []
                for part, table in parts:
                    if table is None:
                        table = _cut(part, account)
                    tables.append(table)
                yield _relation(tables, account, opened.name)


def _relation(tables: list[pa.Table], account: Account, name: str) -> Relation:
    rows = stack(tables)
    rows = rows.append_column(FILE_COLUMN, repeated(name, rows.num_rows))
    return Relation(
        "jsonl", rows, bad=tuple(account.bad), n_lines=account.n_lines
    )


def _parts(block: Block) -> list[tuple[Block, pa.Table | None]]:
    return list(parsed(block, _whole))


def _whole(block: Block) -> pa.Table | None:
    """The block as one table, None where lines and rows do not add up or a value would
    be changed.
    """
    if depth_of(block.data) > MAX_DEPTH:
        return None
    try:
        table = read_block(block.data)
        table = _with_texts(block.data, table)
        if table.num_rows != block.n_lines or not table.num_columns:
            return None
        flat = _flattened(table)
    except (pa.ArrowException, UnicodeDecodeError, RecordError):
        return None
    is_large = any(_is_large(column) for column in flat.columns)
    if is_large and _LONG_DIGITS.search(block.data):
        return None
    return numbered(flat, block.line)


def read_block(data: bytes, schema: pa.Schema | None = None) -> pa.Table:
    """JSON lines by Arrow; `schema` says what it must not infer.

    Raises:
        RecordError: see `check_objects`.
        ArrowException: whatever else it refuses.
    """
    check_objects(data)
    return read_objects(data, schema)


def check_objects(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines begin and end.

    Raises:
        RecordError: lines that are no objects, and lists: on broken objects and on lists
            of several types Arrow 25 has crashed and given damaged columns.
        UnicodeDecodeError: it is no text.
    """
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)
    last = codes[ends - 1]
    is_return = last == ord("\r")
    last[is_return] = codes[ends[is_return] - 2]
    is_odd = codes[starts] != ord("{")
    if is_odd.any() or (last != ord("}")).any():
        raise RecordError("a line that is no JSON object")
    if b"[" in data:
        raise RecordError("a list")
    data.decode()
    return starts, ends


def read_objects(data: bytes, schema: pa.Schema | None) -> pa.Table:
    """Lines that are objects, as `read_block` reads them."""
    table = pa_json.read_json(
        pa.BufferReader(data),
        pa_json.ReadOptions(block_size=len(data) + 1, use_threads=False),
        pa_json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
    )
    table.validate(full=True)
    return table


def depth_of(data: bytes) -> int:
    """An upper bound of the nesting of brackets in a block of lines."""
    codes = np.frombuffer(data, np.uint8)
    folded = codes & 0xDF  # square brackets and curly ones differ in one bit
    is_open, is_close = folded == ord("["), folded == ord("]")
    at = np.flatnonzero(is_open | is_close | (codes == ord("\n")))
    if not len(at):
        return 0
    steps = is_open[at].astype(np.int64) - is_close[at]
    depths = np.cumsum(steps)
    ends = np.flatnonzero(codes[at] == ord("\n"))
    # what a line leaves open is not carried into the next one
    starts = np.concatenate([[0], ends + 1])
    before = np.concatenate([[0], depths[ends]])
    is_line = starts < len(at)
    peaks = np.maximum.reduceat(depths, starts[is_line])
    return int((peaks - before[is_line]).max())


def _with_texts(data: bytes, table: pa.Table) -> pa.Table:
    """The table anew with texts kept as texts where Arrow took them for times."""
    fields = [pa.field(f.name, _as_text(f.type)) for f in table.schema]
    schema = pa.schema(fields)
    return table if schema == table.schema else read_block(data, schema)


def _as_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        inner = (kind.field(i) for i in range(kind.num_fields))
        return pa.struct([pa.field(f.name, _as_text(f.type)) for f in inner])
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    return pa.string() if pa.types.is_temporal(kind) else kind


def _flattened(table: pa.Table) -> pa.Table:
    table = unnested(table)
    names = table.column_names
    if not names:  # a table without columns would have lost its rows
        raise RecordError("objects without a single cell")
    if len(set(names)) < len(names):
        raise RecordError("a column once nested and once dotted")
    columns = []
    for column in table.columns:
        if pa.types.is_list(column.type):
            texts = (
                None if v is None else json.dumps(v) for v in column.to_pylist()
            )
            column = pa.chunked_array([pa.array(list(texts), pa.string())])
        columns.append(column)
    return pa.table(columns, names=names)


def _is_large(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers in a column of floats may have lost digits."""
    if not pa.types.is_floating(column.type):
        return False
    is_large = pc.greater_equal(pc.abs(column), _EXACT)
    return bool(pc.any(is_large).as_py())


def _cut(block: Block, account: Account) -> pa.Table:
    """The lines of a block one by one."""
    if block.is_cut:
        account.set_aside(block.line, too_long(), block.data)
        return table_of([], [])
    rows, lines = [], []
    for number, line in enumerate(split_lines(block.data), start=block.line):
        if not line.strip():
            continue
        try:
            rows.append(parse_object(line))
            lines.append(number)
        except RecordError as error:
            account.set_aside(number, str(error), line)
    return table_of(rows, lines)


def parse_object(line: bytes) -> dict[str, Any]:
    """The values of one line by dotted name.

    Raises:
        RecordError: not a JSON object, nested deeper than MAX_DEPTH, a key twice, or
            text that UTF-8 cannot hold.
    """
    text = decode_line(line).removeprefix("\ufeff")
    check_depth(line)
    try:
        raw = json.loads(text, object_pairs_hook=object_of)
        values = flatten(raw) if isinstance(raw, dict) else None
        json.dumps(values, ensure_ascii=False).encode()
    except (
        ValueError,
        RecursionError,
    ) as error:  # half surrogate pairs, too long ints
        raise RecordError(f"not a JSON line: {error}") from None
    if values is None:
        raise RecordError(f"expected a JSON object, got {type(raw).__name__}")
    return values


def check_depth(line: bytes) -> None:
    """Raises:
    RecordError: brackets nested deeper than MAX_DEPTH.
    """
    n_brackets = line.count(b"{") + line.count(b"[")
    if n_brackets > MAX_DEPTH and depth_of(line) > MAX_DEPTH:
        raise RecordError(
            f"not a JSON line of a log: nested more than {MAX_DEPTH} deep"
        )


def flatten(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as dotted names; lists stay.

    Raises:
        RecordError: two spellings of one name.
    """
    found: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{prefix}{key}"
        inner = (
            flatten(value, f"{name}.")
            if isinstance(value, dict)
            else {name: value}
        )
        twice = found.keys() & inner.keys()
        if twice:
            raise RecordError(
                f"{min(twice)!r} stands twice, once nested and once dotted"
            )
        found |= inner
    return found
