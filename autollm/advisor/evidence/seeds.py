"""What a seed shifts in all cells of an experiment alike: data order and initial weights
make a whole row of runs better or worse together.

    loss(cell, seed) = cell + shift(seed) + noise

Both are fitted at once (least squares over the runs of an experiment); the shifts are
shrunk by how far they stand out of the noise (positive-part James and Stein), and taken
out of each run before a cell's mean is formed. Source: B. Efron, C. Morris, "Stein's
estimation rule and its competitors" (1973).

Invariant: shifts of an experiment sum to zero over its runs, so that its level stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

LEAST_CELLS = 3
"""Cells of a seed, from which its shift is no cell's own."""


def without_seed_shifts(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs, objectives of finished ones without their seed's shift; the very same
    list where there is none."""
    moved: dict[str, float] = {}
    by_experiment: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        value = run["objective_value"]
        known = value is not None and np.isfinite(value)
        if run["status"] == "finished" and known and run["seed"] is not None:
            by_experiment.setdefault(run["experiment_id"], []).append(run)
    for here in by_experiment.values():
        if _cells_differ(here):
            moved |= _shifts(here)
    if not any(moved.values()):
        return runs
    found = []
    for run in runs:
        shift = moved.get(run["run_id"], 0.0)
        value = run["objective_value"]
        found.append(run | {"objective_value": value - shift} if shift else run)
    return found


def _cells_differ(runs: Iterable[dict[str, Any]]) -> bool:
    """Whether cells have different seeds, and at least two seeds several cells."""
    seeds_of: dict[str, set[int]] = {}
    cells_of: dict[int, set[str]] = {}
    for run in runs:
        seeds_of.setdefault(run["config_id"], set()).add(run["seed"])
        cells_of.setdefault(run["seed"], set()).add(run["config_id"])
    several = [c for c in cells_of.values() if len(c) >= LEAST_CELLS]
    sets = {frozenset(seeds) for seeds in seeds_of.values()}
    return len(sets) > 1 and len(several) > 1


def _shifts(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Shift by run id; all 0 where cells and seeds cannot be told apart, or seeds do not
    stand out.
    """
    cells = sorted({run["config_id"] for run in runs})
    seeds = sorted({run["seed"] for run in runs})
    c = np.array([cells.index(run["config_id"]) for run in runs])
    s = np.array([seeds.index(run["seed"]) for run in runs])
    y = np.array([run["objective_value"] for run in runs], dtype=float)
    by_cell = np.eye(len(cells))[c]
    by_seed = np.eye(len(seeds))[s]
    design = np.concatenate([by_cell, by_seed], axis=1)
    rank = np.linalg.matrix_rank(design)
    freedom = len(y) - rank
    n_free = rank - len(cells)
    if (
        freedom < 1 or n_free < len(seeds) - 1
    ):  # seeds not linked by common cells
        return {}
    alone = np.sum((y - by_cell @ _fitted(by_cell, y)) ** 2)
    beta = _fitted(design, y)
    left = float(np.sum((y - design @ beta) ** 2))
    noise = left / freedom
    explained = (float(alone) - left) / n_free
    kept = max(1 - noise / explained, 0.0) if explained > 0 else 0.0
    shift = by_seed @ beta[len(cells) :]
    shift = kept * (shift - shift.mean())
    return {
        run["run_id"]: float(value)
        for run, value in zip(runs, shift, strict=True)
    }


def _fitted(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(design, y, rcond=None)[0]
