"""Is a configuration of the user's own all right? What it is expected to give, what it
loses against the best that the target can reach, and whether it may diverge.

Invariant: the same draws judge the plan and the advice, so that a plan equal to the
advice loses nothing beyond it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from autollm.advisor.answer import Checked
from autollm.advisor.decide import choose
from autollm.advisor.study import Study
from autollm.advisor.worth import (
    NO_BENCHMARK,
    NO_LAW,
    compute_factor,
    loses,
    no_regret,
    worth,
)

FINE, RISKY = 1.05, 0.2
"""A plan that wastes less than 5 % of its compute is fine; one that diverges with more
than this probability is risky whatever else it is."""


def check_configuration(study: Study, planned: Mapping[str, Any]) -> Checked:
    """Judge a flat object of the user's columns, or of canonical names.

    Raises:
        QuestionError: a knob is missing, or its value is of another kind.
        SpaceError: a value that the space does not know.
    """
    space = study.question.space
    configuration = study.names.read(planned)
    point = space.encode(configuration)
    weights = study.policy.weights
    u = study.policy.sampled(point[None])[:, 0]
    here = worth(study, u, weights)
    p_all = study.divergence.probability(
        study.question.view.candidates, study.optimum
    )
    best = choose(study.policy, study.question.view, 1, p_all).points
    advised = study.policy.sampled(best)[:, 0]
    p = study.divergence.probability(point[None], study.optimum)
    lost = None
    if here.predicted is not None and here.expected_regret is not None:
        lost = loses(study, u, advised)
    factor = compute_factor(study, max(lost.mean, 0.0)) if lost else None
    missing = {}
    if here.expected_regret is None:
        why = no_regret(study)
        missing |= dict.fromkeys(
            ("expected_regret", "loses", "compute_equivalent"), why
        )
    if here.predicted is None:
        reason = NO_BENCHMARK if study.sign < 0 else NO_LAW
        missing |= dict.fromkeys(
            ("predicted", "loses", "compute_equivalent"), reason
        )
    if p is None:
        missing["p_diverge"] = study.divergence.because
    p_here = float(p[0]) if p is not None else None
    verdict = _verdict(
        factor, float(weights @ (u - advised)), p_here, space.inside(point)
    )
    if not study.question.keeps(point[None])[0]:
        verdict = "infeasible"
    return Checked(
        study.names.show(configuration),
        here.predicted,
        here.expected_regret,
        lost,
        factor,
        p_here,
        _nearest_diverged(study, point),
        _distances(study, point),
        verdict,
        missing,
    )


def _verdict(
    factor: float | None, gap: float, p: float | None, inside: bool
) -> str:
    """fine, wasteful, risky, or outside (what nobody tried)."""
    if p is not None and p > RISKY:
        return "risky"
    if not inside:
        return "outside"
    wasteful = (
        factor > FINE if factor is not None else gap > 0.25
    )  # of median - best
    return "wasteful" if wasteful else "fine"


def _distances(study: Study, point: np.ndarray) -> dict[str, float | None]:
    """Natural units (octaves of a log knob) from each knob's optimum at the target;
    None where it has none.
    """
    found: dict[str, float | None] = {}
    places = dict(zip(study.response.names, study.optimum, strict=True))
    for knob, where in study.question.space.slices.items():
        column = study.names.spelling(knob).column
        known = knob in places
        found[column] = (
            float(point[where.start] - places[knob]) if known else None
        )
    return found


def _nearest_diverged(study: Study, point: np.ndarray) -> dict[str, Any] | None:
    found = study.divergence.nearest(point, study.optimum)
    if found is None:
        return None
    level, row = found
    rows = study.rows[level]
    decoded = study.question.space.decode(rows.points[row])
    experiment = study.question.table.experiments[study.question.levels[level]]
    for run in study.evidence.experiment_runs[experiment.experiment_id]:
        if run["status"] == "diverged" and _same(study, run, rows.points[row]):
            return {
                "run_id": run["run_id"],
                "file": run["raw_file"],
                "experiment": experiment.label,
                "configuration": study.names.show(decoded),
            }
    return {
        "run_id": None,
        "file": None,
        "experiment": experiment.label,
        "configuration": study.names.show(decoded),
    }


def _same(study: Study, run: dict[str, Any], point: np.ndarray) -> bool:
    encoded = study.question.space.encode(json.loads(run["config_json"]))
    return bool(np.allclose(encoded, point, atol=1e-6))
