"""Outcomes that are impossible: what a crash leaves where none should stand.

Invariant: most of the outcomes are none of them.
"""

from __future__ import annotations

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.toml_text import Noted

SENTINELS = (0.0, -1.0)
"""What crashed runs leave where an outcome that is never so should stand."""
NEAR_ZERO = 0.05
"""Share of their median down to which other outcomes must not reach, or 0 is one too."""
FAR_BEYOND = 10.0
"""Times the largest of the other outcomes: a number of nines alone, or a power of ten,
that lies so far off stands for no outcome (999, 1e9)."""


def sentinel_rules(roles: Roles, column: Column, name: str) -> list[Noted]:
    """A rule for each outcome that is impossible (0.000000 of a loss). `name`: that of
    the objective in expressions.
    """
    found, others = _sentinels(column, roles.direction)
    rules = []
    for value in found:
        n = column.finite.count(value)
        rule = {
            "status": "failed",
            "when": f"{name} == {value:g}",
            "reason": f"{column.raw} is {value:g}",
        }
        doubt = f"{n} runs have {value:g} here, which a crash leaves"
        rules.append(Noted(rule, doubt=doubt))
        roles.say(
            "sentinel",
            f"{column.raw} is {value:g} in {n} runs and {others.min():g} to "
            f"{others.max():g} in all others: what a crash leaves, no outcome. They land "
            "as failed.",
            column.raw,
        )
    return rules


def _sentinels(
    column: Column, direction: str
) -> tuple[list[float], np.ndarray]:
    """(values that stand for no outcome, the other outcomes)."""
    finite = np.array(column.finite)
    low = [x for x in SENTINELS if x in finite]
    others = finite[~np.isin(finite, low)]
    if not len(others):
        return [], others
    if direction != "min" and others.min() >= 0:  # an accuracy may be 0
        low = [x for x in low if x < 0]
    if others.min() <= NEAR_ZERO * np.median(others):
        low = []
    high = []
    for value in np.unique(others)[::-1]:
        rest = others[others < value]
        is_far = len(rest) > 0 and value > FAR_BEYOND * rest.max() > 0
        if not is_far or not _is_filler(value):
            break
        high.append(value)
        others = rest
    is_most = len(others) >= len(finite) / 2
    return [*low, *high] if is_most else [], others


def _is_filler(value: float) -> bool:
    """Whether a number is written with nines alone, or is a power of ten above ten."""
    digits = f"{value:.6g}".replace(".", "")
    is_power = value > 10 and f"{value:.6e}".startswith("1.000000e")
    return set(digits) == {"9"} or is_power
