from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from autollm.advisor.deciding.study import study
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.evidence.unfinished import (
    Bounds,
    bounds_of,
    reached_outcomes,
)
from autollm.advisor.recommend import explore
from autollm.advisor.statistics.response import fit_response
from autollm.advisor.statistics.rows import Rows
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from tests.unit.advisor.sweeps import LEVELS, RATES, rows_of, write_csv

SPACE = Space((Knob("lr", "log", tuple(2.0**k for k in range(-12, -3))),))


def run_of(name, status, value, share=None, experiment="e", **config):
    fidelity = {"params": 1e8, "tokens": 2e9}
    return {
        "run_id": name,
        "source": "s",
        "source_group": "",
        "experiment_id": experiment,
        "config_id": name,
        "config_json": json.dumps({"lr": 0.001} | config),
        "context_json": "{}",
        "fidelity_json": json.dumps(fidelity),
        "objective_name": "loss",
        "objective_value": value,
        "status": status,
        "is_outcome": status == "finished",
        "schedule_share": share,
        "cost_flops": 1.2e18,
        "cells": {},
    }


def curves_of(ends, scatter=0.0, at_half=None):
    """Finished runs that lie `1 + end` at half of their steps, and a stopped one."""
    points = []
    rng = np.random.default_rng(0)
    for name, end in ends.items():
        half = 1 + end + scatter * rng.normal()
        for step, value in ((1, 5.0), (50, half), (100, end)):
            points.append(("e", name, "loss", step, value))
    if at_half is not None:
        points += [("e", "x", "loss", 1, 5.0), ("e", "x", "loss", 50, at_half)]
    names = ("experiment_id", "run_id", "metric", "step", "value")
    return pa.Table.from_pylist(
        [dict(zip(names, p, strict=True)) for p in points]
    )


ENDS = {f"f{i}": 2.0 + 0.1 * i for i in range(6)}


def finished():
    return [run_of(name, "finished", end) for name, end in ENDS.items()]


def test_bounds__standing_at_the_same_share__bounds_the_end_from_below():
    runs = [*finished(), run_of("x", "pruned", 3.4)]
    bounds = bounds_of(runs, curves_of(ENDS, 0.01, at_half=3.4), 1.0)["e"]
    assert bounds.run_ids == ("x",) and bounds.sides.tolist() == [1]
    assert (
        2.2 < bounds.losses[0] < 2.4
    )  # it stood where one stands that ends at 2.4


def test_bounds__no_curves__what_it_reached_bounds_the_end_from_above():
    runs = [*finished(), run_of("x", "killed", 3.4)]
    empty = curves_of(ENDS).slice(0, 0)
    bounds = bounds_of(runs, empty, 1.0)["e"]
    assert bounds.losses.tolist() == [3.4] and bounds.sides.tolist() == [-1]


def test_bounds__standings_that_say_nothing_of_ends__no_lower_bound():
    rng = np.random.default_rng(1)
    loose = {name: 3.0 - 0.01 * rng.random() for name in ENDS}
    runs = [run_of(n, "finished", e) for n, e in ENDS.items()]
    runs.append(run_of("x", "pruned", 3.4))
    table = curves_of(loose, 0.5, at_half=3.4)
    bounds = bounds_of(runs, table, 1.0)["e"]
    assert bounds.sides[0] == -1 or bounds.losses[0] < min(ENDS.values())


def test_bounds__objective_to_be_maximized__losses_are_negated():
    runs = [run_of("f", "finished", 0.5), run_of("x", "running", 0.4)]
    empty = curves_of(ENDS).slice(0, 0)
    assert bounds_of(runs, empty, -1.0)["e"].losses.tolist() == [-0.4]


