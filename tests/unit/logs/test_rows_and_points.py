"""Rows on their way to bronze, and histories that wait for the runs they belong to."""

import math
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.lake import bronze_tables, points
from autollm.logs.lake.bronze_tables import RUN_METRICS, TableFile, codes_of
from autollm.logs.lake.points import PointsOf, WaitingPoints, bronze_points
from autollm.logs.landing import ingest
from autollm.logs.readings import Reading
from autollm.logs.relation import CODED_POINTS, POINTS_SCHEMA
from autollm.logs.tables.columns import coded
from tests.unit.logs.landed import rows
from tests.unit.logs.raw_logs import csv_bytes, run_bytes, sweep_mapping, write

SCHEMA = pa.schema(
    [("batch_id", pa.dictionary(pa.int32(), pa.string())),
     ("name", pa.dictionary(pa.int32(), pa.string())), ("n", pa.int64())],
    metadata={"schema": "test/1"},
)  # fmt: skip
BATCH_ID = "0123456789abcdef"


def _table(*numbers):
    return pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            "name": pa.array([f"x{n}" for n in numbers], pa.string()),
        }
    )


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(1) as pool_:
        yield pool_


@given(
    parts=st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 99), max_size=4)),
        max_size=6,
    ),
    group_rows=st.sampled_from([1, 3, 10**9]),
    group_bytes=st.sampled_from([1, 10**9]),
)
@settings(deadline=None)
def test_table_file__parts_of_any_size__come_in_the_order_of_their_arrival(
    tmp_path_factory, pool, parts, group_rows, group_bytes
):
    before = bronze_tables.GROUP_ROWS, bronze_tables.GROUP_BYTES
    bronze_tables.GROUP_ROWS, bronze_tables.GROUP_BYTES = (
        group_rows,
        group_bytes,
    )
    path = str(tmp_path_factory.mktemp("table") / "t.parquet")
    try:
        found = TableFile(SCHEMA, path, pool)
        for is_completed, numbers in parts:
            table = _table(*numbers)
            if is_completed:
                found.add(table.select(["n"]), _with_names)
            else:
                found.add(table)
        found.finish(BATCH_ID)
    finally:
        bronze_tables.GROUP_ROWS, bronze_tables.GROUP_BYTES = before
    expected = [n for _, numbers in parts for n in numbers]
    written = pq.read_table(path)
    assert written.schema.names == SCHEMA.names
    assert written.schema.metadata[b"schema"] == b"test/1"
    assert written["n"].to_pylist() == expected
    assert written["name"].to_pylist() == [f"x{n}" for n in expected]
    assert written["batch_id"].to_pylist() == [BATCH_ID] * len(expected)
    assert len(found) == len(expected)


def _with_names(table):
    names = pa.array([f"x{n}" for n in table["n"].to_pylist()], pa.string())
    return table.append_column("name", names)


def test_table_file__batch_id__is_put_into_every_row_group_and_nothing_else(
    tmp_path, pool, monkeypatch
):
    monkeypatch.setattr(bronze_tables, "GROUP_ROWS", 2)
    path = str(tmp_path / "t.parquet")
    found = TableFile(SCHEMA, path, pool)
    texts = ["batch-id-pending", "a", "batch-id-pending", "b", "c"]
    for n, text in enumerate(texts):
        found.add_rows([{"name": text, "n": n}])
    found.finish(BATCH_ID)
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(i).num_rows for i in range(3)]
    assert metadata.num_row_groups == 3 and sizes == [2, 2, 1]
    written = pq.read_table(path)
    assert written["name"].to_pylist() == texts
    assert written["batch_id"].to_pylist() == [BATCH_ID] * 5


def test_table_file__completing_fails__raises_when_the_file_is_finished(
    tmp_path, pool
):
    found = TableFile(SCHEMA, str(tmp_path / "t.parquet"), pool)
    found.add(_table(1), lambda table: table.select(["no such column"]))
    with pytest.raises(KeyError, match="no such column"):
        found.finish(BATCH_ID)
    found.close()


def test_coded__texts_that_stand_twice__become_one_code():
    codes = pa.array([0, 1, 2, 3, 2], pa.int32())
    texts = pa.array(["a", "b", "a", None])
    column = coded(codes, texts)
    assert column.to_pylist() == ["a", "b", "a", None, "a"]
    assert column.dictionary.to_pylist() == ["a", "b"]
    assert coded(codes, pa.array(list("abcd"))).indices.equals(codes)


