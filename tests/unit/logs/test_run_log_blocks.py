"""Steps of run logs read as columns: the same as line by line, whatever is among them."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.mappings.mapping import RUN_LOG
from autollm.core.records import RunStep, to_line
from autollm.logs.relation import CODED_POINTS
from autollm.logs.tables import blocks, run_log
from autollm.logs.tables.blocks import Block
from autollm.logs.tables.json_table import check_objects
from autollm.logs.tables.run_log import melted, steps_of
from tests.unit.logs.mapped_rows import read, relations
from tests.unit.logs.raw_logs import run_lines

STEP = '{"kind":"step","metrics":{"a":1.5},"step":3,"tokens":4.0,"wall_time_s":0.5}'
ODD_LINES = (
    "",
    "not json",
    "[]",
    '{"kind":"step"}',
    STEP.replace("1.5", "null"),
    STEP.replace("1.5", '"nan"'),
    STEP.replace("1.5", '"-inf"'),
    STEP.replace("1.5", '"high"'),
    STEP.replace("1.5", "true"),
    STEP.replace("1.5", "[1.5]"),
    STEP.replace("1.5", '{"b":1}'),
    STEP.replace('"a":1.5', '"a":1.5,"a":2.5'),
    STEP.replace('"a":1.5', ""),
    STEP.replace('"a"', '"{"'),
    STEP.replace('"step":3', '"step":-1'),
    STEP.replace('"step":3', '"step":3.5'),
    STEP.replace('"step":3', '"step":"3"'),
    STEP.replace('"step":3', '"step":9223372036854775808'),
    STEP.replace('"tokens":4.0,', ""),
    STEP.replace("4.0", "null"),
    STEP.replace("4.0", '"inf"'),
    STEP + "\r",
    STEP + " ",
    " " + STEP,
    STEP + STEP,
    STEP[:-1],
)
STEPS = st.builds(
    lambda step, metrics, tokens: to_line(RunStep(step, metrics, tokens)),
    st.integers(0, 2**40),
    st.dictionaries(
        st.sampled_from(["loss", "grad_norm", "lr"]),
        st.floats(allow_nan=True, allow_infinity=True),
        max_size=3,
    ),
    st.one_of(st.none(), st.floats(0, 1e15)),
)


def _read(lines, leaf_bytes):
    """The log's points and bad lines, blocks beyond `leaf_bytes` read as columns."""
    header, end = run_lines(n_steps=0)
    data = "\n".join([header, *lines, end]).encode("utf-8", "surrogatepass")
    before = blocks.LEAF_BYTES, run_log.LEAF_BYTES, blocks.BLOCK_BYTES
    blocks.LEAF_BYTES = run_log.LEAF_BYTES = leaf_bytes
    blocks.BLOCK_BYTES = 400
    try:
        found = read(RUN_LOG, data, None, "r.jsonl")
    finally:
        blocks.LEAF_BYTES, run_log.LEAF_BYTES, blocks.BLOCK_BYTES = before
    points = []
    for point in found.points:
        value = point["value"]
        shown = "nan" if math.isnan(value) else value
        points.append({**point, "value": shown})
    # columns give the metrics of a line in the order of the block's first lines
    points.sort(key=lambda point: (point["line"], point["metric"]))
    return points, found.bad, found.n_lines, found.runs


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.one_of(STEPS, STEPS, STEPS, st.sampled_from(ODD_LINES)), max_size=14
    )
)
def test_run_log__any_lines__columns_give_what_line_by_line_gives(lines):
    slowly = _read(lines, 10**9)
    assert _read(lines, 1) == slowly
    assert _read(lines, 200) == slowly


@pytest.mark.parametrize("odd", ODD_LINES)
def test_run_log__odd_line_among_steps__is_told_as_line_by_line(odd):
    lines = [STEP.replace('"step":3', f'"step":{i}') for i in range(4)]
    lines[2:2] = [odd]
    slowly = _read(lines, 10**9)
    assert _read(lines, 1) == slowly
    steps = [point["step"] for point in slowly[0] if point["line"] != 4]
    assert steps == [0, 1, 2, 3]


def test_steps_of__steps_alone__are_points_in_the_order_of_their_lines():
    lines = [
        to_line(RunStep(1, {"b": 2.0, "a": 1.0}, 10.0, 0.5)),
        to_line(RunStep(2, {"a": math.inf}, 20.0, 1.0)),
        to_line(RunStep(3, {"c": 4.0}, 30.0, 1.5)),
    ]
    points = steps_of(Block(7, ("\n".join(lines) + "\n").encode()))
    assert points.schema.names == CODED_POINTS.names[1:]
    assert points["metric"].to_pylist() == ["a", "b", "a", "c"]
    assert points["value"].to_pylist() == [1.0, 2.0, math.inf, 4.0]
    assert points["line"].to_pylist() == [7, 7, 8, 9]
    assert points["step"].to_pylist() == [1, 1, 2, 3]
    assert points["tokens"].to_pylist() == [10.0, 10.0, 20.0, 30.0]
    assert points["wall_time_s"].to_pylist() == [0.5, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    "data",
    [
        STEP + "\n" + STEP.replace('"step":3,', "") + "\n",
        STEP + "\n{}\n",
        STEP + "\n\n" + STEP + "\n",
        STEP.replace("1.5", "null") + "\n",
        STEP.replace('"a":1.5', '"a":null,"b":1') + "\n" + STEP + "\n",
        STEP.replace("step", "stop", 1) + "\n",
        STEP.replace('"a":1.5', '"a":1,"a":2') + "\n",
        '{"kind":"header"}\n',
        "[{}]\n",
        STEP.replace('"a"', '"\\ud800"') + "\n",
    ],
)
def test_steps_of__anything_else_in_the_block__is_left_to_be_cut(data):
    assert steps_of(Block(1, data.encode("utf-8", "surrogatepass"))) is None


