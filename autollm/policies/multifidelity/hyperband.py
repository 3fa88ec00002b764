"""Hyperband: successive halvings that start on every rung of the ladder, so that no
rung has to be trusted.

There is a ladder where a task charges cheap experiments or lets runs be paused; without
one, only the bracket on the target itself is left, which is random search.

Source: L. Li et al., "Hyperband: a novel bandit-based approach to hyperparameter
optimization" (JMLR 2018). Own code: schedulers of libraries want to run the trials
themselves.
"""

from __future__ import annotations

from autollm.policies.multifidelity.climbing import (
    Bracket,
    Climber,
    Move,
    costs_from,
    rungs_in_words,
    sizes_of,
)


class Hyperband(Climber):
    """Attribute after reset where there is a ladder: `brackets`, the one that starts
    lowest first. All get the same share of the budget; a bracket that its share cannot
    pay for leaves it to the others.
    """

    policy_id = "hyperband"

    def plan(self) -> None:
        n = len(self.ladder)
        trials = self.view.trials
        firsts = [
            f
            for f in range(n)
            if sizes_of(costs_from(self.ladder, f), trials / n, 1)
        ] or [n - 1]
        self.brackets = []
        used = 0
        for first in firsts:
            order = self.ladder[first].order
            sizes = sizes_of(
                costs_from(self.ladder, first), trials / len(firsts), len(order)
            )
            self.brackets.append(
                Bracket(
                    first,
                    sizes,
                    [order[(used + i) % len(order)] for i in range(sizes[0])],
                )
            )
            used += sizes[0]

    def move(self, running: list[set[int]]) -> Move | None:
        bracket_moves = [
            bracket.move(self, running) for bracket in self.brackets
        ]
        moves = [a for a in bracket_moves if not isinstance(a, str)]
        if moves:
            return moves[0]
        return None if "wait" in bracket_moves else self.last(running)

    def explain(self) -> str:
        if not self.climbs:
            return super().explain()
        sizes = ", ".join(str(bracket.sizes[0]) for bracket in self.brackets)
        return (
            f"{len(self.brackets)} halvings, of {sizes} candidates, over "
            f"{rungs_in_words(self.ladder)}"
        )
