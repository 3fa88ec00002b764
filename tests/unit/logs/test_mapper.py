"""Settings that are computed once a distinct combination, and rows in chunks."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.logs.landing import ingest
from autollm.logs.mapped import mapper
from autollm.logs.mapped.mapper import distinct_rows
from tests.unit.logs.raw_logs import csv_bytes, sweep_mapping, write

CELLS = st.one_of(st.none(), st.sampled_from(["a", "b", "1", "1.0"]))


@given(rows=st.lists(st.tuples(CELLS, CELLS, st.integers(0, 2)), max_size=12))
@pytest.mark.parametrize("most_codes", [1, 2**40])
def test_distinct_rows__any_cells__equal_rows_share_a_code_and_its_first_row(
    rows, most_codes
):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 3
    kinds = (pa.string(), pa.string(), pa.int64())
    table = pa.table(
        [pa.array(c, k) for c, k in zip(columns, kinds, strict=True)],
        names=["a", "b", "c"],
    )
    before, mapper._MOST_CODES = mapper._MOST_CODES, most_codes
    try:
        codes, first = distinct_rows(table, ["a", "b", "c"])
    finally:
        mapper._MOST_CODES = before
    assert len(codes) == len(rows)
    for index, row in enumerate(rows):
        place = first[int(codes[index])].as_py()
        assert rows[place] == row and rows.index(row) == place


def test_distinct_rows__no_column__is_one_combination():
    codes, first = distinct_rows(pa.table({"a": [1, 2]}), [])
    assert np.array_equal(codes, [0, 0]) and first.to_pylist() == [0]


@pytest.mark.parametrize("query_rows", [1, 2, 100])
def test_ingest__rows_in_chunks_of_any_size__are_judged_alike(
    tmp_path, monkeypatch, query_rows
):
    from autollm.core.mappings.mapping import parse_mapping
    from autollm.logs import readings

    monkeypatch.setattr(readings, "QUERY_ROWS", query_rows)
    monkeypatch.setattr("autollm.logs.tables.blocks.BLOCK_BYTES", 24)
    rows = []
    for i in range(12):
        row = {"id": f"r{i % 10}", "lr": 0.1, "N": 10 ** (6 + i % 2)}
        rows.append({**row, "loss": 3 + i})
    path = write(tmp_path, "s.csv", csv_bytes(rows))
    mapping = parse_mapping(sweep_mapping("csv", ["s.csv"]), "m")
    report = ingest([path], str(tmp_path / "lake"), mapping)
    assert report.n_runs == 10 and report.n_lines_quarantined == 2
    (warning,) = (w for w in report.warnings if "share a cell" in w)
    assert "8 runs share a cell" in warning
    assert "(s.csv line 4 and line 2)" in warning
