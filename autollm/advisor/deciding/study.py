"""Everything computed from evidence and a question, once, for all parts of the answer.

Invariant: equal evidence and question give an equal study.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from autollm.advisor.asking.constraint import Constraints
from autollm.advisor.asking.distance import Distance, distance_of, octaves_of
from autollm.advisor.asking.native import Names, names_of
from autollm.advisor.asking.question import Question, make_question
from autollm.advisor.asking.window import (
    as_typed,
    outward_sides,
    refined,
    widened,
)
from autollm.advisor.deciding.decide import (
    DECIDER,
    Backtest,
    Choice,
    backtests_of,
    choose,
    ready,
)
from autollm.advisor.evidence.evidence import Evidence
from autollm.advisor.evidence.trunks import clusters_of
from autollm.advisor.statistics.divergence import Divergence, fit_divergence
from autollm.advisor.statistics.floors import floor_of
from autollm.advisor.statistics.laws import (
    Ladder,
    Law,
    Trend,
    knob_laws,
    ladder_of,
)
from autollm.advisor.statistics.loss_law import LossLaw, fit_loss_law
from autollm.advisor.statistics.regret_error import RegretError, regret_error
from autollm.advisor.statistics.response import Response, fit_response
from autollm.advisor.statistics.rows import Rows
from autollm.advisor.statistics.told import Tried, learn
from autollm.advisor.statistics.tried import Ends, compared, ends_of, with_share
from autollm.core.errors import SpaceError
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.squashing import exp_above_one, squash
from autollm.policies.surrogates.spread import expected_spread


@dataclass(frozen=True)
class Noise:
    """sd of one run's outcome; origin: replicas, residual (an upper bound), or none."""

    sd: float | None
    origin: str


