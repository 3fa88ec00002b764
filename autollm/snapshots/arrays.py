"""The arrays of a snapshot (gym/tables/arrays.py): built from the marts' rows, written as
files.

Invariant: equal marts give equal bytes, in whatever order their rows come.
"""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.core.errors import SnapshotError, SpaceError
from autollm.core.metrics import Metric
from autollm.core.space import Space
from autollm.gym.tables.arrays import SCHEMA
from autollm.gym.tables.outcome_table import (
    COLUMNS,
    Experiment,
    OutcomeTable,
    oriented,
)
from autollm.snapshots.curves import curve_of, runs_of
from autollm.snapshots.smoothing import smooth
from autollm.snapshots.spaces import build_spaces

NEEDED = (
    "experiment_id",
    "experiment_label",
    "source",
    "family",
    "space_id",
    "fidelity_json",
    "compute_flops",
    "objective_name",
    "objective_direction",
    "config_json",
    "objective_mean",
    "objective_sem",
    "n_replicas",
    "status",
    "cost_flops",
    "cost_device_hours",
    "ladder_id",
    "secondary_json",
    "config_id",
)
"""Columns of mart_gym__outcomes that the arrays are made of."""
CONTEXT = "context_json"
"""Another one, which marts of sources without any context may lack."""


def table_of_marts(
    table_id: str, outcomes: pa.Table, spaces: pa.Table, logged: pa.Table
) -> OutcomeTable:
    """The outcome mart frozen, and of the `logged` points those of the signals.
    Experiments are ordered by source, compute and id, rows by their points.

    Raises:
        SnapshotError: a configuration that does not belong to its declared space.
    """
    context = [CONTEXT] if CONTEXT in outcomes.column_names else []
    rows = outcomes.select([*NEEDED, *context]).to_pylist()
    declared, ladders = (
        build_spaces(spaces.to_pylist(), rows),
        _ladders(spaces.to_pylist()),
    )
    runs = runs_of(
        logged,
        {
            (source, ladder["signal"]["name"])
            for (source, _), ladder in ladders.items()
            if "signal" in ladder
        },
    )
    grouped: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(
            (row["source"], row["compute_flops"], row["experiment_id"]), []
        ).append(row)
    experiments, points, metrics, curves, columns = (
        [],
        [],
        [],
        [],
        {name: [] for name in COLUMNS},
    )
    for key in sorted(grouped):
        cells = grouped[key]
        first = cells[0]
        space = declared[f"{first['source']}/{first['space_id']}"]
        x = np.array([_encoded(space, c) for c in cells])
        order = np.lexsort(x.T[::-1])
        cells, x = [cells[i] for i in order], x[order]
        reported = [json.loads(c["secondary_json"]) for c in cells]
        ladder = ladders.get((first["source"], first["ladder_id"]), {})
        found = [
            curve_of(c, runs.get((c["experiment_id"], c["config_id"]), {}))
            for c in cells
        ]
        experiments.append(
            Experiment(
                first["experiment_id"],
                first["experiment_label"],
                first["source"],
                first["family"],
                json.loads(first["fidelity_json"]),
                first["compute_flops"],
                first["objective_name"],
                first["objective_direction"],
                space,
                _metrics(reported, ladder),
                Metric(**ladder["signal"]) if any(map(len, found)) else None,
                json.loads(first.get(CONTEXT) or "{}"),
            )
        )
        points.append(x)
        metrics.append(_metric_blocks(experiments[-1], reported, cells, x))
        curves += found
        for name, values in _columns(cells, x, experiments[-1]).items():
            columns[name].append(values)
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in points])]).astype(
        np.int64
    )
    arrays = {
        name: np.concatenate(parts).astype(COLUMNS[name])
        for name, parts in columns.items()
    }
    values, latents = (np.concatenate(parts) for parts in zip(*metrics, strict=True))
    ends = (
        np.concatenate([[0], np.cumsum([len(c) for c in curves])]).astype(np.int64)
        if runs
        else np.empty(0, np.int64)
    )
    return OutcomeTable(
        table_id,
        tuple(experiments),
        offsets,
        arrays,
        tuple(points),
        values,
        latents,
        ends,
        np.concatenate(curves),
    )


