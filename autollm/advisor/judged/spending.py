"""Does the plan pay? Half of the cheap experiments are hidden, a share of the target's
cost buys runs of them, and the advice is asked again.

Who buys: the plan, as often as it says that runs pay; a plain ladder, one run of every
hidden experiment after the other, from the cheapest up, configurations spread evenly;
chance; nobody. A run that the plan asks for is the one nearest to it in fidelity, then
in configuration.

Invariant: no buyer spends more than the share, and none sees an outcome that it has not
bought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autollm.advisor.deciding.plan import Budget, plan_of
from autollm.advisor.deciding.study import study
from autollm.advisor.judged.one_question import ask_advisor
from autollm.advisor.judged.questions import (
    DrawnQuestion,
    HiddenExperiment,
    cell_evidence,
    cells_of,
    draw,
    stream_of,
)
from autollm.advisor.judged.records import Records, made_by
from autollm.core.errors import AutoLLMError
from autollm.core.progress import Progress

SHARES = (0.01, 0.03, 0.1)
"""Of the target's cost, that may be spent."""
MOST_QUESTIONS = 4
"""Of a source: a plan takes seconds, and they share their runs."""
MOST_PLANS = 6
"""Times that a plan is made anew once its runs are known."""
HIDDEN_HALF, CHANCE = 11, 12
"""Streams of a question's seed that the judge's others do not use."""


@dataclass
class Market:
    """What may be bought: cells of the hidden half, and what was.

    Attributes:
        shown: keys of the rows that are seen. left: cells by experiment (dense id).
        budget: FLOPs left.
    """

    drawn: DrawnQuestion
    shown: list[str]
    left: dict[int, list[Any]]
    budget: float
    bought: list[Any] = field(default_factory=list)

    def cost(self, experiment: int) -> float:
        return self.drawn.hidden.experiments[experiment].compute_flops

    def affordable(self) -> list[int]:
        """Experiments that have a run left that can be paid, the cheapest first."""
        found = []
        for experiment, cells in self.left.items():
            if cells and self.cost(experiment) <= self.budget:
                found.append(experiment)
        return sorted(found, key=lambda e: (self.cost(e), e))

    def buy(
        self,
        experiment: int,
        cell: Any,
    ) -> None:
        self.left[experiment].remove(cell)
        self.budget -= self.cost(experiment)
        self.bought.append(cell)

    def seen(self) -> DrawnQuestion:
        """The question with all that is known."""
        keys = [*self.shown, *(cell.key for cell in self.bought)]
        evidence = cell_evidence(self.drawn.hidden, keys)
        return replace(self.drawn, evidence=evidence)


def by_plan(
    market: Market,
    _: np.random.Generator,
) -> None:
    """Make a plan, buy its runs, and plan again with what they gave."""
    for _round in range(MOST_PLANS):
        if not market.affordable():
            return
        drawn = market.seen()
        found = study(drawn.evidence, drawn.hidden.fidelity, 1, pool=drawn.pool)
        planned = plan_of(found, Budget(market.budget, "flops"))
        asked = [run for run in planned if run.configuration is not None]
        before = len(market.bought)
        for run in asked:
            configuration = found.names.read(run.configuration)
            _buy_nearest(market, run.experiment, configuration)
        if len(market.bought) == before:
            return


def _buy_nearest(
    market: Market, fidelity: dict[str, float], configuration: dict[str, Any]
) -> None:
    """The run nearest to one that was asked for, if it can be paid."""
    experiments = market.affordable()
    if not experiments:
        return
    names = market.drawn.hidden.fidelity
    z = np.log2([fidelity[name] for name in names])
    every = market.drawn.hidden.experiments
    gaps = [float(np.linalg.norm(every[e].z - z)) for e in experiments]
    experiment = experiments[int(np.argmin(gaps))]
    try:
        point = every[experiment].space.encode(configuration)
    except AutoLLMError:  # a value that no run has
        return
    cells = market.left[experiment]
    apart = [float(np.linalg.norm(cell.point - point)) for cell in cells]
    market.buy(experiment, cells[int(np.argmin(apart))])


def by_ladder(
    market: Market,
    rng: np.random.Generator,
) -> None:
    """One run of every experiment after the other, each as far as can be from those
    that were bought of it.
    """
    while market.affordable():
        for experiment in market.affordable():
            if market.cost(experiment) <= market.budget:
                market.buy(experiment, _spread(market, experiment, rng))


