"""The policy that decides: the moving bowl, with categories as the runs compare them.

A bowl puts a category on axes of its own and lets its optimum move with scale: of the
gap between two optimizers that every scale shows alike it keeps a part, or none. So
numbers are the bowl's, and what categories differ by is that of the runs
(categories.py). Numbers that are not chosen stand at their optimum (resting.py).

Invariant: without a category this is the moving bowl, to the bit.
"""

from __future__ import annotations

import copy

import numpy as np

from autollm.advisor.evidence.resting import at_rest
from autollm.advisor.statistics.categories import Gaps, gaps_of
from autollm.policies.surrogates.moving_bowl import MovingBowl


class Decider(MovingBowl):
    """Attributes after reset, beside the bowl's: gaps, of the categories; added
    [n_particles, n_levels] of each, u that a level adds to the bowl's.
    """

    def _draw_particles(self) -> None:
        self.gaps: tuple[Gaps, ...] = ()
        self.added: list[np.ndarray] = []
        super()._draw_particles()
        gaps = gaps_of(self.view)
        for one in gaps:
            # the runs say how far a category's gap may be off, not the bowl
            middle = self.target_optimum[one.columns]
            self.particles[:, one.columns] = middle
        if gaps:
            expected = self.weights @ self._heights(self.candidates)
            self.added = [self._added(one, expected) for one in gaps]
            self.gaps = gaps
            scored = self.candidates[self._scored]
            self._u = self._heights(scored)

    def _added(self, gaps: Gaps, expected: np.ndarray) -> np.ndarray:
        """What brings the best candidates of each level as far apart as the runs say; the
        best of all keeps its height. Nothing for a level that no candidate has.
        """
        level = gaps.level_of(self.candidates)
        lowest = np.full_like(gaps.mean, np.inf)
        np.minimum.at(lowest, level, expected)
        known = np.isfinite(lowest)
        lowest[~known] = lowest[known].max()
        least = gaps.mean[known].min()
        wanted = gaps.mean - least + lowest.min()
        normal = np.random.default_rng(0).normal(
            size=(len(self.particles), len(wanted))
        )
        return wanted - lowest + normal * gaps.sd

    def _heights(self, points: np.ndarray) -> np.ndarray:
        points = at_rest(self.view.space, points, self.target_optimum)
        u = super()._heights(points)
        for gaps, added in zip(self.gaps, self.added, strict=True):
            u = u + added[:, gaps.level_of(points)]
        return u

    def widened(self, factor: float) -> Decider:
        """The same with its draws of the optimum so much farther from the middle."""
        wider = copy.copy(self)
        away = self.particles - self.target_optimum
        wider.particles = self.target_optimum + factor * away
        return wider