@pytest.mark.parametrize("spill_bytes", [1, 60, 10**9])
def test_waiting_points__in_memory_and_in_files__come_in_their_order(
    tmp_path, monkeypatch, spill_bytes
):
    monkeypatch.setattr(points, "SPILL_BYTES", spill_bytes)
    found = WaitingPoints(str(tmp_path))
    for number in range(5):
        found.add(_points((f"r{number}", number, 0.5), ("r", number, 1.5)))
        found.add(_points())
    assert len(found) == 10
    assert bool(list(tmp_path.iterdir())) == (spill_bytes < 10**9)
    for _ in range(2):
        told = pa.concat_tables(found.tables()).to_pylist()
        steps = [(point["run_key"], point["step"]) for point in told]
        expected = []
        for number in range(5):
            expected += [(f"r{number}", number), ("r", number)]
        assert steps == expected


def test_codes_of__bronze__are_the_columns_of_few_texts():
    assert codes_of(RUN_METRICS) == [
        "batch_id", "source", "group", "run_id", "metric",
    ]  # fmt: skip


def _points(*pairs, schema=CODED_POINTS):
    """(run key, step, value) as points of the metric `loss`."""
    columns = list(zip(*pairs, strict=True)) if pairs else [[], [], []]
    n_rows = len(pairs)
    table = pa.table(
        {
            "run_key": pa.array(columns[0], pa.string()),
            "metric": pa.array(["loss"] * n_rows, pa.string()),
            "step": pa.array(columns[1], pa.int64()),
            "tokens": pa.nulls(n_rows, pa.float64()),
            "wall_time_s": pa.array(
                [0.5 * s for s in columns[1]], pa.float64()
            ),
            "value": pa.array(columns[2], pa.float64()),
            "line": pa.array(range(n_rows), pa.int64()),
        }
    )
    return table.cast(schema)


def _reading(number, folder, *tables):
    reading = Reading(number, f"f{number}", "s", "r", "p", "file", 1)
    if tables:
        reading.points = WaitingPoints(str(folder))
        for table in tables:
            reading.points.add(table)
    return reading


def _runs(*keys):
    """Runs of (reading, key) as points are told of them."""
    n_rows = len(keys)
    return pa.table(
        {
            "reading": pa.array([at for at, _ in keys], pa.int64()),
            "key": pa.array([key for _, key in keys], pa.string()),
            "source": pa.repeat(pa.scalar("sweep"), n_rows),
            "group": pa.repeat(pa.scalar(""), n_rows),
            "run_id": pa.array([f"run {key}" for _, key in keys], pa.string()),
            "file_version": pa.array(range(1, n_rows + 1), pa.int64()),
            "wall_time_s": pa.nulls(n_rows, pa.float64()),
        }
    )


def _of(folder, *tables):
    readings = [_reading(i, folder, *part) for i, part in enumerate(tables)]
    return PointsOf(duckdb.connect(), readings)


@pytest.mark.parametrize("spill_bytes", [1, 10**9])
def test_bronze_points__runs_that_land__give_their_names_and_others_are_left(
    tmp_path, monkeypatch, spill_bytes
):
    monkeypatch.setattr(points, "SPILL_BYTES", spill_bytes)
    found = _of(
        tmp_path,
        [_points(("a", 1, 3.0), ("b", 1, 4.0)), _points(("a", 2, 2.0))],
        [],
        [_points(("a", 1, 9.0), ("c", 5, 8.0))],
    )
    runs = _runs((0, "a"), (2, "c"), (2, "a"))
    pieces = pa.concat_tables(bronze_points(runs, found)).to_pylist()
    told = [
        (p["run_id"], p["file_version"], p["step"], p["value"]) for p in pieces
    ]
    assert told == [
        ("run a", 1, 1, 3.0),
        ("run a", 1, 2, 2.0),
        ("run a", 3, 1, 9.0),
        ("run c", 2, 5, 8.0),
    ]
    assert {p["source"] for p in pieces} == {"sweep"}


def test_bronze_points__no_points_or_no_runs__give_none(tmp_path):
    assert list(bronze_points(_runs((0, "a")), _of(tmp_path, []))) == []
    found = _of(tmp_path, [_points(("a", 1, 3.0))])
    pieces = list(bronze_points(_runs((0, "other")), found))
    assert sum(piece.num_rows for piece in pieces) == 0


def test_summarized__points__are_counted_and_tell_the_last_wall_time(tmp_path):
    found = _of(
        tmp_path,
        [_points(("a", 1, 3.0), ("a", 8, 2.0), ("b", 4, 1.0))],
        [_points(("a", 2, 5.0))],
    )
    runs = found.summarized(_runs((0, "a"), (1, "a"), (0, "c"), (0, "b")))
    assert runs["n_points"].to_pylist() == [2, 1, 0, 1]
    assert runs["wall_time_s"].to_pylist() == [4.0, 1.0, None, 2.0]
    digests = runs["points_digest"].to_pylist()
    assert digests[2] == "" and len({*digests}) == 4
    assert all(len(digest) == 16 for digest in digests if digest)


