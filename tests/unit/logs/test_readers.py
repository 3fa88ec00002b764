"""What each reader makes of good and bad files; `tests/contract/test_readers.py` holds
what is true of all of them.
"""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.mappings.mapping import RUN_LOG
from autollm.core.records import RunEnd, RunStep, to_line
from autollm.logs.choosing.catalog import load_mapping
from autollm.logs.reading import MAX_TEXT, quote, split_lines
from tests.unit.logs.landed import Landed, land_bytes
from tests.unit.logs.mapped_rows import Found, read
from tests.unit.logs.raw_logs import (
    STEPLAW_HEADER,
    run_bytes,
    run_lines,
    steplaw_bytes,
    steplaw_row,
)

LAB, STEPLAW = load_mapping("lab-pretraining"), load_mapping("steplaw")


def read_run(data: bytes) -> Found:
    return read(RUN_LOG, data, LAB, "r.jsonl")


def read_table(data: bytes, name: str = "dense_lr_bs_loss.csv") -> Landed:
    return land_bytes(name, data)


def lines(*parts: str) -> bytes:
    return ("\n".join(parts) + "\n").encode()


def test_run_reader__whole_log__keeps_steps_as_logged():
    found = read_run(run_bytes(n_steps=3))
    (run,) = found.runs
    assert (
        found.n_lines,
        found.bad,
        run["status"],
        run["objective_value"],
    ) == (5, [], "finished", 3.5)
    assert [(p["line"], p["step"], p["metric"]) for p in found.points[:3]] == [
        (2, 0, "grad_norm"), (2, 0, "train_loss"), (3, 10, "grad_norm")]  # fmt: skip
    assert json.loads(run["header_json"])["run_id"] == "r1"
    (landed,) = land_bytes("r.jsonl", run_bytes(n_steps=3)).runs
    assert landed["wall_time_s"] == 1.0 and landed["n_points"] == 6


def test_run_reader__uneven_and_repeated_steps__are_not_repaired():
    header, *_, end = run_lines()
    steps = [
        RunStep(5, {"a": 1.0}),
        RunStep(5, {"a": 2.0, "b": math.nan}),
        RunStep(3, {"b": math.inf}),
    ]
    found = read_run(lines(header, *map(to_line, steps), end))
    assert [(p["step"], p["metric"]) for p in found.points] == [
        (5, "a"),
        (5, "a"),
        (5, "b"),
        (3, "b"),
    ]
    assert (
        math.isnan(found.points[2]["value"])
        and found.points[3]["value"] == math.inf
    )


def test_run_reader__no_end_record__is_a_run_in_flight_that_keeps_its_curve():
    found = read_run(run_bytes(n_steps=4, end=None))
    (run,) = found.runs
    assert run["status"] == "running" and not run["is_outcome"]
    assert run["status_reason"].startswith("no end record")
    assert len(found.points) == 8
    assert run["objective_value"] is None and run["cost_flops"] is None


def test_run_reader__truncated_last_line__quarantines_it_and_keeps_the_run():
    found = read_run(run_bytes(n_steps=3)[:-30])
    assert [(b.line, b.n_lines) for b in found.bad] == [(5, 1)]
    assert "not a JSON line" in found.bad[0].reason
    assert found.runs[0]["status"] == "running" and len(found.points) == 6


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_run_reader__non_finite_objective__is_diverged(loss):
    (run,) = read_run(
        run_bytes(end=RunEnd("finished", {"val_loss": loss}, {"flops": 1.0}))
    ).runs
    assert run["status"] == "diverged" and not math.isfinite(
        run["objective_value"]
    )


