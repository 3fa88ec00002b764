"""Numbers that were changed together everywhere, as widths and depths of one size are:
which, and what may then be proposed of them.

Invariant: of a shape (whole numbers that were tied) only combinations that were tried are
proposed: another one has another size than is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from autollm.core.spaces.knobs import Knob, is_number
from autollm.core.spaces.space import Space

TIED = 0.95
"""Rank correlation within every experiment from which two numbers changed together."""


def tied_pairs(
    space: Space, experiments: Sequence[np.ndarray]
) -> Iterator[tuple[int, int]]:
    """Coordinates of numbers that changed together in every experiment, points [n, d]
    each, that tells.
    """
    columns = list(np.flatnonzero(space.gridded))
    for a, i in enumerate(columns):
        for j in columns[a + 1 :]:
            told = []
            for points in experiments:
                a, b = points[:, [i, j]].T
                tied = rank_correlation(a, b)
                told += [] if tied is None else [abs(tied)]
            if told and min(told) > TIED:
                yield int(i), int(j)


def as_tried(
    space: Space,
    candidates: np.ndarray,
    experiments: Sequence[np.ndarray],
) -> np.ndarray:
    """The candidates [n, d] whose shape was tried; all of them where no shape was tied,
    or none of them was tried.
    """
    knobs = filter(_is_shape, space.knobs)
    shape = [space.slices[knob.name].start for knob in knobs]
    pairs = map(set, tied_pairs(space, experiments))
    if not any(pair <= set(shape) for pair in pairs):
        return candidates
    runs = np.concatenate(experiments)
    tried = set(_rows(runs[:, shape]))
    proposed = _rows(candidates[:, shape])
    kept = [row in tried for row in proposed]
    return candidates[kept] if any(kept) else candidates


def _is_shape(knob: Knob) -> bool:
    """A whole number that is no batch."""
    if knob.role == "size" or not all(map(is_number, knob.levels)):
        return False
    return all(float(level).is_integer() for level in knob.levels)


def _rows(points: np.ndarray) -> Iterable[tuple[float, ...]]:
    return map(tuple, np.round(points, 4).tolist())


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """None of fewer than three pairs, or of a constant."""
    a = np.asarray(a, dtype=float)
    b = np.asarray(b, dtype=float)
    if len(a) < 3 or 0 in (np.ptp(a), np.ptp(b)):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's, equal values sharing a rank."""
    _, ranks = np.unique(a, return_inverse=True)
    _, others = np.unique(b, return_inverse=True)
    return correlation(ranks, others)
