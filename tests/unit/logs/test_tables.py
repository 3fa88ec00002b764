"""Tables of every format: rows, joined files, constant columns, look-ups, groups,
bounded memory.
"""

import dataclasses
import gzip
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autollm.core.errors import MappingError
from autollm.logs import reading
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import LogBytes, LogFile
from autollm.logs.mapping_file import parse_mapping
from autollm.logs.reader_table_csv import TableCsvReader
from autollm.logs.reader_table_jsonl import TableJsonlReader
from autollm.logs.reader_table_parquet import TableParquetReader
from autollm.logs.reading import CutLine, ReadFile, iter_lines, split_lines
from tests.unit.logs.raw_logs import csv_bytes, json_lines, parquet_bytes, sweep_mapping

ROWS = [{"id": f"r{i}", "lr": 2.0**-i, "N": 1e6, "loss": 3.0 + i} for i in range(4)]
READERS = {
    "csv": TableCsvReader(),
    "jsonl": TableJsonlReader(),
    "parquet": TableParquetReader(),
}
BYTES = {"csv": csv_bytes, "jsonl": json_lines, "parquet": parquet_bytes}


def read(file_format: str, data: bytes, more: str = "", **changes) -> ReadFile:
    mapping = parse_mapping(sweep_mapping(file_format, ["sweep"], more), "sweep.toml")
    choice = MappingChoice(dataclasses.replace(mapping, **changes))
    return READERS[file_format].read(LogBytes("sweep", data, "0" * 64), choice)


@pytest.mark.parametrize("file_format", sorted(READERS))
def test_table_reader__same_rows_in_any_format__are_the_same_runs(file_format):
    found = read(file_format, BYTES[file_format](ROWS))
    assert [(r.row["run_id"], r.row["config_json"], r.row["objective_value"]) for r in found.runs] == [
        ("r0", '{"lr":1}', 3.0), ("r1", '{"lr":0.5}', 4.0), ("r2", '{"lr":0.25}', 5.0), ("r3", '{"lr":0.125}', 6.0)]  # fmt: skip
    assert not found.bad and {r.row["fidelity_json"] for r in found.runs} == {
        '{"params":1000000}'
    }


@pytest.mark.parametrize("file_format", sorted(READERS))
def test_table_reader__missing_column__names_file_column_nearest_and_remedy(
    file_format,
):
    data = BYTES[file_format](
        [
            {**row, "losss": 1.0}
            for row in ({k: v for k, v in r.items() if k != "loss"} for r in ROWS)
        ]
    )
    with pytest.raises(MappingError) as caught:
        read(file_format, data)
    for part in ("sweep has no column 'loss'", "Nearest: 'losss'", "Fix:"):
        assert part in str(caught.value)


@pytest.mark.parametrize("file_format", sorted(READERS))
def test_table_reader__bad_cells__are_set_aside_by_row_with_column_and_value(
    file_format,
):
    rows = [dict(r) for r in ROWS]
    rows[1]["lr"], rows[2]["N"] = -0.5, 0.0
    found = read(file_format, BYTES[file_format](rows))
    first = 3 if file_format == "csv" else 2
    assert [(b.line, b.n_lines) for b in found.bad] == [(first, 1), (first + 1, 1)]
    assert (
        "lr=-0.5 is not a positive" in found.bad[0].reason
        and "N=0.0 is not a positive" in found.bad[1].reason
    )
    assert [r.row["run_id"] for r in found.runs] == ["r0", "r3"] and "r1" in found.bad[
        0
    ].text


