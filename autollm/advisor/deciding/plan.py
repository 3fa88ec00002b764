"""Which cheap runs first: those whose outcome is expected to lower the regret at the
target most, for what they cost.

The outcomes of a batch of runs are simulated under the belief (belief.py); for each of
them the belief is updated and the best candidate at the target chosen anew. What the
choice made before loses against it, on average, is what the batch lowers the expected
regret by (the knowledge gradient: P. Frazier, W. Powell, S. Dayanik, "The
knowledge-gradient policy for correlated normal beliefs", 2009). Batches are taken one
after the other, each not knowing what the earlier ones gave, by what they lower per
cost. To spend nothing is a candidate, too: it wins where runs cost more than the
compute that the better choice is expected to save.

Where noise decides, and no repeats tell how large it is, a repeat comes first: without
it no difference can be believed.

Invariant: what a run lowers is never negative; equal questions give an equal plan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, qmc

from autollm.advisor.answer import PlannedRun
from autollm.advisor.asking.window import level_beyond
from autollm.advisor.deciding.belief import Belief, Outlook, Runs
from autollm.advisor.deciding.cheap_runs import RISE, Batch, batches_of
from autollm.advisor.deciding.cost import cost_at, shown_cost
from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.noise_test import pooled_noise
from autollm.advisor.statistics.tried import Ends
from autollm.core.errors import QuestionError
from autollm.core.values import parse_value

N_OUTCOMES = 256
"""Simulated outcomes of a batch; a power of two, as Sobol's points ask for. Doubling
them moved no first run on the tests' sweeps."""
MOST_STEPS = 8
"""Of a plan: what comes later is another question once the first runs are known."""
N_CANDIDATES = 300
"""Configurations at the target between which the belief chooses."""
FURTHER = (1.0, 2.0)
"""Natural units beyond the window that a run beyond an edge may make worth a try."""
SAME_PLACE = 1e-6
"""Natural units: canonical values keep nine digits."""
DEFAULT_SHARE = 0.1
"""Of the target's cost, that a plan without a budget may spend."""
EXPLAINED = 0.5
"""Share of the variance within experiments below which noise decides: what choices
change is less than what repeats would."""
FEW_REPEATS = 3
"""Degrees of freedom below which repeats do not tell the noise."""
HOURS = re.compile(r"(.+?)\s*(?:device|gpu)[-_ ]?hours?", re.I)
SLACK = 1 + 1e-9
"""Of a budget: sums of costs are not exact."""
WHY = {
    "ray": "off the line of your levels: what each size does to {what}",
    "ratio": "at the target's own ratio, cheap: where {what} lies",
    "towards": "nearer to the target: where {what} lies",
    "lever": "far from the target: how {what} moves",
    "level": "where {what} lies at a level of yours",
}
"""By the kind of place."""
LEAST_GAIN = 0.002
"""u, below which a run lowers nothing that the simulation could tell."""


@dataclass(frozen=True)
class Budget:
    """What a plan may cost: an amount of `flops` or `device_hours`."""

    amount: float
    unit: str


def parse_budget(text: str) -> tuple[float, str]:
    """`200device-hours`, `1e19flops`, `5%` (of the target's cost) as (amount, unit).

    Raises:
        QuestionError: none of these.
    """
    hours = HOURS.fullmatch(text.strip())
    if hours:
        amount = parse_value(hours[1])
        if amount is not None and not amount.unit and amount.number > 0:
            return float(amount.number), "device_hours"
    value = parse_value(text.strip())
    units = {"": "flops", "flops": "flops", "share": "share"}
    if (
        value is None
        or value.unit not in units
        or not 0 < value.number < math.inf
    ):
        raise QuestionError(
            f"--budget {text!r}, expected 200device-hours, 1e19flops, or 5% of the "
            "target's cost."
        )
    return float(value.number), units[value.unit]


