"""Runs that were killed, pruned or still run: what they say all the same.

Where the learning rate was constant, or had been annealed, such a run is an outcome at
what it reached: its tokens are the share of its schedule that it went through. Any other
loss on the way is no loss at the end. It is compared with finished runs of its
experiment at the same share alone: where their losses there foretell their ends, it
would have ended no better than they foretell, less two standard errors (a lower bound).
Without such curves it would have ended no worse than it stood (an upper bound, since
loss falls while a run goes on). A bound is censored data: it enters the fit as an
inequality, and is never dropped.

Invariant: no bound is told as an outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from autollm.core.ids import Origin, experiment_id
from autollm.core.records import canonical_json

STOPPED = ("killed", "pruned", "running")
SCHEDULE = re.compile(r"(lr_?)?(schedule|scheduler|decay)(_?type)?")
CONSTANT = ("constant", "const", "constant_with_warmup", "none")
ANNEALED = re.compile(r"(is_?)?(annealed|decayed|cooled_?down)")
DATA = ("tokens", "steps", "epochs", "samples")
"""Coordinates that grow while a run goes on."""
LEAST_ROWS = 3
"""Runs at one new length that make an experiment: fewer show nothing."""
LEAST_PEERS = 4
"""Finished runs with a curve, from which a standing foretells an end."""
ERRORS = 2.0
"""Standard errors of a foretold end, below which no run is expected to have ended."""


@dataclass(frozen=True)
class Bounds:
    """Stopped runs of one experiment: configurations, and the loss (lower is better)
    that the end would not have crossed; sides: 1 at least, -1 at most.
    """

    configurations: tuple[dict[str, Any], ...]
    losses: np.ndarray
    sides: np.ndarray
    run_ids: tuple[str, ...]


def is_stopped(run: Mapping[str, Any]) -> bool:
    value = run["objective_value"]
    known = value is not None and np.isfinite(value)
    return run["status"] in STOPPED and known


def reached_outcomes(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stopped runs that are outcomes at what they reached, as copies with the fidelity
    and the experiment where they count.
    """
    known = {run["experiment_id"] for run in runs if run["is_outcome"]}
    moved = []
    for run in runs:
        if is_stopped(run) and _rate_is_at_rest(run):
            here = _at_what_it_reached(run)
            if here is not None:
                moved.append(here)
    counts: dict[str, int] = {}
    for run in moved:
        name = run["experiment_id"]
        counts[name] = counts.get(name, 0) + 1
    return [
        run
        for run in moved
        if run["experiment_id"] in known
        or counts[run["experiment_id"]] >= LEAST_ROWS
    ]


def _rate_is_at_rest(run: Mapping[str, Any]) -> bool:
    """Whether its rate was constant, or annealed where it stopped."""
    told: dict[str, Any] = dict(run.get("cells") or {})
    told |= json.loads(run["config_json"]) | json.loads(run["context_json"])
    for name, value in told.items():
        word = str(name).lower().replace("/", ".").rsplit(".", 1)[-1]
        text = str(value).strip().lower()
        if ANNEALED.fullmatch(word) and text in ("true", "1", "yes"):
            return True
        if SCHEDULE.fullmatch(word) and text in CONSTANT:
            return True
    return False


def _at_what_it_reached(run: dict[str, Any]) -> dict[str, Any] | None:
    """The run at its share of the schedule; None where the share is not known."""
    share = run["schedule_share"]
    if share is None or not 0 < share <= 1:
        return None
    if share == 1:
        return dict(run)
    fidelity = json.loads(run["fidelity_json"])
    for name in fidelity:
        if name in DATA:
            fidelity[name] = float(f"{fidelity[name] * share:.3g}")
    text = canonical_json(fidelity)
    context = run["context_json"] if run["context_json"] != "{}" else ""
    origin = Origin(run["source"], run["source_group"])
    label = ",".join(f"{n}={v:g}" for n, v in fidelity.items())
    flops = run["cost_flops"]
    return run | {
        "fidelity_json": text,
        "experiment_id": experiment_id(origin, fidelity, context),
        "experiment_label": f"{origin.name}/{label}",
        "cost_flops": None if flops is None else flops * share,
    }


