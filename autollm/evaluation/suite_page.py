"""What a suite is made of, computed from the snapshot: its size, its compute, its
noise, how well cheap experiments order the target's rows.

`describe` gives plain values, `render` the page. Invariant: equal tables give equal
values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autollm.core.spaces.knobs import Knob
from autollm.evaluation.bounds import bounds, row_noise_sd
from autollm.evaluation.leaderboard import KS
from autollm.evaluation.pages import page
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import Suite
from autollm.gym.tasks.task import Task

SPLITS = ("train", "validation", "test")
MIN_COMMON = 5
"""Configurations that two experiments must share before their order is compared."""


def describe(
    suite: Suite, table: OutcomeTable, origin: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A suite as plain values. `origin`: rows (measured or surrogate), licence,
    citation, address; None where no catalogue knows it.

    Returns:
        suite_id, version, family, source, description, origin, knobs, objectives,
        n_experiments, n_configurations (distinct), n_outcomes, compute_flops [least,
        most], total_flops, total_device_hours (None where the source does not say),
        splits {split: n_tasks}, bounds (evaluation.bounds of the test tasks),
        experiments and tasks (one dict each, cheapest first).

    Raises:
        UnknownNameError: the table lacks an experiment of the suite.
    """
    ids = _experiments_of(suite, table)
    roles = _roles(suite)
    splits = {name: suite.split(name) for name in SPLITS}
    experiments = []
    knobs: set[str] = set()
    n_outcomes = 0
    for e in ids:
        own = table.experiments[e]
        experiments.append(_experiment(table, e, roles[own.experiment_id]))
        knobs |= set(map(_described, own.space.knobs))
        n_outcomes += len(table.points[e])
    tasks = []
    objectives: set[str] = set()
    for task in suite.tasks:
        tasks.append(_task(table, task.split, task.target, task.evidence))
        objectives.add(_objective(task, table))
    hours = _total(table, "cost_device_hours", ids)
    return {
        "suite_id": suite.suite_id,
        "version": suite.version,
        "family": suite.family,
        "source": suite.source,
        "description": suite.description,
        "origin": dict(origin) if origin else None,
        "knobs": sorted(knobs),
        "objectives": sorted(objectives),
        "n_experiments": len(ids),
        "n_configurations": _n_configurations(ids, table),
        "n_outcomes": n_outcomes,
        "compute_flops": [_flops(table, ids[0]), _flops(table, ids[-1])],
        "total_flops": _total(table, "cost_flops", ids),
        "total_device_hours": hours if np.isfinite(hours) else None,
        "splits": {name: len(own) for name, own in splits.items()},
        "bounds": bounds(splits["test"], table, KS) if splits["test"] else [],
        "experiments": experiments,
        "tasks": tasks,
    }


def _total(table: OutcomeTable, column: str, ids: Sequence[int]) -> float:
    """Sum of a column over all rows of experiments."""
    return float(sum(float(np.sum(table.column(column, e))) for e in ids))


def _experiments_of(suite: Suite, table: OutcomeTable) -> list[int]:
    """Dense ids of all that the suite names, cheapest first."""
    ids: set[int] = set()
    for task in suite.tasks:
        ids |= set(map(table.index, (task.target, *task.evidence)))
        ids |= set(map(table.index, task.charged))
    return sorted(ids, key=lambda e: table.experiments[e].compute_flops)


def _n_configurations(ids: Sequence[int], table: OutcomeTable) -> int:
    """Distinct ones."""
    distinct: set[tuple[Any, ...]] = set()
    for e in ids:
        space_id = table.experiments[e].space.space_id
        for row in np.round(table.points[e], 6).tolist():
            distinct.add((space_id, *row))
    return len(distinct)


def _described(knob: Knob) -> str:
    """`learning_rate (log): 2^-11 to 2^-7`."""
    unit = "" if knob.unit in ("", "1") else f", {knob.unit}"
    return f"{knob.name} ({knob.scale}{unit}): {knob.window_text}"


def _objective(task: Task, table: OutcomeTable) -> str:
    return (
        task.objective or table.experiments[table.index(task.target)].objective
    )


def render(about: Mapping[str, Any]) -> str:
    """The page of a described suite, as HTML text; it loads nothing."""
    return page("suite.html.j2", about=about)


def rank_correlation(table: OutcomeTable, a: int, b: int) -> float | None:
    """Spearman's rank correlation of the losses of two experiments on the
    configurations that both hold; None below MIN_COMMON.
    """
    rows_a = _rows_by_point(table, a)
    rows_b = _rows_by_point(table, b)
    common = sorted(set(rows_a) & set(rows_b))
    if len(common) < MIN_COMMON:
        return None
    losses_a = table.losses(a)[[rows_a[point] for point in common]]
    losses_b = table.losses(b)[[rows_b[point] for point in common]]
    if np.ptp(losses_a) == 0 or np.ptp(losses_b) == 0:
        return None
    return float(spearmanr(losses_a, losses_b).statistic)


def _rows_by_point(table: OutcomeTable, e: int) -> dict[tuple[float, ...], int]:
    points = map(tuple, np.round(table.points[e], 6).tolist())
    return {point: i for i, point in enumerate(points)}


def _roles(suite: Suite) -> dict[str, str]:
    """Experiment id -> the splits it is a target of, and whether it is evidence."""
    out: dict[str, set[str]] = {}
    for task in suite.tasks:
        out.setdefault(task.target, set()).add(f"{task.split} target")
        for e in task.evidence:
            out.setdefault(e, set()).add("evidence")
        for e in task.charged:
            out.setdefault(e, set()).add("charged")
    return {e: ", ".join(sorted(roles)) for e, roles in out.items()}


def _experiment(table: OutcomeTable, e: int, role: str) -> dict[str, Any]:
    losses = table.losses(e)
    replicas = table.column("n_replicas", e)
    noise_sd = row_noise_sd(losses, np.asarray(table.column("latent", e)))
    spread = float(np.median(losses) - losses.min())
    replica_sds = table.column("noise_sd", e)[replicas > 1]
    replicated = replicas[replicas > 1]
    is_measured = np.isfinite(replica_sds)
    measured = None
    if is_measured.any():
        weights = replicated[is_measured]
        variances = np.square(replica_sds[is_measured])
        measured = float(np.sqrt(np.mean(variances * weights)))
    return {
        "label": table.experiments[e].label,
        "role": role,
        "compute_flops": table.experiments[e].compute_flops,
        "n_rows": len(losses),
        "n_replicated": len(replicated),
        "n_diverged": int(np.sum(table.column("diverged", e))),
        "best": float(losses.min()),
        "spread": spread,
        "replica_sd": measured,
        "noise_sd": noise_sd,
        "noise_share": noise_sd / spread if spread > 0 else None,
    }


def _task(
    table: OutcomeTable, split: str, target: str, evidence: Sequence[str]
) -> dict[str, Any]:
    at = table.index(target)
    cheap = sorted(map(table.index, evidence), key=lambda e: _flops(table, e))
    correlations = [rank_correlation(table, e, at) for e in cheap]
    known = [c for c in correlations if c is not None]
    return {
        "split": split,
        "target": table.experiments[at].label,
        "n_evidence": len(cheap),
        "compute_ratio": _flops(table, at) / _flops(table, cheap[-1])
        if cheap
        else None,
        "top_correlation": correlations[-1] if cheap else None,
        "median_correlation": float(np.median(known)) if known else None,
    }


def _flops(table: OutcomeTable, e: int) -> float:
    return table.experiments[e].compute_flops
