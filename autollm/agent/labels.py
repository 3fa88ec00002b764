"""What an all-knowing teacher would try next, as weights over the declared grid; only
for practice and training tables.

A cell's gain is how far it would bring the latent regret below the best trial so far;
cells whose row was tried gain nothing. The expectation of the gain over what is not
known is expected improvement, so a model that imitates these weights learns to use
feedback, to hedge and never to repeat. Invariant: never called on a held-out target
(provenance.py).
"""

from __future__ import annotations

import numpy as np

from autollm.gym.tasks.episode import Episode
from autollm.gym.tasks.regret import regret

SLACK = 0.1
"""Regret above the incumbent's that still counts as a gain, so that something is worth
trying beside a perfect trial.
"""
OFF_TABLE = 0.5
"""Factor of a gain where the proposal lies beyond the tolerance and would be snapped.
"""
SHARPNESS = 3.0
"""Weights are gains to this power: higher is greedier."""


class Grid:
    """The declared grid of an episode, and which recorded row each of its cells stands
    for.
    """

    def __init__(self, episode: Episode):
        self.episode = episode
        self.cells = episode.drawn.view.candidates
        squared = (
            (self.cells[:, None, :] - episode.points[None, :, :]) ** 2
        ).sum(axis=2)
        self.rows = np.argmin(
            squared + 1e-9 * np.arange(squared.shape[1]), axis=1
        )
        self.on_table = (
            np.sqrt(squared[np.arange(len(self.cells)), self.rows])
            <= episode.drawn.task.tolerance + 1e-9
        )
        self.regret = np.asarray(regret(episode.latent, episode.latent))[
            self.rows
        ]

    def untried(self) -> np.ndarray:
        """Cells within the tolerance of a row that was not tried, bool [n_cells]."""
        return self.on_table & self._new()

    def weights(self) -> np.ndarray:
        """Teacher's weights over the cells for the next trial, float64 [n_cells],
        largest 1; uniform where nothing gains.
        """
        best = self.episode.incumbent
        reached = (
            min(
                1.0,
                float(
                    regret(self.episode.latent[best.row], self.episode.latent)
                )
                + SLACK,
            )
            if best
            else 1.0
        )
        new = self._new()
        gain = np.where(
            new, np.maximum(reached - self.regret, 0.0), 0.0
        ) * np.where(self.on_table, 1.0, OFF_TABLE)
        if gain.max(initial=0.0) <= 0:
            untried = self.on_table & new
            gain = (
                untried if untried.any() else np.ones(len(self.cells))
            ).astype(float)
        return (gain / gain.max()) ** SHARPNESS

    def _new(self) -> np.ndarray:
        return ~np.isin(self.rows, [t.row for t in self.episode.trials])
