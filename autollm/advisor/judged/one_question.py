"""One question, answered: by `recommend`, and by every policy from the same view.

A pick is the hidden experiment's row nearest to what was proposed. Of every pick the
study behind the advice says what it expects there, so that its intervals and
probabilities are judged at picks that it did not choose, too.

Invariant: an answer is determined by (question, seed, contender).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from autollm.advisor.answer import Interval
from autollm.advisor.deciding.decide import chance_of_best
from autollm.advisor.deciding.study import Study
from autollm.advisor.deciding.worth import worth
from autollm.advisor.judged.questions import DrawnQuestion
from autollm.advisor.recommend import explore
from autollm.advisor.statistics.laws import Trend, ladder_of
from autollm.advisor.statistics.loss_law import fit_loss_law
from autollm.advisor.statistics.response import fit_response
from autollm.advisor.statistics.rows import Rows
from autollm.core.errors import AutoLLMError
from autollm.core.spaces.distances import nearest
from autollm.gym.tasks.regret import regret

ADVISOR = "recommend"


@dataclass(frozen=True)
class Pick:
    """What one contender proposed, and what it was worth.

    Attributes:
        row: id among the hidden experiment's rows. distance: natural units between it
            and the proposal. outcome: recorded there, the source's own unit.
        latent_regret, regret: on the smoothed table and on the recorded values.
        is_best: whether no row in play has a lower smoothed loss.
        predicted, expected_regret: (mean, low, high) of the advice's study at the
            proposal; p_diverge, p_best: its probabilities, the latter among the rows in
            play. None: the study does not say. error: why the policy failed.
    """

    configuration: dict[str, Any]
    row: int
    distance: float
    outcome: float
    latent_regret: float
    regret: float
    diverged: bool
    is_best: bool
    predicted: tuple[float, float, float] | None = None
    expected_regret: tuple[float, float, float] | None = None
    p_diverge: float | None = None
    p_best: float | None = None
    seconds: float = 0.0
    error: str = ""

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def ask_advisor(drawn: DrawnQuestion) -> tuple[Study, Pick]:
    """The study of a question, and its first recommendation as a pick."""
    begun = time.process_time()
    found, advice = explore(
        drawn.evidence, drawn.hidden.fidelity, trials=1, pool=drawn.pool
    )
    proposed = advice.recommendations[0].configuration
    seconds = time.process_time() - begun
    configuration = found.names.read(proposed)
    return found, scored(drawn, found, configuration, seconds)


def proposal_of(
    drawn: DrawnQuestion,
    policy_id: str,
) -> dict[str, Any]:
    """A registered policy's first proposal: `configuration`, `seconds`; `cannot` where
    it cannot play the question; `error` where it failed.
    """
    from autollm.policies.registry import make_policy

    begun = time.process_time()
    policy = make_policy(policy_id)
    proposed = {"configuration": {}, "cannot": False, "error": ""}
    try:
        policy.reset(drawn.view, drawn.policy_rng)
        (configuration,) = policy.ask(1)
    except AutoLLMError as error:
        proposed |= {"cannot": True, "error": str(error)}
    # any other fault is the policy's own, and costs its trial, as in evaluation
    except Exception as raised:
        proposed["error"] = f"{type(raised).__name__}: {raised}"
    else:
        if isinstance(configuration, dict):
            proposed["configuration"] = configuration
        else:
            proposed["error"] = "its first proposal is no run of the target"
    return proposed | {"seconds": time.process_time() - begun}


def scored(
    drawn: DrawnQuestion,
    found: Study,
    configuration: dict[str, Any],
    seconds: float,
    error: str = "",
) -> Pick:
    """A proposal, scored; what the study expects of it. With an `error` there is none:
    regret 1, at the median row's outcome.
    """
    if error:
        median = float(np.median(drawn.column("objective")))
        return Pick(
            {}, -1, float("inf"), median, 1.0, 1.0, False, False, error=error
        )
    row, distance = nearest(drawn.points, drawn.space.encode(configuration))
    latent = drawn.column("latent")
    loss = drawn.losses
    point = found.question.space.encode(configuration)
    here = worth(
        found, found.policy.sampled(point[None])[:, 0], found.policy.weights
    )
    p_diverge = found.divergence.probability(point[None], found.optimum)
    return Pick(
        configuration,
        int(drawn.rows[row]),
        distance,
        float(drawn.column("objective")[row]),
        float(regret(latent[row], latent)),
        float(regret(loss[row], loss)),
        bool(drawn.column("diverged")[row]),
        bool(latent[row] <= latent.min()),
        _bounds(here.predicted),
        _bounds(here.expected_regret),
        None if p_diverge is None else float(p_diverge[0]),
        _p_best(drawn, found, row),
        seconds,
    )


def _bounds(
    found: Interval | None,
) -> tuple[float, float, float] | None:
    return None if found is None else (found.mean, found.low, found.high)


def _p_best(
    drawn: DrawnQuestion,
    found: Study,
    row: int,
) -> float | None:
    """That a row is the best of those in play; None where the evidence cannot say one
    of them.
    """
    said = drawn.space.decode
    space = found.question.space
    try:
        points = np.array([space.encode(said(p)) for p in drawn.points])
    except AutoLLMError:
        return None
    winner = np.argmin(found.policy.sampled(points), axis=1)
    share = found.policy.weights[winner == row].sum()
    return float(chance_of_best(share, len(points)))


@dataclass(frozen=True)
class Optimum:
    """A knob's optimum at the target by its law, and as fitted to the hidden experiment
    itself. Natural units. df: of the law's t. edge: the fitted one is only a bound.
    """

    knob: str
    forecast: float
    sd: float
    df: int
    fitted: float
    fitted_sd: float
    edge: int


def optima(
    drawn: DrawnQuestion,
    found: Study,
) -> list[Optimum]:
    """Knobs that have a law and an optimum of their own in the hidden experiment."""
    from autollm.advisor.judged.future import responses_of

    level = responses_of(drawn.hidden.table)
    names = level.names
    here = level.levels[drawn.hidden.target]
    listed = []
    for knob, trend in found.trends.items():
        if knob in names:
            listed.append(_optimum(trend, here, names.index(knob)))
    return listed


def _optimum(
    trend: Trend,
    here: Any,
    j: int,
) -> Optimum:
    return Optimum(
        trend.knob,
        trend.at_target,
        trend.sd,
        trend.df,
        float(here.optimum[j]),
        float(here.optimum_sd[j]),
        int(here.edge[j]),
    )


@dataclass(frozen=True)
class Exponent:
    """A knob's law as the evidence has it, and as all levels have it, the hidden ones
    too: natural units per octave of `per`, with 90 % intervals and verdicts.
    """

    knob: str
    per: str
    exponent: float
    low: float
    high: float
    verdict: str
    fitted: float
    fitted_low: float
    fitted_high: float
    fitted_verdict: str


def exponents(
    drawn: DrawnQuestion,
    found: Study,
) -> list[Exponent]:
    """Laws that carry a number both times."""
    from autollm.advisor.judged.future import laws_of

    hidden = drawn.hidden
    axes = found.ladder.names
    every = laws_of(hidden.table, hidden.target, axes) if axes else ()
    whole = {(law.knob, law.per): law for law in every}
    listed = []
    for law in found.laws:
        fitted = whole.get((law.knob, law.per))
        if fitted is not None and None not in (law.exponent, fitted.exponent):
            here = law.exponent, law.low, law.high, law.verdict
            there = (
                fitted.exponent,
                fitted.low,
                fitted.high,
                fitted.verdict,
            )
            listed.append(Exponent(law.knob, law.per, *here, *there))
    return listed


N_RESAMPLES = 20
"""Of the rows; the quantiles of 20 are rough, and the width is wrong by far more."""


def row_bootstrap(
    found: Study,
) -> tuple[float, float] | None:
    """How far below and above its mean the forecast lies in 90 % of resamples of the
    rows of every experiment, one run's noise added; None without a law in any.
    """
    rng = np.random.default_rng(0)
    z = np.array([r.z for r in found.rows])
    octaves = found.octaves
    means = []
    for _ in range(N_RESAMPLES):
        rows = [_resampled(r, rng) for r in found.rows]
        response = fit_response(found.question.space, rows)
        names = tuple(found.question.fidelity)
        ladder = ladder_of(names, z, found.question.target_z, octaves)
        law = fit_loss_law(response.levels, ladder, octaves)
        if law is not None:
            means.append(law.forecast.mean)
    if not means:
        return None
    noise = (found.noise.sd or 0.0) * rng.normal(size=(len(means), 50))
    drawn = (np.array(means)[:, None] + noise).ravel() - np.mean(means)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(high)


def _resampled(
    rows: Rows,
    rng: np.random.Generator,
) -> Rows:
    n = len(rows.loss)
    drawn = np.sort(rng.integers(n, size=n))
    return replace(
        rows,
        points=rows.points[drawn],
        loss=rows.loss[drawn],
        diverged=rows.diverged[drawn],
    )
