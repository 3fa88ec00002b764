"""What the declared parametrization says of rates: under muP and CompleteP the best one
does not move with size, and a prior that it falls has no place.

Source: as policies/rules/parametrization_rule.py. Invariant: without a declaration
nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autollm.advisor.statistics.laws import Law
from autollm.core.spaces.space import Space
from autollm.policies.rules.parametrization_rule import (
    STAYS,
    parametrization_of,
)

DATA = ("tokens", "steps", "epochs", "samples")
"""Coordinates that say how long a run is; muP is about width alone."""


def transfers(context: Mapping[str, str]) -> bool:
    """Whether the runs' parametrization keeps the best rate where it is."""
    return parametrization_of(context) in STAYS


def without_rate_rule(space: Space, context: Mapping[str, str]) -> Space:
    """The space in which no knob is a rate that falls with size: policies hang that
    prior on the role `rate`.
    """
    if not transfers(context):
        return space
    knobs = []
    for knob in space.knobs:
        knobs.append(replace(knob, role="") if knob.role == "rate" else knob)
    return replace(space, knobs=tuple(knobs))


def should_stay(law: Law, space: Space, context: Mapping[str, str]) -> bool:
    """Whether the declared parametrization says that this law's knob does not move:
    `space` as it was declared, with its roles.
    """
    rates = [knob.name for knob in space.knobs if knob.role == "rate"]
    return transfers(context) and law.knob in rates and law.per not in DATA