def test_reached__constant_rate__is_an_outcome_at_its_share_of_the_tokens():
    names = ("a", "b", "c")
    runs = [
        run_of(n, "killed", 3.0, share=0.5, lr_schedule="constant")
        for n in names
    ]
    moved = reached_outcomes([*finished(), *runs])
    assert {run["run_id"] for run in moved} == set(names)
    for run in moved:
        fidelity = json.loads(run["fidelity_json"])
        assert fidelity == {"params": 1e8, "tokens": 1e9}
        assert run["cost_flops"] == pytest.approx(6e17)
        assert run["experiment_id"] != "e"


@pytest.mark.parametrize(
    "told",
    [
        {"lr_schedule": "cosine", "share": 0.5},
        {"lr_schedule": "constant"},
        {"share": 0.5},
    ],
)
def test_reached__rate_not_at_rest_or_share_unknown__is_no_outcome(told):
    runs = [run_of(n, "killed", 3.0, **told) for n in "abc"]
    assert reached_outcomes([*finished(), *runs]) == []


def test_reached__too_few_at_a_new_length__are_no_experiment():
    told = {"share": 0.5, "lr_schedule": "constant"}
    runs = [run_of(n, "killed", 3.0, **told) for n in "ab"]
    assert reached_outcomes([*finished(), *runs]) == []


def test_reached__annealed_at_full_length__joins_its_experiment():
    run = run_of("a", "killed", 3.0, share=1.0) | {
        "cells": {"annealed": "true"}
    }
    (moved,) = reached_outcomes([*finished(), run])
    assert moved["experiment_id"] == "e"
    assert moved["fidelity_json"] == run["fidelity_json"]


def bowl(points):
    return 2.0 + 0.1 * (points - -8.0) ** 2


def test_response__bounds_beyond_the_optimum__turn_the_bowl_up():
    rng = np.random.default_rng(0)
    left = np.array([-11.0, -10.5, -10.0, -9.5, -9.0])
    loss = bowl(left) + 0.01 * rng.normal(size=5)
    flat = np.zeros(5, bool)
    rows = Rows("e", np.zeros(1), left[:, None], loss, flat)
    right = np.array([-6.0, -5.0])
    bounds = right[:, None], bowl(right) - 0.05, np.ones(2)
    bounded = Rows("e", np.zeros(1), left[:, None], loss, flat, bounds)
    free = fit_response(SPACE, [rows]).levels[0]
    held = fit_response(SPACE, [bounded]).levels[0]
    assert abs(held.optimum[0] - -8.0) <= abs(free.optimum[0] - -8.0) + 1e-9
    assert held.optimum_sd[0] < free.optimum_sd[0]


def test_response__bounds_that_are_kept_anyhow__change_nothing():
    points = np.linspace(-12, -4, 9)
    loss = bowl(points) + 0.002 * np.random.default_rng(0).normal(size=9)
    none = np.zeros(9, bool)
    rows = Rows("e", np.zeros(1), points[:, None], loss, none)
    bounds = np.array([[-6.0]]), np.array([bowl(-6.0) - 0.3]), np.ones(1)
    bounded = Rows("e", np.zeros(1), points[:, None], loss, none, bounds)
    free = fit_response(SPACE, [rows]).levels[0]
    held = fit_response(SPACE, [bounded]).levels[0]
    np.testing.assert_allclose(held.optimum, free.optimum, atol=1e-3)
    assert held.reached == pytest.approx(free.reached, abs=1e-4)


def test_response__upper_bounds_below_the_fit__pull_it_down():
    points = np.linspace(-12, -9, 7)
    loss = bowl(points) + 0.01 * np.random.default_rng(2).normal(size=7)
    none = np.zeros(7, bool)
    rows = Rows("e", np.zeros(1), points[:, None], loss, none)
    at = np.array([[-6.0], [-5.5]])
    low = at, bowl(at[:, 0]) - 0.1, -np.ones(2)
    bounded = Rows("e", np.zeros(1), points[:, None], loss, none, low)
    free = fit_response(SPACE, [rows])
    held = fit_response(SPACE, [bounded])
    assert held.levels[0].optimum[0] >= free.levels[0].optimum[0] - 1e-9


