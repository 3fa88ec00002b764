"""What a configuration is worth at the target: its outcome, its regret, the compute that
would buy back what it loses, and the range of each knob that loses almost nothing.

The policy's draws say how much more a configuration loses than the best candidate;
how far that may be off, hidden experiments say (regret_error.py). u (regret in units of
median - best) becomes loss by the spread expected at the target; loss becomes compute by
the slope of the loss law. Where there is no law, neither outcome nor compute is given,
and where nothing differs no regret; the reason is.

Invariant: every interval holds what unseen experiments showed of regrets, the law and
one run's noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.advisor.answer import Interval
from autollm.advisor.deciding.study import Study
from autollm.advisor.evidence.resting import chosen
from autollm.advisor.statistics.forecast import END_SD, Forecast
from autollm.advisor.statistics.regret_error import LEVEL
from autollm.advisor.statistics.told import MOST_LOST
from autollm.advisor.words import FEW_VALUES, NO_CHOICE
from autollm.core.errors import QuestionError, SpaceError
from autollm.core.spaces.knobs import Knob, is_number
from autollm.gym.tables.squashing import exp_above_one

WASTE = 0.01
"""Of compute, that an acceptable range may cost."""
N_STEPS = 81
"""Places of a knob that are tried for its range."""
NO_LAW = (
    "no law of loss with compute: fewer than three levels that fall with scale"
)
NO_BENCHMARK = "what is maximized follows no law of loss, and is not forecast (unforecastable)"
NO_DIFFERENCE = (
    "settings changed no outcome of one size, so no unit of regret is known"
)


@dataclass(frozen=True)
class Worth:
    """Of one configuration at the target."""

    predicted: Interval | None
    expected_regret: Interval | None
    compute_equivalent: float | None


def worth(study: Study, u: np.ndarray, weights: np.ndarray) -> Worth:
    """From draws of u [n_samples], to be weighed by weights."""
    regret = None
    excess = 0.0
    lost = 0.0
    excess_sd = 0.0
    excess_half = 0.0
    error = study.regret_error
    if error is not None:
        above = float(weights @ u) - study.lowest_expected
        regret = error.regret(max(above, 0.0))
        # a regret ends at 1; what a hopeless run gives does not
        excess = study.spread * unsquashed(error.miss + above)
        lost = study.lost_to_constraints
        excess_sd = study.spread * error.sd
        excess_half = study.spread * error.half_width
    law = study.loss_law
    if law is None:
        return Worth(None, regret, None)
    noise = study.noise.sd or 0.0
    sd = math.hypot(law.forecast.sd, excess_sd, noise)
    at = law.forecast.mean + excess + lost
    most = law.forecast.most + excess + lost
    most += math.hypot(excess_half, END_SD * noise)
    bounds = Forecast(at, sd, law.forecast.df, most).interval(LEVEL)
    outcome = sorted(study.sign * bound for bound in bounds)
    predicted = Interval(study.sign * at, *outcome, LEVEL)
    factor = None if regret is None else compute_factor(study, excess)
    return Worth(predicted, regret, factor)


def no_regret(study: Study) -> str:
    """Why there is no regret; empty where there is one."""
    if study.regret_error is not None:
        return ""
    if study.has_choice:
        return NO_DIFFERENCE
    return FEW_VALUES if study.ends else NO_CHOICE


def loses(study: Study, u: np.ndarray, best: np.ndarray) -> Interval:
    """What a configuration loses against another one, loss units, from the draws of both
    [n_samples]: the difference of what `worth` expects of them. Their errors go
    together as far as their draws do: equal ones lose nothing for certain.
    """
    weights = study.policy.weights
    there = float(weights @ best) - study.lowest_expected
    here = there + float(weights @ (u - best))
    half = 0.0
    error = study.regret_error
    if error is not None:
        apart = math.sqrt(2 * (1 - _correlation(u, best, weights)))
        half = error.half_width * apart
        there += error.miss
        here += error.miss
    told = []
    for at in (here, here - half, here + half):
        lost = unsquashed(at) - unsquashed(there)
        told.append(study.spread * lost)
    return Interval(*told, LEVEL)


def _correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Of weighed draws, none below 0; 1 of equal ones."""
    if np.allclose(a, b, rtol=0, atol=1e-9):
        return 1.0
    off_a = a - weights @ a
    off_b = b - weights @ b
    spread = math.sqrt((weights @ off_a**2) * (weights @ off_b**2))
    if spread <= 0:
        return 0.0
    return min(max(float(weights @ (off_a * off_b)) / spread, 0.0), 1.0)


def unsquashed(u: float) -> float:
    """u as a share of median - best, at most that of MOST_LOST."""
    return float(exp_above_one(np.minimum(u, MOST_LOST)))


def compute_factor(study: Study, excess: float) -> float | None:
    """How many times less compute reaches the same loss at the best configuration: what
    the run wastes. 1: nothing.
    """
    law = study.loss_law
    if law is None or law.slope >= 0:
        return None
    reducible = law.forecast.mean - law.parameters["E"]
    if reducible <= 0:
        return None
    per_octave = -law.slope / reducible
    octaves = math.log1p(max(excess, 0.0) / reducible) / per_octave
    return float(2.0 ** min(octaves, 60.0))


def affordable_u(study: Study) -> float | None:
    """u that costs WASTE of the compute; None without a law."""
    law = study.loss_law
    if law is None or law.slope >= 0:
        return None
    return -law.slope * math.log2(1 + WASTE) / study.spread