@dataclass(frozen=True)
class Study:
    """`rows`, `response.levels`: in the order of `question.levels`. `narrowed`: by what
    the error of regrets changed once runs at the target were known.
    """

    evidence: Evidence
    question: Question
    rows: tuple[Rows, ...]
    response: Response
    ladder: Ladder
    octaves: np.ndarray
    laws: tuple[Law, ...]
    trends: dict[str, Trend]
    loss_law: LossLaw | None
    divergence: Divergence
    noise: Noise
    distance: Distance
    backtests: tuple[Backtest, ...]
    policy: Any
    ends: tuple[Ends, ...] = ()
    tried: tuple[Tried, ...] = ()
    narrowed: float = 1.0

    @property
    def is_prior(self) -> bool:
        """Whether the levels do not differ, so that nothing says how optima move."""
        return len(self.question.levels) < 2

    @cached_property
    def names(self) -> Names:
        return names_of(
            self.question.space, self.evidence.columns, self.evidence.runs
        )

    def run_at(self, point: np.ndarray) -> dict[str, Any]:
        """A point [d] as a run to make: the user's columns, numbers as typed."""
        space = self.question.space
        return self.names.show(as_typed(space, space.decode(point)))

    def native(self, name: str) -> str:
        """The user's own word for a knob, fidelity or objective; of a knob that is chosen
        beside some values of another alone, with these.
        """
        if name not in self.names.spellings:
            return self.evidence.native(name)
        column = self.names.spelling(name).column
        for knob in self.question.space.knobs:
            if knob.name == name and knob.when:
                values = " or ".join(map(str, knob.when[1]))
                return f"{column} of {values}"
        return column

    @cached_property
    def categorical(self) -> tuple[str, ...]:
        """Columns of settings that are categories: two acceptable ones are no range."""
        kinds = ("categorical", "list")
        knobs = [k for k in self.question.space.knobs if k.scale in kinds]
        return tuple(self.names.spelling(k.name).column for k in knobs)

    @cached_property
    def one_valued(self) -> tuple[str, ...]:
        """Columns of settings of which one value was tried."""
        knobs = [k for k in self.question.space.knobs if len(k.levels) == 1]
        return tuple(self.names.spelling(k.name).column for k in knobs)

    def place(self, label: str) -> str:
        """An experiment's label without source and context, the same in all."""
        return label.removeprefix(f"{self.evidence.source}/").partition(" {")[0]

    def chosen(self, k: int) -> Choice:
        """The next k proposals: what was run at the target is not proposed again."""
        candidates = self.question.view.candidates
        return choose(
            self.policy,
            self.question.view,
            k,
            self.divergence.probability(candidates, self.optimum),
            self.tried,
            np.concatenate(
                [r.points for r in self.rows_there] or [candidates[:0]]
            ),
        )

    @property
    def rows_there(self) -> list[Rows]:
        """Of the evidence at the target itself."""
        there = self.question.target_z
        return [rows for rows in self.rows if np.allclose(rows.z, there)]

    def sampled(self, points: np.ndarray) -> np.ndarray:
        """u of points [n, d] under every draw of the policy, [n_draws, n]; of a number
        that has two values their difference is that of the runs.
        """
        moved, added = compared(
            self.ends, self.question.space, points, self.spread
        )
        u = self.policy.sampled(moved)
        return with_share(u, added) if added.any() else u

    @cached_property
    def ends_by_name(self) -> dict[str, Ends]:
        return {one.knob.name: one for one in self.ends}

    def is_unseen(self, knob: str) -> bool:
        """Whether a number has several values, and an optimum that no run shows."""
        ends = self.ends_by_name.get(knob)
        return ends is not None and not ends.side

    def unseen_in_words(self, knob: str) -> str:
        """What is known of a number whose optimum no run shows."""
        ends = self.ends_by_name[knob]
        return ends.in_words(
            self.native(knob), lambda value: self.names.value(knob, value)
        )

    @cached_property
    def spread(self) -> float:
        """Loss units of one u at the target."""
        return expected_spread(self.question.view)

    @property
    def has_choice(self) -> bool:
        """Whether there are two configurations to choose between."""
        return len(self.question.view.candidates) > 1

    @cached_property
    def regret_error(self) -> RegretError | None:
        """How far regrets at the target may be off; None where configurations differ in
        nothing, or in no outcome.
        """
        losses = [e.loss for e in self.question.view.evidence]
        differ = any(np.median(loss) > np.min(loss) for loss in losses)
        if not self.has_choice or not differ:
            return None
        own = []
        for test in self.own_backtests:
            own.append((test.regret, float(np.log2(test.times_evidence))))
        noise = self.noise.sd if self.noise.origin == "replicas" else None
        beyond = -float(self.octaves.max())
        least = (noise or 0.0) / self.spread
        error = regret_error(own, beyond, least)
        return RegretError(
            max(error.sd * self.narrowed, least),
            max(error.cautious_sd * self.narrowed, least),
            error.df,
            error.n_own,
        )

    @cached_property
    def lowest_expected(self) -> float:
        """u that the policy expects of its best candidate."""
        u = self.sampled(self.question.view.candidates)
        return float(np.min(self.policy.weights @ u))

    @cached_property
    def lost_to_constraints(self) -> float:
        """Loss by which the best candidate is expected to lie above the best that there
        would be without constraints, which the law of loss forecasts.
        """
        anywhere = self.question.unconstrained
        if anywhere is None:
            return 0.0
        lowest = np.min(self.policy.weights @ self.sampled(anywhere))
        both = exp_above_one(np.array([self.lowest_expected, lowest]))
        return self.spread * max(float(both[0] - both[1]), 0.0)

    @cached_property
    def worst_seen(self) -> float:
        """u of the worst run of any experiment: beyond it a bowl is a guess."""
        losses = [e.loss for e in self.question.view.evidence]
        return max(float(squash(loss).max()) for loss in losses)

    @property
    def sign(self) -> float:
        """-1 where the objective is to be maximized: losses are negated outcomes."""
        return -1.0 if self.question.view.direction == "max" else 1.0

    @cached_property
    def optimum(self) -> np.ndarray:
        """The decider's optimum at the target, in the response's coordinates."""
        point = getattr(self.policy, "target_optimum", None)
        if point is None:
            point = self.question.space.window.mean(axis=0)
        return point[list(self.response.columns)]

    @property
    def own_backtests(self) -> list[Backtest]:
        """The decider's."""
        return [b for b in self.backtests if b.policy == self.policy.policy_id]

    @property
    def optimism(self) -> float:
        """u that the decider's own picks lost beyond what it expected, averaged over its
        backtests and shrunk as if four more had shown none.
        """
        gaps = [b.u - b.predicted for b in self.own_backtests]
        return max(float(np.sum(gaps)) / (len(gaps) + 4), 0.0)


def study(
    evidence: Evidence,
    fidelity: dict[str, float],
    trials: int = 3,
    with_backtests: bool = True,
    levels: Sequence[int] = (),
    constraints: Constraints | None = None,
    pool: np.ndarray | None = None,
) -> Study:
    """Fit everything. `levels`: dense ids of the experiments that count; none: all.
    `pool` [n, d]: the candidates, where they are known.
    """
    table = evidence.table
    levels = _with_outcomes(table, levels or range(len(table.experiments)))
    rows = tuple(rows_of(evidence, e) for e in levels)
    draft = table.points[
        levels[0]
    ]  # candidates are laid out once the window is known
    question = make_question(table, levels, fidelity, trials, pool=draft)
    response = fit_response(question.space, rows)
    z = np.array([r.z for r in rows])
    octaves = octaves_of(question, z)
    ladder = ladder_of(tuple(fidelity), z, question.target_z, octaves)
    laws, trends = knob_laws(response, ladder)
    outward = outward_sides(question.space, response, trends)
    by_cost = [rows[i] for i in np.argsort(octaves, kind="stable")]
    sides = dict(zip(question.space.names, outward.tolist(), strict=True))
    unbracketed = {n: s for n, s in sides.items() if n not in trends}
    ends = ends_of(question.space, by_cost, response, unbracketed)
    space = refined(widened(question.space, outward), response.names)
    question = make_question(
        table,
        levels,
        fidelity,
        trials,
        space,
        pool,
        constraints,
        stopped=_stopped(levels, response),
        ends=ends,
    )
    return Study(
        evidence,
        question,
        rows,
        response,
        ladder,
        octaves,
        laws,
        trends,
        _loss_law(
            question, response, ladder, octaves, clusters_of(evidence, levels)
        ),
        fit_divergence(rows, response),
        _noise(evidence, response),
        distance_of(z, question.target_z),
        backtests_of(question, octaves) if with_backtests else (),
        ready(DECIDER, question.view),
        ends,
    )


