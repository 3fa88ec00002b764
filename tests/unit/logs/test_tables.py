"""Tables of every format: rows, joined files, constant columns, look-ups, groups,
bounded memory.
"""

import gzip
import io
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import parse_mapping
from autollm.logs import reading
from autollm.logs.reading import CutLine, iter_lines, split_lines
from autollm.logs.tables import blocks
from tests.unit.logs.landed import land_bytes
from tests.unit.logs.mapped_rows import Found
from tests.unit.logs.mapped_rows import read as read_rows
from tests.unit.logs.raw_logs import (
    csv_bytes,
    json_lines,
    parquet_bytes,
    sweep_mapping,
)

ROWS = [
    {"id": f"r{i}", "lr": 2.0**-i, "N": 1e6, "loss": 3.0 + i} for i in range(4)
]
BYTES = {"csv": csv_bytes, "jsonl": json_lines, "parquet": parquet_bytes}


def read(file_format: str, data: bytes, more: str = "") -> Found:
    mapping = parse_mapping(
        sweep_mapping(file_format, ["sweep"], more), "sweep.toml"
    )
    return read_rows(file_format, data, mapping, "sweep")


def read_with(mapping: str, data: bytes, file_format: str = "csv") -> Found:
    return read_rows(file_format, data, parse_mapping(mapping, "m"), "sweep")


@pytest.mark.parametrize("file_format", sorted(BYTES))
def test_table_reader__same_rows_in_any_format__are_the_same_runs(file_format):
    found = read(file_format, BYTES[file_format](ROWS))
    assert [(r["run_id"], r["config_json"], r["objective_value"]) for r in found.runs] == [
        ("r0", '{"lr":1}', 3.0), ("r1", '{"lr":0.5}', 4.0), ("r2", '{"lr":0.25}', 5.0), ("r3", '{"lr":0.125}', 6.0)]  # fmt: skip
    assert not found.bad and {r["fidelity_json"] for r in found.runs} == {
        '{"params":1000000}'
    }


@pytest.mark.parametrize("file_format", sorted(BYTES))
def test_table_reader__missing_column__names_file_column_nearest_and_remedy(
    file_format,
):
    data = BYTES[file_format](
        [
            {**row, "losss": 1.0}
            for row in (
                {k: v for k, v in r.items() if k != "loss"} for r in ROWS
            )
        ]
    )
    with pytest.raises(MappingError) as caught:
        read(file_format, data)
    for part in ("no column 'loss'", "Nearest: 'losss'", "Fix:"):
        assert part in str(caught.value)


@pytest.mark.parametrize("file_format", sorted(BYTES))
def test_table_reader__bad_cells__are_set_aside_by_row_with_column_and_value(
    file_format,
):
    rows = [dict(r) for r in ROWS]
    rows[1]["lr"], rows[2]["N"] = -0.5, 0.0
    found = read(file_format, BYTES[file_format](rows))
    first = 3 if file_format == "csv" else 2
    assert [(b.line, b.n_lines) for b in found.bad] == [
        (first, 1),
        (first + 1, 1),
    ]
    assert (
        "lr=-0.5 is not a positive" in found.bad[0].reason
        and "N=0.0 is not a positive" in found.bad[1].reason
    )
    assert [r["run_id"] for r in found.runs] == [
        "r0",
        "r3",
    ] and "r1" in found.bad[0].text


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
    found = read_with(mapping, json_lines(lines), "jsonl")
    assert [(r["config_json"], r["status"]) for r in found.runs] == [
        ('{"lr":0.5}', "finished"),
        ('{"lr":0.25}', "failed"),
    ]
    assert json.loads(found.runs[1]["header_json"])["extra"] == "[1, 2]"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not a JSON line"),
        ("[1]", "expected a JSON object, got list"),
        (
            '{"id":"x","lr":1,"lr":2,"N":1,"loss":1}',
            "the key 'lr' stands twice",
        ),
        (
            '{"a":{"b":1},"a.b":2,"lr":1,"N":1,"loss":1,"id":"x"}',
            "once nested and once dotted",
        ),
        ('{"id":"x\\ud800","lr":1,"N":1,"loss":1}', "not a JSON line"),
        ('{"id":"x","lr":%s,"N":1,"loss":1}' % ("1" * 5000), "not a JSON line"),
        (
            '{"id":"x","lr":%s,"N":1,"loss":1}' % ("1" * 400),
            "lr=inf is not a positive finite number",
        ),
        ('{"id":"x","lr":1,"loss":1}', "N is missing or empty"),
        ('{"lr":1,"N":1,"loss":1}', "the run key column 'id' is empty"),
        ("[" * 100_000, "not a JSON line"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "not a JSON line"),
    ],
)
def test_jsonl_reader__one_bad_line__is_set_aside_and_the_rest_read(
    line, reason
):
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
    assert found.n_lines == 4 and [r["run_id"] for r in found.runs] == [
        "r0",
        "r1",
    ]
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
    monkeypatch.setattr("autollm.logs.tables.parquet_table.MAX_ROWS", 3)
    found = read("parquet", parquet_bytes(ROWS))
    assert (
        not found.runs
        and found.bad[0].reason == "4 rows, more than 3. Fix: split the file."
    )


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-8-sig"]
)
def test_table_reader__text_of_another_encoding__is_read(encoding):
    found = read("csv", csv_bytes(ROWS).decode().encode(encoding))
    assert [r["run_id"] for r in found.runs] == ["r0", "r1", "r2", "r3"]


