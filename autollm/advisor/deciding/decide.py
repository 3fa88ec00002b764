"""Which configurations: one policy proposes, the same one is tried on hidden experiments
of the user's own history.

A backtest hides one experiment and predicts it from cheaper ones, at least three (two
cannot show a bend), as far below it as the question's evidence lies below the target:
from a neighbour everything is easy. The k-th proposal is chosen not knowing what the
earlier ones gave: it is the candidate that lowers the expected best of all k most, over
the policy's particles. A divergence costs a run, so it counts as a regret of one.

Invariant: a backtest's policy sees no row of the hidden experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.asking.question import Question, make_question
from autollm.advisor.deciding.decider import Decider
from autollm.advisor.evidence.resting import at_rest, chosen
from autollm.advisor.statistics.told import Tried
from autollm.core.errors import AutoLLMError
from autollm.core.spaces.distances import nearest
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.regret import regret
from autollm.gym.tasks.view import TaskView
from autollm.policies.registry import make_policy

DECIDER = "moving-bowl"
"""The policy that proposes, in every space. On hidden experiments of seven sources (no
target of any suite; docs/experiments.md) it lost less than copying the nearest one in
most, and across a gap in compute in nearly all; weighing both by one's own backtests was
not told better."""
WHY_TRUSTED = (
    "the library's rule: one bowl is fitted to all your experiments together. Your own "
    "backtests set how wide its intervals are, and do not choose the rule: weighing "
    "rules by them was not told better on hidden experiments of seven sources"
)
TRUSTED_SHARE = 0.65
"""Probability that the draws know the best candidate at all; else any may be it. Of the
draws' shares, this much came true (docs/experiments.md)."""
LEAST_LEVELS = 3
OTHERS = ("power-law", "copy-nearest", "pool-centre")
"""Policies that are backtested beside the decider: the textbook, the habit, the
control. They take no part in the decision."""
CHEAPER = 1.1
"""Times that an experiment costs at least of those that it is predicted from."""
MOST_BACKTESTS = 5
"""Hidden experiments, the most expensive ones: they are the most like the target."""
PRICE_OF_DIVERGENCE = 1.0
"""In regret: a diverged run gives nothing, as the median of the table or worse."""
REPEATED = 0.05
"""Natural units below which a candidate is a run that was made: values are told with
four digits."""
LEAST_GAIN = 0.002
"""u by which a further proposal lowers the expected best at least, beside runs that were
made at the target: less than any noise."""
TIE = 1e-6
"""Share of its own expected u that orders candidates which help the earlier picks
alike."""
LEAST_ROWS = 8
"""Rows of an experiment from which its median and best say how good a pick is."""


@dataclass(frozen=True)
class Backtest:
    """What a policy's first proposal was worth on a hidden experiment. regret: on the
    smoothed table; predicted, u: what it expected and what the pick gave, in u.
    """

    policy: str
    target: str
    times_evidence: float
    regret: float
    realised_regret: float
    predicted: float
    u: float


@dataclass(frozen=True)
class Choice:
    """Proposals. points [k, d]; u [n_samples, k]: draws of each one's u, to be weighed
    by weights [n_samples]; probability_best [k].
    """

    points: np.ndarray
    u: np.ndarray
    weights: np.ndarray
    probability_best: np.ndarray

    def mean(self, i: int) -> float:
        return float(self.weights @ self.u[:, i])


def ready(policy_id: str, view: TaskView):
    """A policy that has read a view.

    Raises:
        AutoLLMError: it cannot play this view.
    """
    policy = Decider() if policy_id == DECIDER else make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy


def choose(
    policy,
    view: TaskView,
    k: int,
    p_diverge: np.ndarray | None = None,
    tried: Sequence[Tried] = (),
    known: np.ndarray | None = None,
) -> Choice:
    """The k proposals of a policy that gives draws; `p_diverge` [n_candidates] is
    priced in. `tried`: runs at the target; they are not proposed again, and what comes
    next has to be better than those that gave an outcome. `known` [m, d]: runs of the
    evidence at the target itself, of which the first proposal alone may be one.
    """
    candidates = resting_at(policy, view, view.candidates)
    told = [run.point for run in tried]
    done = [run.point for run in tried if run.has_outcome]
    there = candidates[:0] if known is None else known
    told, done, there = (
        resting_at(policy, view, points) for points in (told, done, there)
    )
    u = policy.sampled(candidates)
    if p_diverge is not None:
        u = u + p_diverge * (
            PRICE_OF_DIVERGENCE - np.minimum(u, PRICE_OF_DIVERGENCE)
        )
    picked: list[int] = []
    none = np.inf
    best = policy.sampled(done).min(axis=1, initial=none)
    held = policy.sampled(there).min(axis=1, initial=none)
    spent = _are(candidates, told)
    made = _are(candidates, there)
    tie = TIE * (policy.weights @ u)
    while len(picked) < k and not spent.all():
        after = np.minimum(u, best[:, None])
        expected = policy.weights @ after + tie
        expected[spent] = np.inf
        pick = int(np.argmin(expected))
        gain = policy.weights @ best - expected[pick]
        if picked and len(there) and gain < LEAST_GAIN:
            break
        picked.append(pick)
        spent[pick] = True
        spent |= made
        best = np.minimum(best, held)
        best = np.minimum(best, u[:, pick])
    return Choice(
        candidates[picked],
        u[:, picked],
        policy.weights,
        _p_best(policy, u, picked),
    )


