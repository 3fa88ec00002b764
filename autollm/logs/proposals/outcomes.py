"""The outcomes of a table: the objective, its direction, and what else was measured of
the result.

Invariant: a direction comes from a person, a tool or a name, never from values.
"""

from __future__ import annotations

import re

import numpy as np

from autollm.core.errors import MappingError
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import metric_of
from autollm.logs.proposals.notes import Question
from autollm.logs.proposals.roles import (
    NAMED_ROLES,
    Roles,
    is_setting_by_name,
    listed,
)
from autollm.logs.proposals.structure import looks_chosen

_AT_STEP = re.compile(r"(?:@|_at_)(\d{3,})$")
"""Of outcomes at several steps, the last one counts: `val_loss@10000`."""
_SAYS_LITTLE = re.compile(
    r"((mean|avg|average|median|final|best|last|total|overall|val|valid|test|eval)_)*scores?"
)
"""Names under which some keep what should fall: a loss, a distance, a rank."""
_BITS = frozenset({2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0})
"""Of a column `precision` or `bits`: those of a number format, no outcome."""
_NO_OUTCOME = (
    "seed",
    "time",
    "throughput",
    "duration",
    "memory",
    "measured",
    "path",
    "consequence",
    "params",
    "tokens",
    "samples",
)
"""Names that are no outcomes, whatever else they say."""
_SPEAKS = ("for_split", "for_smooth", "for_mean", "for_kind")
LEAST_FILLED = 0.5
"""Share of the runs whose outcome a column must hold to be taken for the objective."""


def take_said_objective(roles: Roles, name: str) -> None:
    """The objective that a person named."""
    _take_objective(roles, name, "named by you")


def find_outcomes(roles: Roles) -> None:
    """The objective, and what else was an outcome."""
    candidates = [*roles.columns("objective"), *roles.open()]
    outcomes = [c for c in candidates if _is_outcome(roles, c)]
    for column in candidates:
        direction = _average_of(column, outcomes)
        if direction and metric_of(column.name) is None:
            roles.table.directions.setdefault(column.raw, direction)
            outcomes = [column, *(c for c in outcomes if c is not column)]
    if not roles.named("objective"):
        why = (
            "by its name" if outcomes else "the only number that looks measured"
        )
        outcomes = outcomes or _likely_outcomes(roles)
        if not outcomes:
            raise MappingError(_no_outcome(roles))
        _take_objective(roles, _best_outcome(roles, outcomes).raw, why)
    for column in outcomes:
        metric = metric_of(column.name)
        if column.raw in roles.of:
            continue
        if metric is not None and metric.is_spread:
            why = "by its name, the spread of an outcome"
            roles.give(column.raw, "measured", why)
        else:
            why = "an outcome; its name does not say which direction is better"
            roles.give(column.raw, "metric", _better(column) or why)


def _take_objective(roles: Roles, name: str, why: str) -> None:
    roles.direction, direction_why = _direction(roles, name)
    roles.give(name, "objective", f"{why}; {direction_why}")


def _better(column: Column) -> str:
    """Which direction is better, in words; empty where its name does not tell."""
    metric = metric_of(column.name)
    if not metric or not metric.direction:
        return ""
    better = "lower" if metric.direction == "min" else "higher"
    return f"by its name, {better} is better"


def _average_of(column: Column, outcomes: list[Column]) -> str:
    """The direction of known outcomes of which a column is the average by its name, and
    lies between them in every row; empty where it is none.
    """
    if not column.name.says("for_mean") or not column.is_full:
        return ""
    known = [c for c in outcomes if _speaks_of_metric(c)]
    full = [c.finite for c in known if c.is_full]
    directions = {metric_of(c.name).direction for c in known}
    if len(full) < 2 or len(directions) > 1:
        return ""
    low, high = np.min(full, axis=0), np.max(full, axis=0)
    is_between = (low <= column.finite) & (column.finite <= high)
    return directions.pop() if is_between.all() else ""


def _direction(roles: Roles, objective: str) -> tuple[str, str]:
    """(direction, who says so); a question where nobody does."""
    if roles.said.direction:
        return roles.said.direction, "direction named by you"
    told = roles.table.directions.get(objective, "")
    if told:
        return told, "its tool says so"
    column = roles.table.columns[objective]
    doubt = "Its name does not say, and values never tell."
    reason = _better(column).partition(", ")[2]
    if reason:
        direction = metric_of(column.name).direction
        if not _is_doubtful(roles, column, direction):
            return direction, reason
        doubt = (
            f"By its name {reason}, but the larger runs have the worse ones."
        )
    text = (
        f"is a lower or a higher {objective!r} better? {doubt} Fix: write "
        'direction = "min" or "max" under '
        f"[objective], or say --objective {objective}:min (or :max)."
    )
    question = Question("direction-unknown", objective, text, ("min", "max"))
    roles.book.questions.append(question)
    return "", "which direction is better must be said"