@pytest.mark.parametrize("together", [1, 2, 10**6])
def test_summarized__codes_texts_order_and_pieces__do_not_change_the_digest(
    tmp_path, monkeypatch, together
):
    monkeypatch.setattr(points, "_TOGETHER_ROWS", together)
    pairs = [("a", 1, 3.0), ("a", 2, math.inf), ("a", 3, -1.5)]
    plain = _points(*pairs, schema=POINTS_SCHEMA)
    coded = [plain.slice(0, 1), plain.slice(1, 2).cast(CODED_POINTS)]
    found = [
        _of(tmp_path, tables)
        .summarized(_runs((0, "a")))["points_digest"][0]
        .as_py()
        for tables in ([plain], coded, [_points(*pairs)])
    ]
    assert len({*found}) == 1 and found[0]
    other = _of(tmp_path, [_points(*pairs[:2])]).summarized(_runs((0, "a")))
    assert other["points_digest"][0].as_py() != found[0]


def test_ingest__long_and_short_logs__keep_every_point_in_its_order(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(points, "SPILL_BYTES", 2000)
    monkeypatch.setattr("autollm.logs.tables.blocks.BLOCK_BYTES", 500)
    monkeypatch.setattr("autollm.logs.tables.blocks.LEAF_BYTES", 100)
    monkeypatch.setattr("autollm.logs.tables.run_log.LEAF_BYTES", 100)
    folder, lake = tmp_path / "logs", str(tmp_path / "lake")
    for name, n_steps in (("a", 60), ("b", 1), ("c", 0), ("d", 25)):
        write(
            folder,
            f"{name}.jsonl",
            run_bytes(name, n_steps=n_steps, seed=ord(name)),
        )
    report = ingest([folder], lake)
    assert report.n_runs == 4 and report.n_metric_points == 2 * (60 + 1 + 25)
    found = rows(lake, "run_metrics")
    assert len(found) == report.n_metric_points
    for name, n_steps in (("a", 60), ("b", 1), ("c", 0), ("d", 25)):
        mine = [
            p
            for p in found
            if p["run_id"] == name and p["metric"] != "grad_norm"
        ]
        assert [p["step"] for p in mine] == [10 * i for i in range(n_steps)]
        assert [p["value"] for p in mine] == [5.0 - i for i in range(n_steps)]
        assert {p["file_version"] for p in mine} <= {1}
    by_run = {run["run_id"]: run["n_points"] for run in rows(lake, "runs")}
    assert by_run == {"a": 120, "b": 2, "c": 0, "d": 50}
    again = ingest([folder], lake)
    assert again.n_files_skipped == 4 and again.batch_id is None


def test_ingest__run_of_another_file_again__leaves_its_points_raw_only(
    tmp_path,
):
    lake = str(tmp_path / "lake")
    for folder in ("one", "two"):
        n_steps = 3 if folder == "one" else 5
        write(tmp_path / folder, "r.jsonl", run_bytes("r", n_steps=n_steps))
    ingest([tmp_path / "one"], lake)
    report = ingest([tmp_path / "two"], lake)
    assert report.n_runs == 0 and "came first" in report.quarantined[0].reason
    assert report.n_metric_points == 0
    assert len(rows(lake, "run_metrics")) == 6


def test_ingest__wide_rows__are_mapped_before_they_fill_the_memory(
    tmp_path, monkeypatch
):
    from autollm.logs import readings

    monkeypatch.setattr(readings, "QUERY_BYTES", 300)
    monkeypatch.setattr("autollm.logs.tables.blocks.BLOCK_BYTES", 60)
    sizes = []
    flush = readings.Landing.flush

    def counted(landing):
        sizes.append(landing._n_waiting)
        flush(landing)

    monkeypatch.setattr(readings.Landing, "flush", counted)
    table = [
        {"id": f"r{i}", "lr": 0.1 * (i + 1), "N": 1000, "loss": 3}
        for i in range(20)
    ]
    path = write(tmp_path, "s.csv", csv_bytes(table))
    mapping = parse_mapping(sweep_mapping("csv", ["s.csv"]), "m")
    report = ingest([path], str(tmp_path / "lake"), mapping)
    assert report.n_runs == 20 and max(sizes) < 20 and sum(sizes) == 20
