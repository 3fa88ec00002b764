"""Tools for designs of cells: points that fill a space evenly, and rounding to whole
numbers that keeps a sum.

Invariant: no randomness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autollm.core.errors import FamilyError


def even_points(dimensions: int) -> Iterator[list[float]]:
    """Points of the unit cube, one after another without end: the additive recurrence
    of the root of x^(d + 1) = x + 1.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    for i in itertools.count(1):
        yield [(0.5 + i * root ** -(d + 1)) % 1.0 for d in range(dimensions)]


def even_cells(
    axes: Mapping[str, Sequence[Any]], n: int
) -> list[dict[str, Any]]:
    """n different combinations of the axes' values, by even points; more of them begin
    with the same.

    Raises:
        FamilyError: there are not so many.
    """
    n_there_are = math.prod(map(len, axes.values()))
    if n > n_there_are:
        raise FamilyError(
            f"{n} different cells of {', '.join(axes)} were asked for, and there are "
            f"{n_there_are}. Fix: ask for fewer, or give the axes more values."
        )
    out, points = [], even_points(len(axes))
    while len(out) < n:
        cell = {
            name: values[int(len(values) * u)]
            for (name, values), u in zip(
                axes.items(), next(points), strict=True
            )
        }
        if cell not in out:
            out.append(cell)
    return out


def largest_remainders(exact: Sequence[float]) -> list[int]:
    """Whole numbers near `exact` with its (whole) sum: rounded down, then the largest
    remainders up.
    """
    counts = [int(e + 1e-9) for e in exact]
    for d in sorted(range(len(exact)), key=lambda d: counts[d] - exact[d])[
        : round(sum(exact)) - sum(counts)
    ]:
        counts[d] += 1
    return counts