def test_jsonl_reader__nested_objects_and_uneven_lines__are_dotted_columns():
    lines = [
        {"id": "a", "config": {"opt": {"lr": 0.5}}, "N": 10, "loss": 1},
        {
            "id": "b",
            "config": {"opt": {"lr": 0.25}},
            "N": 10,
            "loss": None,
            "extra": [1, 2],
        },
    ]
    mapping = sweep_mapping("jsonl", ["sweep"]).replace(
        'scale = "log"', 'scale = "log", column = "config.opt.lr"'
    )
    log = LogBytes("sweep", json_lines(lines), "0" * 64)
    found = TableJsonlReader().read(log, MappingChoice(parse_mapping(mapping, "m")))
    assert [(r.row["config_json"], r.row["status"]) for r in found.runs] == [
        ('{"lr":0.5}', "finished"),
        ('{"lr":0.25}', "failed"),
    ]
    assert json.loads(found.runs[1].row["header_json"])["extra"] == [1, 2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not a JSON line"),
        ("[1]", "expected a JSON object, got list"),
        ('{"id":"x","lr":1,"lr":2,"N":1,"loss":1}', "the key 'lr' stands twice"),
        (
            '{"a":{"b":1},"a.b":2,"lr":1,"N":1,"loss":1,"id":"x"}',
            "once nested and once dotted",
        ),
        ('{"id":"x\\ud800","lr":1,"N":1,"loss":1}', "not a JSON line"),
        ('{"id":"x","lr":%s,"N":1,"loss":1}' % ("1" * 5000), "not a JSON line"),
        ('{"id":"x","lr":%s,"N":1,"loss":1}' % ("1" * 400), "lr is beyond float64"),
        ('{"id":"x","lr":1,"loss":1}', "N is missing or empty"),
        ('{"lr":1,"N":1,"loss":1}', "the run key column 'id' is empty"),
        ("[" * 100_000, "not a JSON line"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "not a JSON line"),
    ],
)
def test_jsonl_reader__one_bad_line__is_set_aside_and_the_rest_read(line, reason):
    data = json_lines(ROWS[:1]) + line.encode() + b"\n" + json_lines(ROWS[1:])
    found = read("jsonl", data)
    assert (
        [b.line for b in found.bad] == [2]
        and reason in found.bad[0].reason
        and len(found.runs) == 4
    )


def test_parquet_reader__broken_row_group__costs_its_rows_only():
    data = bytearray(
        parquet_bytes(
            [{**row, "pad": "y" * 500 + str(row["id"])} for row in ROWS],
            row_group_size=2,
        )
    )
    second = bytes(data).index(b"r2")
    data[second - 20 : second + 4] = b"\xff" * 24
    found = read("parquet", bytes(data))
    assert found.n_lines == 4 and [r.row["run_id"] for r in found.runs] == ["r0", "r1"]
    assert [(b.line, b.n_lines) for b in found.bad] == [
        (3, 2)
    ] and "row group 1" in found.bad[0].reason


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"id,lr\n1,2\n", b"PAR1" + b"\x00" * 100 + b"PAR1"]
)
def test_parquet_reader__no_parquet__is_one_entry(data):
    found = read("parquet", data)
    assert (found.n_lines, found.runs) == (
        0,
        [],
    ) and "not a readable Parquet file" in found.bad[0].reason


