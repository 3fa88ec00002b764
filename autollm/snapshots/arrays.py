"""The arrays of a snapshot (gym/tables/arrays.py): built from the marts' rows, written as
files.

Invariant: equal marts give equal bytes, in whatever order their rows come.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.core.errors import SnapshotError, SpaceError
from autollm.core.ids import Origin
from autollm.core.metrics import Metric
from autollm.core.spaces.ladders import Ladder
from autollm.core.spaces.space import Space
from autollm.gym.tables.arrays import SCHEMA
from autollm.gym.tables.outcome_table import (
    COLUMNS,
    Experiment,
    OutcomeTable,
    oriented,
)
from autollm.snapshots.curves import Cell, Runs, curve_of, runs_of
from autollm.snapshots.smoothing import smooth
from autollm.snapshots.spaces import build_spaces, origin_of

NEEDED = (
    "experiment_id",
    "experiment_label",
    "source",
    "source_group",
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
NO_CONTEXTS: Mapping[str, str] = MappingProxyType({})


def table_of_marts(
    table_id: str,
    outcomes: pa.Table,
    spaces: pa.Table,
    logged: pa.Table,
    contexts: Mapping[str, str] = NO_CONTEXTS,
) -> OutcomeTable:
    """The outcome mart frozen, and of the `logged` points those of the signals;
    `contexts`: context_json by experiment. Experiments are ordered by source, group,
    compute and id, rows by their points.

    Raises:
        SnapshotError: a configuration that does not belong to its declared space.
    """
    rows = outcomes.select(NEEDED).to_pylist()
    declared = build_spaces(spaces.to_pylist(), rows)
    ladders = _ladders(spaces.to_pylist())
    signals = set()
    for (origin, _), ladder in ladders.items():
        if ladder.signal:
            signals.add((origin, ladder.signal.name))
    runs = runs_of(logged, signals)
    grouped: dict[tuple[Origin, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        key = origin_of(row), row["compute_flops"], row["experiment_id"]
        grouped.setdefault(key, []).append(row)
    parts = []
    for key in sorted(grouped):
        origin, first = key[0], grouped[key][0]
        space = declared[origin, first["space_id"]]
        ladder = ladders.get((origin, first["ladder_id"]))
        parts.append(_part(grouped[key], space, ladder, runs, contexts))
    return _joined(table_id, parts, with_curves=bool(runs))


@dataclass(frozen=True)
class _Part:
    """One experiment's share of the arrays: points [n, d]; columns, each [n]; values and
    smoothed losses of its metrics, each [n_metrics * n]; a curve a row.
    """

    experiment: Experiment
    points: np.ndarray
    columns: dict[str, np.ndarray]
    metric_values: np.ndarray
    metric_latents: np.ndarray
    curves: list[np.ndarray]


def _part(
    cells: list[dict[str, Any]],
    space: Space,
    ladder: Ladder | None,
    runs: dict[Cell, Runs],
    contexts: Mapping[str, str],
) -> _Part:
    points = np.array([_encoded(space, cell) for cell in cells])
    order = np.lexsort(points.T[::-1])
    cells = [cells[i] for i in order]
    points = points[order]
    first = cells[0]
    reported = [json.loads(cell["secondary_json"]) for cell in cells]
    curves = []
    for cell in cells:
        logged = runs.get((cell["experiment_id"], cell["config_id"]), {})
        curves.append(curve_of(cell, logged))
    signal = ladder.signal if ladder and any(map(len, curves)) else None
    experiment = Experiment(
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
        signal,
        json.loads(contexts.get(first["experiment_id"]) or "{}"),
        first["source_group"],
    )
    columns = _columns(cells, points, experiment)
    values, latents = _metric_blocks(experiment, reported, cells, points)
    return _Part(experiment, points, columns, values, latents, curves)


def _joined(
    table_id: str, parts: list[_Part], with_curves: bool
) -> OutcomeTable:
    columns = {}
    for name, dtype in COLUMNS.items():
        column = np.concatenate([part.columns[name] for part in parts])
        columns[name] = column.astype(dtype)
    experiments, points, values, latents, curves = [], [], [], [], []
    for part in parts:
        experiments.append(part.experiment)
        points.append(part.points)
        values.append(part.metric_values)
        latents.append(part.metric_latents)
        curves += part.curves
    return OutcomeTable(
        table_id=table_id,
        experiments=tuple(experiments),
        offsets=_offsets(map(len, points)),
        columns=columns,
        points=tuple(points),
        metric_values=np.concatenate(values),
        metric_latents=np.concatenate(latents),
        curve_offsets=_offsets(map(len, curves))
        if with_curves
        else _NO_OFFSETS,
        curve_points=np.concatenate(curves),
    )


def _offsets(lengths: Iterable[int]) -> np.ndarray:
    """Offsets at which blocks of these lengths begin, and the end, int64 [n + 1]."""
    return np.concatenate([[0], np.cumsum(list(lengths))]).astype(np.int64)


_NO_OFFSETS = np.empty(0, np.int64)


def files_of_table(table: OutcomeTable) -> dict[str, bytes]:
    """A table as the files of a snapshot, by their names within its folder."""
    spaces: list[dict[str, Any]] = []
    experiments = []
    for experiment in table.experiments:
        space = experiment.space.to_json()
        if space not in spaces:
            spaces.append(space)
        experiments.append(_entry(experiment, spaces.index(space)))
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


def _entry(e: Experiment, space: int) -> dict[str, Any]:
    """An experiment's facts as experiments.json holds them; `space` is the place of its
    space among all.
    """
    return {
        "experiment_id": e.experiment_id,
        "label": e.label,
        "source": e.source,
        "group": e.group,
        "family": e.family,
        "fidelity": e.fidelity,
        "compute_flops": e.compute_flops,
        "objective": e.objective,
        "direction": e.direction,
        "space": space,
        "metrics": [[m.name, m.direction] for m in e.metrics],
        "signal": [e.signal.name, e.signal.direction] if e.signal else None,
        "context": e.context,
    }


def _encoded(space: Space, cell: dict[str, Any]) -> np.ndarray:
    try:
        return space.encode(json.loads(cell["config_json"]))
    except SpaceError as error:
        raise SnapshotError(
            f"{cell['experiment_label']} holds the configuration "
            f"{cell['config_json'][:200]}: {error} "
            "Fix: correct the knob in the source's mapping, and ingest again."
        ) from None


def _column(cells: list[dict[str, Any]], name: str) -> np.ndarray:
    """Numbers of the cells, NaN where there is none."""
    return np.array([cell[name] for cell in cells], dtype=float)


def _columns(
    cells: list[dict[str, Any]], points: np.ndarray, experiment: Experiment
) -> dict[str, np.ndarray]:
    objective = _column(cells, "objective_mean")
    n_replicas = np.maximum(_column(cells, "n_replicas"), 1)
    return {
        "objective": objective,
        "noise_sd": _column(cells, "objective_sem"),
        "n_replicas": n_replicas,
        "diverged": np.array([c["status"] == "diverged" for c in cells]),
        "cost_flops": _column(cells, "cost_flops"),
        "cost_device_hours": _column(cells, "cost_device_hours"),
        "latent": smooth(
            points,
            oriented(objective, experiment.direction),
            n_replicas,
            experiment.space.gridded,
        ),
    }


def _ladders(spaces: list[dict[str, Any]]) -> dict[tuple[Origin, str], Ladder]:
    """What the mappings say of each ladder, by origin and ladder_id."""
    ladders = {}
    for entry in spaces:
        ladder = Ladder.from_json(entry["ladder_json"])
        ladders[origin_of(entry), entry["ladder_id"]] = ladder
    return ladders


def _metrics(
    reported: list[dict[str, float]], ladder: Ladder | None
) -> tuple[Metric, ...]:
    """Metrics that an experiment's rows report: those with a direction first, in the
    mapping's order.
    """
    names = set().union(*reported)
    metrics = []
    for declared in ladder.metrics if ladder else ():
        if declared.name in names:
            metrics.append(Metric(declared.name, direction=declared.direction))
            names.remove(declared.name)
    return (*metrics, *map(Metric, sorted(names)))


def _metric_blocks(
    experiment: Experiment,
    reported: list[dict[str, float]],
    cells: list[dict[str, Any]],
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and smoothed losses of the metrics, each [n_metrics * n_rows]."""
    values = np.full((len(experiment.metrics), len(reported)), math.nan)
    for k, metric in enumerate(experiment.metrics):
        values[k] = [row.get(metric.name, math.nan) for row in reported]
    latents = np.full_like(values, math.nan)
    n_replicas = np.maximum(_column(cells, "n_replicas"), 1)
    for k, metric in enumerate(experiment.metrics):
        if metric.direction:
            latents[k] = smooth(
                points,
                oriented(values[k], metric.direction),
                n_replicas,
                experiment.space.gridded,
            )
    return values.ravel(), latents.ravel()
