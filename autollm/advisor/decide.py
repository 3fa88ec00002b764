"""Which configurations: one policy proposes, the same one is tried on hidden experiments
of the user's own history.

A backtest hides one experiment and predicts it from the cheaper ones, at least three
(two cannot show a bend). The k-th proposal is chosen not knowing what the earlier ones
gave: it is the candidate that lowers the expected best of all k most, over the policy's
particles. A divergence costs a run, so it counts as a regret of one.

Invariant: a backtest's policy sees no row of the hidden experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.question import Question, make_question
from autollm.core.distances import nearest
from autollm.core.errors import AutoLLMError
from autollm.core.space import Space
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.regret import regret
from autollm.gym.tasks.view import TaskView

FEW_KNOBS = 3
LEAST_LEVELS = 3
MOST_BACKTESTS = 5
"""Hidden experiments, the most expensive ones: they are the most like the target."""
PRICE_OF_DIVERGENCE = 1.0
"""In regret: a diverged run gives nothing, as the median of the table or worse."""
REPEATED = 0.05
"""Natural units below which a candidate is a run that was made: values are told with
four digits."""
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
    by weights [n_samples]; probability_best [k], None where draws do not say.
    """

    points: np.ndarray
    u: np.ndarray
    weights: np.ndarray
    probability_best: np.ndarray | None

    def mean(self, i: int) -> float:
        return float(self.weights @ self.u[:, i])

    def interval(self, i: int, level: float = 0.9) -> tuple[float, float]:
        """Weighted quantiles of u of proposal `i`."""
        order = np.argsort(self.u[:, i])
        below = np.cumsum(self.weights[order])
        tails = np.array([(1 - level) / 2, (1 + level) / 2]) * below[-1]
        low, high = self.u[order, i][np.searchsorted(below, tails)]
        return float(low), float(high)


def decider_of(space: Space) -> str:
    """The library's rule: the moving bowl for up to FEW_KNOBS numbers, else the nearest
    experiment's best rows.

    Measured on 54 hidden experiments of 14 sources (docs/experiments.md): mean regret
    of a source .160, against .181 for the best rule without a switch; a bowl of many
    knobs has more parameters than small experiments can tell. Councils, weighed alike,
    by the library or by one's own record, and the member that one's own record likes
    best were not told better on the lab's train and validation levels.
    """
    few = len(space) <= FEW_KNOBS and bool(space.gridded.all())
    return "moving-bowl" if few else "copy-nearest"


def why_trusted(space: Space) -> str:
    """Why that rule, in a sentence or two for the person who asked."""
    n = len(space)
    if decider_of(space) == "moving-bowl":
        why = (
            f"one bowl is fitted to all your experiments together: {n} "
            f"number{'s' * (n > 1)} are few enough for them to show its shape"
        )
    else:
        why = (
            f"the nearest experiment is copied: a bowl of {n} numbers has more "
            "parameters than such experiments can show"
        )
    return (
        f"the library's rule. Here {why}. Your own backtests are shown and have no "
        "weight: on 29 hidden experiments of 5 sources this rule lost .091 of (median - "
        "best), four predictions weighed by such backtests .104"
    )


def ready(policy_id: str, view: TaskView):
    """A policy that has read a view; `copy-nearest` with a distribution over what its
    rows are worth at the target.

    Raises:
        AutoLLMError: it cannot play this view.
    """
    from autollm.advisor.carried import Carried
    from autollm.policies.registry import make_policy

    policy = (
        Carried() if policy_id == Carried.policy_id else make_policy(policy_id)
    )
    policy.reset(view, np.random.default_rng(0))
    return policy


def choose(
    policy,
    view: TaskView,
    k: int,
    p_diverge: np.ndarray | None = None,
    tried: np.ndarray | None = None,
) -> Choice:
    """The k proposals of a policy that gives draws; `p_diverge` [n_candidates] is
    priced in. `tried` [m, d]: points that were run at the target; they are not proposed
    again, and what comes next has to be better than them.
    """
    candidates = view.candidates
    u = policy.sampled(candidates)
    if p_diverge is not None:
        u = u + p_diverge * (
            PRICE_OF_DIVERGENCE - np.minimum(u, PRICE_OF_DIVERGENCE)
        )
    picked: list[int] = []
    best = np.full(len(u), np.inf)
    spent = np.zeros(len(candidates), dtype=bool)
    if tried is not None and len(tried):
        best = policy.sampled(tried).min(axis=1)
        gaps = np.linalg.norm(candidates[:, None] - tried[None], axis=2)
        spent = gaps.min(axis=1) < REPEATED
    tie = TIE * (policy.weights @ u)
    for _ in range(min(k, int((~spent).sum()))):
        expected = policy.weights @ np.minimum(u, best[:, None]) + tie
        expected[spent] = np.inf
        picked.append(int(np.argmin(expected)))
        spent[picked[-1]] = True
        best = np.minimum(best, u[:, picked[-1]])
    return Choice(
        candidates[picked],
        u[:, picked],
        policy.weights,
        _p_best(policy, u, picked),
    )


def _p_best(policy, u: np.ndarray, picked: list[int]) -> np.ndarray | None:
    """Share of the draws in which each pick is the best candidate; None where draws
    differ in level alone, so that they always agree on the best.
    """
    if not policy.draws_differ:
        return None
    winner = np.argmin(u, axis=1)
    return np.array([float(policy.weights[winner == i].sum()) for i in picked])


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
    table: OutcomeTable, levels: Sequence[int], hidden: int
) -> list[int]:
    """Levels that cost less than the hidden experiment, by at least a tenth."""
    most = table.experiments[hidden].compute_flops / 1.1
    return [e for e in levels if table.experiments[e].compute_flops <= most]


def question_of_hidden(
    table: OutcomeTable, levels: Sequence[int], hidden: int
) -> Question:
    """The question that a backtest asks."""
    here = table.experiments[hidden]
    pool = table.points[hidden] if here.space.grid is None else None
    evidence = cheaper(table, levels, hidden)
    return make_question(table, evidence, here.fidelity, pool=pool)


def backtest(
    table: OutcomeTable, levels: Sequence[int], hidden: int, policy_id: str
) -> Backtest | None:
    """One policy on one hidden experiment; None where it cannot play it."""
    question = question_of_hidden(table, levels, hidden)
    try:
        policy = ready(policy_id, question.view)
    except AutoLLMError:
        return None
    point, predicted = _first(policy, question.view)
    row, _ = nearest(table.points[hidden], point)
    latent = table.column("latent", hidden)
    loss = table.losses(hidden)
    spread = float(np.median(latent) - latent.min())
    dearest = max(e.cost_flops for e in question.view.evidence)
    return Backtest(
        policy_id,
        table.experiments[hidden].label,
        table.experiments[hidden].compute_flops / dearest,
        float(regret(latent[row], latent)),
        float(regret(loss[row], loss)),
        predicted,
        float((latent[row] - latent.min()) / spread) if spread > 0 else 0.0,
    )


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