def test_parquet_reader__more_rows_than_the_limit__is_refused_before_any_is_read(
    monkeypatch,
):
    monkeypatch.setattr("autollm.logs.reader_table_parquet.MAX_ROWS", 3)
    found = read("parquet", parquet_bytes(ROWS))
    assert (
        not found.runs
        and found.bad[0].reason == "4 rows, more than 3. Fix: split the file."
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_table_reader__text_that_is_not_utf8__is_one_clear_reason(encoding):
    found = read("csv", csv_bytes(ROWS).decode().encode(encoding))
    assert not found.runs and found.n_lines == found.n_lines_quarantined > 0
    assert "UTF-16" in found.bad[0].reason or "binary data" in found.bad[0].reason


def test_table_reader__latin1_row_and_header__are_a_bad_line_and_an_error():
    data = csv_bytes(ROWS)
    found = read("csv", data.replace(b"r2", b"r\xe92"))
    assert [b.reason for b in found.bad] == [
        "not UTF-8: byte 0xe9 at column 2"
    ] and len(found.runs) == 3
    with pytest.raises(
        MappingError, match=r"header line is unreadable.*Fix: save the table as UTF-8"
    ):
        read("csv", data.replace(b"loss", b"l\xf6ss"))


MORE = """
[[lookup]]
columns = ["size", "heads"]
separator = "-"
[lookup.rows]
"s|4" = { head_rank = 0 }
"s|8" = { head_rank = 1 }
"m|8" = { head_rank = 0 }
"m|12" = { head_rank = 1 }

[[lookup]]
columns = ["size"]
[lookup.rows]
"s" = { params = 1e6, family_name = "tiny" }
"m" = { params = 1e9, family_name = "large" }

[group]
column = "family_name"
"""


def looked_up(*cells: tuple[str, str]) -> ReadFile:
    rows = [
        {"id": i, "lr": 1, "loss": 1, "size": size, "heads": heads}
        for i, (size, heads) in enumerate(cells)
    ]
    mapping = sweep_mapping("csv", ["sweep"], MORE).replace(
        'column = "N"', 'column = "params"'
    )
    mapping = mapping.replace(
        'scale = "log"}',
        'scale = "log"}, {name = "heads", column = "head_rank", scale = "list", values '
        "= [0, 1]}",
    )
    return TableCsvReader().read(
        LogBytes("sweep", csv_bytes(rows), "0" * 64),
        MappingChoice(parse_mapping(mapping, "m")),
    )


def test_table_reader__lookups__give_ranks_per_item_sizes_and_groups():
    found = looked_up(("s", "4-8-8"), ("m", "8-12"))
    assert [json.loads(r.row["config_json"])["heads"] for r in found.runs] == [
        [0, 1, 1],
        [0, 1],
    ]
    assert [(r.row["source"], r.row["fidelity_json"]) for r in found.runs] == [
        ("sweep/tiny", '{"params":1000000}'), ("sweep/large", '{"params":1000000000}')]  # fmt: skip
    assert found.source == "sweep"


def test_table_reader__value_without_a_row_in_the_lookup__names_column_value_nearest_and_remedy():
    (bad,) = looked_up(("s", "4-12")).bad
    assert (
        "size|heads='s|12' has no row in [lookup.rows]" in bad.reason
        and "Nearest: 'm|12'" in bad.reason
        and "Fix:" in bad.reason
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            "2e-9",
            "lr=2e-09 is beyond the bounds 1e-06 to 1 1/step of 'lr'. Mixed units?",
        ),
        ("300", "lr=300 is beyond the bounds"),
    ],
)
def test_table_reader__value_beyond_its_bounds__is_suspected_of_another_unit(
    value, reason
):
    mapping = sweep_mapping("csv", ["sweep"]).replace(
        'scale = "log"', 'scale = "log", unit = "1/step", bounds = [1e-6, 1]'
    )
    data = csv_bytes(
        [
            {"id": 1, "lr": value, "N": 1, "loss": 1},
            {"id": 2, "lr": 0.1, "N": 1, "loss": 1},
        ]
    )
    found = TableCsvReader().read(
        LogBytes("sweep", data, "0" * 64), MappingChoice(parse_mapping(mapping, "m"))
    )
    assert (
        [r.row["run_id"] for r in found.runs] == ["2"]
        and found.bad[0].reason.startswith(reason)
        and "Fix:" in found.bad[0].reason
    )


def test_table_reader__number_with_a_unit_in_the_cell__is_named():
    found = read("csv", csv_bytes([{"id": 1, "lr": 1, "N": "20B", "loss": 1}]))
    assert "N must be a number, got '20B'" in found.bad[0].reason


def test_table_reader__device_of_the_mapping__makes_gpu_hours():
    found = read("csv", csv_bytes(ROWS[:1]), '[hardware]\ndevice = "cuda"')
    assert found.runs[0].row["device"] == "cuda"


