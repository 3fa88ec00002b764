"""The page of a lab family, from raw logs alone: its ladder, how the optimum moves, how
cheap levels order expensive ones, noise, landscapes.

`describe` gives plain values, `render` the page. Invariant: equal logs give equal
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from markupsafe import Markup

from autollm.core.errors import SetupError
from autollm.core.records import Record
from autollm.evaluation.landscape_plots import (
    Landscape,
    landscape_pictures,
    optimum_over_compute,
    shares_over_compute,
)
from autollm.evaluation.pages import page
from autollm.lab.spec import Family
from autollm.lab.summary import (
    LevelSummary,
    level_means,
    rank_correlations,
    shown,
    summarize,
)

Runs = Mapping[str, list[Record]]
"""Records by run_id, as archive.read_runs gives them."""


def describe(family: Family, runs: Runs) -> dict[str, Any]:
    """A family's recorded runs as plain values.

    Returns:
        family, version, knobs, objective and its unit, n_runs, levels
        (summary.LevelSummary each, by compute, with noise_share and `shown`, the best
        cell as text), correlations {"a1": {"b1": [Spearman's, cells]}},
        most_expensive (a level), objectives: of every metric with a direction its
        unit, the noise share and the best cell at the most expensive level, and the
        correlations of the others with that; none of a metric that is not logged
        there.

    Raises:
        SetupError: no run has a finite loss.
    """
    levels = sorted(summarize(family, runs.values()), key=lambda s: s.flops)
    if not levels:
        raise SetupError(
            f"no run of {family.name} has a finite loss: {len(runs)} are recorded here. "
            f"Fix: autollm lab run {family.name}."
        )
    top = levels[-1].level
    objectives = []
    for metric in (family.objective, *family.secondary):
        if metric.direction:
            head = {"name": metric.name, "unit": metric.unit}
            found = _at(top, family, runs, metric.name)
            if found is not None:
                objectives.append({**head, **found})
    knobs = []
    for k in family.space.knobs:
        knobs.append(f"{k.name} ({k.scale}): {k.window_text}")
    return {
        "family": family.name,
        "version": family.version,
        "knobs": knobs,
        "objective": family.objective.name,
        "unit": family.objective.unit,
        "n_runs": len(runs),
        "most_expensive": top,
        "levels": [_described(level, family) for level in levels],
        "correlations": _matrix(rank_correlations(family, runs.values())),
        "objectives": objectives,
    }


def _described(level: LevelSummary, family: Family) -> dict[str, Any]:
    return {
        **asdict(level),
        "noise_share": level.noise_share,
        "shown": shown(level.best, family),
        "edges": list(level.edges),
    }


def render(family: Family, runs: Runs) -> str:
    """The page as HTML text; it loads nothing."""
    about = describe(family, runs)
    space = family.space
    by_objective = {}
    for objective in about["objectives"]:
        name = objective["name"]
        by_objective[name] = landscapes(family, runs, name)
    own = by_objective[family.objective.name]
    return page(
        "lab.html.j2",
        about=about,
        landscapes=Markup(landscape_pictures(space, own)),
        optimum=Markup(optimum_over_compute(space, own)),
        shares=Markup(shares_over_compute(space, by_objective)),
    )


def landscapes(
    family: Family, runs: Runs, objective: str = ""
) -> list[Landscape]:
    """Every level's cells, replicas averaged."""
    out = []
    for name, means in level_means(family, runs.values(), objective).items():
        level = family.level(name)
        points = np.array(
            [family.space.encode(json.loads(key)) for key in means]
        )
        out.append(
            Landscape(
                name,
                family.flops(level),
                points,
                np.array(list(means.values())),
                level.split == "test",
            )
        )
    return out


def _at(
    level: str, family: Family, runs: Runs, objective: str
) -> dict[str, Any] | None:
    """What one objective shows at a level; None where no run logged it."""
    summaries = summarize(family, runs.values(), objective)
    summary = next((s for s in summaries if s.level == level), None)
    if summary is None:
        return None
    found = _matrix(rank_correlations(family, runs.values(), objective))
    own = found.get(level, {})
    return {
        "best": summary.best_value,
        "spread": summary.spread,
        "noise_share": summary.noise_share,
        "shown": shown(summary.best, family),
        "correlations": {
            other: own[other][0] for other in found if other in own
        },
    }


def _matrix(
    pairs: Mapping[tuple[str, str], tuple[float, int]],
) -> dict[str, dict[str, list[float]]]:
    out: dict[str, dict[str, list[float]]] = {}
    for (a, b), (value, n) in pairs.items():
        out.setdefault(a, {})[b] = out.setdefault(b, {})[a] = [value, n]
    return out
