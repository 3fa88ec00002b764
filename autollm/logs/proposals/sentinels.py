"""Outcomes that are impossible: what a crash leaves where none should stand.

Invariant: most of the outcomes are none of them.
"""

from __future__ import annotations

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.toml_text import Draft

SENTINELS = (0.0, -1.0)
"""What crashed runs leave where an outcome that is never so should stand."""
FAR_BEYOND = 10.0
"""Times the largest of the other outcomes: a number of nines alone, or a power of ten,
that lies so far off stands for no outcome (999, 1e9)."""


def sentinel_rules(
    draft: Draft, roles: Roles, objective: str, name: str, n_before: int
) -> list[dict[str, str]]:
    """A rule for outcomes that are impossible: 0.000000 of a loss."""
    column = roles.table.columns[objective]
    found, others = _sentinels(column, roles.direction)
    if not found:
        return []
    rules = []
    for value in found:
        n = sum(x == value for x in column.finite)
        condition = f"{name} == {value:g}"
        draft.doubts[("status", n_before + len(rules))] = (
            f"{n} runs have {value:g} here, which a crash leaves"
        )
        rules.append(
            {
                "status": "failed",
                "when": condition,
                "reason": f"{objective} is {value:g}",
            }
        )
        roles.book.say(
            "sentinel",
            f"{objective} is {value:g} in {n} runs and {others.min():g} to "
            f"{others.max():g} in all others: what a crash leaves, no outcome. They land "
            "as failed.",
            objective,
        )
    return rules


def _sentinels(
    column: Column, direction: str
) -> tuple[list[float], np.ndarray]:
    """(values that stand for no outcome, the other outcomes)."""
    finite = column.finite
    low = [x for x in SENTINELS if x in finite]
    others = np.array([x for x in finite if x not in low])
    if not len(others):
        return [], others
    if direction != "min" and others.min() >= 0:  # an accuracy may be 0
        low = [x for x in low if x < 0]
    if others.min() <= 0.05 * np.median(others):
        low = []
    high = []
    for value in sorted(set(others), reverse=True):
        rest = others[others < value]
        is_far = len(rest) > 0 and value > FAR_BEYOND * rest.max() > 0
        if not is_far or not _is_filler(value):
            break
        high.append(value)
        others = rest
    if len(others) < len(finite) / 2:
        return [], others
    return [*low, *high], others


def _is_filler(value: float) -> bool:
    """Whether a number is written with nines alone, or is a power of ten above ten."""
    digits = f"{value:.6g}".replace(".", "")
    return set(digits) == {"9"} or (
        value > 10 and f"{value:.6e}".startswith("1.000000e")
    )
