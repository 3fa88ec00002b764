"""Rows as they were logged, as JSON objects with sorted keys: what bronze keeps of cells
that the mapping does not read.

Invariant: a cell stands there as JSON spells it; what is no finite number is a text.
"""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.logs.mapped.sheet import one_piece, per_cell
from autollm.logs.relation import OWN_COLUMNS
from autollm.logs.tables.columns import constant, text_of
from autollm.logs.tables.run_log import RAW_COLUMN


def raw_json(
    runs: pa.Table, connection: duckdb.DuckDBPyConnection
) -> pa.Array | pa.ChunkedArray:
    """The rows of a relation, one text each. `connection` spells floats: it belongs to
    the thread that asks.
    """
    if RAW_COLUMN in runs.column_names:
        return runs[RAW_COLUMN]
    parts: list[str | pa.Array] = []
    before = "{"
    for name in sorted(n for n in runs.column_names if n not in OWN_COLUMNS):
        cells = one_piece(runs[name])
        mark = '"' if _is_plain(cells) else ""
        if not mark:
            cells = _json_cells(cells, connection)
        key = json.dumps(name, ensure_ascii=False)
        parts += [f"{before}{key}:{mark}", cells]
        before = f"{mark},"
    if not parts:
        return constant("{}", runs.num_rows)
    end = before.removesuffix(",") + "}"
    return pc.binary_join_element_wise(*parts, end, "")


def _json_cells(
    cells: pa.Array, connection: duckdb.DuckDBPyConnection
) -> pa.Array:
    kind = cells.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        texts = cells.cast(pa.string())
    elif pa.types.is_floating(kind):
        is_finite = pc.is_finite(cells)
        connection.register(
            "floats", pa.table({"c": pc.if_else(is_finite, cells, None)})
        )
        found = connection.sql("SELECT to_json(c)::VARCHAR AS j FROM floats")
        odd = pc.if_else(is_finite, None, cells)
        texts = pc.coalesce(
            one_piece(found.to_arrow_table()["j"]), _spelled(odd)
        )
        connection.unregister("floats")
    else:
        texts = _spelled(cells)
    return pc.fill_null(texts, "null")


def _is_plain(cells: pa.Array) -> bool:
    """Whether cells are texts, all there, that JSON writes as they are."""
    if not pa.types.is_string(cells.type) or cells.null_count:
        return False
    if not len(cells):
        return True
    _, offsets, data = cells.buffers()
    ends = np.frombuffer(offsets, np.int32)[cells.offset :]
    codes = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[len(cells)]]
    is_odd = codes.min(initial=255) < ord(" ") or (codes == ord('"')).any()
    return not (is_odd or (codes == ord("\\")).any())


def _spelled(cells: pa.Array) -> pa.Array:
    """Cells as JSON texts, each distinct one written once; what is no finite number is
    a text there.
    """
    return per_cell(
        cells, lambda cell: json.dumps(_text(cell), ensure_ascii=False)
    )[0]


def _text(cell: object) -> object:
    return text_of(cell) if isinstance(cell, float) else cell
