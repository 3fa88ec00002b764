"""Is a configuration of the user's own all right? What it is expected to give, what it
loses against the best that the target can reach, and whether it may diverge.

Invariant: the same draws judge the plan and the advice, so that a plan equal to the
advice loses nothing beyond it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autollm.advisor.answer import Checked
from autollm.advisor.asking.native import key_of
from autollm.advisor.asking.target import RATIO
from autollm.advisor.deciding.decide import resting_at
from autollm.advisor.deciding.study import Study
from autollm.advisor.deciding.worth import (
    NO_BENCHMARK,
    NO_LAW,
    Worth,
    compute_factor,
    loses,
    no_regret,
    optima_of,
    unsquashed,
    worth,
)
from autollm.advisor.evidence.resting import at_rest, chosen
from autollm.advisor.words import last_part
from autollm.core.spaces.knobs import is_number
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.core.values import is_nothing, parse_number

SAME_VALUE = 1e-6
"""Natural units: canonical values keep nine digits."""

SAME_SIZE = 0.01
"""Share by which a size may differ and is the same: 1.4B is told with two digits."""
FINE, RISKY = 1.05, 0.2
"""A plan that wastes less than 5 % of its compute is fine; one that diverges with more
than this probability is risky whatever else it is."""
WIDE_GAP = 0.25
"""Of median - best, that a plan may lose where no law says what loss costs."""


def check_configuration(study: Study, planned: Mapping[str, Any]) -> Checked:
    """Judge a flat object of the user's columns, or of canonical names.

    Raises:
        QuestionError: a knob is missing, or its value is of another kind.
        SpaceError: a value that the space does not know.
    """
    space = study.question.space
    configuration = study.names.read(planned)
    encoded = space.encode(configuration)[None]
    point = resting_at(study.policy, study.question.view, encoded)[0]
    weights = study.policy.weights
    u = study.sampled(point[None])[:, 0]
    best = study.chosen(1).points
    advised = study.sampled(best)[:, 0]
    here = worth(study, u, weights)
    there = worth(study, advised, weights)
    untried = _untried(study, point)
    unknown = untried or _too_far(study, float(weights @ u))
    if unknown:
        here = Worth(None, None, None)
    p = study.divergence.probability(point[None], study.optimum)
    lost = None
    if here.predicted is not None and here.expected_regret is not None:
        lost = loses(study, u, advised)
    factor = compute_factor(study, max(lost.mean, 0.0)) if lost else None
    p_here = float(p[0]) if p is not None else None
    optima = optima_of(study, point)
    verdict = _verdict(
        factor, float(weights @ (u - advised)), p_here, space.inside(point)
    )
    if untried and verdict != "risky":
        verdict = "outside"
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
        _distances(study, configuration, point, optima),
        verdict,
        _missing(study, unknown, p is None),
        study.names.show(space.decode(best[0])),
        there.predicted,
        _told(study, optima),
        _beyond(study, point),
        _taken_as(study, configuration),
        study.names.sums_of(planned),
        _otherwise(study, planned),
        _unknown(study, planned),
        _open_end(study, optima),
    )


def _untried(study: Study, point: np.ndarray) -> str:
    """That a number of unseen optimum has a value that nobody tried; empty where none
    has.
    """
    for ends in study.ends:
        name = ends.knob.name
        if not chosen(study.question.space, point[None], name)[0]:
            continue
        at = float(point[study.question.space.slices[ends.knob.name].start])
        tried = np.asarray(ends.knob.grid)
        if ends.side or np.abs(tried - at).min() < SAME_VALUE:
            continue
        values = ", ".join(f"{v:g}" for v in ends.tried)
        return (
            f"{study.native(ends.knob.name)} was tried at {values} alone, which show "
            "no optimum: nothing says what another value gives"
        )
    return ""


def _too_far(study: Study, u: float) -> str:
    """That a configuration does worse than every run did; empty where it does not."""
    if u <= study.worst_seen:
        return ""
    worst = study.spread * unsquashed(study.worst_seen)
    return (
        "it lies farther from the optimum than any run of yours: it loses more than "
        f"{worst:.2g}, and nothing says how much more"
    )


def _missing(study: Study, unknown: str, no_risk: bool) -> dict[str, str]:
    """Field -> why it is null."""
    numbers = ("loses", "compute_equivalent")
    missing = {}
    why = unknown or no_regret(study)
    if why:
        missing |= dict.fromkeys(("expected_regret", *numbers), why)
    if study.loss_law is None:
        why = NO_BENCHMARK if study.sign < 0 else NO_LAW
    if unknown or study.loss_law is None:
        missing |= dict.fromkeys(("predicted", *numbers), why)
    if no_risk:
        missing["p_diverge"] = study.divergence.because
    return missing


def _verdict(
    factor: float | None, gap: float, p: float | None, inside: bool
) -> str:
    """fine, wasteful, risky, or outside (what nobody tried)."""
    if p is not None and p > RISKY:
        return "risky"
    if not inside:
        return "outside"
    wasteful = factor > FINE if factor is not None else gap > WIDE_GAP
    return "wasteful" if wasteful else "fine"


def _beyond(study: Study, point: np.ndarray) -> dict[str, list[Any]]:
    """By the column of each number that lies outside of what was tried anywhere: the
    lowest and highest value tried.
    """
    declared = study.evidence.table.experiments[0].space
    found = {}
    for knob in declared.knobs:
        is_chosen = chosen(study.question.space, point[None], knob.name)[0]
        if knob.scale not in ONE_COORDINATE or not is_chosen:
            continue
        low, high = knob.window[:, 0]
        at = point[study.question.space.slices[knob.name].start]
        if at < low - SAME_VALUE or at > high + SAME_VALUE:
            ends = [knob.levels[0], knob.levels[-1]]
            column = study.names.spelling(knob.name).column
            found[column] = [study.names.value(knob.name, v) for v in ends]
    return found


def _taken_as(study: Study, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """By column of a number that is known by rank, and was not tried as planned: the
    nearest value that was.
    """
    found = {}
    for knob in study.question.space.knobs:
        value = configuration.get(knob.name)
        if knob.scale == "ordinal" and is_number(value):
            level = knob.decode(knob.encode(value))
            if not math.isclose(level, float(value), rel_tol=SAME_VALUE):
                column = study.names.spelling(knob.name).column
                found[column] = study.names.value(knob.name, level)
    return found


def _otherwise(
    study: Study, planned: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """By key of a plan that has another value than all runs had: both."""
    usual = {last_part(k): v for k, v in study.evidence.constants.items()}
    found = {}
    for key, value in planned.items():
        had = usual.get(last_part(key), value)
        if not is_nothing(value) and not _equal(value, had):
            found[key] = [value, had]
    return found


def _unknown(study: Study, planned: Mapping[str, Any]) -> list[str]:
    """Keys of a plan that are no column of the runs, under no name of theirs."""
    columns = set(study.evidence.columns) | set(study.evidence.columns.values())
    columns |= set(study.question.space.names) | set(study.question.fidelity)
    for run in study.evidence.runs:
        columns |= set(run["cells"])
    for name in study.question.space.coordinates:
        columns.add(study.names.spelling(name).column)
    written = dict.fromkeys(columns)
    found = []
    for key in planned:
        said = key_of(key, key, written) or RATIO.fullmatch(last_part(key))
        if not said and not any(key_of(c, c, {key: 0}) for c in columns):
            found.append(key)
    return found


def _equal(a: Any, b: Any) -> bool:
    """Of two cells: 8 is 8.0, and a word counts in any case."""
    numbers = parse_number(a), parse_number(b)
    if None not in numbers:
        return math.isclose(*map(float, numbers), rel_tol=SAME_SIZE)
    return _as_text(a) == _as_text(b)


def _as_text(value: Any) -> str:
    """Lists as cells hold them."""
    if isinstance(value, (list, dict)):
        value = json.dumps(value, separators=(",", ":"))
    return str(value).lower()


def _told(study: Study, optima: Mapping[str, float]) -> dict[str, Any]:
    """Optima by column, in the user's units."""
    space = study.question.space
    found = {}
    for name, place in optima.items():
        value = space.knobs[space.names.index(name)].decode(place)
        column = study.names.spelling(name).column
        found[column] = study.names.value(name, value)
    return found


def _open_end(study: Study, optima: Mapping[str, float]) -> dict[str, str]:
    """By column of an optimum at an end of its window: on which side it may lie."""
    found = {}
    for knob in study.question.space.knobs:
        if knob.name in optima:
            column = study.names.spelling(knob.name).column
            low, high = np.abs(knob.window[:, 0] - optima[knob.name])
            if low < SAME_VALUE:
                found[column] = "below"
            elif high < SAME_VALUE:
                found[column] = "above"
    return found


def _distances(
    study: Study,
    configuration: Mapping[str, Any],
    point: np.ndarray,
    optima: Mapping[str, float],
) -> dict[str, float | None]:
    """Natural units (octaves of a log knob) from each knob's optimum at the target;
    None where it has none.
    """
    found: dict[str, float | None] = {}
    for knob, where in study.question.space.slices.items():
        if knob not in configuration:
            continue
        place = optima.get(knob)
        away = None if place is None else float(point[where.start] - place)
        found[study.names.spelling(knob).column] = away
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
    space = study.question.space
    encoded = space.encode(json.loads(run["config_json"]))
    encoded = at_rest(space, encoded[None], point)[0]
    return bool(np.allclose(encoded, point, atol=SAME_VALUE))
