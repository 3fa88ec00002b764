"""A study as an advice: every field of the answer from what was computed.

Invariant: equal studies give an equal advice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from autollm.advisor.answer import (
    Advice,
    Assumption,
    Interval,
    PlannedRun,
    Proposal,
    Target,
    Warn,
)
from autollm.advisor.answering.answerable import can_answer
from autollm.advisor.answering.doubts import doubts
from autollm.advisor.deciding.allocation import split_of
from autollm.advisor.deciding.check import check_configuration
from autollm.advisor.deciding.decide import PRICE_OF_DIVERGENCE, WHY_TRUSTED
from autollm.advisor.deciding.plan import budget_of, plan_of
from autollm.advisor.deciding.study import Study
from autollm.advisor.deciding.worth import (
    NO_BENCHMARK,
    NO_LAW,
    Worth,
    acceptable,
    affordable_u,
    no_regret,
    optima_of,
    worth,
)
from autollm.advisor.options import Options
from autollm.advisor.statistics.laws import Law
from autollm.advisor.statistics.parametrization import should_stay
from autollm.advisor.words import (
    have_in_words,
    several,
    short,
)

NO_OPTIMUM = {
    "simplex": "parts of a mixture cannot move alone, so that none has an optimum of "
    "its own; whether mixtures keep their order stands in can_answer",
    "list": "a list has no one optimum that could move",
    "categorical": "a category has no order along which an optimum could move",
}
"""Why a kind of knob has no law."""
HOPELESS = 0.9
"""Regret from which a configuration is about as good as the median one: not worth a run
beside a better one."""
N_ROWS = 20
"""Rows of the evidence that are listed: the best ones nearest to the target."""


def compose(
    found: Study, assumptions: Iterable[Assumption], options: Options
) -> Advice:
    """The advice of a study."""
    view = found.question.view
    evidence = found.evidence
    planned = options.planned
    checked = None if planned is None else check_configuration(found, planned)
    proposals = _proposals(found, options.trials)
    return Advice(
        evidence.source,
        evidence.table_id,
        "prior" if found.is_prior else "evidence",
        {
            "name": evidence.native(view.objective),
            "direction": view.direction,
            "unit": "",
        },
        _target(found),
        (*assumptions, *_assumptions(found, options)),
        _constants(found),
        can_answer(found),
        proposals,
        checked,
        _decided_by(found),
        _evidence(found),
        tuple(_law(found, law) for law in found.laws) + _lawless(found),
        _loss_law(found),
        (*doubts(found), *_nothing_better(found, proposals)),
        options.command,
        _history(found),
        _allocation(found),
        _plan(found, options),
        categorical=found.categorical,
        one_valued=found.one_valued,
        objective_names=evidence.names_of_objective(view.objective),
    )


def _plan(found: Study, options: Options) -> tuple[PlannedRun, ...]:
    """The cheap runs that pay within the budget; without one the first step of them."""
    if options.plan_budget is None:
        return plan_of(found, budget_of(found, ""), most_steps=1)
    return plan_of(found, budget_of(found, options.plan_budget))


def _allocation(found: Study) -> dict[str, Any] | None:
    split = split_of(found.question, found.loss_law)
    if split is None:
        return None
    shown = {"flat_within": split.flat_within}
    for name, (mean, low, high) in (
        ("params", split.params),
        ("tokens", split.tokens),
    ):
        shown[found.native(name)] = Interval(mean, low, high)
    return shown


def _target(found: Study) -> Target:
    question = found.question
    highest_cost = max(e.cost_flops for e in question.view.evidence)
    compute = question.compute_flops
    times = compute / highest_cost if compute else None
    shown = {found.evidence.native(n): v for n, v in question.fidelity.items()}
    flops = compute if found.evidence.has_flops else None
    return Target(
        shown, flops, times, found.distance.along, found.distance.across
    )


def _assumptions(found: Study, options: Options) -> list[Assumption]:
    evidence = found.evidence
    said = options.said
    view = found.question.view
    name = f"{evidence.native(view.objective)}, {view.direction} is better"
    knobs = ", ".join(found.native(k) for k in found.question.space.names)
    made = [
        Assumption("objective", name, "said" if said.objective else "guessed"),
        Assumption("knobs", knobs, "said" if said.knobs else "guessed"),
        Assumption(
            "divergence",
            f"a diverged run costs {PRICE_OF_DIVERGENCE:g} of median - best",
            "guessed",
        ),
    ]
    if found.question.constraints is not None:
        for expression in found.question.constraints.expressions:
            made.append(Assumption("constraint", expression.text, "said"))
    if options.plan_budget:
        text = f"cheap runs may cost {options.plan_budget}"
        made.append(Assumption("plan-budget", text, "said"))
    return made + [
        Assumption(code, text, "guessed") for code, text in evidence.notes
    ]


def _constants(found: Study) -> dict[str, Any]:
    return dict(found.evidence.constants)


def _proposals(found: Study, trials: int) -> tuple[Proposal, ...]:
    choice = found.chosen(trials)
    listed = []
    for i, point in enumerate(choice.points):
        u = found.sampled(point[None])[:, 0]
        here = worth(found, u, choice.weights)
        p_best = None
        if here.expected_regret is not None:
            p_best = float(choice.probability_best[i])
        if i and here.expected_regret and here.expected_regret.mean > HOPELESS:
            break  # what comes later loses more
        listed.append(_proposal(found, i, point, here, p_best))
    return tuple(listed)


def _nothing_better(
    found: Study, proposals: Iterable[Proposal]
) -> Iterator[Warn]:
    """That the best run told is expected to stay the best: by the forecasts, where there
    are any.
    """
    told = [run.loss for run in found.tried if run.has_outcome]
    expected = []
    for entry in proposals:
        if entry.predicted is None:
            return
        expected.append(found.sign * entry.predicted.mean)
    if told and expected and min(expected) >= min(told):
        best = found.sign * min(told)
        text = (
            f"nothing proposed is expected to beat {best:.4g}, which you have."
        )
        yield Warn("nothing-better", text)


def _known_outcome(found: Study, shown: dict[str, Any]) -> float | None:
    """The mean outcome of the runs at the target with these settings, as they are shown;
    None without any.
    """
    space = found.question.space
    for rows in found.rows_there:
        for point, loss in zip(rows.points, rows.loss, strict=True):
            same = found.names.show(space.decode(point)) == shown
            if same and np.isfinite(loss):
                return found.sign * float(loss)
    return None


def _proposal(
    found: Study, i: int, point: np.ndarray, here: Worth, p_best: float | None
) -> Proposal:
    space = found.question.space
    p = found.divergence.probability(point[None], found.optimum)
    allowed = affordable_u(found)
    missing = {}
    if here.predicted is None:
        reason = NO_BENCHMARK if found.sign < 0 else NO_LAW
        names = ("predicted", "compute_equivalent", "acceptable")
        missing |= dict.fromkeys(names, reason)
    if p is None:
        missing["p_diverge"] = found.divergence.because
    if here.expected_regret is None:
        names = ("expected_regret", "probability_best", "compute_equivalent")
        missing |= dict.fromkeys(names, no_regret(found))
    shown = found.names.show(space.decode(point))
    known = _known_outcome(found, shown)
    why = _why(found, i, point)
    if known is not None:
        why = f"{have_in_words(known)}; {why}"
    return Proposal(
        i + 1,
        shown,
        acceptable(found, point, allowed) if allowed is not None else None,
        here.predicted,
        here.expected_regret,
        here.compute_equivalent,
        float(p[0]) if p is not None else None,
        p_best,
        why,
        missing,
        known,
    )


def _why(found: Study, i: int, point: np.ndarray) -> str:
    """Why a proposal: of the first what the fit says of each of its numbers."""
    if i:
        return "lowers the expected best of all proposals most, should those before fail"
    space = found.question.space
    told = []
    for name, place in optima_of(found, point).items():
        knob = space.knobs[space.names.index(name)]
        value = found.names.value(name, knob.decode(place))
        told.append(f"the best {found.native(name)} there at {short(value)}")
    n = len(found.question.levels)
    text = (
        f"lowest expected loss of {len(found.question.view.candidates)} candidates, by "
        f"one fit to {several(n, 'experiment')}"
    )
    if found.tried:
        text += f" and {several(len(found.tried), 'run')} at the target"
    if told:
        text += f", which puts {', '.join(told)}"
    unseen = [k for k in space.names if found.is_unseen(k)]
    return "; ".join([text, *map(found.unseen_in_words, unseen)])


def _decided_by(found: Study) -> dict[str, Any]:
    tests = [
        {
            "policy": b.policy,
            "target": b.target,
            "times_evidence": b.times_evidence,
            "regret": b.regret,
            "realised_regret": b.realised_regret,
        }
        for b in found.backtests
    ]
    return {
        "policy": found.policy.policy_id,
        "weights": {found.policy.policy_id: 1.0},
        "own_share": 0.0,
        "because": WHY_TRUSTED,
        "optimism": found.optimism if found.own_backtests else None,
        "backtest": tests,
    }


def _evidence(found: Study) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    for run in found.evidence.runs:
        statuses[run["status"]] = statuses.get(run["status"], 0) + 1
    noise: dict[str, Any] = {"sd": found.noise.sd}
    noise["from"] = found.noise.origin
    is_chosen = "context-left-out" in dict(found.evidence.notes)
    return {
        "n_runs": len(found.evidence.runs),
        "n_experiments": len(found.question.levels),
        "statuses": statuses,
        "context": found.evidence.context if is_chosen else {},
        "noise": noise,
        "rows": _rows(found),
    }


def _rows(found: Study) -> list[dict[str, Any]]:
    """The best runs of every level, the most expensive levels first."""
    table = found.question.table
    share = max(N_ROWS // len(found.question.levels), 1)
    listed: list[dict[str, Any]] = []
    for e in reversed(found.question.levels):
        experiment = table.experiments[e].experiment_id
        for run in _ranked(found, experiment)[:share]:
            listed.append(_row(found, run))
    return listed[:N_ROWS]


def _ranked(found: Study, experiment: str) -> list[dict[str, Any]]:
    """The runs of an experiment that have an outcome, the best first."""
    runs = found.evidence.experiment_runs[experiment]
    known = [r for r in runs if _finite(r["objective_value"])]
    return sorted(
        known, key=lambda r: (found.sign * r["objective_value"], r["run_id"])
    )


def _row(found: Study, run: dict[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run["run_id"],
        "file": run["raw_file"],
        "line": run["line"] or None,
        "experiment": run["experiment_label"],
        "configuration": found.names.show(json.loads(run["config_json"])),
        "outcome": run["objective_value"],
    }


def _history(found: Study) -> tuple[dict[str, Any], ...]:
    """Runs that stand at the target already, the best first."""
    listed = []
    for experiment in found.question.table.experiments:
        if not np.allclose(experiment.z, found.question.target_z):
            continue
        known = _ranked(found, experiment.experiment_id)
        for rank, run in enumerate(known[:N_ROWS], 1):
            row = _row(found, run)
            told: dict[str, Any] = {"rank": rank}
            for key in ("configuration", "outcome", "run_id"):
                told[key] = row[key]
            listed.append(told)
    for run in found.tried:
        decoded = found.question.space.decode(run.point)
        shown = found.names.show(decoded)
        is_known = np.isfinite(run.loss)
        outcome = found.sign * run.loss if is_known else None
        told = {
            "configuration": shown,
            "outcome": outcome,
            "status": run.status,
        }
        listed.append({"rank": len(listed) + 1} | told)
    return tuple(listed)


def _finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def _law(found: Study, law: Law) -> dict[str, Any]:
    return {
        "knob": found.native(law.knob),
        "per": found.native(law.per),
        "exponent": law.exponent,
        "low": law.low,
        "high": law.high,
        "verdict": law.verdict,
        "within": law.within,
        "because": law.because,
    } | _null(found, law)


def _lawless(found: Study) -> tuple[dict[str, Any], ...]:
    """Knobs of which no law can be told, and why."""
    told = {law.knob for law in found.laws}
    rows = []
    for knob in found.question.space.knobs:
        if knob.name in told:
            continue
        because = "it has one value in all runs"
        if knob.scale in NO_OPTIMUM:
            because = NO_OPTIMUM[knob.scale]
        elif found.is_unseen(knob.name):
            because = found.unseen_in_words(knob.name)
        nothing = dict.fromkeys(("exponent", "low", "high", "within"))
        row = {
            "knob": found.native(knob.name),
            "per": None,
            "verdict": "unknown",
        }
        rows.append(row | nothing | {"because": because})
    return tuple(rows)


def _null(found: Study, law: Law) -> dict[str, Any]:
    """What the declared parametrization says of a law, and whether the runs contradict
    it; nothing where none is declared.
    """
    first = found.question.table.experiments[0]
    if not should_stay(law, first.space, first.context):
        return {}
    contradicted = None if law.exponent is None else law.verdict == "moves"
    return {"null": "still", "contradicts_null": contradicted}


def _loss_law(found: Study) -> dict[str, Any] | None:
    law = found.loss_law
    if law is None:
        return None
    return {
        "form": law.form,
        "parameters": law.parameters,
        "at_target": Interval(law.forecast.mean, *law.forecast.interval()),
        "at_floors": [
            {"irreducible": floor, "mean": mean}
            for floor, mean in law.at_floors.items()
        ],
        "lack_of_fit": law.lack_of_fit,
        "n_levels": law.n_levels,
        "is_bound": law.is_bound,
        "record": law.record,
    }