def budget_of(study: Study, text: str) -> Budget | None:
    """A budget in a unit that the evidence has; none where nothing says what runs cost.

    Raises:
        QuestionError: no budget, or the evidence does not say device hours.
    """
    asked = parse_budget(text) if text else (DEFAULT_SHARE, "share")
    amount, unit = asked
    flops = study.question.compute_flops
    if unit == "device_hours":
        hours = cost_at(study, study.question.target_z, -1)["device_hours"]
        if hours is None:
            raise QuestionError(
                "--budget in hours, but your runs do not say how many hours they took. "
                "Fix: --budget 1e19flops, or 5%."
            )
        return Budget(amount, unit)
    if unit == "flops" and not study.evidence.has_flops:
        raise QuestionError(
            "--budget in FLOPs, but your runs do not say how many they took. Fix: "
            "--budget 5%."
        )
    if flops is None:
        return None
    return Budget(amount * flops if unit == "share" else amount, "flops")


def plan_of(
    study: Study, budget: Budget | None, most_steps: int = MOST_STEPS
) -> tuple[PlannedRun, ...]:
    """The runs in the order in which they should be made, and `spend nothing` where no
    further one pays; nothing at all where there is nothing to choose at the target.
    """
    if not study.has_choice:
        return ()
    return _Plan(study, budget).made(most_steps)


