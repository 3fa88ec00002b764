"""Successive halving and its asynchronous form, with cheap experiments as rungs and the target on top. Rungs are free here.

A rung is a cheap experiment, at least ETA times as dear as the one below it; what a candidate gave there is read from the evidence
(`carry` where it holds no such row). Candidates that reach the target are proposed in the order in which they get there, so the
target's outcomes change nothing. What does not belong here: charged rungs, which are calls of the episode, not evidence.

Sources: K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification" (AISTATS 2016); L. Li et al., "A system for massively
parallel hyperparameter tuning" (MLSys 2020). Own code: schedulers of libraries want to run the trials themselves.
"""

from __future__ import annotations

import math

import numpy as np

from autollm.gym.smoothing import squash
from autollm.gym.task import EvidenceTable
from autollm.policies.base import RankingPolicy
from autollm.policies.carrying import carry

ETA = 3
"""One in so many goes on to the next rung: the default of both papers."""


class SuccessiveHalving(RankingPolicy):
    """Attributes after reset: `rungs`, cheapest first, and `n_started`, candidates on the lowest one.

    Just so many start, drawn at random, that as many as there are trials come out on top.
    """

    policy_id = "successive-halving"

    def prepare(self) -> None:
        n, trials = len(self.candidates), self.view.trials
        self.rungs = rungs_of(self.view.evidence, 1 + int(math.log(max(n / trials, 1), ETA) + 1e-9))
        self.n_started = min(n, trials * ETA ** len(self.rungs))
        order = self.rng.permutation(n)
        alive, out = order[: self.n_started], list(order[self.n_started :][::-1])  # `out`: worst first
        for rung in self.rungs:
            u = carry(self.candidates[alive], rung.points, squash(rung.loss))
            alive = alive[np.argsort(u, kind="stable")]
            kept = math.ceil(len(alive) / ETA)
            alive, out = alive[:kept], out + list(alive[kept:][::-1])
        self._scores = np.empty(n)
        self._scores[np.concatenate([alive, np.array(out[::-1], dtype=int)])] = np.arange(n)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        names = " -> ".join(r.experiment_id for r in self.rungs) or "no cheap experiment"
        return f"{self.n_started} random candidates, the better third of each rung goes on: {names}"


class Asha(RankingPolicy):
    """One worker: promote whatever is in the top 1/ETA of its rung, from the highest rung down; else try a new random candidate.

    Attributes after reset: `rungs`, cheapest first, and `n_started`, candidates tried on the lowest one.
    """

    policy_id = "asha"

    def prepare(self) -> None:
        n, trials = len(self.candidates), self.view.trials
        self.rungs = rungs_of(self.view.evidence, 1 + int(math.log(max(n / trials, 1), ETA) + 1e-9))
        order = self.rng.permutation(n)
        self._seen = [carry(self.candidates, r.points, squash(r.loss)) for r in self.rungs]
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
            reached[members], last_u[members] = r + 1, self._seen[r][members]
        place = np.argsort(order)
        self._scores = np.empty(n)
        self._scores[np.lexsort((place, last_u, -reached))] = len(top) + np.arange(n)
        self._scores[top] = np.arange(len(top))

    def _promotable(self, on: list[list[int]], promoted: list[set[int]]) -> tuple[int, int] | None:
        """(rung, candidate) of the next promotion, or None."""
        for r in reversed(range(len(on))):
            best = sorted(on[r], key=lambda c: (self._seen[r][c], c))[: len(on[r]) // ETA]
            waiting = [c for c in best if c not in promoted[r]]
            if waiting:
                return r, waiting[0]
        return None

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        names = " -> ".join(r.experiment_id for r in self.rungs) or "no cheap experiment"
        return f"{self.n_started} random candidates, promoted as soon as they are among the best third of a rung: {names}"


def rungs_of(evidence: tuple[EvidenceTable, ...], n: int) -> list[EvidenceTable]:
    """At most `n` cheap experiments, cheapest first, each at least ETA times as dear as the one before; the dearest is among them."""
    chosen: list[EvidenceTable] = []
    for e in reversed(evidence):
        if len(chosen) < n and (not chosen or e.cost_flops <= chosen[-1].cost_flops / ETA):
            chosen.append(e)
    return chosen[::-1]
