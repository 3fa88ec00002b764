"""The rules of curves, in CSV and JSON lines alike: what a row of a run's log becomes."""

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import RecordError
from autollm.logs.proposals import propose
from autollm.logs.readers.curve_files import CurveCsvReader, CurveJsonlReader
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import Opened, curve_of, runs_of


def as_csv(rows, separator=","):
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(
        text, names, delimiter=separator, lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


READERS = {
    "csv": (CurveCsvReader(), as_csv),
    "tsv": (CurveCsvReader(), lambda rows: as_csv(rows, "\t")),
    "jsonl": (CurveJsonlReader(), as_jsonl),
}
both = pytest.mark.parametrize("kind", READERS)


def read(kind, rows, name="run", data=None):
    reader, write = READERS[kind]
    opened = Opened(f"{name}.{kind}", write(rows) if data is None else data)
    assert reader.matches(opened.name, opened.data)
    (relation,) = reader.read(opened)
    return relation


def steps(n=6, **columns):
    rows = []
    for at in range(n):
        row = {"step": 10 * at}
        row |= {name: value(at) for name, value in columns.items()}
        rows.append(row)
    return rows


@both
def test_curve__a_row_a_step__every_cell_is_a_point(kind):
    relation = read(kind, steps(loss=lambda i: 3 - i / 9, acc=lambda i: i / 9))
    assert curve_of(relation, "run", "loss") == [
        (10 * i, 3 - i / 9) for i in range(6)
    ]
    assert relation.points.num_rows == 12
    row = runs_of(relation)["run"]
    assert (row["metrics.acc"], row["last_step"]) == (5 / 9, 50)


@both
def test_curve__metrics_at_different_steps__keep_their_own(kind):
    rows = []
    for row in steps(loss=lambda i: 3 - i / 9):
        rows.append(row)
        if row["step"] % 20 == 0:
            rows.append({"step": row["step"], "val_loss": 4 - row["step"] / 90})
    relation = read(kind, rows)
    assert [s for s, _ in curve_of(relation, "run", "loss")] == [
        0, 10, 20, 30, 40, 50,
    ]  # fmt: skip
    assert [s for s, _ in curve_of(relation, "run", "val_loss")] == [0, 20, 40]
    assert runs_of(relation)["run"]["metrics.val_loss"] == 4 - 40 / 90


@both
def test_curve__step_twice__both_points_stay_in_order(kind):
    rows = steps(loss=lambda i: float(i))
    rows.insert(3, {"step": 20, "loss": 9.0})
    relation = read(kind, rows)
    at_20 = [v for s, v in curve_of(relation, "run", "loss") if s == 20]
    assert at_20 == [2.0, 9.0]
    assert not any("goes back" in note for note in relation.notes)


@both
def test_curve__resumed_with_overlapping_steps__the_later_line_is_last(kind):
    rows = steps(loss=lambda i: 3.0 + i)
    rows += [{"step": s, "loss": 1.0 + s} for s in (30, 40, 50, 60)]
    relation = read(kind, rows)
    points = curve_of(relation, "run", "loss")
    assert len(points) == 10 and points[-1] == (60, 61.0)
    assert [v for s, v in points if s == 40] == [7.0, 41.0]
    line = 8 if kind != "jsonl" else 7
    (note,) = relation.notes
    assert f"at line {line} step goes back from 50 to 30" in note
    assert runs_of(relation)["run"]["metrics.loss"] == 61.0


@both
def test_curve__restarted_many_times__is_told_three_times_and_counted(kind):
    rows = []
    for _ in range(6):
        rows += steps(8, loss=lambda i: 3.0 - i / 9)
    relation = read(kind, rows)
    told = [note for note in relation.notes if "goes back from" in note]
    assert len(told) == 3
    assert any("goes back 5 times" in note for note in relation.notes)
    assert len(runs_of(relation)) == 1


@both
def test_curve__column_that_names_runs__makes_one_each(kind):
    rows = []
    for run in ("a", "b", "ü"):
        rows += [row | {"run": run} for row in steps(loss=lambda i: 3.0 - i)]
    relation = read(kind, rows)
    assert set(runs_of(relation)) == {"a", "b", "ü"}
    assert curve_of(relation, "ü", "loss")[-1] == (50, -2.0)


@both
def test_curve__runs_interleaved__are_told_apart_by_their_column(kind):
    rows = []
    for row in steps(loss=lambda i: 3.0 - i):
        for shift, run in enumerate(("a", "b")):
            rows.append(row | {"run": run, "loss": row["loss"] + shift})
    relation = read(kind, rows)
    assert curve_of(relation, "a", "loss")[-1] == (50, -2.0)
    assert curve_of(relation, "b", "loss")[-1] == (50, -1.0)
    assert not any("goes back" in note for note in relation.notes)


@both
def test_curve__settings_of_several_runs__are_settings(kind):
    rows = []
    for run, rate in (("a", 0.1), ("b", 0.2)):
        for row in steps(loss=lambda i: 3.0 - i):
            rows.append(row | {"run": run, "rate": rate, "host": "n1"})
    relation = read(kind, rows)
    assert relation.roles["rate"] == "setting"
    rates = {run: row["rate"] for run, row in runs_of(relation).items()}
    assert rates == {"a": 0.1, "b": 0.2}


@both
def test_curve__not_finite__is_a_value_and_empty_is_none(kind):
    if kind == "jsonl":
        rows = steps(
            loss=lambda i: [3.0, math.nan, math.inf, None, 2.0, 1.0][i]
        )
    else:
        cells = ["3.0", "nan", "inf", "", "2.0", "1.0"]
        rows = steps(loss=lambda i: cells[i])
    points = curve_of(read(kind, rows), "run", "loss")
    assert [s for s, _ in points] == [0, 10, 20, 40, 50]
    assert math.isnan(points[1][1]) and points[2][1] == math.inf


@both
def test_curve__steps_that_are_no_whole_numbers__stay_open(kind):
    rows = [{"epoch": i / 4, "loss": 3.0 - i} for i in range(6)]
    relation = read(kind, rows)
    assert [s for s, _ in curve_of(relation, "run", "loss")] == [
        0, None, None, None, 1, None,
    ]  # fmt: skip
    assert runs_of(relation)["run"]["last_epoch"] == 1.25


@both
@pytest.mark.parametrize(
    "name", ["step", "_step", "global_step", "trainer/global_step", "iteration"]
)
def test_curve__each_name_of_a_count__is_the_step(kind, name):
    rows = [{name: 10 * i, "loss": 3.0 - i} for i in range(6)]
    assert curve_of(read(kind, rows), "run", "loss")[-1] == (50, -2.0)


@both
def test_curve__clock__is_the_wall_time_and_no_metric(kind):
    rows = steps(loss=lambda i: 3.0 - i, elapsed=lambda i: 1.5 * i)
    relation = read(kind, rows)
    assert [p["wall_time_s"] for p in relation.points.to_pylist()] == [
        1.5 * i for i in range(6)
    ]
    row = runs_of(relation)["run"]
    assert row["runtime_s"] == 7.5 and "metrics.elapsed" not in row


@both
def test_curve__tokens__stand_beside_each_point(kind):
    rows = steps(loss=lambda i: 3.0 - i, tokens=lambda i: 1000 * i)
    points = read(kind, rows).points.to_pylist()
    losses = [p for p in points if p["metric"] == "loss"]
    assert [p["tokens"] for p in losses] == [1000.0 * i for i in range(6)]


@both
def test_curve__broken_last_line__costs_itself(kind):
    _, write = READERS[kind]
    whole = write(steps(loss=lambda i: 3.0 - i))
    cut = whole + (b'{"step": 60, "lo' if kind == "jsonl" else b"60")
    relation = read(kind, [], data=cut)
    assert relation.points.num_rows == 6
    (bad,) = relation.bad
    assert bad.line == (7 if kind == "jsonl" else 8)
    assert relation.n_lines == bad.line


@both
def test_curve__blank_lines__count_as_read(kind):
    _, write = READERS[kind]
    lines = write(steps(loss=lambda i: 3.0 - i)).split(b"\n")
    data = b"\n".join([*lines[:3], b"", b"  ", *lines[3:]])
    relation = read(kind, [], data=data)
    assert relation.points.num_rows == 6 and not relation.bad


@both
def test_curve__windows_line_ends__are_no_part_of_cells(kind):
    _, write = READERS[kind]
    data = write(steps(loss=lambda i: 3.0 - i)).replace(b"\n", b"\r\n")
    assert curve_of(read(kind, [], data=data), "run", "loss")[-1] == (50, -2.0)


def test_csv_curve__byte_order_mark__is_no_part_of_the_first_name():
    data = b"\xef\xbb\xbf" + as_csv(steps(loss=lambda i: 3.0 - i))
    assert curve_of(read("csv", [], data=data), "run", "loss")[0] == (0, 3.0)


def test_csv_curve__second_header_with_a_new_metric__holds_from_there():
    first = as_csv(steps(loss=lambda i: 3.0 - i))
    second = as_csv(
        [{"step": 60 + i, "loss": 1.0, "val_loss": 2.0 + i} for i in range(3)]
    )
    relation = read("csv", [], data=first + second)
    assert curve_of(relation, "run", "val_loss") == [
        (60, 2.0), (61, 3.0), (62, 4.0),
    ]  # fmt: skip
    assert "line 8 is a second header: it holds from there" in relation.notes


def test_csv_curve__line_of_another_length__is_set_aside_by_its_line():
    lines = as_csv(steps(loss=lambda i: 3.0 - i)).split(b"\n")
    data = b"\n".join([*lines[:4], b"1,2,3", *lines[4:]])
    relation = read("csv", [], data=data)
    assert [(b.line, b.reason) for b in relation.bad] == [
        (5, "3 fields, the header has 2")
    ]


def test_jsonl_curve__nested_metrics__are_joined_by_slashes():
    rows = steps(eval=lambda i: {"loss": 3.0 - i, "by": {"en": 1.0 * i}})
    relation = read("jsonl", rows)
    assert curve_of(relation, "run", "eval/loss")[-1] == (50, -2.0)
    assert curve_of(relation, "run", "eval/by/en")[-1] == (50, 5.0)


def test_jsonl_curve__line_that_a_kill_cut_in_half__costs_itself():
    lines = as_jsonl(steps(loss=lambda i: 3.0 - i)).split(b"\n")
    lines[3] = lines[3][:9] + lines[3]
    relation = read("jsonl", [], data=b"\n".join(lines))
    assert [bad.line for bad in relation.bad] == [4]
    steps_left = [step for step, _ in curve_of(relation, "run", "loss")]
    assert steps_left == [0, 10, 20, 40, 50]


def test_jsonl_curve__mostly_other_text__is_none():
    lines = as_jsonl(steps(loss=lambda i: 3.0 - i)).split(b"\n")
    data = b"\n".join(part for line in lines for part in (line, b"[1]"))
    assert not CurveJsonlReader().matches("run.jsonl", data)


def test_jsonl_curve__key_twice_in_one_object__costs_its_line():
    data = as_jsonl(steps(loss=lambda i: 3.0 - i))
    bad = b'{"step": 60, "loss": 1, "loss": 2}\n'
    relation = read("jsonl", [], data=data + bad)
    assert "stands twice" in relation.bad[0].reason
    assert relation.points.num_rows == 6


@pytest.mark.parametrize(
    "rows",
    [
        [{"lr": 0.1, "loss": 3.0}, {"lr": 0.2, "loss": 2.0}],
        [{"step": 10, "lr": 0.1 / i, "loss": 3.0} for i in (1, 2, 3, 4)],
        [{"step": 1, "loss": 3.0}],
        [{"step": s, "note": f"n{s}"} for s in range(6)],
        [
            {"epochs": 3, "batch": 2**i, "lr": 0.1, "loss": 3 - i}
            for i in (3, 5, 4, 6)
        ],
    ],
)
@both
def test_curve__tables_of_runs__are_none(kind, rows):
    reader, write = READERS[kind]
    assert not reader.matches(f"run.{kind}", write(rows))


def test_csv_curve__no_header__says_what_is_missing():
    lines = as_csv(steps(loss=lambda i: 3.0 - i)).split(b"\n")[1:]
    opened = Opened("progress.csv", b"\n".join(lines))
    assert CurveCsvReader().matches(opened.name, opened.data)
    with pytest.raises(RecordError, match="the first line holds numbers"):
        CurveCsvReader().read(opened)


METRICS = st.dictionaries(
    st.sampled_from(["loss", "acc", "val/loss", "größe", "train loss"]),
    st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}")),
    min_size=1,
)


