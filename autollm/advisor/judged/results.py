"""What the judge found of regrets, intervals and probabilities: from answers to numbers.

Invariant: a policy stands beside the advice only where it played every question that is
compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autollm.advisor.judged.answers import BOOTSTRAPPED_SEED
from autollm.advisor.judged.calibration import (
    Chance,
    Class,
    Prediction,
    brier_skill,
    constant_width,
    coverage,
    mean_score,
    reliability,
    score_difference,
)
from autollm.advisor.judged.inference import (
    Comparison,
    Estimate,
    Scores,
    compare,
)
from autollm.advisor.judged.one_question import ADVISOR

Answer = Mapping[str, Any]
Answers = Sequence[Answer]
RATIO_CLASSES = (0.0, 8.0, 32.0, float("inf"))
"""Times the evidence's cost: coverage by distance."""
LEAST_SOURCES = 5
"""Sources from which coverage at a distance is verified."""


@dataclass(frozen=True)
class Decision:
    """Regret of the first proposal. by_source: contender -> source -> mean; partial:
    policies that could not play every question -> sources that they played.
    """

    latent: Comparison
    realised: Comparison
    by_source: dict[str, dict[str, float]]
    n_questions: dict[str, int]
    nearer: tuple[str, ...]
    partial: dict[str, tuple[str, ...]]
    failed: dict[str, int]
    n_seeds: int

    @property
    def n_sources(self) -> int:
        return len(self.n_questions)


def decision(answers: Answers) -> Decision:
    """Of measured sources' answers, at least one.

    Raises:
        ValueError: nobody but the advice played every question.
    """
    every = everywhere(answers)
    names = [ADVISOR, *sorted(every - {ADVISOR})]
    latent = compare(_scores(answers, names, "latent_regret"), names, ADVISOR)
    realised = compare(_scores(answers, names, "regret"), names, ADVISOR)
    questions: dict[str, set[str]] = {}
    nearer: set[str] = set()
    played: dict[str, set[str]] = {}
    failed: dict[str, int] = {}
    for answer in answers:
        questions.setdefault(answer["source"], set()).add(answer["question"])
        if not answer["far"]:
            nearer.add(
                f"{answer['table']} ({answer['times_evidence']:.2g} times)"
            )
        for name, pick in answer["picks"].items():
            played.setdefault(name, set()).add(answer["source"])
            failed[name] = failed.get(name, 0) + bool(pick["error"])
    partial = {}
    for name in sorted(set(played) - every):
        partial[name] = tuple(sorted(played[name]))
    everyone = [*names, *partial]
    by_source = {name: _by_source(answers, name) for name in everyone}
    n_questions = {source: len(asked) for source, asked in questions.items()}
    failures = {name: n for name, n in failed.items() if n}
    seeds = {answer["seed"] for answer in answers}
    return Decision(
        latent,
        realised,
        by_source,
        n_questions,
        tuple(sorted(nearer)),
        partial,
        failures,
        len(seeds),
    )


def everywhere(answers: Answers) -> set[str]:
    """Contenders that answered every question."""
    found = set(answers[0]["picks"])
    for answer in answers:
        found &= set(answer["picks"])
    return found


def _scores(
    answers: Answers,
    names: Sequence[str],
    field: str,
) -> Scores:
    """Source -> arrays [n_seeds, n_names], one a question."""
    grouped: dict[str, dict[str, list[list[float]]]] = {}
    for answer in answers:
        row = [float(answer["picks"][name][field]) for name in names]
        mine = grouped.setdefault(answer["source"], {})
        mine.setdefault(answer["question"], []).append(row)
    found = {}
    for source, questions in grouped.items():
        found[source] = [np.array(rows) for rows in questions.values()]
    return found


def _by_source(
    answers: Answers,
    name: str,
) -> dict[str, float]:
    """Mean latent regret of one contender in each source that it played."""
    played = [a for a in answers if name in a["picks"]]
    scores = _scores(played, [name], "latent_regret")
    found = {}
    for source, experiments in scores.items():
        found[source] = float(np.mean([e.mean() for e in experiments]))
    return found


@dataclass(frozen=True)
class Intervals:
    """Nominal 90 % intervals of one kind at one set of picks."""

    n: int
    n_sources: int
    covered: Estimate
    score: Estimate


@dataclass(frozen=True)
class Calibration:
    """Intervals and probabilities. at_picks: contender -> intervals of the outcome and
    of the regret. constant, bootstrap: the same questions with other widths, and the
    difference in score, ours - theirs. by_distance: (from, to) -> coverage.
    """

    outcome: dict[str, Intervals]
    regret: dict[str, Intervals]
    constant: tuple[Intervals, Estimate] | None
    bootstrap: tuple[Intervals, Estimate, Intervals] | None
    by_distance: dict[tuple[float, float], Intervals]
    p_diverge: tuple[list[Class], float | None]
    p_best: tuple[list[Class], float | None]
    optimum: Intervals | None