class _Plan:
    """One plan: the belief on candidates at the target and on all runs together."""

    def __init__(self, study: Study, budget: Budget | None):
        self._study = study
        self._budget = budget
        belief = Belief(study)
        every = batches_of(study, belief)
        self._batches = self._affordable(every)
        self._buys_nothing = bool(every) and not self._batches
        decisions = Runs.at(_candidates(study, belief), study.question.target_z)
        self._n = len(decisions)
        self._slices = []
        parts = [decisions]
        at = self._n
        for batch in self._batches:
            self._slices.append(slice(at, at + len(batch.points)))
            parts.append(batch.runs)
            at += len(batch.points)
        runs = Runs.joined(parts)
        self._outlooks = belief.of(runs)
        mean = sum(o.weight * o.mean for o in self._outlooks)
        self._choice = int(np.argmin(mean[: self._n]))
        self._noise = self._noise_of_runs(belief, len(runs))
        self.regret = min(self._regret(), 1.0)

    def _noise_of_runs(self, belief: Belief, n: int) -> np.ndarray:
        """sd of every run's u [n]; it lies about RISE above its floor, or less."""
        levels = np.zeros(n, dtype=int)
        for batch, where in zip(self._batches, self._slices, strict=True):
            levels[where] = batch.place.level
        return belief.noise(levels, np.full(n, RISE))

    def _affordable(self, batches: list[Batch]) -> list[Batch]:
        if self._budget is None:
            return batches
        unit = self._budget.unit
        most = self._budget.amount * SLACK
        return [batch for batch in batches if batch.cost(unit) <= most]

    def made(self, most_steps: int) -> tuple[PlannedRun, ...]:
        planned: list[PlannedRun] = []
        chosen: list[int] = []
        gained = 0.0
        first = _repeat_first(self._study, self._batches)
        while len(chosen) < most_steps:
            found = self._next(chosen, gained, first)
            if found is None:
                planned.append(self._nothing(gained, bool(planned)))
                break
            number, gain = found
            told = self._told(number, gained, gain, len(chosen) + 1, first)
            first = None
            planned += told
            chosen.append(number)
            gained = gain
        return tuple(planned)

    def _next(
        self, chosen: list[int], gained: float, first: int | None
    ) -> tuple[int, float] | None:
        """The batch that lowers the regret most per cost, and what all chosen ones then
        lower it by; None where nothing pays."""
        if first is not None:
            return first, max(self.gain([first]), gained)
        left = math.inf
        if self._budget is not None:
            spent = sum(self._cost(number) for number in chosen)
            left = self._budget.amount * SLACK - spent
        best = None
        best_rate = 0.0
        for number in range(len(self._batches)):
            if number in chosen or self._cost(number) > left:
                continue
            gain = self.gain([*chosen, number])
            rate = (gain - gained) / self._cost(number)
            pays = gain - gained > max(LEAST_GAIN, self._worth(number))
            if pays and rate > best_rate:
                best = number, gain
                best_rate = rate
        return best

    def _cost(self, number: int) -> float:
        """In the budget's unit; runs, where nothing says what they cost."""
        batch = self._batches[number]
        if self._budget is None:
            return float(len(batch.points))
        return batch.cost(self._budget.unit)

    def _worth(self, number: int) -> float:
        """u whose compute a batch costs: below it, spending nothing is better. 0 where
        no law says what loss costs."""
        law = self._study.loss_law
        flops = self._study.question.compute_flops
        cost = self._batches[number].place.cost["flops"]
        if law is None or flops is None or cost is None or law.slope >= 0:
            return 0.0
        share = len(self._batches[number].points) * cost / flops
        return -law.slope * math.log2(1 + share) / self._study.spread

    def gain(self, numbers: Sequence[int]) -> float:
        """u that batches together lower the expected regret by."""
        runs = np.concatenate([np.r_[self._slices[n]] for n in numbers])
        noise = self._noise[runs]
        weights = np.array([o.weight for o in self._outlooks])
        views = [_ImaginedRuns(o, runs, self._n, noise) for o in self._outlooks]
        draws = _normal(len(runs))
        shares = np.round(np.cumsum(weights) * len(draws)).astype(int)
        total = 0.0
        begin = 0
        for view, end in zip(views, shares, strict=True):
            outcomes = view.outcomes(draws[begin:end])
            begin = end
            if not len(outcomes):
                continue
            log_weights = [
                np.log(other.weight) + other.log_density(outcomes)
                for other in views
            ]
            posterior = np.exp(log_weights - np.max(log_weights, axis=0))
            posterior /= posterior.sum(axis=0)
            mean = np.zeros((len(outcomes), self._n))
            for share, other in zip(posterior, views, strict=True):
                mean += share[:, None] * other.updated(outcomes)
            lost = mean[:, self._choice] - mean.min(axis=1)
            total += float(lost.sum())
        return total / len(draws)

    def _regret(self) -> float:
        """u that the present choice loses against the best candidate, expected."""
        draws = _normal(min(self._n, 64), 4 * N_OUTCOMES)
        total = 0.0
        for outlook in self._outlooks:
            inside = outlook.covariance[: self._n, : self._n]
            values, vectors = np.linalg.eigh(inside)
            top = np.argsort(values)[-draws.shape[1] :]
            roots = vectors[:, top] * np.sqrt(np.maximum(values[top], 0.0))
            u = outlook.mean[: self._n] + draws @ roots.T
            lost = u[:, self._choice] - u.min(axis=1)
            total += outlook.weight * float(lost.mean())
        return total

    def _nothing(self, gained: float, after_runs: bool) -> PlannedRun:
        why = "spend nothing: no cheap run is expected to save as much compute at the "
        why += "target as it costs"
        if self._buys_nothing:
            why = "spend nothing: the budget pays for no run that could be made"
        if after_runs:
            why = "stop here: no further run is expected to save what it costs"
        regret = max(self.regret - gained, 0.0)
        nothing = {"flops": 0.0, "device_hours": 0.0}
        return PlannedRun(None, None, nothing, regret, regret, 0, why)

    def _told(
        self, number: int, before: float, after: float, step: int, first: object
    ) -> list[PlannedRun]:
        """The batch's runs in the user's words."""
        batch = self._batches[number]
        study = self._study
        shown = {
            study.native(name): value
            for name, value in batch.place.fidelity.items()
        }
        why = _why(study, batch, first is not None)
        cost = shown_cost(study, batch.place.cost)
        told = []
        for point in batch.points:
            configuration = study.run_at(point)
            told.append(
                PlannedRun(
                    shown,
                    configuration,
                    cost,
                    max(self.regret - before, 0.0),
                    max(self.regret - after, 0.0),
                    step,
                    why,
                    tuple(map(study.native, batch.place.about)),
                )
            )
        return told


