"""Multi-fidelity search where a look costs less than a run of the target: rungs are
runs of the episode, paid from its one budget.

A `Climber` holds the ladder and what every rung gave; its subclasses say which
candidate to run where (halving.py, hyperband.py, bohb.py). Rungs are shares of the
target's runs where these may be paused, below them charged experiments, each at least
ETA times as expensive as the one below. On a task that has neither it is random search,
or what scores() say.

Invariant: while the budget still pays for a run of the target, one is kept for the best
candidate of the highest rungs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from autollm.core.spaces.distances import nearest
from autollm.gym.tasks.episode import Trial
from autollm.gym.tasks.trial import SLACK, read_proposal
from autollm.gym.tasks.view import TaskView
from autollm.policies.base import Proposal
from autollm.policies.rules.random import RandomPolicy

ETA = 3
"""One in so many goes on to the next rung: the default of the papers (halving.py)."""
SHARES = (1 / 3, 1 / 9)
"""Shares of a run at which it may be paused, the most expensive rung first."""


@dataclass
class Rung:
    """One experiment of the ladder, run up to a share. `experiment`: its id, empty for
    the target. `cost`: of a new run. `order`: its candidates at random, the same on
    rungs of the same candidates. `losses`: candidate -> loss, or last signal of a run
    that is paused, inf without one; `points`: candidate -> where it was evaluated.
    """

    experiment: str
    cost: float
    candidates: np.ndarray
    share: float = 1.0
    order: list[int] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)
    points: dict[int, np.ndarray] = field(default_factory=dict)

    def best(self, among: Sequence[int] | None = None) -> list[int]:
        """Candidates that ended here, the best first."""
        return sorted(
            self.losses if among is None else among,
            key=lambda c: (self.losses[c], c),
        )


Move = tuple[int, int]
"""Number of a rung, and the candidate to run there."""


class Climber(RandomPolicy):
    """Attribute after reset: `ladder`, cheapest rung first."""

    shares: ClassVar[tuple[float, ...]] = SHARES
    ladder: list[Rung]

    def reset(self, view: TaskView, rng: np.random.Generator) -> None:
        super().reset(view, rng)
        self.ladder = ladder_of(view, self.shares if view.pausable else ())
        self._left = float(view.trials)
        if self.climbs:
            below: Rung | None = None
            for rung in self.ladder:
                if below and np.array_equal(below.candidates, rung.candidates):
                    rung.order = below.order
                else:
                    rung.order = rng.permutation(len(rung.candidates)).tolist()
                below = rung
            self.plan()

    @property
    def climbs(self) -> bool:
        """Whether the task has anything below a run of the target."""
        return bool(self.view.charged or self.view.pausable)

    def plan(self) -> None:
        """Hook: what is decided once a task, where there is a ladder."""

    def move(self, running: list[set[int]]) -> Move | None:
        """Hook: what to run next; None: nothing before a pending trial ends. `running`:
        pending candidates of every rung.
        """
        raise TypeError(f"{type(self).__name__} must define move()")

    def ask(
        self, n: int = 1, pending: Sequence[Proposal] = ()
    ) -> list[Proposal]:
        """As any RankingPolicy; where there is a ladder, (experiment, configuration,
        share) for a rung below a run of the target.
        """
        if not self.climbs:
            return list(super().ask(n, pending))
        running: list[set[int]] = [set() for _ in self.ladder]
        left = self._left
        for proposal in pending:
            experiment, configuration, share = read_proposal(proposal)
            r = self._number(experiment, share)
            candidate = nearest(
                self.ladder[r].candidates, self.view.space.encode(configuration)
            )[0]
            left -= self.price(r, candidate)
            running[r].add(candidate)
        out: list[Proposal] = []
        while len(out) < n:
            move = self.move(running)
            last = self.last(running, left)
            if move is not None and not self._affords(move, last, left):
                move = last
            if move is None:
                break
            r, candidate = move
            rung = self.ladder[r]
            left = left - self.price(*move)
            running[r].add(candidate)
            configuration = self.view.space.decode(rung.candidates[candidate])
            if r == len(self.ladder) - 1:
                out.append(configuration)
            elif rung.share < 1:
                out.append((rung.experiment, configuration, rung.share))
            else:
                out.append((rung.experiment, configuration))
        return out

    def price(self, r: int, candidate: int) -> float:
        """What a candidate costs on rung r, less what its run has cost on lower rungs,
        as far as that can be known.
        """
        rung = self.ladder[r]
        point = rung.candidates[candidate]
        paid = 0.0
        for below in self.ladder[:r]:
            same_runs = below.experiment == rung.experiment
            if same_runs and self._is_among(point, below.points.values()):
                paid = max(paid, below.cost)
        return rung.cost - paid

    def _affords(self, move: Move, last: Move | None, left: float) -> bool:
        """Whether `left` pays for a move and, if that finishes no run of the target,
        for one such run after it.
        """
        if move[0] == len(self.ladder) - 1:
            return self._pays(left, move)
        return (
            last is not None
            and self._pays(left, move)
            and self._pays(left - self.price(*move), last)
        )

    def _pays(self, left: float, move: Move) -> bool:
        """Whether `left` pays for a move: a new run may only begin while a whole run of
        the target can be paid.
        """
        price = self.price(*move)
        return (
            left
            >= (price if price < self.ladder[move[0]].cost else 1.0) - SLACK
        )

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._left -= trial.cost
        known = {rung.experiment for rung in self.ladder}
        if trial.proposed and trial.experiment in known:
            rung = self.ladder[self._number(trial.experiment, trial.share)]
            candidate = nearest(rung.candidates, np.array(trial.proposed))[0]
            loss = (
                trial.signal[-1][1]
                if trial.share < 1 and trial.signal
                else trial.loss
            )
            rung.losses[candidate] = loss if math.isfinite(loss) else math.inf
            rung.points[candidate] = np.array(trial.point or trial.proposed)

    def above(self, r: int, candidate: int, to: int | None = None) -> int:
        """The candidate of the next rung (or of rung `to`) that stands for what was
        evaluated as `candidate` on rung r.
        """
        return nearest(
            self.ladder[r + 1 if to is None else to].candidates,
            self.ladder[r].points[candidate],
        )[0]

    def fresh(self, r: int, running: list[set[int]]) -> int | None:
        """Hook: the next new candidate for rung r, at random here; None when all were
        run.
        """
        return self.first_new(r, running, self.ladder[r].order)

    def first_new(
        self, r: int, running: list[set[int]], order: Sequence[int]
    ) -> int | None:
        """The first of rung r's candidates in an order that was not run: not where the
        rung evaluated something, if there is another.
        """
        rung = self.ladder[r]
        left = [
            c for c in order if c not in rung.losses and c not in running[r]
        ]
        for candidate in left:
            if not self._is_among(
                rung.candidates[candidate], rung.points.values()
            ):
                return candidate
        return left[0] if left else None

    def _is_among(
        self, candidate: np.ndarray, points: Iterable[np.ndarray]
    ) -> bool:
        return any(self._same(candidate, point) for point in points)

    def _same(self, candidate: np.ndarray, point: np.ndarray) -> bool:
        """Whether a proposal of `candidate` would be snapped onto the row at `point`,
        as far as can be known.
        """
        gap = np.abs(candidate - point)
        return bool(
            np.all(gap < 1e-6)
            if self.candidates_are_rows
            else np.all((gap < 0.5 * self.steps - SLACK) | (gap < 1e-6))
        )

    def last(
        self, running: list[set[int]], left: float = math.inf
    ) -> Move | None:
        """The last run of the target, as far as `left` pays for one: of the best
        candidate on the highest rung below that was not run there yet, else of a random
        one.
        """
        top = len(self.ladder) - 1
        for r in reversed(range(top)):
            for candidate in self.ladder[r].best():
                target_candidate = self.above(r, candidate, top)
                if (
                    target_candidate not in self.ladder[top].losses
                    and target_candidate not in running[top]
                    and self._pays(left, (top, target_candidate))
                ):
                    return top, target_candidate
        new = self.fresh(top, running)
        move = top, 0 if new is None else new
        return move if self._pays(left, move) else None

    def _number(self, experiment: str, share: float) -> int:
        here = [
            r
            for r, rung in enumerate(self.ladder)
            if rung.experiment == experiment and rung.share >= share - SLACK
        ]
        return here[0] if here else len(self.ladder) - 1


def ladder_of(view: TaskView, shares: Sequence[float]) -> list[Rung]:
    """The target, its runs up to `shares` (most expensive first), and the charged
    experiments below it, cheapest first, each of those at least ETA times as expensive
    as the one before.
    """
    chosen = [
        Rung("", share, view.candidates, share=share)
        for share in (1.0, *shares)
    ]
    for charged in reversed(view.charged):
        if charged.cost <= chosen[-1].cost / ETA + SLACK:
            chosen.append(
                Rung(charged.experiment_id, charged.cost, charged.candidates)
            )
    return chosen[::-1]


@dataclass(frozen=True)
class Bracket:
    """A successive halving: `sizes` candidates on the rungs from `first` up, `starters`
    on the lowest of them.
    """

    first: int
    sizes: list[int]
    starters: list[int]

    def move(
        self, climber: Climber, running: list[set[int]]
    ) -> Move | Literal["wait", "done"]:
        """What to run next; `wait`: a pending trial must end first."""
        batch = self.starters
        for r, rung in enumerate(
            climber.ladder[self.first :], start=self.first
        ):
            new = [
                c for c in batch if c not in rung.losses and c not in running[r]
            ]
            if new:
                return r, new[0]
            if any(c not in rung.losses for c in batch):
                return "wait"
            if r + 1 < len(climber.ladder):
                promoted = dict.fromkeys(
                    climber.above(r, c) for c in rung.best(batch)
                )
                batch = list(promoted)[: self.sizes[r + 1 - self.first]]
        return "done"


def costs_from(ladder: Sequence[Rung], first: int) -> list[float]:
    """What a candidate that starts on rung `first` pays on it and on each above; a run
    that is paused is paid for once.
    """
    rungs = ladder[first:]
    return [
        rung.cost
        - (below.cost if below and below.experiment == rung.experiment else 0.0)
        for below, rung in zip([None, *rungs], rungs, strict=False)
    ]


def sizes_of(costs: Sequence[float], budget: float, most: int) -> list[int]:
    """How many candidates a halving runs on each of its rungs: as many start as the
    budget pays for (at most `most`), and one in ETA goes on to the next. Empty where
    the budget does not pay one candidate on every rung.
    """
    started = 0
    sizes = []
    while started < most:
        tried = [math.ceil((started + 1) / ETA**r) for r in range(len(costs))]
        if (
            sum(n * c for n, c in zip(tried, costs, strict=True))
            > budget + SLACK
        ):
            break
        started = started + 1
        sizes = tried
    return sizes


def rungs_in_words(ladder: Sequence[Any]) -> str:
    """The rungs below the target in a sentence."""
    names = [
        r.experiment or f"{r.share:.2g} of a run"
        for r in ladder
        if r.experiment or r.share < 1
    ]
    return " -> ".join(names) or "no cheap experiment"
