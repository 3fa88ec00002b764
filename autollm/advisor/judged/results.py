"""What the judge found of regrets, intervals and probabilities: from answers to numbers.

Invariant: a policy stands beside the advice only where it played every question that is
compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    latent = comparison(answers, names, "latent_regret")
    realised = comparison(answers, names, "regret")
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


def comparison(
    answers: Answers, names: Sequence[str], field: str
) -> Comparison:
    """The advice against the others by one field of their picks."""
    return compare(_scores(answers, names, field), names, ADVISOR)


BEST = 3
"""Policies beside which the advice's picks are trained."""


def best_others(found: Decision) -> list[str]:
    """The advice, and the BEST policies of a decision."""
    means = found.latent.means
    others = [name for name in found.latent.names if name != ADVISOR]
    return [ADVISOR, *sorted(others, key=lambda n: means[n].mean)[:BEST]]


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
class Chances:
    """Probabilities of one kind: by class at all picks, and together at the picks of
    each contender, with the Brier skill over the base rate.
    """

    classes: list[Class]
    by_contender: dict[str, tuple[Class, float | None]]


@dataclass(frozen=True)
class Calibration:
    """Intervals and probabilities. at_picks: contender -> intervals of the outcome and
    of the regret. constant, bootstrap: the same questions with other widths, and the
    difference in score, ours - theirs. by_distance: (from, to) -> coverage. verdicts:
    (told, of all levels) -> how many laws.
    """

    outcome: dict[str, Intervals]
    regret: dict[str, Intervals]
    constant: tuple[Intervals, Estimate] | None
    bootstrap: tuple[Intervals, Estimate, Intervals] | None
    by_distance: dict[tuple[float, float], Intervals]
    p_diverge: Chances
    p_best: Chances
    optimum: Intervals | None
    exponent: Intervals | None
    verdicts: dict[tuple[str, str], int]


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
    return Calibration(
        outcome,
        regret,
        _against_constant(ours),
        _against_bootstrap(answers, bootstraps),
        _by_distance(answers),
        chances_of(answers, names, "p_diverge", "diverged"),
        chances_of(answers, names, "p_best", "is_best"),
        _intervals(optimum_forecasts(answers)),
        _intervals(exponent_forecasts(answers)),
        verdicts(answers),
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
    """Predicted outcome at a contender's picks."""
    found = []
    for answer, pick in _told(answers, name, "predicted"):
        scales = answer["spread"], answer["expected_spread"]
        where = answer["source"], answer["question"]
        found.append(
            Prediction(*where, *pick["predicted"], pick["outcome"], *scales)
        )
    return found


def regrets(
    answers: Iterable[Answer],
    name: str,
) -> list[Prediction]:
    """Expected regret at a contender's picks against that of the smoothed table."""
    found = []
    for answer, pick in _told(answers, name, "expected_regret"):
        came = pick["latent_regret"]
        where = answer["source"], answer["question"]
        found.append(Prediction(*where, *pick["expected_regret"], came))
    return found


def _told(
    answers: Iterable[Answer], name: str, field: str
) -> Iterator[tuple[Answer, Mapping[str, Any]]]:
    """Answers and a contender's picks of which something is told; those that fell off the
    table by more than an octave have no outcome of their own.
    """
    for answer in answers:
        pick = answer["picks"][name]
        if pick[field] is not None and pick["distance"] <= 1:
            yield answer, pick


def chances_of(
    answers: Answers, names: Sequence[str], told: str, happened: str
) -> Chances:
    """Probabilities `told` at all contenders' picks, against what `happened`."""
    every: list[Chance] = []
    by_contender = {}
    for name in names:
        mine = chances(answers, name, told, happened)
        every += mine
        if mine:
            (whole,) = reliability(mine, edges=())
            by_contender[name] = whole, brier_skill(mine)
    return Chances(reliability(every), by_contender)


def chances(
    answers: Iterable[Answer], name: str, told: str, happened: str
) -> list[Chance]:
    """Probabilities `told` at a contender's picks, and whether they `happened`."""
    found = []
    for answer in answers:
        pick = answer["picks"][name]
        if pick[told] is not None and not pick["error"]:
            where = answer["source"], answer["question"]
            found.append(Chance(*where, pick[told], pick[happened]))
    return found


def exponent_forecasts(answers: Iterable[Answer]) -> list[Prediction]:
    """Exponents by the evidence against those by all levels, which have an error of
    their own.
    """
    found = []
    for answer in answers:
        for e in answer["exponents"]:
            half = np.hypot(
                e["high"] - e["low"], e["fitted_high"] - e["fitted_low"]
            )
            mean = e["exponent"]
            law = f"{answer['question']} {e['knob']} per {e['per']}"
            bounds = mean, mean - half / 2, mean + half / 2
            found.append(
                Prediction(answer["source"], law, *bounds, e["fitted"])
            )
    return found


def verdicts(
    answers: Iterable[Answer],
) -> dict[tuple[str, str], int]:
    """How often each verdict on a law was told, by what all levels say."""
    found: dict[tuple[str, str], int] = {}
    for answer in answers:
        for e in answer["exponents"]:
            both = e["verdict"], e["fitted_verdict"]
            found[both] = found.get(both, 0) + 1
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


def _by_distance(
    answers: Answers,
) -> dict[tuple[float, float], Intervals]:
    found = {}
    for low, high in itertools.pairwise(RATIO_CLASSES):
        here = [a for a in answers if low <= a["times_evidence"] * 1.001 < high]
        told = _intervals(outcomes(here, ADVISOR))
        if told is not None:
            found[low, high] = told
    return found