def test_run_reader__finished_without_objective__is_failed():
    (run,) = read_run(run_bytes(end=RunEnd("finished", {"other": 1.0}))).runs
    assert (run["status"], run["status_reason"]) == (
        "failed",
        "no objective 'final.val_loss'",
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not a JSON line"),
        ("[1]", "expected a JSON object, got list"),
        ('{"kind":"stop"}', "unknown kind 'stop'"),
        (
            '{"kind":"step","step":1,"metrics":{"a":"high"}}',
            "metrics.a must be a number",
        ),
        ('{"kind":"step","step":true,"metrics":{}}', "step must be an integer"),
        ('{"kind":"step","step":-1,"metrics":{}}', "step must be within"),
        (
            '{"kind":"step","step":%s,"metrics":{}}' % 10**30,
            "step must be within",
        ),
        (
            '{"kind":"step","step":1,"metrics":{"a":%s}}' % 10**400,
            "a number out of range",
        ),
        (
            '{"kind":"step","step":%s,"metrics":{}}' % ("1" * 5000),
            "a number out of range",
        ),
        (
            '{"kind":"step","step":1,"metrics":{"a\\ud800":1}}',
            "half a surrogate pair",
        ),
        (
            '{"kind":"step","step":1,"metrics":{},"epoch":1}',
            "unknown field 'epoch'",
        ),
        ("[" * 100_000, "not a JSON line"),
    ],
)
def test_run_reader__one_bad_line__is_set_aside_and_the_rest_read(line, reason):
    header, first, second, end = run_lines()
    found = read_run(lines(header, first, line, second, end))
    assert [(b.line, b.n_lines) for b in found.bad] == [
        (3, 1)
    ] and reason in found.bad[0].reason
    assert len(found.bad[0].text) <= MAX_TEXT
    assert found.runs[0]["status"] == "finished" and len(found.points) == 4


def test_run_reader__non_utf8_line__names_byte_and_column():
    header, first, second, end = (line.encode() for line in run_lines())
    found = read_run(b"\n".join([header, first, b'{"a":"\xff"}', second, end]))
    assert (
        found.bad[0].reason
        == "not UTF-8: byte 0xff at column 7 (save the file as UTF-8)"
        and len(found.runs) == 1
    )


def test_run_reader__lines_out_of_place__are_quarantined_with_the_reason():
    header, step, _, end = run_lines()
    found = read_run(lines(step, header, header, step, end, step))
    assert [(b.line, b.reason) for b in found.bad] == [
        (1, "a line before the header"), (3, "a second header: a file holds one run"), (6, "a line after "
                                                                                           "the end "
                                                                                           "record")]  # fmt: skip
    assert len(found.points) == 2


def test_run_reader__binary_file__is_one_clear_reason():
    found = read_run(b"\x7fELF\x00\x00" + bytes(range(256)) * 40)
    assert found.runs == [] and [b.reason for b in found.bad] == [
        "binary data: a raw log has no NUL bytes"
    ]
    assert found.n_lines == found.n_bad == found.bad[0].n_lines


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"config": {"learning_rate": 0.0078125}},
            "config.batch_tokens is missing",
        ),
        (
            {"config": {"learning_rate": 0.003, "batch_tokens": 512}},
            "octaves from the nearest step",
        ),
        (
            {"config": {"learning_rate": 0.0078125, "batch_tokens": "many"}},
            "must be a number, got 'many'",
        ),
        ({"fidelity": {"params": 1}}, "fidelity.tokens is missing"),
        ({"seed": "zero"}, "seed must be an integer"),
    ],
)
def test_run_reader__header_that_does_not_fit__quarantines_the_file(
    changes, reason
):
    found = read_run(run_bytes(**changes))
    assert found.runs == [] and found.n_bad == found.n_lines == 4
    assert reason in found.reasons


def test_run_reader__source_without_a_mapping__quarantines_the_file():
    found = land_bytes("r.jsonl", run_bytes(source="elsewhere"))
    assert found.runs == [] and found.n_bad == found.n_lines == 4
    known = "no mapping for the source 'elsewhere'. Known: lab-architecture"
    assert known in found.reasons


def test_run_reader__empty_file__has_no_lines_and_a_reason():
    found = read_run(b"")
    assert (found.n_lines, found.runs) == (
        0,
        [],
    ) and "the file is empty" in found.bad[0].reason


def test_table_reader__published_shape__is_one_run_per_row():
    found = read_table(
        steplaw_bytes(steplaw_row("a"), steplaw_row("b", loss="4.0"), "")
    )
    assert found.n_lines == 4 and not found.bad
    assert [(r["run_id"], r["status"]) for r in found.runs] == [
        ("a", "finished"),
        ("b", "diverged"),
    ]
    assert json.loads(found.runs[0]["header_json"])["D/N"] == "18.6"


