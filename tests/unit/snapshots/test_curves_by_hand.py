"""One learning curve a cell, from points written down."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.ids import Origin
from autollm.snapshots.curves import curve_of, runs_of


def logged(*points):
    """fct_learning_curves of (source, experiment, cell, run, metric, step, value)."""
    names = (
        "source",
        "experiment_id",
        "config_id",
        "run_id",
        "metric",
        "step",
        "value",
    )
    rows = []
    for line, point in enumerate(points):
        more = {"line": line, "source_group": ""}
        rows.append(dict(zip(names, point, strict=True)) | more)
    return pa.Table.from_pylist(rows)


def points_of(*runs):
    """Runs of one cell as (name, [(step, value), ...])."""
    found = {}
    for name, points in runs:
        found[name] = [{"step": s, "value": v} for s, v in points]
    return found


CELL = {"status": "finished", "cost_flops": None, "compute_flops": 100.0}


def test_runs_of__signal__is_by_cell_and_run_in_the_order_of_steps():
    table = logged(
        ("s", "e", "c", "r1", "loss", 5, 2.0),
        ("s", "e", "c", "r1", "loss", 1, 3.0),
        ("s", "e", "c", "r2", "loss", 1, 4.0),
        ("s", "e", "d", "r3", "loss", 1, 5.0),
        ("s", "e", "c", "r1", "lr", 1, 0.1),
        ("t", "e", "c", "r1", "loss", 1, 9.0),
    )
    found = runs_of(table, {(Origin("s"), "loss")})
    assert set(found) == {("e", "c"), ("e", "d")}
    steps = [p["step"] for p in found["e", "c"]["r1"]]
    assert steps == [1, 5] and set(found["e", "c"]) == {"r1", "r2"}


def test_runs_of__one_step_logged_twice__stays_in_the_order_of_lines():
    table = logged(
        ("s", "e", "c", "r", "loss", 1, 3.0),
        ("s", "e", "c", "r", "loss", 1, 2.0),
    )
    values = [
        p["value"]
        for p in runs_of(table, {(Origin("s"), "loss")})["e", "c"]["r"]
    ]
    assert values == [3.0, 2.0]


@pytest.mark.parametrize(
    "signals", [set(), {(Origin("s"), "accuracy")}, {(Origin("x"), "loss")}]
)
def test_runs_of__no_such_signal__is_nothing(signals):
    table = logged(("s", "e", "c", "r", "loss", 1, 3.0))
    assert runs_of(table, signals) == {}


def test_curve_of__nothing_logged__is_empty_of_two_columns():
    assert curve_of(CELL, {}).shape == (0, 2)


def test_curve_of__finished_run__goes_to_its_whole_length():
    found = curve_of(CELL, points_of(("r", [(10, 3.0), (40, 2.0)])))
    assert found.tolist() == [[0.25, 3.0], [1.0, 2.0]]


def test_curve_of__replicas__is_the_longest_and_the_first_of_equals():
    runs = points_of(("b", [(10, 2.0)]), ("a", [(10, 1.0)]), ("c", [(5, 9.0)]))
    assert curve_of(CELL, runs).tolist() == [[1.0, 1.0]]
    longer = runs | points_of(("z", [(20, 7.0)]))
    assert curve_of(CELL, longer).tolist() == [[1.0, 7.0]]


@pytest.mark.parametrize(
    ("cost", "share"), [(25.0, 0.25), (100.0, 1.0), (250.0, 1.0), (None, 1.0)]
)
def test_curve_of__diverged_run__went_as_far_as_its_flops_say(cost, share):
    cell = CELL | {"status": "diverged", "cost_flops": cost}
    found = curve_of(cell, points_of(("r", [(1, 3.0), (2, 9.0)])))
    assert found[:, 0].tolist() == [share / 2, share]


def test_curve_of__numbers_that_are_none__are_kept():
    found = curve_of(CELL, points_of(("r", [(1, math.nan), (2, math.inf)])))
    assert np.isnan(found[0, 1]) and np.isinf(found[1, 1])


def test_curve_of__one_point_at_step_nothing__stands_at_the_start():
    assert curve_of(CELL, points_of(("r", [(0, 5.0)]))).tolist() == [[0.0, 5.0]]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=20, unique=True))
def test_curve_of__any_steps__are_shares_that_rise_to_one(steps):
    ordered = sorted(steps)
    found = curve_of(CELL, points_of(("r", [(s, 1.0) for s in ordered])))
    assert (np.diff(found[:, 0]) > 0).all()
    assert found[-1, 0] == (1.0 if ordered[-1] else 0.0)
