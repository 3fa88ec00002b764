"""A task without its names and units, so that nobody answers from memory of the
published laws.

Knobs, categories, parts of a mixture and fidelities are numbered; values of knobs are
told in other units (powers of two), fidelities and costs relative to the target's.

Invariant: coordinates of points are those of the open task, bit for bit, and so are
differences of fidelities; a policy that looks at neither names, roles nor absolute
values plays both alike.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from autollm.core.spaces.knobs import Knob, is_number
from autollm.core.spaces.space import Limit, Space
from autollm.gym.tasks.task import Constraint
from autollm.gym.tasks.view import TaskView

FACTORS = (8.0, 64.0, 32.0, 512.0, 16.0)
"""Factor of a knob's unit, by the knob's number. Powers of two, so that no coordinate
is rounded; whole, so that integers stay integers.
"""


def masked_view(view: TaskView) -> TaskView:
    """The view of a masked task."""
    octaves = np.floor(view.target_z)
    most = max((e.cost_flops for e in view.evidence), default=0.0)
    scale = 2.0 ** math.floor(math.log2(most)) if most > 0 else 1.0
    evidence = tuple(
        replace(e, z=e.z - octaves, cost_flops=e.cost_flops / scale)
        for e in view.evidence
    )
    fidelity = {
        f"f{i + 1}": value / 2.0**n
        for i, (value, n) in enumerate(
            zip(view.target_fidelity.values(), octaves, strict=True)
        )
    }
    constraints = tuple(
        Constraint(f"m{i + 1}", _relative(c.most), _relative(c.least))
        for i, c in enumerate(view.constraints)
    )
    return replace(
        view,
        family="task",
        space=masked_space(view.space),
        fidelity_names=tuple(fidelity),
        target_z=view.target_z - octaves,
        evidence=evidence,
        objective="objective",
        target_fidelity=fidelity,
        constraints=constraints,
        context={},
        charged=tuple(replace(c, z=c.z - octaves) for c in view.charged),
    )


@lru_cache(maxsize=256)
def masked_space(space: Space) -> Space:
    """The same space with numbered names and other units."""
    named = {k.name: f"k{i + 1}" for i, k in enumerate(space.knobs)}
    by_name = {
        k.name: _masked(k, named[k.name], FACTORS[i % len(FACTORS)])
        for i, k in enumerate(space.knobs)
    }
    known = {k.name: k for k in space.knobs}
    knobs = []
    for knob in space.knobs:
        masked = by_name[knob.name]
        if knob.when:
            parent, values = knob.when
            masked_values = [
                _value(known[parent], by_name[parent], v) for v in values
            ]
            masked = replace(masked, when=(named[parent], tuple(masked_values)))
        knobs.append(masked)
    limits = []
    for limit in space.limits:
        weights = [(named[name], weight) for name, weight in limit.weights]
        limits.append(Limit(tuple(weights), limit.most))
    return Space(tuple(knobs), "masked", tuple(limits))


def _masked(knob: Knob, name: str, factor: float) -> Knob:
    if all(map(is_number, knob.levels)) and knob.scale != "categorical":
        scaled = knob.scale in ("log", "linear", "integer")
        return replace(
            knob,
            name=name,
            levels=tuple(level * factor for level in knob.levels),
            unit="",
            role="",
            factor=factor if scaled else 1.0,
        )
    return replace(
        knob,
        name=name,
        levels=tuple(f"{name}.{i + 1}" for i in range(len(knob.levels))),
        unit="",
        role="",
    )


def _value(open_: Knob, masked: Knob, value: Any) -> Any:
    """What a value of a knob is called in its masked form."""
    if masked.factor != 1:
        return value * masked.factor
    return masked.levels[open_._rank(value, value)]


def _relative(bound: float) -> float:
    return (
        bound / 2.0 ** math.floor(math.log2(abs(bound)))
        if math.isfinite(bound) and bound
        else bound
    )