def files_of_table(table: OutcomeTable) -> dict[str, bytes]:
    """A table as the files of a snapshot, by their names within its folder."""
    spaces = {_space_key(e): e.space.to_json() for e in table.experiments}
    experiments = [
        {
            "experiment_id": e.experiment_id,
            "label": e.label,
            "source": e.source,
            "family": e.family,
            "fidelity": e.fidelity,
            "compute_flops": e.compute_flops,
            "objective": e.objective,
            "direction": e.direction,
            "space": _space_key(e),
            "metrics": [[m.name, m.direction] for m in e.metrics],
            "signal": [e.signal.name, e.signal.direction] if e.signal else None,
            "context": e.context,
        }
        for e in table.experiments
    ]
    head = {
        "schema": SCHEMA,
        "table_id": table.table_id,
        "experiments": experiments,
        "spaces": spaces,
    }
    arrays = {
        **table.columns,
        "offsets": table.offsets,
        "points": np.concatenate([p.ravel() for p in table.points]),
        "metric_values": table.metric_values,
        "metric_latents": table.metric_latents,
        "curve_offsets": table.curve_offsets,
        "curve_points": table.curve_points,
    }
    files = {"experiments.json": json.dumps(head, indent=1).encode()}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        files[f"arrays/{name}.npy"] = buffer.getvalue()
    return files


def _encoded(space: Space, cell: dict[str, Any]) -> np.ndarray:
    try:
        return space.encode(json.loads(cell["config_json"]))
    except SpaceError as error:
        raise SnapshotError(
            f"{cell['experiment_label']} holds the configuration "
            f"{cell['config_json'][:200]}: {error} "
            "Fix: correct the knob in the source's mapping, and ingest again."
        ) from None


def _columns(
    cells: list[dict[str, Any]], points: np.ndarray, experiment: Experiment
) -> dict[str, np.ndarray]:
    def column(name: str) -> np.ndarray:
        return np.array(
            [math.nan if c[name] is None else c[name] for c in cells], dtype=float
        )

    objective, n_replicas = (
        column("objective_mean"),
        np.maximum(column("n_replicas"), 1),
    )
    return {
        "objective": objective,
        "noise_sd": column("objective_sem"),
        "n_replicas": n_replicas,
        "diverged": np.array([c["status"] == "diverged" for c in cells]),
        "cost_flops": column("cost_flops"),
        "cost_device_hours": column("cost_device_hours"),
        "latent": smooth(
            points,
            oriented(objective, experiment.direction),
            n_replicas,
            experiment.space.gridded,
        ),
    }


def _ladders(spaces: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What the mappings say of each ladder, by source and ladder."""
    return {
        (entry["source"], entry["ladder_id"]): json.loads(entry["ladder_json"])
        for entry in spaces
    }


def _metrics(
    reported: list[dict[str, float]], ladder: dict[str, Any]
) -> tuple[Metric, ...]:
    """Metrics that an experiment's rows report: those with a direction first, in the
    mapping's order.
    """
    names, directions = (
        {name for row in reported for name in row},
        {m["name"]: m["direction"] for m in ladder.get("metrics", ())},
    )
    return tuple(
        Metric(name, direction=directions.get(name, ""))
        for name in [
            *(n for n in directions if n in names),
            *sorted(names - set(directions)),
        ]
    )


def _metric_blocks(
    experiment: Experiment,
    reported: list[dict[str, float]],
    cells: list[dict[str, Any]],
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and smoothed losses of the metrics, each [n_metrics * n_rows]."""
    values = np.array(
        [[row.get(m.name, math.nan) for row in reported] for m in experiment.metrics],
        dtype=float,
    )
    latents = np.full_like(values, math.nan)
    n_replicas = np.maximum(np.array([c["n_replicas"] for c in cells], dtype=float), 1)
    for k, metric in enumerate(experiment.metrics):
        if metric.direction:
            latents[k] = smooth(
                points,
                oriented(values[k], metric.direction),
                n_replicas,
                experiment.space.gridded,
            )
    return values.ravel(), latents.ravel()


def _space_key(experiment: Experiment) -> str:
    return f"{experiment.source}/{experiment.space.space_id}"