@settings(max_examples=40)
@given(
    st.lists(METRICS, min_size=6, max_size=15), st.sampled_from(sorted(READERS))
)
def test_curve__any_metrics__each_logged_value_is_one_point(logged, kind):
    rows = [
        {"step": at, "base": float(at)} | row for at, row in enumerate(logged)
    ]
    relation = read(kind, rows)
    n_values = sum(len(row) - 1 for row in rows)
    assert relation.points.num_rows == n_values
    for at, row in enumerate(rows):
        for name, value in row.items():
            if name != "step":
                assert (at, value) in curve_of(relation, "run", name)


@pytest.mark.parametrize(
    ("column", "reached"),
    [
        ("epoch", "last_epoch"),
        ("Epoch", "last_epoch"),
        ("step", "last_step"),
        ("iteration", "last_step"),
    ],
)
def test_curve__unit_of_its_count__is_kept_as_logged(tmp_path, column, reached):
    rows = "".join(f"{i},{3 - i / 20}\n" for i in range(1, 11))
    path = write(tmp_path, "metrics.csv", f"{column},val_loss\n{rows}".encode())
    found = propose(path)
    assert reached in [entry["name"] for entry in found.columns]
    unit = reached.removeprefix("last_") + "s"
    (coordinate,) = found.mapping.fidelity
    assert (coordinate.name, coordinate.column) == (unit, reached)
    assert f"{unit} 1 to 10" in found.toml
