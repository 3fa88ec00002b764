"""Where a number stands that is not chosen: the rate of one optimizer in the runs of
another.

A space puts it in the middle of its window, "far from no value". But optima move with
scale and middles do not: a surface fitted to both charges the runs of one category for
the rate that they do not have. So it stands where it does no harm: at the best runs of
its own experiment that chose it, and at the target at the policy's optimum.

Invariant: coordinates that are chosen are never touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import OutcomeTable

BEST = 0.25
"""Of median - best: how much worse a run may be to count, by a factor of e less."""


def rested(table: OutcomeTable) -> OutcomeTable:
    """The table with the numbers that are not chosen at rest, experiment by experiment;
    an experiment in which no run chose one takes its nearest neighbour's place.
    """
    if all(knob.when is None for knob in table.experiments[0].space.knobs):
        return table
    places = []
    for e, experiment in enumerate(table.experiments):
        here = table.points[e], table.losses(e)
        places.append(_best_places(experiment.space, *here))
    flops = np.log([e.compute_flops for e in table.experiments])
    points = []
    for e, experiment in enumerate(table.experiments):
        near = np.argsort(np.abs(flops - flops[e]), kind="stable")
        optimum = places[e].copy()
        for other in near:
            optimum = np.where(np.isnan(optimum), places[other], optimum)
        points.append(at_rest(experiment.space, table.points[e], optimum))
    return replace(table, points=tuple(points))


def at_rest(
    space: Space, points: np.ndarray, optimum: np.ndarray
) -> np.ndarray:
    """Points [n, d] with what is not chosen at `optimum` [d]; as it is where that is NaN."""
    moved = points
    for knob in space.knobs:
        if knob.when is None:
            continue
        where = space.slices[knob.name]
        idle = ~chosen(space, points, knob.name)
        if idle.any() and np.isfinite(optimum[where]).all():
            moved = moved.copy() if moved is points else moved
            moved[idle, where] = optimum[where]
    return moved


def chosen(space: Space, points: np.ndarray, name: str) -> np.ndarray:
    """In which points [n, d] a knob is chosen, bool [n]."""
    knob = space.knobs[space.names.index(name)]
    if knob.when is None:
        return np.ones(len(points), dtype=bool)
    parent, values = knob.when
    other = space.knobs[space.names.index(parent)]
    at = points[:, space.slices[parent]]
    levels = [other.decode(p if len(p) > 1 else float(p[0])) for p in at]
    fits = np.array([level in values for level in levels], dtype=bool)
    return fits & chosen(space, points, parent)


def _best_places(
    space: Space, points: np.ndarray, loss: np.ndarray
) -> np.ndarray:
    """Mean coordinates [d] of the best runs of those that chose each knob; NaN of knobs
    that none chose, and of those that all have.
    """
    found = np.full(len(space), np.nan)
    for knob in space.knobs:
        mine = chosen(space, points, knob.name)
        if knob.when is None or not mine.any():
            continue
        left = loss[mine] - loss[mine].min()
        scale = BEST * max(float(np.median(left)), 1e-300)
        weight = np.exp(-left / scale)
        where = space.slices[knob.name]
        found[where] = weight @ points[mine, where] / weight.sum()
    return found
