"""How far the loss law misses what lies ahead: experiments that are no target of any suite,
each forecast from the cheapest three, four ... levels of its ladder.

    AUTOLLM_DATA_DIR=FOLDER python -m research.loss_law_misses

What came is what a hidden experiment could have reached by the fit to its whole table.
Prints MISS_SD, MISS_FREEDOM and AT_ONCE of highest marginal likelihood (sources weigh
alike, a hidden experiment counts once); then, by CAUTION, coverage and interval scores (in
median - best) of 90 % intervals with the figures learnt on the other sources, beside a
constant width learnt on these; before that the mean miss of this law, and of one that
falls for ever.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from autollm.advisor.judged.calibration import (
    Prediction,
    constant_width,
    coverage,
    mean_score,
    score_difference,
)
from autollm.advisor.judged.future import (
    LEAST_SEEN,
    response_through,
    responses_of,
)
from autollm.advisor.judged.questions import CHEAPER
from autollm.advisor.judged.sources import Table, chosen_paths, tables
from autollm.advisor.statistics import loss_law
from autollm.advisor.statistics.laws import Ladder, ladder_of
from research.regret_errors import OPEN_BELOW, is_open

CAUTIONS = (1.0, 1.25, 1.5, 2.0)
FALLING = (0.001, 0.02)
"""Mean and sd of the irreducible loss of a law that falls for ever, over the lowest loss."""


@dataclass(frozen=True)
class Ahead:
    """A hidden experiment and what is seen of its ladder; octaves: [n] of compute;
    spread, spread_seen: median - best of it, and of the most expensive level seen.
    """

    source: str
    table: str
    target: int
    levels: Sequence[loss_law.Level]
    ladder: Ladder
    octaves: np.ndarray
    reached: float
    spread: float
    spread_seen: float

    def law(
        self,
        floor: tuple[float, float] | None = None,
    ) -> loss_law.LossLaw:
        found = loss_law.fit_loss_law(
            self.levels, self.ladder, self.octaves, floor=floor
        )
        assert found is not None
        return found

    @property
    def beyond(self) -> float:
        return -float(self.octaves.max())


def forecasts() -> Iterator[Ahead]:
    """Of every open ladder of four levels whose losses are minimized."""
    for source, path in chosen_paths(tuple(OPEN_BELOW)).items():
        for table in tables(source, path):
            experiments = table.whole.table.experiments
            n_open = sum(is_open(source, e) for e in experiments)
            if n_open > LEAST_SEEN and experiments[0].direction == "min":
                yield from _of_table(table)


def _of_table(table: Table) -> Iterator[Ahead]:
    experiments = table.whole.table.experiments
    is_shown = [is_open(table.source, e) for e in experiments]
    for n_seen in range(LEAST_SEEN, len(experiments)):
        if not all(is_shown[:n_seen]):
            return
        levels = response_through(table, range(n_seen)).levels
        most = experiments[n_seen - 1].compute_flops
        for target in range(n_seen, len(experiments)):
            far = experiments[target].compute_flops >= CHEAPER * most
            if far and is_shown[target]:
                one = _ahead(table, levels, target)
                if loss_law.fit_loss_law(one.levels, one.ladder, one.octaves):
                    yield one


def _ahead(
    table: Table, levels: Sequence[loss_law.Level], target: int
) -> Ahead:
    whole = table.whole.table
    here = whole.experiments[target]
    seen = whole.experiments[: len(levels)]
    z = np.array([e.z for e in seen])
    flops = np.array([e.compute_flops for e in seen])
    octaves = np.log2(flops / here.compute_flops)
    return Ahead(
        table.source,
        table.name,
        target,
        levels,
        ladder_of(tuple(here.fidelity), z, here.z, octaves),
        octaves,
        responses_of(table).levels[target].reached,
        _spread(whole.losses(target)),
        _spread(whole.losses(len(seen) - 1)),
    )


def _spread(loss: np.ndarray) -> float:
    return float(np.median(loss) - loss.min())


def by_source(
    asked: Sequence[Ahead], value: Callable[[Ahead], float]
) -> dict[str, float]:
    """Mean of each source, its tables weighing alike."""
    grouped: dict[str, dict[str, list[float]]] = {}
    for one in asked:
        mine = grouped.setdefault(one.source, {})
        mine.setdefault(one.table, []).append(value(one))
    found = {}
    for source, mine in grouped.items():
        means = [np.mean(values) for values in mine.values()]
        found[source] = float(np.mean(means))
    return found


def fitted(asked: Sequence[Ahead]) -> np.ndarray:
    """(MISS_SD, MISS_FREEDOM, AT_ONCE); weak priors keep the last two finite."""
    groups = list(_misses(asked).values())

    def loss(theta: np.ndarray) -> float:
        sd, df, at_once = np.exp(theta)
        total = 0.5 * (theta[1] - np.log(2)) ** 2
        total += 0.5 * (theta[2] - np.log(0.5)) ** 2
        for miss, beyond, weight in groups:
            wide = at_once + beyond
            n = weight.sum()
            squares = weight @ (miss / wide) ** 2
            total -= gammaln((df + n) / 2) - gammaln(df / 2)
            total -= df / 2 * np.log(df * sd**2)
            total += (df + n) / 2 * np.log(df * sd**2 + squares)
            total += weight @ np.log(wide)
        return float(total)

    start = np.log([0.3, 2.0, 0.5])
    return np.exp(minimize(loss, start, method="Nelder-Mead").x)


def _misses(
    asked: Sequence[Ahead],
) -> dict[str, np.ndarray]:
    """Source -> misses in their unit at an octave, octaves beyond, weights [3, n]."""
    counts: dict[tuple[str, int], int] = {}
    for one in asked:
        key = one.table, one.target
        counts[key] = counts.get(key, 0) + 1
    found: dict[str, list[tuple[float, float, float]]] = {}
    for one in asked:
        law = one.law()
        unit = law.unit_of_miss / (loss_law.AT_ONCE + one.beyond)
        n_tables = len({o.table for o in asked if o.source == one.source})
        weight = 1 / counts[one.table, one.target] / n_tables
        miss = (one.reached - law.forecast.mean) / unit
        mine = found.setdefault(one.source, [])
        mine.append((miss, one.beyond, weight))
    return {source: np.array(rows).T for source, rows in found.items()}


def tell_intervals(
    asked: Sequence[Ahead], learnt: Mapping[str, np.ndarray], caution: float
) -> None:
    """Coverage and scores of every source with what the others taught."""
    told = []
    for one in asked:
        sd, df, at_once = learnt[one.source]
        loss_law.MISS_SD = caution * sd / loss_law.CAUTION
        loss_law.MISS_FREEDOM = df
        loss_law.AT_ONCE = at_once
        forecast = one.law().forecast
        told.append(
            Prediction(
                one.source,
                f"{one.table} {one.target}",
                forecast.mean,
                *forecast.interval(),
                one.reached,
                one.spread,
                one.spread_seen,
            )
        )
    constant = constant_width(told)
    for name, intervals in (("", told), (", constant width", constant)):
        rest = (
            f"{mean_score(intervals).mean:.2f} {coverage(intervals).mean:.3f}"
        )
        print(f"caution {caution}{name}: score, covered", rest)
        for source in dict.fromkeys(one.source for one in intervals):
            mine = [one for one in intervals if one.source == source]
            of_it = coverage(mine).mean, mean_score(mine).mean
            print(f"    {source}: {of_it[1]:.2f} {of_it[0]:.2f}")
    print("    its score less that:", score_difference(told, constant))


def _tell(
    what: str,
    found: Mapping[str, float],
) -> None:
    shown = {source: round(value, 2) for source, value in found.items()}
    print(f"{what}: {np.mean(list(found.values())):.3f}", shown)


def main() -> None:
    warnings.simplefilter("ignore")
    asked = list(forecasts())
    print(f"{len(asked)} forecasts of {len({a.source for a in asked})} sources")
    print("sd, freedom, at once:", np.round(fitted(asked), 3))
    for name, share in (("this law", None), ("falling", FALLING)):

        def miss(
            one: Ahead, share: tuple[float, float] | None = share
        ) -> float:
            lowest = min(level.reached for level in one.levels)
            floor = share and (share[0] * lowest, share[1] * lowest)
            off = one.reached - one.law(floor).forecast.mean
            return off / one.spread

        _tell(f"mean miss, {name}", by_source(asked, miss))
    learnt = {}
    for source in {one.source for one in asked}:
        learnt[source] = fitted([a for a in asked if a.source != source])
    for caution in CAUTIONS:
        tell_intervals(asked, learnt, caution)


if __name__ == "__main__":
    main()