def test_table_reader__strange_byte_in_row_and_header__are_a_bad_line_and_an_error():
    data = csv_bytes(ROWS)
    found = read("csv", data.replace(b"r2", b"r\x812"))
    assert [b.reason for b in found.bad] == [
        "not UTF-8: byte 0x81 at column 2 (save the file as UTF-8)"
    ] and len(found.runs) == 3
    found = read("csv", data.replace(b"loss", b"l\x81ss"))
    assert not found.runs and "not UTF-8: byte 0x81" in found.reasons
    assert found.n_bad == found.n_lines


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


def looked_up(*cells: tuple[str, str]) -> Found:
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
    return read_with(mapping, csv_bytes(rows))


def test_table_reader__lookups__give_ranks_per_item_sizes_and_groups():
    found = looked_up(("s", "4-8-8"), ("m", "8-12"))
    assert [json.loads(r["config_json"])["heads"] for r in found.runs] == [
        [0, 1, 1],
        [0, 1],
    ]
    assert [(r["group"], r["fidelity_json"]) for r in found.runs] == [
        ("tiny", '{"params":1000000}'),
        ("large", '{"params":1000000000}'),
    ]
    assert found.runs[0]["experiment_id"].startswith("sweep/tiny:")


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
    found = read_with(mapping, data)
    assert (
        [r["run_id"] for r in found.runs] == ["2"]
        and found.bad[0].reason.startswith(reason)
        and "Fix:" in found.bad[0].reason
    )


def test_table_reader__number_as_people_write_it__is_read_and_a_word_is_named():
    rows = [{"id": 1, "lr": "1e-3", "N": "20B", "loss": 1}]
    found = read("csv", csv_bytes([*rows, {**rows[0], "N": "many"}]))
    assert found.runs[0]["fidelity_json"] == '{"params":20000000000}'
    assert "N must be a number, got 'many'" in found.bad[0].reason


def test_table_reader__device_of_the_mapping__makes_gpu_hours():
    found = read("csv", csv_bytes(ROWS[:1]), '[hardware]\ndevice = "cuda"')
    assert found.runs[0]["device"] == "cuda"


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
        ((0.5, "x"), "w_b must be a number, got 'x'"),
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
    found = read_with(mapping, data)
    assert [b.reason[: len(reason)] for b in found.bad] == (
        [reason] if reason else []
    )


def test_table_reader__simplex_without_its_columns__is_an_error():
    mapping = (
        sweep_mapping("csv", ["sweep"]).replace(
            'knobs = [{name = "lr", scale = "log"}]', ""
        )
        + SIMPLEX
    )
    with pytest.raises(
        MappingError,
        match=r"no column like 'w_\*', which the knob 'mix'.*Fix:",
    ):
        read_with(mapping, csv_bytes(ROWS))


def test_iter_lines__any_cut_of_the_stream__equals_split_lines(monkeypatch):
    data = b"a\r\nbb\n\n\r\nccc\rd\n" + b"x" * 50 + b"\nlast\r"
    for size in range(1, 20):
        monkeypatch.setattr(reading, "_CHUNK_BYTES", size)
        assert list(iter_lines(io.BytesIO(data))) == split_lines(data)


