"""Rows and columns of relations: Python rows to Arrow, tables of uneven columns one
above the other.

A column holds one type: whole numbers, floats, truth values or text. Where types mix,
all cells become text as JSON spells them, which the mapping reads back (`1` and "1" are
one value there).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.logs.relation import LINE_COLUMN


def table_of(rows: Sequence[dict[str, Any]], lines: Sequence[int]) -> pa.Table:
    """Rows with their line numbers, as a table of all their columns."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        columns[name] = column_of(cells)
    columns[LINE_COLUMN] = pa.array(lines, pa.int64())
    return pa.table(columns)


def numbered(table: pa.Table, line: int) -> pa.Table:
    """Rows with the numbers of their lines, from `line` on."""
    lines = np.arange(line, line + table.num_rows)
    return table.append_column(LINE_COLUMN, pa.array(lines))


def unnested(table: pa.Table) -> pa.Table:
    """Fields of structs as columns of their own, with dotted names."""
    while any(map(pa.types.is_struct, table.schema.types)):
        table = table.flatten()
    return table


def repeated(text: str, n_rows: int) -> pa.Array:
    """A column of one text."""
    return pa.repeat(pa.scalar(text), n_rows)


def constant(text: str, n_rows: int) -> pa.DictionaryArray:
    """A column of one text, as codes."""
    codes = np.zeros(n_rows, np.int32)
    return pa.DictionaryArray.from_arrays(codes, [text])


def coded(codes: pa.Array, texts: pa.Array) -> pa.DictionaryArray:
    """The column in which each code stands for the text at its place. Equal texts get
    one code: a dictionary that holds a text twice is written cell by cell.
    """
    met = texts.dictionary_encode()
    if len(met.dictionary) < len(texts):
        codes = met.indices.take(codes)
    return pa.DictionaryArray.from_arrays(codes, met.dictionary)


def column_of(cells: list[Any]) -> pa.Array:
    """Cells as one column; text where they mix, or where a number does not fit."""
    kinds = {type(cell) for cell in cells if cell is not None}
    try:
        if kinds <= {int}:
            return pa.array(cells, pa.int64())
        if kinds <= {int, float} and all(_fits(c) for c in cells):
            return pa.array(cells, pa.float64())
        if kinds == {bool}:
            return pa.array(cells, pa.bool_())
    except (OverflowError, pa.ArrowException):
        pass
    return pa.array(map(text_of, cells), pa.string())


def _fits(cell: Any) -> bool:
    return cell is None or isinstance(cell, float) or abs(cell) < 2**53


def text_of(cell: Any) -> str | None:
    """A cell as text: text as it is, everything else as JSON spells it."""
    if cell is None or isinstance(cell, str):
        return cell
    return json.dumps(cell, ensure_ascii=False)


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one above the other, with all their columns; what a table lacks is null."""
    filled = [table for table in tables if table.num_rows]
    if not filled:
        return (
            tables[0]
            if tables
            else pa.table({LINE_COLUMN: pa.nulls(0, pa.int64())})
        )
    kinds: dict[str, set[pa.DataType]] = {}
    for table in filled:
        for field in table.schema:
            kinds.setdefault(field.name, set()).add(field.type)
    schema = pa.schema(
        [(name, common_type(found)) for name, found in kinds.items()]
    )
    return pa.concat_tables([_cast(table, schema) for table in filled])


def common_type(kinds: set[pa.DataType]) -> pa.DataType:
    """The type that holds all of these: floats hold whole numbers, text holds all."""
    real = {kind for kind in kinds if not pa.types.is_null(kind)}
    if len(real) == 1:
        return next(iter(real))
    if not real or not real <= {pa.int64(), pa.float64()}:
        return pa.string()
    return pa.float64()


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        index = table.schema.get_field_index(field.name)
        if index < 0:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(index)
        if column.type == field.type:
            columns.append(column)
        elif pa.types.is_string(field.type):
            texts = [text_of(cell) for cell in column.to_pylist()]
            columns.append(pa.array(texts, pa.string()))
        else:
            columns.append(column.cast(field.type, safe=False))
    return pa.table(columns, schema=schema)
