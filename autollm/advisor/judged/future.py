"""The loss law on the future: all experiments above a compute are hidden, the law
through the cheaper ones forecasts each of them.

What came is what a hidden experiment could have reached by the fit to the whole table,
never its raw best.

Invariant: a forecast rests on cheaper experiments alone; their responses are fitted
without the hidden ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from autollm.advisor.deciding.study import rows_of
from autollm.advisor.judged.questions import CHEAPER
from autollm.advisor.judged.records import Records, made_by
from autollm.advisor.judged.sources import Table
from autollm.advisor.statistics.laws import Ladder, Law, knob_laws, ladder_of
from autollm.advisor.statistics.loss_law import fit_loss_law
from autollm.advisor.statistics.response import Response, fit_response
from autollm.core.progress import Progress

LEAST_EXPERIMENTS = 5
"""Levels of a ladder that a law's future is judged on."""
LEAST_SEEN = 3
"""Levels that a law is fitted to, at least."""


@dataclass(frozen=True)
class FutureForecast:
    """One forecast. octaves: log2 compute of the hidden experiment over the most
    expensive one seen. reached, reached_sd: what it could have reached. spread: its
    median - best. mean, low, high: the forecast with its 90 % interval.
    """

    n_seen: int
    target: str
    octaves: float
    reached: float
    reached_sd: float
    spread: float
    mean: float
    low: float
    high: float

    @property
    def covered(self) -> bool:
        return self.low <= self.reached <= self.high

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def forecasts_of(
    wanted: Sequence[Table], records: Records
) -> list[tuple[Table, list[FutureForecast]]]:
    """The forecasts of tables that have any, known or made."""
    progress = Progress("loss laws ahead", len(wanted))
    found = []
    for i, table in enumerate(wanted, 1):
        identity = made_by(__name__, table.whole.table_id)
        known = records.known(
            "future",
            table.name,
            identity,
            lambda table=table: {"ahead": [a.as_row() for a in ahead(table)]},
        )
        if known["ahead"]:
            found.append((table, [FutureForecast(**a) for a in known["ahead"]]))
        progress.reach(i, table.name)
    progress.close()
    return found


@lru_cache(maxsize=64)
def responses_of(table: Table) -> Response:
    """The responses of all experiments of a table, fitted together."""
    return response_through(table, range(len(table.whole.table.experiments)))


@lru_cache(maxsize=64)
def laws_of(
    table: Table, target: int, axes: tuple[str, ...]
) -> tuple[Law, ...]:
    """The laws of knobs through all experiments of a table, along the axes that a
    ladder has told apart, relative to one of them.
    """
    experiments = table.whole.table.experiments
    names = list(experiments[target].fidelity)
    away = np.array([e.z for e in experiments]) - experiments[target].z
    flops = np.array([e.compute_flops for e in experiments])
    columns = {name: away[:, j] for j, name in enumerate(names)}
    columns["compute"] = np.log2(flops / flops[target])
    together = np.column_stack([columns[name] for name in axes])
    return knob_laws(responses_of(table), Ladder(axes, together))[0]


def ahead(table: Table) -> list[FutureForecast]:
    """Every forecast of a table; none where the objective is maximized or there are too
    few levels.
    """
    experiments = table.whole.table.experiments
    n = len(experiments)
    if n < LEAST_EXPERIMENTS or experiments[0].direction == "max":
        return []
    found = []
    for n_seen in range(LEAST_SEEN, n):
        most = experiments[n_seen - 1].compute_flops
        seen = response_through(table, range(n_seen))
        for target in range(n_seen, n):
            if experiments[target].compute_flops >= CHEAPER * most:
                found.append(_forecast(table, seen, n_seen, target))
    return [one for one in found if one is not None]


def response_through(
    table: Table,
    levels: range,
) -> Response:
    """The responses of some experiments, fitted without the others."""
    rows = [rows_of(table.whole, e) for e in levels]
    return fit_response(table.whole.table.experiments[0].space, rows)


def _forecast(
    table: Table, seen: Response, n_seen: int, target: int
) -> FutureForecast | None:
    whole = table.whole.table
    here = whole.experiments[target]
    z = np.array([e.z for e in whole.experiments[:n_seen]])
    flops = np.array([e.compute_flops for e in whole.experiments[:n_seen]])
    octaves = np.log2(flops / here.compute_flops)
    ladder = ladder_of(tuple(here.fidelity), z, here.z, octaves)
    law = fit_loss_law(seen.levels, ladder, octaves)
    if law is None:
        return None
    low, high = law.forecast.interval()
    came = responses_of(table).levels[target]
    loss = whole.losses(target)
    return FutureForecast(
        n_seen,
        here.label,
        float(-octaves.max()),
        came.reached,
        came.reached_sd,
        float(np.median(loss) - loss.min()),
        law.forecast.mean,
        low,
        high,
    )