def test_iter_lines__line_beyond_the_limit__is_cut_and_set_aside(monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(reading, "_CHUNK_BYTES", 30)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 30)
    rest = csv_bytes(ROWS[2:]).split(b"\n", 1)[1]
    data = csv_bytes(ROWS[:2]) + b"z" * 1000 + b"\n" + rest
    lines = iter_lines(io.BytesIO(data))
    are_cut = [type(line) is CutLine for line in lines]
    assert are_cut == [False, False, False, True, False, False]
    found = read("csv", data)
    assert (
        len(found.runs) == 4
        and "a line of more than 100 bytes" in found.reasons
    )
    assert len(found.bad[0].text) <= 500 and found.n_lines == 6


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("file_format", sorted(BYTES))
def test_table_reader__compressed_file__is_read_as_the_plain_one(
    codec, file_format
):
    data = BYTES[file_format](ROWS)
    packed = gzip.compress(data)
    if codec == "zstd":
        packed = pa.compress(data, codec="zstd", asbytes=True)
    name = f"sweep.{'gz' if codec == 'gzip' else 'zst'}"
    mapping = parse_mapping(sweep_mapping(file_format, ["sweep"]), "m")
    found = land_bytes(name, packed, mapping)
    assert len(found.runs) == 4 and not found.bad


MEMORY = """
import resource, sys
from autollm.logs.landing import ingest
from autollm.logs import readings
from autollm.logs.lake import bronze_tables
from autollm.logs.tables import blocks
bronze_tables.GROUP_BYTES, readings.QUERY_ROWS, blocks.BLOCK_BYTES = 2**20, 500, 2**18
from autollm.logs.choosing.catalog import load_mapping
report = ingest([sys.argv[1]], sys.argv[2], load_mapping(sys.argv[3]))
print(report.n_runs, report.n_lines_quarantined, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_ingest__table_of_three_times_the_rows__takes_about_the_same_memory(
    tmp_path,
):
    """Rows are written while others come; 75 bytes each are kept to recognize repeated runs. Here 20,000
    rows, of which all buffers are full, against 60,000, a bad one in each hundred.
    """
    (tmp_path / "m.toml").write_text(sweep_mapping("csv", ["*.csv"]))
    peaks = []
    for n_rows in (20_000, 60_000):
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
    # all rows in memory: about 200 MB more
    assert peaks[1] - peaks[0] < 60, peaks


JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(json_lines(ROWS).splitlines()),
    st.sampled_from(csv_bytes(ROWS).splitlines()),
    st.text(max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(max_size=8),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "lr", "N", "loss", "a.b"]), c
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@example(lines=[b'{"":{}}'], file_format="jsonl", block=1)
@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(JUNK, max_size=12),
    file_format=st.sampled_from(["csv", "jsonl"]),
    block=st.integers(1, 90),
)
def test_text_readers__any_lines__read_plus_quarantined_are_all_lines(
    lines, file_format, block
):
    head = (
        b"id,lr,N,loss"
        if file_format == "csv"
        else json_lines(ROWS[:1]).strip()
    )
    data = b"\n".join([head, *lines])
    before = blocks.BLOCK_BYTES, blocks.LEAF_BYTES
    blocks.BLOCK_BYTES, blocks.LEAF_BYTES = block, block // 2
    try:
        found = read_rows(file_format, data, None, "sweep")
    finally:
        blocks.BLOCK_BYTES, blocks.LEAF_BYTES = before
    assert found.n_lines == len(split_lines(data))
    used = [run["_line"] for run in found.runs]
    for part in found.bad:
        used += range(part.line, part.line + part.n_lines)
    assert len(set(used)) == len(used) and set(used) <= set(
        range(1, found.n_lines + 1)
    )
    is_cut = any(b'"' in line for line in lines)  # a cell may hold line breaks
    if b"\x00" not in data and not (file_format == "csv" and is_cut):
        n_blank = sum(not line.strip() for line in split_lines(data))
        n_headers = split_lines(data).count(head) if file_format == "csv" else 0
        assert len(used) + n_blank + n_headers == found.n_lines


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
@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"id": CELLS, "lr": CELLS, "N": CELLS, "loss": CELLS}
        ),
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
        found = read("parquet", bytes(data))
    except MappingError as error:  # a column's name was hit
        assert damage is not None and (
            "no column" in str(error) or "twice" in str(error)
        )
        return
    assert len(found.runs) + found.n_bad == found.n_lines
    if damage is None:
        assert found.n_lines == len(rows)
    elif found.n_lines == 0:
        assert found.bad
