"""How far the advice moves when a part of the evidence is left out: every experiment in
turn, each time everything is fitted anew.

Invariant: nothing is linearized; a row is what the same question answers without those
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.advisor.answer import Interval, Proposal
from autollm.advisor.deciding.study import Study, after, study
from autollm.advisor.deciding.worth import worth
from autollm.advisor.evidence.resting import chosen
from autollm.core.errors import AutoLLMError

MOST_GROUPS = 12
"""Experiments left out, the most expensive ones: each takes a whole fit, about half a
second."""


@dataclass(frozen=True)
class Influence:
    """The first proposal without the runs of one experiment. `moved`: column -> natural
    units (octaves of a log knob) from the advice; `leaves`: columns whose value then
    lies outside of the range that the advice calls acceptable.
    """

    left_out: str
    n_runs: int
    configuration: dict[str, Any]
    predicted: Interval | None
    moved: dict[str, float]
    leaves: tuple[str, ...]


def influences(found: Study, first: Proposal) -> list[Influence]:
    """A row an experiment, the cheapest first; none where only one was run."""
    levels = found.question.levels
    if len(levels) < 2:
        return []
    order = np.argsort(found.octaves)[-MOST_GROUPS:]
    rows = []
    for i in order:
        kept = [level for level in levels if level != levels[i]]
        row = _without(found, int(i), kept, first)
        if row is not None:
            rows.append(row)
    return rows


def _without(
    found: Study, i: int, kept: Sequence[int], first: Proposal
) -> Influence | None:
    """None where the rest cannot be asked."""
    fidelity = dict(found.question.fidelity)
    try:
        less = study(
            found.evidence,
            fidelity,
            trials=1,
            with_backtests=False,
            levels=kept,
            constraints=found.question.constraints,
        )
    except AutoLLMError:
        return None
    if found.tried:
        less = after(less, found.tried)
    choice = less.chosen(1)
    u = less.sampled(choice.points)[:, 0]
    here = worth(less, u, choice.weights)
    shown = found.names.show(less.question.space.decode(choice.points[0]))
    moved = _moved(found, choice.points[0], first)
    allowed = first.acceptable or {}
    categories = found.categorical
    leaves = []
    for column, value in shown.items():
        bounds = allowed.get(column)
        if bounds and not within(value, bounds, column in categories):
            leaves.append(column)
    return Influence(
        found.place(found.rows[i].label),
        len(found.rows[i].loss),
        shown,
        here.predicted,
        moved,
        tuple(leaves),
    )


def _moved(
    found: Study, point: np.ndarray, first: Proposal
) -> dict[str, float]:
    """Numeric knobs alone: places of categories and parts are no distances."""
    space = found.question.space
    advised = space.encode(found.names.read(first.configuration))
    both = np.array([point, advised])
    moved = {}
    for knob in space.knobs:
        if not chosen(space, both, knob.name).all():
            continue
        if knob.scale in ("log", "linear", "integer"):
            at = space.slices[knob.name].start
            column = found.names.spelling(knob.name).column
            moved[column] = float(point[at] - advised[at])
    return moved


def within(value: Any, bounds: list[Any], is_category: bool) -> bool:
    """Whether a value is one of these categories, or lies between two numbers."""
    if is_category:
        return value in bounds
    return bool(min(bounds) <= value <= max(bounds))