def calibration(
    answers: Answers, bootstraps: Mapping[str, Sequence[float] | None]
) -> Calibration:
    """Of measured sources' answers. `bootstraps`: by question, of the first seed."""
    names = sorted(everywhere(answers), key=lambda n: (n != ADVISOR, n))
    outcome = {}
    regret = {}
    for name in names:
        outcome |= _kind(name, outcomes(answers, name))
        regret |= _kind(name, regrets(answers, name))
    ours = outcomes(answers, ADVISOR)
    every = [pick for name in names for pick in chances(answers, name)]
    diverge = [c for kind, c in every if kind == "p_diverge"]
    best = [c for kind, c in every if kind == "p_best"]
    return Calibration(
        outcome,
        regret,
        _against_constant(ours),
        _against_bootstrap(answers, bootstraps),
        _by_distance(answers),
        (reliability(diverge), brier_skill(diverge)),
        (reliability(best), brier_skill(best)),
        _intervals(optimum_forecasts(answers)),
    )


def _kind(
    name: str,
    told: Sequence[Prediction],
) -> dict[str, Intervals]:
    found = _intervals(told)
    return {} if found is None else {name: found}


def _intervals(told: Sequence[Prediction]) -> Intervals | None:
    if not told:
        return None
    n_sources = len({t.source for t in told})
    return Intervals(len(told), n_sources, coverage(told), mean_score(told))


def outcomes(
    answers: Iterable[Answer],
    name: str,
) -> list[Prediction]:
    """Predicted outcome at a contender's picks; those that fell off the table by more
    than an octave have no outcome of their own.
    """
    found = []
    for answer in answers:
        pick = answer["picks"][name]
        if pick["predicted"] is None or pick["distance"] > 1:
            continue
        found.append(_told(answer, pick["predicted"], pick["outcome"]))
    return found


def _told(
    answer: Answer,
    interval: Sequence[float],
    came: float,
) -> Prediction:
    mean, low, high = interval
    return Prediction(
        answer["source"],
        answer["question"],
        mean,
        low,
        high,
        came,
        answer["spread"],
        answer["expected_spread"],
    )


def regrets(
    answers: Iterable[Answer],
    name: str,
) -> list[Prediction]:
    """Expected regret at a contender's picks against that of the smoothed table."""
    found = []
    for answer in answers:
        pick = answer["picks"][name]
        if pick["expected_regret"] is None or pick["distance"] > 1:
            continue
        mean, low, high = pick["expected_regret"]
        came = pick["latent_regret"]
        where = answer["source"], answer["question"]
        found.append(Prediction(*where, mean, low, high, came))
    return found


def chances(
    answers: Iterable[Answer],
    name: str,
) -> list[tuple[str, Chance]]:
    """Probabilities at a contender's picks, by kind."""
    found = []
    for answer in answers:
        pick = answer["picks"][name]
        where = answer["source"], answer["question"]
        came = {"p_diverge": pick["diverged"], "p_best": pick["is_best"]}
        for kind, happened in came.items():
            if pick[kind] is not None and not pick["error"]:
                chance = Chance(*where, pick[kind], happened)
                found.append((kind, chance))
    return found


def optimum_forecasts(answers: Iterable[Answer]) -> list[Prediction]:
    """Where the laws of knobs put an optimum at the target, in natural units, against
    the optimum fitted to the hidden experiment; those at an edge are bounds and no
    values.
    """
    from scipy.stats import t as student

    found = []
    for answer in answers:
        for o in answer["optima"]:
            if o["edge"]:
                continue
            sd = float(np.hypot(o["sd"], o["fitted_sd"]))
            half = float(student.ppf(0.95, o["df"])) * sd
            mean = o["forecast"]
            where = answer["source"], f"{answer['question']} {o['knob']}"
            bounds = mean, mean - half, mean + half
            found.append(Prediction(*where, *bounds, o["fitted"]))
    return found


def _against_constant(
    ours: Sequence[Prediction],
) -> tuple[Intervals, Estimate] | None:
    if len({t.source for t in ours}) < 2:
        return None
    theirs = constant_width(ours)
    found = _intervals(theirs)
    assert found is not None
    return found, score_difference(ours, theirs)


def _against_bootstrap(
    answers: Answers, bootstraps: Mapping[str, Sequence[float] | None]
) -> tuple[Intervals, Estimate, Intervals] | None:
    """Where rows were bootstrapped: theirs, the difference, ours on the same."""
    ours = []
    theirs = []
    for answer in answers:
        bounds = bootstraps.get(answer["question"])
        if answer["seed"] == BOOTSTRAPPED_SEED and bounds:
            for told in outcomes([answer], ADVISOR):
                ours.append(told)
                low, high = told.mean + bounds[0], told.mean + bounds[1]
                theirs.append(replace(told, low=low, high=high))
    found = _intervals(theirs)
    same = _intervals(ours)
    if found is None or same is None:
        return None
    return found, score_difference(ours, theirs), same


def _by_distance(answers: Answers) -> dict[tuple[float, float], Intervals]:
    found = {}
    for low, high in itertools.pairwise(RATIO_CLASSES):
        here = [a for a in answers if low <= a["times_evidence"] * 1.001 < high]
        told = _intervals(outcomes(here, ADVISOR))
        if told is not None:
            found[low, high] = told
    return found