def test_steps_of__bytes_that_are_no_text__are_left_to_be_cut():
    data = STEP.encode().replace(b'"a"', b'"\xff"') + b"\n"
    assert steps_of(Block(1, data)) is None


def test_melted__metric_that_a_line_lacks__gives_no_point():
    import pyarrow as pa

    table = pa.table(
        {
            "step": [1, 2],
            "tokens": [None, 2.0],
            "wall_time_s": [0.0, None],
            "metrics": [{"a": 1, "b": None}, {"a": None, "b": 2.5}],
        }
    )
    points = melted(table, 10).to_pylist()
    assert [(p["metric"], p["value"], p["line"]) for p in points] == [
        ("a", 1.0, 10),
        ("b", 2.5, 11),
    ]
    assert [p["tokens"] for p in points] == [None, 2.0]
    assert [p["wall_time_s"] for p in points] == [0.0, None]


def test_run_log__long_history__points_are_codes_and_its_run_comes_last(
    monkeypatch,
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 300)
    monkeypatch.setattr(blocks, "LEAF_BYTES", 50)
    monkeypatch.setattr(run_log, "LEAF_BYTES", 50)
    data = "\n".join(run_lines(n_steps=30)).encode()
    found = relations(RUN_LOG, data, "r1.jsonl")
    assert len(found) > 3
    assert all(relation.points.schema == CODED_POINTS for relation in found)
    assert [relation.runs.num_rows for relation in found][-1] == 1
    assert sum(relation.runs.num_rows for relation in found) == 1
    points = [p for r in found for p in r.points.to_pylist()]
    assert len(points) == 60 and {p["run_key"] for p in points} == {"r1"}
    assert [p["line"] for p in points[::2]] == list(range(2, 32))
    (row,) = found[-1].runs.to_pylist()
    assert row["_n_lines"] == 32 == sum(r.n_lines for r in found)


@pytest.mark.parametrize("extra", ["header", "step", "end"])
def test_run_log__lines_after_the_end__are_set_aside_one_by_one(
    monkeypatch, extra
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 200)
    monkeypatch.setattr(blocks, "LEAF_BYTES", 50)
    monkeypatch.setattr(run_log, "LEAF_BYTES", 50)
    lines = run_lines(n_steps=8)
    again = {"header": lines[0], "step": lines[1], "end": lines[-1]}[extra]
    found = read(
        RUN_LOG, "\n".join([*lines, again, again, again]).encode(), None, "r"
    )
    assert [bad.line for bad in found.bad] == [11, 12, 13]
    wanted = "second header" if extra == "header" else "after the end record"
    assert all(wanted in bad.reason for bad in found.bad)
    assert len(found.points) == 16 and len(found.runs) == 1


def test_run_log__steps_before_any_header__are_no_run(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_BYTES", 50)
    monkeypatch.setattr(run_log, "LEAF_BYTES", 50)
    lines = [to_line(RunStep(i, {"a": 1.0})) for i in range(9)]
    found = read(RUN_LOG, "\n".join(lines).encode(), None, "r.jsonl")
    assert not found.runs and not found.points
    assert found.n_bad == 9 and "a line before the header" in found.reasons


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b'{"a":1}\n{"b":2}', ""),
        (b'{"a":1}\r\n{"b":2}\r\n', ""),
        (b'{"a":1}\n\n{"b":2}\n', "no JSON object"),
        (b"\n", "no JSON object"),
        (b"\r\n", "no JSON object"),
        (b'{"a":1}\n5\n', "no JSON object"),
        (b'{"a":1\n}\n', "no JSON object"),
        (b'{"a":1} \n', "no JSON object"),
        (b'{"a":[1]}\n', "a list"),
    ],
)
def test_check_objects__lines__are_one_object_each_or_refused(data, wrong):
    from autollm.core.errors import RecordError

    if wrong:
        with pytest.raises(RecordError, match=wrong):
            check_objects(data)
        return
    starts, ends = check_objects(data)
    for start, end in zip(starts, ends, strict=True):
        assert isinstance(json.loads(data[start:end]), dict)


def test_propose__run_log_of_several_blocks__is_told_as_one_curve(
    tmp_path, monkeypatch
):
    from autollm.logs.proposals import TableOptions, propose
    from autollm.logs.proposals.looking import look_at
    from tests.unit.logs.raw_logs import run_bytes, write

    for module in (blocks, run_log):
        monkeypatch.setattr(module, "LEAF_BYTES", 50)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 300)
    path = write(tmp_path, "r.jsonl", run_bytes("r", n_steps=40))
    found = propose(look_at(path), TableOptions(), "")
    assert "r: train_loss, steps 0 to 390, values -34 to 5" in found.toml
    assert found.toml.count("r: grad_norm") == 1