def resting_at(policy, view: TaskView, points: np.ndarray) -> np.ndarray:
    """Points [n, d] whose numbers that are not chosen stand where the policy has them."""
    width = view.candidates.shape[1]
    points = np.reshape(points, (-1, width))
    optimum = getattr(policy, "target_optimum", None)
    if optimum is None:
        return points
    return at_rest(view.space, points, optimum)


def _are(candidates: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Which candidates [n, d] are one of the runs [m, d], bool [n]."""
    found = np.zeros(len(candidates), dtype=bool)
    for run in runs:
        away = np.linalg.norm(candidates - run, axis=1)
        found |= away < REPEATED
    return found


def _p_best(policy, u: np.ndarray, picked: list[int]) -> np.ndarray:
    """Of each pick, that no candidate is better, [k]."""
    winner = np.argmin(u, axis=1)
    shares = []
    for pick in picked:
        shares.append(policy.weights[winner == pick].sum())
    return chance_of_best(np.array(shares), u.shape[1])


def chance_of_best(share: np.ndarray, n: int) -> np.ndarray:
    """Probability of being the best of `n` candidates from the share of draws that say
    so: particles know less than they claim.
    """
    return TRUSTED_SHARE * share + (1 - TRUSTED_SHARE) / n


def hidden_experiments(table: OutcomeTable, levels: Sequence[int]) -> list[int]:
    """Experiments that can be hidden: enough rows, and at least LEAST_LEVELS cheaper
    ones; the most expensive MOST_BACKTESTS, the most expensive first.
    """
    found = []
    for e in levels:
        n_rows = int(table.offsets[e + 1] - table.offsets[e])
        if (
            n_rows >= LEAST_ROWS
            and len(cheaper(table, levels, e)) >= LEAST_LEVELS
        ):
            found.append(e)
    found.sort(key=lambda e: -table.experiments[e].compute_flops)
    return found[:MOST_BACKTESTS]


def cheaper(
    table: OutcomeTable,
    levels: Sequence[int],
    hidden: int,
    times: float = CHEAPER,
) -> list[int]:
    """Levels that cost less than the hidden experiment, by a factor of `times` where
    that leaves LEAST_LEVELS of them, else the cheapest so many; by CHEAPER in any case.
    """
    flops = {e: table.experiments[e].compute_flops for e in levels}
    most = flops[hidden] / CHEAPER
    below = sorted(cost for cost in flops.values() if cost <= most)
    if len(below) > LEAST_LEVELS:
        most = max(flops[hidden] / max(times, CHEAPER), below[LEAST_LEVELS - 1])
    return [e for e in levels if flops[e] <= most]


def question_of_hidden(
    table: OutcomeTable,
    levels: Sequence[int],
    hidden: int,
    times: float = CHEAPER,
) -> Question:
    """The question that a backtest asks."""
    here = table.experiments[hidden]
    pool = table.points[hidden] if here.space.grid is None else None
    evidence = cheaper(table, levels, hidden, times)
    return make_question(table, evidence, here.fidelity, pool=pool)


def backtest(
    table: OutcomeTable,
    levels: Sequence[int],
    hidden: int,
    policy_id: str,
    times: float = CHEAPER,
) -> Backtest | None:
    """One policy on one hidden experiment, which costs about `times` what its evidence
    does; None where it cannot play it.
    """
    question = question_of_hidden(table, levels, hidden, times)
    try:
        policy = ready(policy_id, question.view)
    except AutoLLMError:
        return None
    point, predicted = _first(policy, question.view)
    point = _in_table(table, hidden, point)
    row, _ = nearest(table.points[hidden], point)
    latent = table.column("latent", hidden)
    loss = table.losses(hidden)
    spread = float(np.median(latent) - latent.min())
    highest_cost = max(e.cost_flops for e in question.view.evidence)
    return Backtest(
        policy_id,
        table.experiments[hidden].label,
        table.experiments[hidden].compute_flops / highest_cost,
        float(regret(latent[row], latent)),
        float(regret(loss[row], loss)),
        predicted,
        float((latent[row] - latent.min()) / spread) if spread > 0 else 0.0,
    )


def _in_table(
    table: OutcomeTable, hidden: int, point: np.ndarray
) -> np.ndarray:
    """A point [d] as the hidden experiment's rows are written: at their rest."""
    space = table.experiments[hidden].space
    rows = table.points[hidden]
    places = np.full(len(space), np.nan)
    for knob in space.knobs:
        idle = ~chosen(space, rows, knob.name)
        if knob.when is not None and idle.any():
            where = space.slices[knob.name]
            places[where] = rows[idle][0, where]
    return at_rest(space, point[None], places)[0]


def _first(policy, view: TaskView) -> tuple[np.ndarray, float]:
    """The first proposal as a point, and the u that the policy expects of it (NaN where
    it expects nothing).
    """
    if hasattr(policy, "sampled"):
        choice = choose(policy, view, 1)
        return choice.points[0], choice.mean(0)
    (configuration,) = policy.ask(1)
    predict = getattr(policy, "predict", None)
    u = float(predict([configuration])[0][0]) if predict else float("nan")
    return view.space.encode(configuration), u


def backtests_of(
    question: Question, octaves: np.ndarray
) -> tuple[Backtest, ...]:
    """Of experiments as far beyond their evidence as the target is beyond all of it."""
    table = question.table
    levels = question.levels
    hidden = hidden_experiments(table, levels)
    times = max(float(2.0 ** -octaves.max()), CHEAPER)
    found: list[Backtest | None] = []
    for policy in (DECIDER, *OTHERS):
        for one in hidden:
            found.append(backtest(table, levels, one, policy, times))
    return tuple(b for b in found if b is not None)