def test_table_reader__missing_column__names_column_nearest_and_remedy():
    header = STEPLAW_HEADER.replace("smooth loss", "smooth_loss")
    found = read_table(steplaw_bytes(steplaw_row("a"), header=header))
    assert found.runs == [] and found.n_bad == found.n_lines == 2
    for part in (
        "dense_lr_bs_loss.csv",
        "'smooth loss'",
        "Nearest: 'smooth_loss'",
    ):
        assert part in found.reasons


def test_table_reader__bad_rows__are_set_aside_by_line():
    rows = [
        steplaw_row("a"),
        "1,2,3",
        steplaw_row("b", lr="fast"),
        steplaw_row("a"),
        steplaw_row(""),
        '"open,' + "x," * 12,
    ]
    found = read_table(steplaw_bytes(*rows, steplaw_row("c")))
    assert [r["run_id"] for r in found.runs] == ["a", "c"]
    assert [b["line"] for b in found.bad] == [3, 4, 5, 6, 7]
    reasons = found.reasons
    for part in (
        "3 fields, the header has 13",
        "lr must be a number",
        "the run 'a' stands in this table already",
        "run key column 'exp_name' is empty",
        "is not closed before a line that is a row again",
    ):
        assert part in reasons


def test_table_reader__windows_text_and_quotes__are_read_as_meant():
    data = b"\xef\xbb\xbf" + steplaw_bytes(steplaw_row('"a, ""b"""')).replace(
        b"\n", b"\r\n"
    )
    (run,) = read_table(data).runs
    assert run["run_id"] == 'a, "b"'


def test_table_reader__repeated_key_as_replicas__is_numbered():
    from autollm.core.mappings.mapping import RunKey

    key = RunKey(columns=("exp_name",), repeated="number")
    numbered = STEPLAW.model_copy(update={"run_key": key})
    data = steplaw_bytes(steplaw_row("a"), steplaw_row("a"), steplaw_row("a"))
    found = land_bytes("t.csv", data, numbered)
    assert [r["run_id"] for r in found.runs] == ["a", "a#2", "a#3"]


def test_table_reader__unknown_table_or_double_column__is_set_aside_with_the_reason():
    found = read_table(steplaw_bytes(steplaw_row("a")), name="other.csv")
    assert "no mapping says what the columns of other.csv mean" in found.reasons
    assert (
        "autollm sources inspect other.csv" in found.reasons
        and found.n_bad == 2
    )
    found = read_table(steplaw_bytes(header=STEPLAW_HEADER + ",lr"))
    assert "stands in the header twice" in found.reasons and found.n_bad == 1


def test_quote__any_bytes__is_short_printable_text():
    assert (
        quote(b"\xff\x00" * 1000).encode()
        and len(quote(b"\xff" * 5000)) == MAX_TEXT
    )
    assert (
        split_lines(b"a\r\nb\n\nc") == [b"a", b"b", b"", b"c"]
        and split_lines(b"") == []
    )


HEADER = run_lines()[0].encode()
PIECES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.sampled_from([line.encode() for line in run_lines(n_steps=3)]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(max_size=8),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["kind", "step", "metrics", "final", "a"]), c
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(PIECES, max_size=12), with_header=st.booleans())
def test_run_reader__any_bytes__accounts_for_every_line(pieces, with_header):
    data = b"\n".join(([HEADER] if with_header else []) + pieces)
    found = read_run(data)
    assert found.n_lines == len(split_lines(data))
    assert 0 <= found.n_bad <= found.n_lines
    assert with_header is False or found.runs or found.bad
    used = {p["line"] for p in found.points}
    assert not used & {b.line for b in found.bad}


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.one_of(st.binary(max_size=60), st.just(steplaw_row("a").encode())),
        max_size=12,
    )
)
def test_table_reader__any_rows__accounts_for_every_line(rows):
    data = b"\n".join([STEPLAW_HEADER.encode(), *rows])
    found = read("csv", data, STEPLAW, "dense_lr_bs_loss.csv")
    assert found.n_lines == len(split_lines(data))
    bad = [n for b in found.bad for n in range(b.line, b.line + b.n_lines)]
    assert len(set(bad)) == len(bad) == found.n_bad
    assert not set(bad) & {run["line"] for run in found.runs}
    if b"\x00" not in data and b'"' not in data:
        n_blank = sum(not line.strip() for line in split_lines(data))
        assert found.n_bad == found.n_lines - len(found.runs) - 1 - n_blank