SIMPLEX = '[[knobs]]\nname = "mix"\nscale = "simplex"\ncolumns = ["w_*"]\nprefix = "w_"\ntolerance = 0.005\n'


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ((0.5, 0.503), ""),
        (
            (0.5, 0.51),
            "the weights of 'mix' sum to 1.01 over 2 columns, expected 1 within 0.005. "
            "Fix:",
        ),
        ((1.5, -0.5), "w_b='-0.5' is no weight of 'mix'"),
        ((0.5, "nan"), "w_b='nan' is no weight"),
        ((0.5, ""), "w_b must be a number, got ''"),
    ],
)
def test_table_reader__simplex__sums_to_one_or_is_set_aside(weights, reason):
    mapping = (
        sweep_mapping("csv", ["sweep"]).replace(
            'knobs = [{name = "lr", scale = "log"}]', ""
        )
        + SIMPLEX
    )
    data = csv_bytes(
        [{"id": 1, "w_a": weights[0], "w_b": weights[1], "N": 1, "loss": 1}]
    )
    found = TableCsvReader().read(
        LogBytes("sweep", data, "0" * 64), MappingChoice(parse_mapping(mapping, "m"))
    )
    assert [b.reason[: len(reason)] for b in found.bad] == ([reason] if reason else [])


def test_table_reader__simplex_without_its_columns__is_an_error():
    mapping = (
        sweep_mapping("csv", ["sweep"]).replace(
            'knobs = [{name = "lr", scale = "log"}]', ""
        )
        + SIMPLEX
    )
    with pytest.raises(
        MappingError,
        match=r"sweep has no column like 'w_\*', which the knob 'mix'.*Fix:",
    ):
        TableCsvReader().read(
            LogBytes("sweep", csv_bytes(ROWS), "0" * 64),
            MappingChoice(parse_mapping(mapping, "m")),
        )


def test_iter_lines__any_cut_of_the_stream__equals_split_lines(monkeypatch):
    data = b"a\r\nbb\n\n\r\nccc\rd\n" + b"x" * 50 + b"\nlast\r"
    for size in range(1, 20):
        monkeypatch.setattr(reading, "_CHUNK_BYTES", size)
        with LogBytes("x", data, "").open() as stream:
            assert list(iter_lines(stream)) == split_lines(data)