def test_study__runs_pruned_above_the_optimum__the_decider_reads_them(tmp_path):
    rows = rows_of(LEVELS[:4])
    path = write_csv(tmp_path / "runs.csv", rows)
    evidence = read_evidence([path], LogOptions("val_loss:min"))
    here = evidence.table.experiments[2]
    runs = evidence.experiment_runs[here.experiment_id]
    worst = max(runs, key=lambda r: r["objective_value"] or 0.0)
    bounds = Bounds(
        (json.loads(worst["config_json"]),),
        np.array([9.0]),
        np.array([1]),
        ("x",),
    )
    held = replace(evidence, bounds={here.experiment_id: bounds})
    found = study(held, {"params": 1.6e9, "tokens": 6e10}, with_backtests=False)
    (level,) = [
        e
        for e in found.question.view.evidence
        if e.experiment_id == here.experiment_id
    ]
    assert level.loss[-1] >= 9.0 - 1e-9 and not level.diverged[-1]


def test_evidence__stopped_runs_of_a_table__are_bounds_and_counted(tmp_path):
    rows = rows_of(LEVELS[:4])
    for number, row in enumerate(rows):
        row["state"] = "killed" if number % 10 == 0 else "finished"
    path = write_csv(tmp_path / "runs.csv", rows)
    evidence = read_evidence([path], LogOptions("val_loss:min"))
    n = sum(len(b.losses) for b in evidence.bounds.values())
    stopped = [r for r in evidence.runs if r["status"] == "killed"]
    known = [r for r in stopped if np.isfinite(r["objective_value"] or np.nan)]
    assert n == len(known) > 0
    found, advice = explore(evidence, "params=1.6B,tokens=60B", trials=1)
    assert sum(len(r.bounds[1]) for r in found.rows if r.bounds) == n
    (warning,) = [w for w in advice.warnings if w.code == "unfinished"]
    assert f"{n} count as bounds" in warning.text


MAPPING = """
schema = "autollm.mapping/1"
source = "sweep"
family = "pretraining"
format = "csv"
files = ["runs.csv"]
knobs = [
  {name = "lr", column = "lr", scale = "log", role = "rate"},
  {name = "batch_size", column = "batch_size", scale = "log", role = "size"},
]
fidelity = [
  {name = "params", column = "params"},
  {name = "tokens", column = "tokens"},
]
objective = {name = "val_loss", column = "val_loss", direction = "min"}
run_key = {columns = ["run_id"]}
state = {column = "state"}
schedule = {share = "share"}
cost = {flops = "6 * params * tokens"}
"""


@pytest.mark.parametrize(
    ("schedule", "n_levels"), [("constant", 4), ("cosine", 3)]
)
def test_evidence__half_runs_of_a_constant_rate__are_an_experiment_of_half_the_tokens(
    tmp_path, schedule, n_levels
):
    rows = rows_of(LEVELS[:3], rates=RATES[:9])
    for row in rows:
        row |= {"state": "finished", "share": 1.0, "lr_schedule": schedule}
    half = rows_of(((4e8, 8e9),), rates=RATES[1:9:2], batches=(128, 512))
    for row in half:
        row |= {"state": "killed", "share": 0.5, "lr_schedule": schedule}
        row |= {"tokens": int(1.6e10), "run_id": f"k{row['run_id']}"}
    path = write_csv(tmp_path / "runs.csv", [*rows, *half])
    (tmp_path / "m.toml").write_text(MAPPING)
    evidence = read_evidence(
        [path], LogOptions(mapping=str(tmp_path / "m.toml"))
    )
    places = [dict(e.fidelity) for e in evidence.table.experiments]
    assert len(places) == n_levels
    reached = {"params": 4e8, "tokens": 8e9} in places
    assert reached == (schedule == "constant")
    if reached:
        e = places.index({"params": 4e8, "tokens": 8e9})
        assert len(evidence.table.losses(e)) == len(half)
        experiment = evidence.table.experiments[e]
        assert experiment.compute_flops == pytest.approx(6 * 4e8 * 8e9)
