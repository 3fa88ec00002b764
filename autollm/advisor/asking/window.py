"""Windows of knobs: one level longer, finer between levels, and values as people type
them.

Invariant: a value that is proposed is one that a run can have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autollm.advisor.statistics.laws import Trend
from autollm.advisor.statistics.response import Response
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

FINE = 0.5
"""Octaves between candidates of a log knob: less than half of what a choice between
factors of 3 leaves open, and optima of real sweeps are told no better."""
ENOUGH = 0.2
"""Share of FINE by which such a step may be longer, rather than be halved."""
SAME = 0.02
"""Share by which a number may differ from a level and still be typed as it."""
MOST_COARSE = 12
"""Levels from which a number is finely tried already."""


def widened(space: Space, outward: np.ndarray) -> Space:
    """The space with one more level for every numeric knob whose sign in `outward`
    [n_knobs] is not 0: below (-1) or above (+1) the window.
    """
    knobs = [
        _longer(knob, int(side)) if side else knob
        for knob, side in zip(space.knobs, outward, strict=True)
    ]
    return replace(space, knobs=tuple(knobs))


def refined(space: Space, names: Sequence[str]) -> Space:
    """The space with values between the levels of coarse numbers of these `names`: the
    run to come need not repeat what a grid of factors of three happened to hold. Whole
    numbers, such as batches and widths, stay as they were chosen.
    """
    knobs = []
    for knob in space.knobs:
        is_whole = all(float(v).is_integer() for v in _numbers(knob))
        is_fine = is_whole or len(knob.levels) > MOST_COARSE
        if is_fine or knob.name not in names:
            knobs.append(knob)
            continue
        levels = [*knob.levels[:1]]
        for low, high in zip(knob.levels, knob.levels[1:], strict=False):
            levels += [*_between(knob, low, high), high]
        knobs.append(replace(knob, levels=tuple(levels)))
    return replace(space, knobs=tuple(knobs))


def _between(knob: Knob, low: float, high: float) -> list[float]:
    """Values within FINE octaves of each other between two levels of a log knob, or the
    middle of a linear one's, to two digits more than its size asks for.
    """
    n = 2
    if knob.scale == "log":
        n = max(1, math.ceil(math.log2(high / low) / FINE - ENOUGH))
    found = []
    for i in range(1, n):
        share = i / n
        value = low + share * (high - low)
        if knob.scale == "log":
            value = low * (high / low) ** share
        rounded = float(f"{value:.2g}")
        found.append(rounded if low < rounded < high else value)
    return found


def as_typed(space: Space, configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its numbers as a person would type them: a level where it
    is one, else two digits; a power of two where all levels are, a multiple of what
    divides all whole ones (widths in steps of 128).
    """
    typed = dict(configuration)
    for knob in space.knobs:
        if _numbers(knob) and knob.name in typed:
            typed[knob.name] = _typed(knob, float(typed[knob.name]))
    return typed


def _typed(knob: Knob, value: float) -> float:
    nearest = min(knob.levels, key=lambda level: abs(level - value))
    if math.isclose(nearest, value, rel_tol=SAME):
        return nearest
    if all(v > 0 and math.log2(v).is_integer() for v in knob.levels):
        return 2.0 ** round(math.log2(value))
    if all(float(v).is_integer() for v in knob.levels):
        unit = math.gcd(*map(int, knob.levels)) or 1
        return float(unit * max(round(value / unit), 1 if value > 0 else 0))
    return float(f"{value:.2g}")


def outward_sides(
    space: Space, response: Response, trends: Mapping[str, Trend]
) -> np.ndarray:
    """Sign a knob [n_knobs]: on which side of the window its optimum at the target lies:
    by its law, else by most levels and the most expensive one.
    """
    sides = np.zeros(len(space.knobs), dtype=int)
    for i, knob in enumerate(space.knobs):
        if knob.name not in response.names:
            continue
        trend = trends.get(knob.name)
        low, high = knob.window[:, 0]
        if trend is not None:
            sides[i] = int(trend.at_target > high) - int(trend.at_target < low)
            continue
        j = response.names.index(knob.name)
        edges = np.array([level.edge[j] for level in response.levels])
        if abs(edges.sum()) > len(edges) / 2 and edges[-1] == np.sign(
            edges.sum()
        ):
            sides[i] = int(edges[-1])
    return sides


def _longer(knob: Knob, side: int) -> Knob:
    further = further_level(knob, side)
    if further is None:
        return knob
    longer = [*knob.levels, further] if side > 0 else [further, *knob.levels]
    return replace(knob, levels=tuple(longer))


def further_level(knob: Knob, side: int) -> float | None:
    """One more level below (-1) or above (1) a knob's window, a step like its last one
    away; None where it has no such step, or none that a run can have: numbers of one
    sign keep it, and shares of 1 stay shares.
    """
    levels = list(knob.levels)
    if knob.scale not in ("log", "linear", "integer") or len(levels) < 2:
        return None
    edge, inner = levels[-2:][::-1] if side > 0 else levels[:2]
    if knob.scale == "log":
        return float(f"{edge * edge / inner:.9g}")
    further = edge + (edge - inner)
    is_share = levels[0] >= 0 and levels[-1] <= 1
    changes_sign = _sign(further) not in {_sign(level) for level in levels}
    if changes_sign or (is_share and further > 1):
        return None
    return float(f"{further:.9g}")


def level_beyond(knob: Knob, side: int) -> float | None:
    """The first of further levels that lies one natural unit beyond a knob's window, or
    the last one that a run can have; None without any.
    """
    reached = None
    if knob.scale not in ("log", "linear", "integer"):
        return reached
    edge = float(knob.grid[-1 if side > 0 else 0])
    while (further := further_level(knob, side)) is not None:
        reached = further
        if abs(float(knob.encode(reached)) - edge) >= 1 - SAME:
            break
        longer = (
            [*knob.levels, reached] if side > 0 else [reached, *knob.levels]
        )
        knob = replace(knob, levels=tuple(longer))
    return reached


def _sign(number: float) -> int:
    return int(number > 0) - int(number < 0)


def _numbers(knob: Knob) -> tuple[float, ...]:
    """Levels of a number that may take others; none of all other knobs."""
    return knob.levels if knob.scale in ("log", "linear") else ()
