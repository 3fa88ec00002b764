"""Candidates that have a number: how a text names configurations of many coordinates,
which do not survive quarter steps.

A candidate gets its number when it is first named, so that the numbers that a model
reads are small. Invariant: a number means the same candidate for the whole episode.
"""

from __future__ import annotations

import numpy as np

from autollm.core.spaces.distances import nearest
from autollm.core.spaces.space import Space

SPOKEN_COORDINATES = 4
"""The most that a configuration is written out for."""


def has_numbers(space: Space) -> bool:
    """Whether configurations of a space are named by number: those of many coordinates,
    and of spaces without a grid.
    """
    return space.grid is None or len(space) > SPOKEN_COORDINATES


class Shortlist:
    """Numbers of candidates [n, n_coordinates]."""

    def __init__(self, candidates: np.ndarray):
        self._candidates = candidates
        self.indices: list[int] = []
        """Which candidate each number stands for."""
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def number(self, index: int) -> int:
        """The number of a candidate, a new one where it had none."""
        if index not in self._numbers:
            self._numbers[index] = len(self.indices)
            self.indices.append(index)
        return self._numbers[index]

    def near(self, point: np.ndarray) -> int:
        """The number of the candidate that is nearest to a point [n_coordinates]."""
        return self.number(nearest(self._candidates, point)[0])

    def named(self, point: np.ndarray) -> int:
        """The number that stands for the nearest to a point among those that have one.

        Raises:
            IndexError: none has.
        """
        return nearest(self.points, point)[0]

    @property
    def points(self) -> np.ndarray:
        """Candidates that have a number, float64 [n_numbered, n_coordinates]."""
        return self._candidates[self.indices]