def acceptable(
    study: Study, point: np.ndarray, u_allowed: float
) -> dict[str, list]:
    """By the user's column: the range around a point [d] that adds at most `u_allowed`
    to the expected u, the other knobs held; categories for those that have no order.
    """
    found: dict[str, list] = {}
    base = float(_expected(study, point[None])[0])
    for knob, where in study.question.space.slices.items():
        entry = study.question.space.knobs[
            study.question.space.names.index(knob)
        ]
        if not chosen(study.question.space, point[None], knob)[0]:
            continue
        if entry.scale == "simplex":
            found |= _parts(study, entry, point, where, base + u_allowed)
        elif entry.scale in ("log", "linear", "integer", "ordinal"):
            column = study.names.spelling(knob).column
            found[column] = _range(
                study, entry, point, where.start, base + u_allowed
            )
        elif entry.scale == "categorical":
            column = study.names.spelling(knob).column
            found[column] = _categories(study, entry, point, base + u_allowed)
    return found


def optima_of(study: Study, point: np.ndarray) -> dict[str, float]:
    """By knob: the expected optimum at the target of each number of a point [d] that has
    one, natural units, the other settings held.
    """
    space = study.question.space
    found = {}
    for knob in space.knobs:
        is_chosen = chosen(space, point[None], knob.name)[0]
        if knob.name in study.response.names and is_chosen:
            found[knob.name] = _lowest(study, point, knob)
    return found


def _lowest(study: Study, point: np.ndarray, knob: Knob) -> float:
    """Where within a number's window the expected u is least."""
    j = study.question.space.slices[knob.name].start
    places = np.linspace(*knob.window[:, 0], N_STEPS)
    points = np.tile(point, (len(places), 1))
    points[:, j] = places
    return float(places[int(np.argmin(_expected(study, points)))])


def _expected(study: Study, points: np.ndarray) -> np.ndarray:
    return study.policy.weights @ study.sampled(points)


def _allowed(study: Study, points: np.ndarray, most: float) -> np.ndarray:
    """Which points [n, d] are expected to lose at most that, and keep the constraints."""
    good = _expected(study, points) <= most + 1e-12
    return good & study.question.keeps(points)


def _range(
    study: Study, knob: Knob, point: np.ndarray, j: int, most: float
) -> list:
    low, high = knob.window[:, 0]
    at = np.unique(np.append(np.linspace(low, high, N_STEPS), point[j]))
    ends = study.ends_by_name.get(knob.name)
    if study.is_unseen(knob.name) or knob.scale in ("integer", "ordinal"):
        at = np.unique(np.append(knob.grid, point[j]))
    points = np.tile(point, (len(at), 1))
    points[:, j] = at
    allowed = _allowed(study, points, most)
    if ends is not None and ends.is_better:
        allowed &= ends.holds(at)
    first, last = _run_of(allowed, int(np.argmin(np.abs(at - point[j]))))
    ends = [_neat(knob, knob.decode(float(at[i]))) for i in (first, last)]
    return [study.names.value(knob.name, value) for value in ends]


def _neat(knob: Knob, value: Any) -> Any:
    """A level as it is, any other number to four digits."""
    if not is_number(value) or value in knob.levels:
        return value
    return float(f"{value:.4g}")


def _run_of(allowed: np.ndarray, here: int) -> tuple[int, int]:
    """First and last place of those around `here` between which all are allowed."""
    refused = np.flatnonzero(~allowed)
    below = refused[refused < here]
    above = refused[refused > here]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(allowed) - 1
    return first, last


def _categories(
    study: Study, knob: Knob, point: np.ndarray, most: float
) -> list:
    """The levels with which the other settings, as the user writes them, still make a
    configuration that is allowed: one that asks for another setting, or takes the same
    rate far outside of what it was tried at, is none.
    """
    space = study.question.space
    shown = study.names.show(space.decode(point))
    column = study.names.spelling(knob.name).column
    found = []
    for level in knob.levels:
        try:
            written = study.names.read(shown | {column: level})
            other = space.encode(written)
        except (QuestionError, SpaceError):
            continue
        good = space.inside(other) and _allowed(study, other[None], most)[0]
        if good or level == shown[column]:
            found.append(level)
    return found


def _parts(
    study: Study, knob: Knob, point: np.ndarray, where: slice, most: float
) -> dict[str, list]:
    """A range a part, the other parts keeping their proportions."""
    weights = knob.decode(point[where])
    shares = np.linspace(0, 1, N_STEPS)
    found = {}
    for part, weight in weights.items():
        at = np.unique(np.append(shares, weight))
        points = np.tile(point, (len(at), 1))
        for i, share in enumerate(at):
            points[i, where] = knob.encode(_with_share(weights, part, share))
        allowed = _allowed(study, points, most)
        first, last = _run_of(allowed, int(np.argmin(np.abs(at - weight))))
        name = f"{knob.name}.{part}"
        ends = [study.names.value(name, at[i]) for i in (first, last)]
        found[study.names.spelling(name).column] = ends
    return found


def _with_share(
    weights: dict[str, float], part: str, share: float
) -> dict[str, float]:
    """A mixture with another share of one part; the others keep their proportions, and
    have equal shares where none of them was in it."""
    rest = 1 - weights[part]
    moved = {}
    for other, weight in weights.items():
        of_rest = 1 / max(len(weights) - 1, 1)
        if rest > 0:
            of_rest = weight / rest
        moved[other] = (1 - share) * of_rest
    return moved | {part: share}
