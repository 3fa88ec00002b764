"""Which recorded row each point of a declared grid stands for, without searching anew
in every episode.

A seed keeps most of a target's rows. So the nearest rows of every grid point are sorted
once per experiment; what a draw kept of them decides in a few array operations.

Invariant: `among(rows)` is `nearest(points[rows], p)` for every grid point p, bit for
bit.
"""

from __future__ import annotations

import numpy as np

from autollm.core.spaces.distances import nearest

NEIGHBOURS = 16
"""Sorted rows a grid point. A draw that kept none of them (4e-12 at one in five
dropped) is searched anew.
"""
CHUNK = 1 << 18
"""Coordinates compared at once: their distances stay in the second cache, a third
faster than all at once.
"""


def places_in_play(ids: np.ndarray | int, rows: np.ndarray) -> np.ndarray:
    """Where row ids stand among the rows in play (ascending ids [n_rows]), -1 for one
    that is not in play: it is infeasible. Shape of `ids`.
    """
    place = np.minimum(np.searchsorted(rows, ids), len(rows) - 1)
    return np.where(rows[place] == ids, place, -1)


class Snapping:
    """`grid` [n, d], `points` [n_rows, d]: natural units, of one experiment."""

    def __init__(self, grid: np.ndarray, points: np.ndarray):
        self.grid = grid
        self.points = points
        step = max(1, CHUNK // max(points.size, 1))
        parts = [
            self._sorted(grid[i : i + step]) for i in range(0, len(grid), step)
        ]
        self._order, self._squared = (
            np.concatenate(p) for p in zip(*parts, strict=True)
        )

    def among(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For the rows in play (ascending ids): index into `rows` and distance of the
        nearest one, int64 and float64 [n].
        """
        position = np.full(len(self.points), -1)
        position[rows] = np.arange(len(rows))
        places = position[self._order]
        squared = np.where(places >= 0, self._squared, np.inf)
        limit = squared.min(axis=1, keepdims=True) + 1e-9
        tied = squared <= limit
        chosen = np.argmin(np.where(tied, places, len(self.points)), axis=1)[
            :, None
        ]
        index = np.take_along_axis(places, chosen, axis=1)[:, 0]
        distance = np.sqrt(np.take_along_axis(squared, chosen, axis=1)[:, 0])
        if self._order.shape[1] < len(self.points):
            # Rows beyond the sorted ones may be nearest, or tie with them: none of
            # them is nearer than the last sorted one, whether that is in play or not.
            for i in np.flatnonzero(self._squared[:, -1] <= limit[:, 0]):
                index[i], distance[i] = nearest(self.points[rows], self.grid[i])
        return index, distance

    def _sorted(self, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        squared = self._squares(grid)
        n = squared.shape[1]
        near = (
            np.argpartition(squared, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            if n > NEIGHBOURS
            else np.broadcast_to(np.arange(n), squared.shape)
        )
        distances = np.take_along_axis(squared, near, axis=1)
        order = np.argsort(distances, axis=1)
        return np.take_along_axis(near, order, axis=1).astype(
            np.int32
        ), np.take_along_axis(distances, order, axis=1)

    def _squares(self, grid: np.ndarray) -> np.ndarray:
        """Squared distances [n_grid, n_rows]. Few coordinates are added one by one,
        eight times as fast; numpy's sum adds up to seven in the same order, so that not
        a bit differs from `nearest`.
        """
        if grid.shape[1] > 7:
            return np.sum(
                (self.points[None, :, :] - grid[:, None, :]) ** 2, axis=2
            )
        squared = np.zeros((len(grid), len(self.points)))
        for j in range(grid.shape[1]):
            squared += (self.points[:, j] - grid[:, j, None]) ** 2
        return squared
