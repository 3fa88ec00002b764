"""How good is the advisor's advice on recorded sources? Each experiment with cheaper
ones is hidden in turn and asked about.

    python -m research.advice_backtests steplaw=FOLDER regmix=FOLDER lab=data/lab

Prints a line a source and policy (mean regret of the first proposal on the smoothed
table), and for the advisor how often its 90 % interval held the outcome of its own
pick. Sources weigh alike; every hidden experiment counts once.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from autollm.advisor.deciding import decide
from autollm.advisor.deciding.decide import (
    backtest,
    cheaper,
    choose,
    hidden_experiments,
)
from autollm.advisor.deciding.study import study
from autollm.advisor.deciding.worth import worth
from autollm.advisor.evidence.evidence import MARTS, Evidence, evidence_of_marts
from autollm.advisor.evidence.marts import build_marts, origins_in
from autollm.core.errors import AdviceError
from autollm.core.spaces.distances import nearest
from autollm.logs.landing import ingest

POLICIES = (
    "moving-bowl",
    "moving-bowl-gp",
    "gp",
    "trees",
    "power-law",
    "copy-nearest",
    "copy-largest",
    "portfolio",
    "pool-centre",
)
decide.MOST_BACKTESTS = 99
"""All of them here; the advisor itself looks at the most expensive five."""


def sources(folder: str) -> Iterator[Evidence]:
    """Every source of a folder of logs, lone ones at a time."""
    with tempfile.TemporaryDirectory() as lake:
        ingest([folder], lake)
        marts = build_marts(f"{lake}/bronze", MARTS)
    for source in origins_in(marts["mart_gym__outcomes"]):
        try:
            yield evidence_of_marts(marts, source, {}, {})
        except AdviceError as error:
            print(f"{source}: {error}", file=sys.stderr)


def regrets(evidence: Evidence, policy: str) -> list[float]:
    """Regret of a policy's first proposal on every hidden experiment."""
    levels = range(len(evidence.table.experiments))
    hidden = hidden_experiments(evidence.table, levels)
    found = [backtest(evidence.table, levels, h, policy) for h in hidden]
    return [b.regret for b in found if b is not None]


def coverage(evidence: Evidence) -> list[tuple[str, float, bool, float]]:
    """(label, compute over the evidence's, interval held the outcome, its half width in
    spreads) of the advisor's first proposal on every hidden experiment with a law.
    """
    table = evidence.table
    levels = range(len(table.experiments))
    found = []
    for hidden in hidden_experiments(table, levels):
        kept = cheaper(table, levels, hidden)
        here = table.experiments[hidden]
        asked = study(
            evidence, here.fidelity, 1, with_backtests=False, levels=kept
        )
        point = choose(asked.policy, asked.question.view, 1).points[0]
        u = asked.policy.sampled(point[None])[:, 0]
        told = worth(asked, u, asked.policy.weights).predicted
        if told is None:
            continue
        row, _ = nearest(table.points[hidden], point)
        outcome = float(table.column("objective", hidden)[row])
        times = here.compute_flops / max(
            table.experiments[e].compute_flops for e in kept
        )
        inside = told.low <= outcome <= told.high
        width = (told.high - told.low) / 2 / asked.spread
        found.append((here.label, times, inside, width))
    return found


def main(arguments: Sequence[str]) -> None:
    means: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    for argument in arguments:
        name, _, folder = argument.partition("=")
        if not Path(folder).exists():
            raise SystemExit(f"{name}: {folder} is not there")
        for evidence in sources(folder):
            report(evidence, means)
    for policy, values in means.items():
        if values:
            print(
                f"{policy:16} {np.mean(values):.3f} over {len(values)} sources"
            )


def report(evidence: Evidence, means: dict[str, list[float]]) -> None:
    """Print a source's figures and note its means."""
    for policy in POLICIES:
        found = regrets(evidence, policy)
        if found:
            means[policy].append(float(np.mean(found)))
            print(
                f"{evidence.source:28} {policy:16} n={len(found)} {np.mean(found):.3f}"
            )
    held = coverage(evidence)
    for label, times, inside, width in held:
        print(
            f"    {label}: x{times:.2g} {'held' if inside else 'MISSED'} {width:.2g}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
