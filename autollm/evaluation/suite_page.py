"""What a suite is made of, computed from the snapshot: its size, its compute, its
noise, how well cheap experiments order the target's rows.

`describe` gives plain values, `render` the page. What does not belong here: plays,
policies; licence and kind of rows come in as `origin`. Invariant: equal tables give
equal values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autollm.evaluation.bounds import bounds, row_noise_sd
from autollm.evaluation.leaderboard import KS
from autollm.evaluation.pages import page
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import Suite

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
    ids = sorted(
        {
            table.index(e)
            for t in suite.tasks
            for e in (t.target, *t.evidence, *t.charged)
        },
        key=lambda e: table.experiments[e].compute_flops,
    )
    roles = _roles(suite)
    flops = [table.experiments[e].compute_flops for e in ids]
    hours = [float(np.sum(table.column("cost_device_hours", e))) for e in ids]
    points = {
        (table.experiments[e].space.space_id, tuple(row))
        for e in ids
        for row in np.round(table.points[e], 6).tolist()
    }
    test = suite.split("test")
    return {
        "suite_id": suite.suite_id,
        "version": suite.version,
        "family": suite.family,
        "source": suite.source,
        "description": suite.description,
        "origin": dict(origin) if origin else None,
        "knobs": sorted(
            {
                f"{k.name} ({k.scale}{', ' + k.unit if k.unit not in ('', '1') else ''}): {k.window_text}"
                for e in ids
                for k in table.experiments[e].space.knobs
            }
        ),
        "objectives": sorted(
            {
                t.objective or table.experiments[table.index(t.target)].objective
                for t in suite.tasks
            }
        ),
        "n_experiments": len(ids),
        "n_configurations": len(points),
        "n_outcomes": int(sum(len(table.points[e]) for e in ids)),
        "compute_flops": [min(flops), max(flops)],
        "total_flops": float(sum(np.sum(table.column("cost_flops", e)) for e in ids)),
        "total_device_hours": float(sum(hours)) if np.isfinite(hours).all() else None,
        "splits": {
            name: len(suite.split(name)) for name in ("train", "validation", "test")
        },
        "bounds": bounds(test, table, KS) if test else [],
        "experiments": [
            _experiment(table, e, roles[table.experiments[e].experiment_id])
            for e in ids
        ],
        "tasks": [_task(table, t.split, t.target, t.evidence) for t in suite.tasks],
    }


def render(about: Mapping[str, Any]) -> str:
    """The page of a described suite, as HTML text; it loads nothing."""
    return page("suite.html.j2", about=about)


def rank_correlation(table: OutcomeTable, a: int, b: int) -> float | None:
    """Spearman's rank correlation of the losses of two experiments on the
    configurations that both hold; None below MIN_COMMON.
    """
    rows = [
        {tuple(p): i for i, p in enumerate(np.round(table.points[e], 6).tolist())}
        for e in (a, b)
    ]
    common = sorted(set(rows[0]) & set(rows[1]))
    if len(common) < MIN_COMMON:
        return None
    x, y = (
        table.losses(e)[[at[p] for p in common]]
        for e, at in zip((a, b), rows, strict=True)
    )
    return float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else None


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
    losses, replicas = table.losses(e), table.column("n_replicas", e)
    noise_sd = row_noise_sd(losses, np.asarray(table.column("latent", e)))
    spread = float(np.median(losses) - losses.min())
    of_mean = table.column("noise_sd", e)[replicas > 1]
    own = replicas[replicas > 1]
    seen = np.isfinite(of_mean)
    measured = (
        float(np.sqrt(np.mean(np.square(of_mean[seen]) * own[seen])))
        if seen.any()
        else None
    )
    return {
        "label": table.experiments[e].label,
        "role": role,
        "compute_flops": table.experiments[e].compute_flops,
        "n_rows": len(losses),
        "n_replicated": len(own),
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
    cheap = sorted(
        (table.index(e) for e in evidence),
        key=lambda e: table.experiments[e].compute_flops,
    )
    found = [
        c for c in (rank_correlation(table, e, at) for e in cheap) if c is not None
    ]
    ratio = (
        table.experiments[at].compute_flops / table.experiments[cheap[-1]].compute_flops
        if cheap
        else None
    )
    return {
        "split": split,
        "target": table.experiments[at].label,
        "n_evidence": len(cheap),
        "compute_ratio": ratio,
        "dearest_correlation": rank_correlation(table, cheap[-1], at)
        if cheap
        else None,
        "median_correlation": float(np.median(found)) if found else None,
    }
