"""Successive halving and its asynchronous form, with cheap experiments as rungs and the
target on top.

Where the task charges cheap experiments or lets runs be paused, rungs are runs of the
episode (climbing.py); shares of one run are what both were published for. Where it does
neither, they are free: a rung is an experiment of the evidence, at least ETA times as
expensive as the one below it; what a candidate gave there is read from it
(`interpolate` where it holds no such row), and candidates that reach the target are
proposed in the order in which they get there, so the target's outcomes change nothing.

Sources: K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification" (AISTATS
2016); L. Li et al., "A system for massively parallel hyperparameter tuning" (MLSys
2020). Own code: schedulers of libraries want to run the trials themselves.
"""

from __future__ import annotations

import math

import numpy as np

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.view import EvidenceTable
from autollm.policies.interpolation import interpolate
from autollm.policies.multifidelity.climbing import (
    ETA,
    Bracket,
    Climber,
    Move,
    costs_from,
    rungs_in_words,
    sizes_of,
)


class SuccessiveHalving(Climber):
    """Attributes after reset: `rungs` of the evidence, cheapest first, and `n_started`,
    candidates on the lowest one; `bracket` where rungs are paid for: as many rungs as
    the budget lets most candidates fall on.

    The candidates that start are drawn at random, as many as leave one for each trial
    at the top.
    """

    policy_id = "successive-halving"

    def prepare(self) -> None:
        n = len(self.candidates)
        trials = self.view.trials
        self.rungs = rungs_of(self.view.evidence, most_rungs(n / trials))
        self.n_started = min(n, trials * ETA ** len(self.rungs))
        order = self.rng.permutation(n)
        alive, out = (
            order[: self.n_started],
            list(order[self.n_started :][::-1]),
        )  # `out`: worst first
        for rung in self.rungs:
            u = interpolate(
                self.candidates[alive], rung.points, squash(rung.loss)
            )
            alive = alive[np.argsort(u, kind="stable")]
            kept = math.ceil(len(alive) / ETA)
            alive, out = alive[:kept], out + list(alive[kept:][::-1])
        self._scores = np.empty(n)
        self._scores[
            np.concatenate([alive, np.array(out[::-1], dtype=int)])
        ] = np.arange(n)

    def plan(self) -> None:
        for first in range(len(self.ladder)):
            sizes = sizes_of(
                costs_from(self.ladder, first),
                self.view.trials,
                len(self.ladder[first].candidates),
            )
            if first == len(self.ladder) - 1 or (
                sizes and sizes[0] >= ETA ** (len(sizes) - 1)
            ):
                self.bracket = Bracket(
                    first, sizes, self.ladder[first].order[: sizes[0]]
                )
                return

    def move(self, running: list[set[int]]) -> Move | None:
        move = self.bracket.move(self, running)
        if move == "wait":
            return None
        return self.last(running) if move == "done" else move

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.climbs:
            rungs = rungs_in_words(self.ladder[self.bracket.first :])
            return (
                f"{self.bracket.sizes} random candidates on the rungs {rungs} and the "
                "target"
            )
        names = (
            " -> ".join(r.experiment_id for r in self.rungs)
            or "no cheap experiment"
        )
        return f"{self.n_started} random candidates, the better third of each rung goes on: {names}"


class Asha(Climber):
    """Promote whatever is in the top 1/ETA of its rung, from the highest rung down;
    else try a new random candidate. One worker where rungs are free.

    Attributes after reset: `rungs` of the evidence, cheapest first, and `n_started`,
    candidates tried on the lowest one.
    """

    policy_id = "asha"

    def prepare(self) -> None:
        n = len(self.candidates)
        trials = self.view.trials
        self.rungs = rungs_of(self.view.evidence, most_rungs(n / trials))
        order = self.rng.permutation(n)
        self._seen = [
            interpolate(self.candidates, r.points, squash(r.loss))
            for r in self.rungs
        ]
        on: list[list[int]] = [[] for _ in self.rungs]
        promoted: list[set[int]] = [set() for _ in self.rungs]
        top: list[int] = []
        self.n_started = 0
        while self.rungs and len(top) < 2 * trials:
            move = self._promotable(on, promoted)
            if move is None and self.n_started == n:
                break
            rung, candidate = move or (-1, int(order[self.n_started]))
            if move is None:
                self.n_started += 1
            else:
                promoted[rung].add(candidate)
            (on[rung + 1] if rung + 1 < len(on) else top).append(candidate)
        reached = np.zeros(n, dtype=int)
        last_u = np.full(n, np.inf)
        for r, members in enumerate(on):
            reached[members] = r + 1
            last_u[members] = self._seen[r][members]
        place = np.argsort(order)
        self._scores = np.empty(n)
        self._scores[np.lexsort((place, last_u, -reached))] = len(
            top
        ) + np.arange(n)
        self._scores[top] = np.arange(len(top))

    def _promotable(
        self, on: list[list[int]], promoted: list[set[int]]
    ) -> tuple[int, int] | None:
        """(rung, candidate) of the next promotion, or None."""
        for r in reversed(range(len(on))):
            best = sorted(on[r], key=lambda c: (self._seen[r][c], c))[
                : len(on[r]) // ETA
            ]
            waiting = [c for c in best if c not in promoted[r]]
            if waiting:
                return r, waiting[0]
        return None

    def move(self, running: list[set[int]]) -> Move | None:
        for r in reversed(range(len(self.ladder) - 1)):
            ended = self.ladder[r].best()
            for candidate in ended[: len(ended) // ETA]:
                target_candidate = self.above(r, candidate)
                if (
                    target_candidate not in self.ladder[r + 1].losses
                    and target_candidate not in running[r + 1]
                ):
                    return r + 1, target_candidate
        new = self.fresh(0, running)
        return self.last(running) if new is None else (0, new)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.climbs:
            return (
                "the best third of a rung goes on as soon as it is known: "
                f"{rungs_in_words(self.ladder)}, then the target"
            )
        names = (
            " -> ".join(r.experiment_id for r in self.rungs)
            or "no cheap experiment"
        )
        return (
            f"{self.n_started} random candidates, promoted as soon as they are among the "
            f"best third of a rung: {names}"
        )


def most_rungs(candidates_a_trial: float) -> int:
    """How many rungs thin the candidates out to the trials."""
    return 1 + int(math.log(max(candidates_a_trial, 1), ETA) + 1e-9)


def rungs_of(
    evidence: tuple[EvidenceTable, ...], n: int
) -> list[EvidenceTable]:
    """At most `n` cheap experiments, cheapest first, each at least ETA times as
    expensive as the one before; the most expensive is among them.
    """
    chosen: list[EvidenceTable] = []
    for e in reversed(evidence):
        if len(chosen) < n and (
            not chosen or e.cost_flops <= chosen[-1].cost_flops / ETA
        ):
            chosen.append(e)
    return chosen[::-1]