def with_reached(outcomes: pa.Table, moved: list[dict[str, Any]]) -> pa.Table:
    """The outcome mart with a row for each run of `moved` whose cell has none."""
    rows = outcomes.to_pylist()
    taken = {(row["experiment_id"], row["config_id"]) for row in rows}
    first = {row["experiment_id"]: row for row in rows}
    for run in moved:
        key = run["experiment_id"], run["config_id"]
        if key in taken:
            continue
        taken.add(key)
        like = first.get(run["experiment_id"], rows[0])
        known = run["experiment_id"] in first
        compute = like["compute_flops"] if known else run["cost_flops"]
        same = (
            "experiment_id",
            "experiment_label",
            "fidelity_json",
            "config_id",
            "config_json",
            "space_id",
            "cost_flops",
        )
        row = like | {name: run[name] for name in same}
        row |= {
            "compute_flops": compute,
            "status": "finished",
            "objective_mean": run["objective_value"],
            "objective_sd": None,
            "objective_sem": None,
            "secondary_json": "{}",
            "n_replicas": 1,
            "n_diverged": 0,
            "cost_device_hours": run["device_hours"],
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=outcomes.schema)


def bounds_of(
    runs: Iterable[dict[str, Any]], curves: pa.Table, sign: float
) -> dict[str, Bounds]:
    """By experiment: stopped runs that are no outcomes. `curves`:
    fct_learning_curves; `sign`: -1 where the objective is to be maximized.
    """
    runs = list(runs)
    logged = _logged(runs, curves)
    by_experiment: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_experiment.setdefault(run["experiment_id"], []).append(run)
    found = {}
    for name, here in by_experiment.items():
        stopped = [run for run in here if is_stopped(run)]
        if not stopped:
            continue
        peers = []
        for run in here:
            if run["status"] == "finished" and len(
                logged.get(run["run_id"], ())
            ):
                peers.append((logged[run["run_id"]], run["objective_value"]))
        losses, sides = np.array(
            [_bound(run, logged, peers, sign) for run in stopped]
        ).T
        configurations = tuple(json.loads(r["config_json"]) for r in stopped)
        run_ids = tuple(run["run_id"] for run in stopped)
        found[name] = Bounds(configurations, losses, sides.astype(int), run_ids)
    return found


def _logged(
    runs: list[dict[str, Any]], curves: pa.Table
) -> dict[str, np.ndarray]:
    """Points (step, value) of the objective [n, 2] by run, of runs whose experiment has
    a stopped one.
    """
    wanted = {run["experiment_id"] for run in runs if is_stopped(run)}
    if not wanted or not curves.num_rows:
        return {}
    name = runs[0]["objective_name"]
    among = pa.compute.is_in(curves["experiment_id"], pa.array(sorted(wanted)))
    chosen = curves.filter(
        pa.compute.and_(among, pa.compute.equal(curves["metric"], name))
    ).sort_by([("run_id", "ascending"), ("step", "ascending")])
    found: dict[str, list[tuple[float, float]]] = {}
    for point in chosen.select(["run_id", "step", "value"]).to_pylist():
        value = point["value"]
        if value is not None and np.isfinite(value):
            found.setdefault(point["run_id"], []).append((point["step"], value))
    return {run: np.array(points) for run, points in found.items()}


def _bound(
    run: dict[str, Any],
    logged: Mapping[str, np.ndarray],
    peers: list[tuple[np.ndarray, float]],
    sign: float,
) -> tuple[float, int]:
    """(loss, side) of one stopped run."""
    value = sign * run["objective_value"]
    points = logged.get(run["run_id"])
    if points is None or len(peers) < LEAST_PEERS:
        return value, -1
    step = points[-1, 0]
    then = []
    ends = []
    for curve, end in peers:
        if curve[0, 0] <= step <= curve[-1, 0]:
            then.append(sign * np.interp(step, curve[:, 0], curve[:, 1]))
            ends.append(sign * end)
    if len(then) < LEAST_PEERS or np.ptp(then) == 0:
        return value, -1
    here = sign * points[-1, 1]
    line = np.polyfit(then, ends, 1)
    left = np.array(ends) - np.polyval(line, then)
    sd = float(np.sqrt(np.sum(left**2) / (len(then) - 2)))
    off = (here - np.mean(then)) ** 2 / np.sum((then - np.mean(then)) ** 2)
    error = sd * float(np.sqrt(1 + 1 / len(then) + off))
    foretold = float(np.polyval(line, here))
    if line[0] <= 0:  # standings on the way say nothing of the end
        return value, -1
    return foretold - ERRORS * error, 1
