"""A question asked: logs and a target in, `Advice` out.

Invariant: equal files, target and options give an equal advice, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autollm.advisor.answer import Advice, Assumption
from autollm.advisor.answering.composed import compose
from autollm.advisor.asking.constraint import (
    Constraints,
    check_target,
    constraints_of,
)
from autollm.advisor.asking.planned import sizes_in
from autollm.advisor.asking.question import flops_per_product
from autollm.advisor.asking.target import parse_target, resolve_target, size_of
from autollm.advisor.deciding.allocation import split_of
from autollm.advisor.deciding.study import Study, after, study
from autollm.advisor.evidence.evidence import (
    Evidence,
    LogOptions,
    read_evidence,
    read_home,
)
from autollm.advisor.kept.calibration import recalibrated, record_of
from autollm.advisor.kept.ledger import ReportedRun
from autollm.advisor.options import Options
from autollm.advisor.statistics.told import Tried
from autollm.core.errors import AdviceError, QuestionError, UnknownNameError

Runs = str | Path | Sequence[str | Path] | Evidence
"""Logs by path; none: what has landed in the home."""


def recommend(
    runs: Runs,
    target: str | Mapping[str, float],
    options: Options | None = None,
    **changes: Any,
) -> Advice:
    """Advice for the next run at `target` from logs: a file, a folder, several of them,
    or evidence that was read before; see `explore`.
    """
    return explore(runs, target, options, **changes)[1]


def explore(
    runs: Runs,
    target: str | Mapping[str, float],
    options: Options | None = None,
    **changes: Any,
) -> tuple[Study, Advice]:
    """The study behind an advice, and the advice. `changes`: fields of `Options`.

    Raises:
        AdviceError: no honest answer. QuestionError: the target lacks a coordinate.
        FileNotFoundError: a path does not exist.
    """
    asked = replace(options or Options(), **changes)
    found, assumptions = study_of(runs, target, asked)
    advice = compose(found, assumptions, asked)
    return found, recalibrated(advice, record_of(asked.home))


def study_of(
    runs: Runs, target: str | Mapping[str, float], options: Options
) -> tuple[Study, list[Assumption]]:
    """The study of a question, and what was assumed of its target."""
    said = replace(options.said, planned=options.planned or {})
    evidence = (
        runs if isinstance(runs, Evidence) else _read(runs, said, options.home)
    )
    asked = parse_target(target) if isinstance(target, str) else dict(target)
    if options.budget_flops is not None:
        asked = target_of_budget(evidence, options.budget_flops, asked)
    fidelity, assumptions = resolve_target(
        asked,
        evidence.table.experiments,
        evidence.columns,
        sizes_in(said.planned, evidence),
    )
    found = study(
        evidence,
        fidelity,
        options.trials,
        constraints=_constraints(options, evidence, fidelity),
        pool=options.pool,
    )
    if options.tried:
        found = after(found, [_tried(found, run) for run in options.tried])
    return found, assumptions


def _constraints(
    options: Options, evidence: Evidence, fidelity: Mapping[str, float]
) -> Constraints | None:
    if not options.constraints:
        return None
    found = constraints_of(options.constraints, evidence)
    check_target(found, evidence.table.experiments[0].space, fidelity)
    return found


def target_of_budget(
    evidence: Evidence, budget_flops: float, fixed: Mapping[str, float]
) -> dict[str, float]:
    """Parameters and tokens of a run of that compute: one of them where the other is
    fixed, else the best split by the law.

    Raises:
        AdviceError: the law has no term for each, or compute is no product of them.
        QuestionError: `fixed` holds another name, or both.
    """
    experiments = evidence.table.experiments
    first = experiments[0]
    if set(first.fidelity) != {"params", "tokens"}:
        raise AdviceError(
            "no-split",
            "a budget is split between parameters and tokens, which your runs do not "
            f"both have: {', '.join(first.fidelity)}.",
            "--target with every coordinate.",
        )
    per_product = flops_per_product(experiments)
    if per_product is None:
        raise AdviceError(
            "no-split",
            "the compute of your runs is not parameters times tokens times a constant.",
            "--target with every coordinate.",
        )
    product = budget_flops / per_product
    known = {evidence.native(n).lower(): n for n in first.fidelity}
    known |= {n.lower(): n for n in first.fidelity}
    given: dict[str, float] = {}
    for name, value in fixed.items():
        if name.lower() not in known:
            raise QuestionError(
                f"--fix: {UnknownNameError('coordinate', name, known)}"
            )
        given[known[name.lower()]] = size_of(value, f"{name}={value}")
    if len(given) > 1:
        raise QuestionError(
            f"--fix says {' and '.join(given)}, and --budget their product. Fix: leave "
            "one of them out."
        )
    if "params" in given:
        return {"params": given["params"], "tokens": product / given["params"]}
    if "tokens" in given:
        return {"tokens": given["tokens"], "params": product / given["tokens"]}
    ratio = 2.0 ** float(np.mean([e.z[0] - e.z[1] for e in experiments]))
    upper, lower = first.fidelity
    start = {upper: (product * ratio) ** 0.5, lower: (product / ratio) ** 0.5}
    law = study(evidence, start, 1, with_backtests=False)
    split = split_of(law.question, law.loss_law)
    if split is None:
        raise AdviceError(
            "no-split",
            "your runs do not tell what parameters and tokens do apart.",
            "--target params=N,tokens=T; what the logs can answer names runs that tell.",
        )
    return {"params": split.params[0], "tokens": split.tokens[0]}


def _tried(found: Study, run: ReportedRun) -> Tried:
    point = found.question.space.encode(found.names.read(run.configuration))
    outcome = float("nan") if run.outcome is None else run.outcome
    return Tried(point, found.sign * outcome, run.status)


def _read(runs: Runs, said: LogOptions, home: str) -> Evidence:
    paths = [runs] if isinstance(runs, (str, Path)) else list(runs)
    return read_evidence(paths, said, home) if paths else read_home(home, said)
