"""What the same rules would have said of experiments that you have: each hidden one
forecast from the cheaper ones, and what its first proposal would have saved.

Invariant: a forecast reads no run that costs as much as the experiment it is of; only
the response's curvature is fitted to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.deciding.decide import Backtest
from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.laws import ladder_of
from autollm.advisor.statistics.loss_law import fit_loss_law

CHEAPER = 0.1
"""Octaves of compute that a level has to lie below the one that is forecast."""


@dataclass(frozen=True)
class Hindcast:
    """One experiment: what the law through the cheaper ones forecast of its best (mean,
    90 % interval), and what it could have reached; in the objective's unit.
    """

    label: str
    mean: float
    low: float
    high: float
    reached: float
    reached_sd: float

    @property
    def inside(self) -> bool:
        return self.low <= self.reached <= self.high


@dataclass(frozen=True)
class SavedRuns:
    """What one proposal on a hidden experiment was worth: so many runs of it, drawn at
    random, are needed on average to find one as good; `flops`: of all but one of them,
    None where their compute is not known.
    """

    label: str
    regret: float
    random_runs: float
    flops: float | None


def hindcasts(found: Study) -> list[Hindcast]:
    """The forecasts of the levels that have three cheaper ones, cheapest first. None
    where there is no law of the target either.
    """
    if found.loss_law is None:
        return []
    told = []
    for hidden in np.argsort(found.octaves):
        one = _hindcast(found, int(hidden))
        if one is not None:
            told.append(one)
    return told


def _hindcast(
    found: Study,
    hidden: int,
) -> Hindcast | None:
    level = found.response.levels[hidden]
    cheaper = found.octaves < found.octaves[hidden] - CHEAPER
    levels = [found.response.levels[i] for i in np.flatnonzero(cheaper)]
    if not levels:
        return None
    octaves = (found.octaves - found.octaves[hidden])[cheaper]
    z = np.array([one.z for one in levels])
    names = tuple(found.question.fidelity)
    ladder = ladder_of(names, z, level.z, octaves)
    law = fit_loss_law(levels, ladder, octaves) if ladder.names else None
    if law is None:
        return None
    low, high = law.forecast.interval()
    return Hindcast(
        found.place(level.label),
        law.forecast.mean,
        low,
        high,
        level.reached,
        level.reached_sd,
    )


def saved(found: Study) -> list[SavedRuns]:
    """What the decider's proposals would have saved, of each hidden experiment."""
    return [_saved(found, test) for test in found.own_backtests]


def _saved(found: Study, test: Backtest) -> SavedRuns:
    table = found.question.table
    labels = [table.experiments[e].label for e in found.question.levels]
    hidden = found.question.levels[labels.index(test.target)]
    latent = table.column("latent", hidden)
    best = float(latent.min())
    spread = float(np.median(latent)) - best
    picked = best + spread * test.u
    slack = 1e-9 * max(spread, 1e-300)
    runs = expected_draws(len(latent), int(np.sum(latent <= picked + slack)))
    flops = table.experiments[hidden].compute_flops
    cost = (runs - 1) * flops if found.evidence.has_flops else None
    return SavedRuns(found.place(test.target), test.regret, runs, cost)


def expected_draws(n: int, n_good: int) -> float:
    """Draws without replacement from `n` until the first of `n_good`, on average."""
    return (n + 1) / (max(n_good, 1) + 1)


def regret_by_policy(
    tests: Sequence[Backtest],
) -> list[tuple[str, float, int]]:
    """(policy, mean regret, hidden experiments), the best first."""
    regrets: dict[str, list[float]] = {}
    for test in tests:
        regrets.setdefault(test.policy, []).append(test.regret)
    rows = []
    for policy, values in regrets.items():
        rows.append((policy, float(np.mean(values)), len(values)))
    return sorted(rows, key=lambda row: (row[1], row[0]))