def _is_doubtful(roles: Roles, goal: Column, direction: str) -> bool:
    """Whether a name says little (`score`), and the outcome is worse at each larger size
    than it would have it. Nothing is concluded from that: a person is asked.
    """
    if not _SAYS_LITTLE.fullmatch(goal.name.core):
        return False
    for column in roles.table.columns.values():
        if not column.is_a("params", "tokens"):
            continue
        levels: dict[float, list[float]] = {}
        for size, value in zip(column.numbers, goal.numbers, strict=True):
            if size is not None and value is not None:
                levels.setdefault(size, []).append(value)
        means = [np.mean(levels[size]) for size in sorted(levels)]
        steps = np.diff(means) * (1 if direction == "max" else -1)
        if len(steps) and np.all(steps < 0):
            return True
    return False


def _no_outcome(roles: Roles) -> str:
    columns = roles.open()
    likely = [c.raw for c in columns if _is_likely_outcome(roles, c)]
    hint = f" The likeliest is {likely[-1]!r}." if likely else ""
    example = likely[-1] if likely else "COLUMN"
    varying = ", ".join(c.raw for c in columns) or "none"
    return (
        f"{roles.table.file}: no column looks like an outcome (loss, accuracy ...).{hint} "
        f"Columns that vary: {varying}. Fix: --objective "
        f"{example}:min (or :max); where outcomes stand in another file, write "
        "[[tables]] with `join` (docs/mapping-files.md)."
    )


def _likely_outcomes(roles: Roles) -> list[Column]:
    """Where no name speaks of an outcome: metrics under a prefix of settings (TensorBoard
    writes `hparam/accuracy`), else the one number that does not look chosen.
    """
    numbers = [c for c in roles.open() if c.is_numeric]
    metrics = [c for c in numbers if _speaks_of_metric(c)]
    likely = [c for c in numbers if _is_likely_outcome(roles, c)]
    return metrics or (likely if len(likely) == 1 else [])


def _speaks_of_metric(column: Column) -> bool:
    return bool(_better(column)) and not column.is_a("rate", "size")


def _is_likely_outcome(roles: Roles, column: Column) -> bool:
    if not column.is_numeric or roles.is_setting(column):
        return False
    named = [entry for entry, _, _ in NAMED_ROLES]
    is_known = column.is_a("rate", "size", *named)
    is_known = is_known or (column.kind == "integer" and column.is_a("key"))
    is_known = is_known or is_setting_by_name(column)
    is_known = is_known or _is_no_outcome_by_name(roles, column)
    return not is_known and not looks_chosen(column)


def _is_outcome(roles: Roles, column: Column) -> bool:
    if not column.is_numeric or not column.finite or roles.is_setting(column):
        return False
    if _is_no_outcome_by_name(roles, column):
        return False
    is_metric = metric_of(column.name) is not None or column.is_a("generic")
    return is_metric or roles.is_result(column) or column.name.says("splits")


def _is_no_outcome_by_name(roles: Roles, column: Column) -> bool:
    if column.is_a("flops", *_NO_OUTCOME):
        return True
    if column.name.core in ("precision", "bits"):
        return set(column.levels) <= _BITS
    if roles.is_result(column) or column.name.says("splits"):
        return False
    if column.is_a("rate"):
        return metric_of(column.name) is None or looks_chosen(column)
    return column.is_a("size")


def _best_outcome(roles: Roles, outcomes: list[Column]) -> Column:
    """The outcome that speaks loudest; those that speak as loudly are said."""
    has_reward = any(c.is_a("reward") for c in outcomes)
    merits = {c.raw: _merit(roles, c, has_reward) for c in outcomes}
    chosen = max(outcomes, key=lambda c: merits[c.raw])
    rivals = []
    for column in outcomes:
        is_equal = merits[column.raw] == merits[chosen.raw]
        best = _best_row(column)
        if is_equal and best not in (None, _best_row(chosen)):
            rivals.append(column.raw)
    if rivals:
        roles.say(
            "objective-guessed",
            f"{chosen.raw!r} was taken for the objective; {listed(rivals)} could be "
            "it as well, and call another run the best. Fix: --objective NAME:min (or "
            ":max).",
            chosen.raw,
            *rivals,
        )
    return chosen


def _best_row(column: Column) -> int | None:
    """The row of the best value; None where the name does not say what is better."""
    metric = metric_of(column.name)
    if metric is None or not metric.direction or not column.finite:
        return None
    best = column.levels[0 if metric.direction == "min" else -1]
    return column.numbers.index(best)


def _merit(roles: Roles, column: Column, has_reward: bool) -> tuple[float, ...]:
    """How loudly a column says that it is what was optimized. Beside a reward, a loss
    that was not measured on held-out data is that of the policy.
    """
    name, metric = column.name, metric_of(column.name)
    is_spread = metric is not None and metric.is_spread
    speaks = name.raw in roles.table.directions or bool(_better(column))
    speaks += sum(name.says(words) for words in _SPEAKS)
    is_loss = metric is not None and metric.direction == "min"
    if has_reward and is_loss and not name.says("splits"):
        speaks -= 4
    elif name.says("against"):
        speaks -= 2
    is_filled = len(column.finite) >= LEAST_FILLED * len(column.cells)
    at = _AT_STEP.search(name.raw)
    return (not is_spread, is_filled, speaks, float(at[1]) if at else 0.0)
