"""Learning curves of a snapshot: from the logged points of every run to one curve a
cell.

A cell's curve is that of its longest run, the first by id among equals: a mean over
replicas would show a run that nobody made, and a run that was cut says less.

Invariant: points stand as they were recorded; nothing is interpolated, non-finite
values are kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.ids import Origin

POINT = ("experiment_id", "config_id", "run_id", "step", "value")
"""Columns of fct_learning_curves that curves are made of."""
Cell = tuple[str, str]
"""Experiment and configuration."""
Runs = dict[str, list[dict[str, Any]]]
"""Logged points by run."""


def runs_of(
    logged: pa.Table, signals: set[tuple[Origin, str]]
) -> dict[Cell, Runs]:
    """Logged points of the signals (origin, metric), in the order of their steps, by
    cell.
    """
    out: dict[Cell, Runs] = {}
    for origin, metric in sorted(signals):
        is_of = pc.and_(
            pc.equal(logged["source"], origin.source),
            pc.equal(logged["source_group"], origin.group),
        )
        is_signal = pc.and_(is_of, pc.equal(logged["metric"], metric))
        order = [("step", "ascending"), ("line", "ascending")]
        found = logged.filter(is_signal).sort_by(order).select(POINT)
        for point in found.to_pylist():
            runs = out.setdefault(
                (point["experiment_id"], point["config_id"]), {}
            )
            runs.setdefault(point["run_id"], []).append(point)
    return out


def curve_of(cell: dict[str, Any], runs: Runs) -> np.ndarray:
    """The curve of a row of mart_gym__outcomes, float64 [n, 2]: share of the run's
    steps and value; empty where no run logged anything.

    A run of a diverged cell may have been cut: it went as far through its steps as its
    FLOPs say.
    """
    if not runs:
        return np.empty((0, 2))
    points = runs[min(runs, key=lambda run: (-runs[run][-1]["step"], run))]
    steps = np.array([point["step"] for point in points], dtype=float)
    values = np.array([point["value"] for point in points], dtype=float)
    reached = (
        min(1.0, (cell["cost_flops"] or math.inf) / cell["compute_flops"])
        if cell["status"] == "diverged"
        else 1.0
    )
    return np.column_stack([reached * steps / max(steps[-1], 1), values])
