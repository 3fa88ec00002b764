"""Raw cells beside canonical rows: as JSON, cleaned, and numbered by their kinds."""

import json
import math

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.mapped.mapper import Mapper
from autollm.logs.mapped.raw_json import raw_json
from autollm.logs.mapped.sheet import cleaned, one_piece
from autollm.logs.relation import Relation
from tests.unit.logs.landed import land_bytes
from tests.unit.logs.mapped_rows import map_row
from tests.unit.logs.raw_logs import sweep_mapping

MAPPING = parse_mapping(sweep_mapping("csv", ["s.csv"]), "m")
MAPPER = Mapper()
TEXTS = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.sampled_from(
        ['"', "\\", "\n", "\t", "\x1f", "\x7f", "é", "null", "", " a"]
    ),
)


def raw_rows(columns):
    """The rows of a table as they were logged, parsed."""
    table = pa.table(columns)
    n_rows = table.num_rows
    table = table.append_column("_line", pa.array(range(n_rows), pa.int64()))
    table = table.append_column("_file", pa.repeat(pa.scalar("t"), n_rows))
    texts = raw_json(table, MAPPER.connection).to_pylist()
    for text in texts:
        assert list(json.loads(text)) == sorted(json.loads(text))
    return [json.loads(text) for text in texts]


@example(cells=["a", None], other=["b", '"'])
@example(cells=["", "x"], other=["a", "b"])
@given(
    cells=st.lists(TEXTS, min_size=2, max_size=2),
    other=st.lists(TEXTS, min_size=2, max_size=2),
)
def test_header_json__any_texts__come_back_as_they_were_logged(cells, other):
    found = raw_rows(
        {
            "note": pa.array(cells, pa.string()),
            "host": pa.array(other, pa.string()),
        }
    )
    assert [row["note"] for row in found] == cells
    assert [row["host"] for row in found] == other
    assert {*found[0]} == {"note", "host"}


@given(
    cells=st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=4)
)
def test_header_json__any_floats__stay_numbers_and_what_is_not_finite_is_text(
    cells,
):
    found = raw_rows({"x": pa.array(cells, pa.float64())})
    for row, cell in zip(found, cells, strict=True):
        if cell is None or math.isfinite(cell):
            assert row["x"] == cell
            continue
        assert isinstance(row["x"], str)
        number = float(row["x"])
        assert number == cell or math.isnan(cell)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, None, -(2**62)], pa.int64()),
        ([True, None, False], pa.bool_()),
        ([None, None, None], pa.null()),
    ],
)
def test_header_json__other_kinds__keep_their_type(cells, kind):
    found = raw_rows({"x": pa.array(cells, kind)})
    assert [row["x"] for row in found] == cells
    assert [type(row["x"]) for row in found] == [type(cell) for cell in cells]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "ä", "a\tb", "a'b", "{}", " "])
def test_header_json__odd_column_name__is_its_key(name):
    (row,) = raw_rows({name: pa.array(["x"])})
    assert row[name] == "x"


def test_header_json__column_in_pieces_and_a_part_of_a_table__is_one_text_a_row():
    whole = pa.chunked_array([["a", "b"], ["c"], [], ["d", "é"]], pa.string())
    found = raw_rows({"x": whole.slice(1, 4)})
    assert [row["x"] for row in found] == ["b", "c", "d", "é"]
    one = pa.chunked_array([pa.array(["a", 'q"', "c", "d"]).slice(2, 2)])
    assert [row["x"] for row in raw_rows({"x": one})] == ["c", "d"]


def test_header_json__thousand_columns__hold_every_cell():
    columns = {f"c{i}": pa.array([f"{i}", None]) for i in range(1000)}
    first, second = raw_rows(columns)
    assert first["c999"] == "999" and second["c999"] is None
    assert len(first) == 1000


def test_header_json__row_that_is_set_aside__is_quoted():
    table = b"id,lr,N,loss\nr,x,1,2\n"
    (bad,) = land_bytes("s.csv", table, MAPPING).bad
    assert json.loads(bad["text"]) == {
        "N": "1",
        "id": "r",
        "loss": "2",
        "lr": "x",
    }
    assert "lr must be a number, got 'x'" in bad["reason"]


def test_cleaned__empty_texts__are_nulls_and_other_cells_stay():
    table = pa.table(
        {
            "text": pa.chunked_array([["a", ""], [None, " "]]),
            "plain": pa.array(["a", "b", "c", "d"]),
            "number": pa.array([1, None, 3, 0]),
            "nothing": pa.nulls(4),
        }
    )
    found = cleaned(table)
    assert found["text"].to_pylist() == ["a", None, None, " "]
    assert found["plain"].to_pylist() == ["a", "b", "c", "d"]
    assert found["number"].to_pylist() == [1, None, 3, 0]
    assert (
        found["nothing"].type == pa.string()
        and found["nothing"].null_count == 4
    )
    assert all(column.num_chunks == 1 for column in found.columns)
    assert table["text"].to_pylist() == ["a", "", None, " "]


def test_one_piece__no_chunk_one_and_several__are_one_array():
    assert one_piece(pa.chunked_array([], pa.int64())).type == pa.int64()
    assert one_piece(pa.chunked_array([[1, 2]])).to_pylist() == [1, 2]
    assert one_piece(pa.chunked_array([[1], [2, 3]])).to_pylist() == [1, 2, 3]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["0.1", "0.2", "", "x"]),
            st.sampled_from(["1000", "2000"]),
            st.sampled_from(["2.5", "nan", ""]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_map__settings_of_distinct_rows__are_those_of_each_row_alone(rows):
    columns = {"id": [], "lr": [], "N": [], "loss": []}
    for index, (rate, size, loss) in enumerate(rows):
        for name, cell in zip(
            columns, (f"r{index}", rate, size, loss), strict=True
        ):
            columns[name].append(cell)
    n_rows = len(rows)
    table = pa.table(columns)
    table = table.append_column("_line", pa.array(range(n_rows), pa.int64()))
    table = table.append_column("_file", pa.repeat(pa.scalar("t"), n_rows))
    mapped = MAPPER.map(Relation("csv", table), MAPPING, {})
    good = {row["run_id"]: row for row in mapped.runs.to_pylist()}
    bad = {row["line"]: row["reason"] for row in mapped.bad.to_pylist()}
    assert len(good) + len(bad) == n_rows
    for index, (rate, size, loss) in enumerate(rows):
        values = {"id": f"r{index}", "lr": rate, "N": size, "loss": loss}
        alone = map_row(MAPPING, values)
        if f"r{index}" not in good:
            assert bad[index] == alone["reason"]
            continue
        found = good[f"r{index}"]
        for name in (
            "config_id",
            "config_json",
            "experiment_id",
            "fidelity_json",
        ):
            assert found[name] == alone[name]
        assert found["status"] == alone["status"]