def _spread(
    market: Market,
    experiment: int,
    rng: np.random.Generator,
) -> Any:
    cells = market.left[experiment]
    mine = [c.point for c in market.bought if c.experiment == experiment]
    if not mine:
        return cells[int(rng.integers(len(cells)))]
    apart = []
    for cell in cells:
        gaps = np.linalg.norm(np.array(mine) - cell.point, axis=1)
        apart.append(float(gaps.min()))
    return cells[int(np.argmax(apart))]


def by_chance(
    market: Market,
    rng: np.random.Generator,
) -> None:
    """Any run of any experiment."""
    while market.affordable():
        experiments = market.affordable()
        experiment = experiments[int(rng.integers(len(experiments)))]
        cells = market.left[experiment]
        market.buy(experiment, cells[int(rng.integers(len(cells)))])


def by_nobody(
    market: Market,
    _: np.random.Generator,
) -> None:
    """Buy nothing."""


BUYERS: dict[str, Callable[[Market, np.random.Generator], None]] = {
    "plan": by_plan,
    "ladder": by_ladder,
    "random": by_chance,
    "nothing": by_nobody,
}


def spent_all(
    questions: Sequence[HiddenExperiment], records: Records, n_seeds: int = 1
) -> list[dict[str, Any]]:
    """Every question that has a half to hide: by share and buyer, the latent regret of
    the advice afterwards, and how many runs were bought.
    """
    asked = list(_asked(questions))
    progress = Progress("plans", len(asked) * n_seeds)
    found = []
    for seed in range(n_seeds):
        for hidden in asked:
            found.append(_known(hidden, seed, records))
            progress.reach(len(found), hidden.question_id)
    progress.close()
    return found


def _asked(questions: Sequence[HiddenExperiment]) -> Iterator[HiddenExperiment]:
    counts: dict[str, int] = {}
    for hidden in questions:
        source = hidden.table.source
        if len(hidden.evidence) >= 2 and not hidden.table.is_surrogate:
            counts[source] = counts.get(source, 0) + 1
            if counts[source] <= MOST_QUESTIONS:
                yield hidden


def _known(
    hidden: HiddenExperiment,
    seed: int,
    records: Records,
) -> dict[str, Any]:
    identity = made_by(__name__, hidden.table.whole.table_id)
    return records.known(
        "plans",
        f"{hidden.question_id} | {seed}",
        identity,
        lambda: spent(hidden, seed),
    )


def spent(
    hidden: HiddenExperiment,
    seed: int,
) -> dict[str, Any]:
    """One question under one seed."""
    regrets: dict[str, dict[str, float]] = {}
    runs: dict[str, dict[str, int]] = {}
    for share in SHARES:
        told = f"{share:g}"
        regrets[told] = {}
        runs[told] = {}
        for buyer, buy in BUYERS.items():
            market = open_market(hidden, seed, share)
            buy(market, stream_of(hidden, seed, CHANCE))
            _, pick = ask_advisor(market.seen())
            regrets[told][buyer] = pick.latent_regret
            runs[told][buyer] = len(market.bought)
    return {
        "source": hidden.table.source,
        "question": hidden.question_id,
        "seed": seed,
        "regrets": regrets,
        "runs": runs,
    }


def open_market(
    hidden: HiddenExperiment,
    seed: int,
    share: float,
) -> Market:
    """Half of the evidence's experiments, drawn by chance, is for sale, the other
    one is shown; of both, four fifths of the rows.
    """
    drawn = draw(hidden, seed)
    rng = stream_of(hidden, seed, HIDDEN_HALF)
    n_hidden = len(hidden.evidence) // 2
    chosen = rng.choice(len(hidden.evidence), n_hidden, replace=False)
    for_sale = {hidden.evidence[i] for i in chosen}
    shown: list[str] = []
    left: dict[int, list[Any]] = {e: [] for e in sorted(for_sale)}
    for cell in cells_of(drawn):
        if cell.experiment in for_sale:
            left[cell.experiment].append(cell)
        else:
            shown.append(cell.key)
    target = hidden.experiments[hidden.target].compute_flops
    return Market(drawn, shown, left, share * target)