class _ImaginedRuns:
    """A few runs under one outlook: their outcomes, and what these change."""

    def __init__(
        self, outlook: Outlook, runs: np.ndarray, n: int, noise: np.ndarray
    ):
        self.weight = outlook.weight
        self._mean = outlook.mean[runs]
        self._decisions = outlook.mean[:n]
        covariance = outlook.covariance[np.ix_(runs, runs)]
        self._root = np.linalg.cholesky(covariance + np.diag(noise**2))
        across = outlook.covariance[np.ix_(runs, np.arange(n))]
        self._gain = np.linalg.solve(self._root, across)

    def outcomes(self, draws: np.ndarray) -> np.ndarray:
        """u of the runs [n_draws, m] from standard normal draws."""
        return self._mean + draws @ self._root.T

    def log_density(self, outcomes: np.ndarray) -> np.ndarray:
        scaled = np.linalg.solve(self._root, (outcomes - self._mean).T)
        size = np.log(np.diag(self._root)).sum()
        return -0.5 * np.sum(scaled**2, axis=0) - size

    def updated(self, outcomes: np.ndarray) -> np.ndarray:
        """Expected u of the candidates once outcomes are known, [n_draws, n]."""
        scaled = np.linalg.solve(self._root, (outcomes - self._mean).T)
        return self._decisions + scaled.T @ self._gain


def _normal(dimensions: int, n: int = N_OUTCOMES) -> np.ndarray:
    """Standard normal points [n, dimensions] that fill space evenly."""
    sobol = qmc.Sobol(max(dimensions, 1), seed=0)
    inside = np.clip(sobol.random(n), 1e-6, 1 - 1e-6)
    shuffled = np.random.default_rng(0).permutation(inside)
    return norm.ppf(shuffled)


def _beyond(
    study: Study, ends: Ends, points: np.ndarray
) -> Iterator[np.ndarray]:
    """The outermost candidates further out, where an optimum lies there: what a run
    beyond an edge shows opens the window of the next question."""
    name = ends.knob.name
    knob = study.question.space.knobs[study.question.space.names.index(name)]
    if not ends.side or level_beyond(knob, ends.side) is None:
        return
    at = study.question.space.slices[name].start
    outermost = (ends.side * points[:, at]).max()
    outer = points[ends.side * points[:, at] > outermost - SAME_PLACE]
    for step in FURTHER:
        moved = outer.copy()
        moved[:, at] += ends.side * step
        yield moved


def _candidates(study: Study, belief: Belief) -> np.ndarray:
    """At most N_CANDIDATES of the target's candidates: the best as expected, and a
    seeded share of the rest."""
    points = study.question.view.candidates
    for ends in study.ends:
        points = np.concatenate([points, *_beyond(study, ends, points)])
    if len(points) <= N_CANDIDATES:
        return points
    centre = belief.centre(study.question.target_z)
    columns = list(study.response.columns)
    off = np.linalg.norm(points[:, columns] - centre, axis=1)
    order = np.argsort(off, kind="stable")
    half = N_CANDIDATES // 2
    rng = np.random.default_rng(0)
    others = rng.choice(order[half:], N_CANDIDATES - half, replace=False)
    return points[np.sort(np.append(order[:half], others))]


def _repeat_first(study: Study, batches: list[Batch]) -> int | None:
    """The cheapest repeat, where noise decides and is not known."""
    _, repeats = pooled_noise(study.evidence)
    if study.response.explained >= EXPLAINED or repeats >= FEW_REPEATS:
        return None
    found = [
        (batch.place.cost["flops"] or 0.0, number)
        for number, batch in enumerate(batches)
        if batch.kind == "repeat"
    ]
    return min(found)[1] if found else None


def _why(study: Study, batch: Batch, noise_decides: bool) -> str:
    if noise_decides:
        return (
            "noise decides, and no repeats say how large it is: repeat the baseline "
            "before any difference is believed"
        )
    what = "the optimum"
    if batch.about:
        what = f"the best {study.native(batch.about)}"
    if batch.kind == "repeat":
        return "a repeat of the best run there: is its lead luck?"
    if batch.kind == "edge":
        return f"{what} lies beyond what was tried there"
    together = " (only together do they tell)" if len(batch.points) > 1 else ""
    told = WHY[batch.kind].format(what=what)
    return f"{told}{together}"