def test_iter_lines__line_beyond_the_limit__is_cut_and_set_aside(monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(reading, "_CHUNK_BYTES", 30)
    data = (
        csv_bytes(ROWS[:2])
        + b"z" * 1000
        + b"\n"
        + csv_bytes(ROWS[2:]).split(b"\n", 1)[1]
    )
    with LogBytes("x", data, "").open() as stream:
        assert [type(line) is CutLine for line in iter_lines(stream)] == [
            False,
            False,
            False,
            True,
            False,
            False,
        ]
    found = read("csv", data)
    assert (
        len(found.runs) == 4
        and "a line of more than 100 bytes" in found.bad[0].reason
        and len(found.bad[0].text) <= 500
    )


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("file_format", sorted(READERS))
def test_table_reader__compressed_file__is_streamed_as_the_plain_one(
    tmp_path, codec, file_format
):
    data = BYTES[file_format](ROWS)
    packed = (
        gzip.compress(data)
        if codec == "gzip"
        else pa.compress(data, codec="zstd", asbytes=True)
    )
    path = tmp_path / f"sweep.{'gz' if codec == 'gzip' else 'zst'}"
    path.write_bytes(packed)
    mapping = parse_mapping(sweep_mapping(file_format, ["sweep"]), "m")
    found = READERS[file_format].read(
        LogFile(path.name, str(path), "0" * 64, len(data)), MappingChoice(mapping)
    )
    assert len(found.runs) == 4 and not found.bad


MEMORY = """
import resource, sys
from autollm.logs.landing import ingest
from autollm.logs import bronze, table
bronze.SPILL_ROWS, table.CHUNK_ROWS = 1000, 500
from autollm.logs.catalog import load_mapping
report = ingest([sys.argv[1]], sys.argv[2], load_mapping(sys.argv[3]))
print(report.n_runs, report.n_lines_quarantined, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_ingest__table_of_ten_times_the_rows__takes_about_the_same_memory(tmp_path):
    """Rows wait in files; 75 bytes each are kept to recognize repeated runs. Here 2,000
    against 20,000, a bad one in each hundred.
    """
    (tmp_path / "m.toml").write_text(sweep_mapping("csv", ["*.csv"]))
    peaks = []
    for n_rows in (2_000, 20_000):
        path = tmp_path / f"{n_rows}.csv"
        with path.open("w") as file:
            file.write("id,lr,N,loss,note\n")
            file.writelines(
                f"r{i},{'fast' if i % 100 == 0 else 1 + i},1e6,{i},{'n' * 800}\n"
                for i in range(n_rows)
            )
        arguments = [
            str(path),
            str(tmp_path / f"lake{n_rows}"),
            str(tmp_path / "m.toml"),
        ]
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        n_runs, n_bad, peak = map(int, done.stdout.split())
        assert (n_runs, n_bad) == (n_rows - n_rows // 100, n_rows // 100)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 40, peaks  # all rows in memory: about 100 MB more


JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(json_lines(ROWS).splitlines()),
    st.sampled_from(csv_bytes(ROWS).splitlines()),
    st.text(max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "lr", "N", "loss", "a.b"]), c)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=500, deadline=None)
@given(
    lines=st.lists(JUNK, max_size=12),
    file_format=st.sampled_from(["csv", "jsonl"]),
    chunk=st.integers(1, 9),
)
def test_text_readers__any_lines__read_plus_quarantined_are_all_lines(
    lines, file_format, chunk
):
    data = b"\n".join(
        (
            [b"id,lr,N,loss"]
            if file_format == "csv"
            else [json_lines(ROWS).splitlines()[0]]
        )
        + lines
    )
    before = reading._CHUNK_BYTES
    reading._CHUNK_BYTES = chunk
    try:
        found = read(file_format, data, repeated_run="number")
    finally:
        reading._CHUNK_BYTES = before
    is_binary = b"\x00" in data
    n_plain = (
        0
        if is_binary
        else sum(not line.strip() for line in split_lines(data))
        + (file_format == "csv")
    )
    assert found.n_lines == len(split_lines(data))
    assert len(found.runs) + found.n_lines_quarantined + n_plain == found.n_lines
    used = [b.line + i for b in found.bad for i in range(b.n_lines)] + [
        r.line for r in found.runs
    ]
    assert len(set(used)) == len(used)


CELLS = st.one_of(
    st.none(), st.text(max_size=6), st.sampled_from(["1", "0.5", "nan", "-1"])
)


@example(
    rows=[
        {"id": None, "lr": None, "N": "0", "loss": "0"},
        {"id": "\x80", "lr": "0\x80", "N": "000", "loss": None},
    ],
    group_size=2,
    damage=(0.5480164832792845, b"\x01\x00\x1c\x01\x00\x01\x80"),
)  # a column of no values: the group is read as empty
@settings(max_examples=500, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"id": CELLS, "lr": CELLS, "N": CELLS, "loss": CELLS}),
        min_size=1,
        max_size=9,
    ),
    group_size=st.integers(1, 4),
    damage=st.one_of(
        st.none(), st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8))
    ),
)
def test_parquet_reader__any_rows_and_damage__read_plus_quarantined_are_all_rows(
    rows, group_size, damage
):
    table = pa.table(
        {
            name: pa.array([r[name] for r in rows], pa.string())
            for name in ("id", "lr", "N", "loss")
        }
    )
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, row_group_size=group_size)
    data = bytearray(sink.getvalue().to_pybytes())
    if damage is not None:
        at = int(damage[0] * (len(data) - len(damage[1])))
        data[at : at + len(damage[1])] = damage[1]
    try:
        found = read("parquet", bytes(data), repeated_run="number")
    except MappingError as error:  # a column's name was hit
        assert damage is not None and (
            "no column" in str(error) or "twice" in str(error)
        )
        return
    assert len(found.runs) + found.n_lines_quarantined == found.n_lines
    if damage is None:
        assert found.n_lines == len(rows)
    elif found.n_lines == 0:
        assert found.bad