def _with_outcomes(table: OutcomeTable, levels: Sequence[int]) -> list[int]:
    """The levels of which some run did not diverge: the others have no optimum, and no
    loss to tell; all of them, where that leaves none.
    """
    kept = [e for e in levels if not table.column("diverged", e).all()]
    return kept or list(levels)


def after(found: Study, tried: Sequence[Tried]) -> Study:
    """The study once runs at the target are known: they say where its optimum lies, and
    how high its level (told.py). How far regrets may be off shrinks, or grows, by what
    the best candidate then is expected to lose.
    """
    before = _as_unsure_as_regrets(found)
    policy = copy.copy(before.policy)
    law = found.loss_law
    policy.weights, forecast = learn(
        before.sampled(np.array([run.point for run in tried])),
        tried,
        policy.weights,
        found.spread,
        max(found.noise.sd or 0.0, found.response.scatter_sd),
        None if law is None else law.forecast,
    )
    if law is not None and forecast is not None:
        law = replace(law, forecast=forecast)
    told = replace(before, policy=policy, tried=tuple(tried), loss_law=law)
    lowest = before.lowest_expected
    narrowed = told.lowest_expected / lowest if lowest > 0 else 1.0
    return replace(told, narrowed=max(narrowed, 0.0))


def _as_unsure_as_regrets(found: Study) -> Study:
    """The study with draws so wide that the best candidate loses what hidden experiments
    say: what the draws leave open alone is the least of it.
    """
    error = found.regret_error
    lowest = found.lowest_expected
    if error is None or not 0 < lowest < error.miss:
        return found
    factor = float(np.sqrt(error.miss / lowest))
    return replace(found, policy=found.policy.widened(factor))


def rows_of(evidence: Evidence, e: int) -> Rows:
    """All rows of one experiment."""
    table = evidence.table
    return Rows(
        table.experiments[e].label,
        table.experiments[e].z,
        table.points[e],
        table.losses(e),
        table.column("diverged", e),
        _bounds(evidence, e),
    )


def _stopped(
    levels: Sequence[int], response: Response
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """By dense id: what the fit expects of runs that were stopped for doing badly."""
    found = {}
    for e, level in zip(levels, response.levels, strict=True):
        if level.stopped is not None and len(level.stopped[1]):
            found[e] = level.stopped
    return found


def _bounds(
    evidence: Evidence, e: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Stopped runs of an experiment as `Rows.bounds`; those of another space count for
    nothing.
    """
    here = evidence.table.experiments[e]
    found = evidence.bounds.get(here.experiment_id)
    if found is None:
        return None
    points = []
    kept = []
    for number, configuration in enumerate(found.configurations):
        try:
            points.append(here.space.encode(configuration))
            kept.append(number)
        except SpaceError:  # a knob's value that no finished run has
            continue
    if not points:
        return None
    return np.array(points), found.losses[kept], found.sides[kept]


def _loss_law(
    question: Question,
    response: Response,
    ladder: Ladder,
    octaves: np.ndarray,
    clusters: np.ndarray,
) -> LossLaw | None:
    """None also where the objective is to be maximized: a benchmark is no loss, and its
    ceiling is not a power law's floor.
    """
    if question.view.direction == "max":
        return None
    view = question.view
    floor = floor_of(view.context, view.objective)
    law = fit_loss_law(response.levels, ladder, octaves, clusters, floor)
    for level in response.levels:
        there = np.allclose(level.z, question.target_z)
        # what was run there says more than a law through other sizes
        if law is not None and there and level.reached_sd < law.forecast.sd:
            own = replace(law.forecast, mean=level.reached, sd=level.reached_sd)
            law = replace(law, forecast=own)
    return law


def _noise(evidence: Evidence, response: Response) -> Noise:
    if evidence.sd_replicas is not None and evidence.sd_replicas > 0:
        return Noise(evidence.sd_replicas, "replicas")
    has_fit = bool(response.columns) or response.explained > 0
    if response.scatter_sd > 0 and has_fit:
        return Noise(response.scatter_sd, "residual")
    return Noise(None, "none")
