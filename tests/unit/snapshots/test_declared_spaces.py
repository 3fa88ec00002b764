"""Spaces and curves of a snapshot: as mappings declare them, completed by what occurs."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from autollm.core.ids import Origin
from autollm.snapshots.curves import curve_of, runs_of
from autollm.snapshots.spaces import build_spaces


def spaces_of(knobs, configs, **more):
    """The one space of a source whose rows have these configurations."""
    entry = {
        "source": "s",
        "source_group": "",
        "space_id": "1",
        "space_json": json.dumps({"knobs": knobs, **more}),
    }
    rows = []
    for config in configs:
        rows.append(
            {
                "source": "s",
                "source_group": "",
                "space_id": "1",
                "config_json": json.dumps(config),
            }
        )
    return build_spaces([entry], rows)


def levels_of(knob, values):
    found = spaces_of([{"name": "k", **knob}], [{"k": v} for v in values])
    return found[Origin("s"), "1"].knobs[0].levels


@pytest.mark.parametrize(
    ("knob", "values", "levels"),
    [
        ({"scale": "log"}, [0.1, 0.4, 0.1, 0.2], (0.1, 0.2, 0.4)),
        (
            {"scale": "log", "step": 1.0, "window": [0.125, 1.0]},
            [0.25],
            (0.125, 0.25, 0.5, 1.0),
        ),
        (
            {"scale": "log", "step": 0.5, "window": [1.0, 2.0]},
            [1.0],
            (1.0, 2**0.5, 2.0),
        ),
        (
            {"scale": "linear", "step": 0.1, "window": [0.0, 0.3]},
            [0.1],
            (0.0, 0.1, 0.2, 0.3),
        ),
        (
            {"scale": "integer", "step": 2.0, "window": [2, 8]},
            [4],
            (2, 4, 6, 8),
        ),
        ({"scale": "log", "window": [0.1, 1.0]}, [0.3, 0.2], (0.2, 0.3)),
        (
            {"scale": "ordinal", "values": ["s", "m", "l"]},
            ["m"],
            ("s", "m", "l"),
        ),
        ({"scale": "categorical"}, ["b", "a", "b"], ("a", "b")),
        ({"scale": "categorical"}, [True, False], (False, True)),
        ({"scale": "integer"}, [8, 2.0, 4], (2, 4, 8)),
    ],
)
def test_build_spaces__one_knob__has_the_levels_declared_or_found(
    knob, values, levels
):
    assert levels_of(knob, values) == pytest.approx(levels) or (
        levels_of(knob, values) == levels
    )


def test_build_spaces__lists__have_fewest_and_most_entries_that_occur():
    found = spaces_of(
        [{"name": "k", "scale": "list"}],
        [{"k": [4, 8]}, {"k": [4, 4, 16]}, {"k": [8, 8, 8, 8]}],
    )
    knob = found[Origin("s"), "1"].knobs[0]
    assert knob.positions == (2, 4) and knob.levels == (4, 8, 16)


def test_build_spaces__mixtures__have_every_part_that_occurs():
    found = spaces_of(
        [{"name": "k", "scale": "simplex"}],
        [{"k": {"web": 0.5, "code": 0.5}}],
    )
    assert found[Origin("s"), "1"].knobs[0].levels == ("code", "web")


def test_build_spaces__knob_that_never_occurs__is_left_out():
    found = spaces_of(
        [{"name": "a", "scale": "log"}, {"name": "b", "scale": "log"}],
        [{"a": 1.0}, {"a": 2.0}],
    )
    assert found[Origin("s"), "1"].names == ("a",)


def test_build_spaces__space_without_rows__is_none():
    assert spaces_of([{"name": "a", "scale": "log"}], []) == {}


def test_build_spaces__conditions_and_limits__are_kept():
    found = spaces_of(
        [
            {"name": "opt", "scale": "categorical"},
            {
                "name": "m",
                "scale": "linear",
                "when": {"knob": "opt", "values": ["sgd"]},
            },
        ],
        [{"opt": "adam"}, {"opt": "sgd", "m": 0.9}, {"opt": "sgd", "m": 0.5}],
        limits=[{"weights": {"m": 1.0}, "most": 0.8}],
    )[Origin("s"), "1"]
    assert found.knobs[1].when == ("opt", ("sgd",))
    assert [found.decode(p) for p in found.grid] == [
        {"opt": "adam"},
        {"opt": "sgd", "m": 0.5},
    ]


def test_build_spaces__rows_in_another_order__is_the_same_space():
    knobs = [{"name": "k", "scale": "categorical"}]
    values = ["x", "ü", "a b", "A", ""]
    one = spaces_of(knobs, [{"k": v} for v in values])
    other = spaces_of(knobs, [{"k": v} for v in reversed(values)])
    assert one == other


POINTS = pa.table(
    {
        "source": ["s"] * 7 + ["t"],
        "source_group": [""] * 8,
        "metric": ["loss"] * 6 + ["rate", "loss"],
        "experiment_id": ["e"] * 8,
        "config_id": ["c", "c", "c", "c", "d", "c", "c", "c"],
        "run_id": ["r2", "r1", "r1", "r2", "r3", "r1", "r1", "r9"],
        "step": [10, 20, 10, 20, 5, 30, 30, 40],
        "line": [1, 2, 3, 4, 5, 6, 7, 8],
        "value": [1.0, 2.0, 3.0, 4.0, 5.0, float("nan"), 7.0, 8.0],
    }
)


def test_runs_of__logged_points__are_by_cell_and_run_in_the_order_of_steps():
    found = runs_of(POINTS, {(Origin("s"), "loss")})
    assert set(found) == {("e", "c"), ("e", "d")}
    steps = {
        run: [p["step"] for p in points]
        for run, points in found["e", "c"].items()
    }
    assert steps == {"r1": [10, 20, 30], "r2": [10, 20]}
    assert runs_of(POINTS, set()) == {}
    assert runs_of(POINTS, {(Origin("s"), "nope")}) == {}


CELL = {"status": "finished", "cost_flops": 1.0, "compute_flops": 2.0}


def test_curve_of__several_runs__is_that_of_the_longest_as_recorded():
    runs = runs_of(POINTS, {(Origin("s"), "loss")})["e", "c"]
    found = curve_of(CELL, runs)
    assert found[:, 0] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert found[:2, 1].tolist() == [3.0, 2.0] and np.isnan(found[2, 1])


def test_curve_of__equally_long_runs__is_the_first_by_id():
    runs = {
        "b": [{"step": 4, "value": 1.0}],
        "a": [{"step": 4, "value": 2.0}],
    }
    assert curve_of(CELL, runs).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("cost", "reached"), [(0.5, 0.25), (2.0, 1.0), (9.0, 1.0), (None, 1.0)]
)
def test_curve_of__diverged_cell__ends_where_its_compute_did(cost, reached):
    runs = {"a": [{"step": 1, "value": 1.0}, {"step": 2, "value": 9.0}]}
    cell = {"status": "diverged", "cost_flops": cost, "compute_flops": 2.0}
    assert curve_of(cell, runs)[:, 0] == pytest.approx([reached / 2, reached])


def test_curve_of__nothing_logged__is_empty():
    assert curve_of(CELL, {}).shape == (0, 2)


def test_curve_of__one_point_at_step_zero__is_at_the_beginning():
    found = curve_of(CELL, {"a": [{"step": 0, "value": 5.0}]})
    assert found.tolist() == [[0.0, 5.0]]
