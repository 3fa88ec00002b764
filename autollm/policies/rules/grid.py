"""Grid search: the cells of a regular grid that is just fine enough for the budget, in
random order; evidence is ignored.

With `trials` trials and d coordinates, the range of what may be chosen is cut into m
equal parts along each, m the smallest number with m^d >= trials; the middle of a cell
takes the nearest candidate. The order is random because a grid that is cut short in its
own order would see one corner only. Source: the textbook method that J. Bergstra, Y.
Bengio, "Random search for hyper-parameter optimization" (JMLR 2012) compare with.
"""

from __future__ import annotations

import numpy as np

from autollm.policies.base import RankingPolicy, claim

MAX_CELLS = 4096
"""Of more cells than this some are drawn instead of listing all."""
SPARE = 4
"""Cells in play, as a multiple of the trials."""


class GridSearch(RankingPolicy):
    """Attribute after reset: `n_parts`, cells a coordinate."""

    policy_id = "grid"

    def prepare(self) -> None:
        low, high = self.candidates.min(axis=0), self.candidates.max(axis=0)
        d = len(low)
        self.n_parts = next(
            m for m in range(1, self.view.trials + 2) if m**d >= self.view.trials
        )
        cells = self._cells(d)
        middles = low + (cells + 0.5) / self.n_parts * (high - low)
        claimed = claim(self.candidates, middles)
        claimed = claimed[claimed >= 0]
        self._scores = len(middles) + self.rng.permutation(len(self.candidates)).astype(
            float
        )
        self._scores[claimed] = np.arange(len(claimed))

    def _cells(self, d: int) -> np.ndarray:
        """Distinct cells in random order, int [n_cells, d], no more than can be of use."""
        if self.n_parts**d <= MAX_CELLS:
            cells = np.indices((self.n_parts,) * d).reshape(d, -1).T
            return self.rng.permutation(cells)[: SPARE * self.view.trials]
        drawn = self.rng.integers(self.n_parts, size=(SPARE * self.view.trials, d))
        return drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])]

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        return f"a grid of {self.n_parts} values a knob, in random order"
