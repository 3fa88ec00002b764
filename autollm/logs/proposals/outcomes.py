"""The outcomes of a table: the objective, its direction, and what else was measured of
the result.

Invariant: a direction comes from a person, a tool or a name, never from values.
"""

from __future__ import annotations

import re

import numpy as np

from autollm.core.errors import MappingError
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import Name, has_split, metric_of, words_of
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


def find_outcomes(roles: Roles) -> None:
    """The objective, and what else was an outcome."""
    candidates = [c for n, c in roles.finished.items() if n in roles.free]
    outcomes = [c for c in candidates if _is_outcome(roles, c)]
    for column in candidates:
        direction = _average_of(column, outcomes)
        if direction and metric_of(column.name) is None:
            roles.table.directions.setdefault(column.name.raw, direction)
            outcomes = [column, *(c for c in outcomes if c is not column)]
    objective = roles.said.objective
    if objective is None:
        why = "by its name"
        if not outcomes:
            outcomes = _likely_outcomes(roles)
            why = "the only number that looks measured"
        if not outcomes:
            raise MappingError(_no_outcome(roles))
        objective = _best_outcome(roles, outcomes).name.raw
    else:
        why = "named by you"
    roles.direction, said_why = _direction(roles, objective)
    roles.give(
        objective, "objective", f"{why}; {said_why}" if said_why else why
    )
    for column in outcomes:
        name = column.name.raw
        if name in roles.free:
            metric = metric_of(column.name)
            spread = metric is not None and metric.is_spread
            if spread:
                roles.give(
                    name, "measured", "by its name, the spread of an outcome"
                )
            else:
                roles.give(name, "metric", _metric_reason(roles, name))


def _average_of(column: Column, outcomes: list[Column]) -> str:
    """The direction of known outcomes of which a column is the average by its name, and
    lies between them in every row; empty where it is none.
    """
    name = column.name
    if not words_of("metrics", "speak_for_mean").search(name.full):
        return ""
    known = [c for c in outcomes if _speaks_of_metric(c.name)]
    full = [c.finite for c in known if len(c.finite) == len(c.cells)]
    directions = {metric_of(c.name).direction for c in known}
    if (
        len(full) < 2
        or len(directions) > 1
        or len(column.finite) < len(full[0])
    ):
        return ""
    for value, *others in zip(column.finite, *full, strict=True):
        if not min(others) <= value <= max(others):
            return ""
    return directions.pop()


def _metric_reason(roles: Roles, name: str) -> str:
    metric = metric_of(roles.table.columns[name].name)
    if metric and metric.direction:
        better = "lower" if metric.direction == "min" else "higher"
        return f"by its name, {better} is better"
    return "an outcome; its name does not say which direction is better"


def _direction(roles: Roles, objective: str) -> tuple[str, str]:
    if roles.said.direction:
        return roles.said.direction, "direction named by you"
    told = roles.table.directions.get(objective, "")
    if told:
        return told, "its tool says so"
    metric = metric_of(roles.table.columns[objective].name)
    doubt = "Its name does not say, and values never tell."
    if metric and metric.direction:
        reason = _metric_reason(roles, objective).partition(", ")[2]
        if not _is_doubtful(roles, objective, metric.direction):
            return metric.direction, reason
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


def _is_doubtful(roles: Roles, objective: str, direction: str) -> bool:
    """Whether a name says little (`score`), and the outcome is worse at each larger size
    than it would have it. Nothing is concluded from that: a person is asked.
    """
    columns = roles.table.columns
    goal = columns[objective]
    if not _SAYS_LITTLE.fullmatch(goal.name.core):
        return False
    for column in columns.values():
        if not (column.name.is_a("params") or column.name.is_a("tokens")):
            continue
        levels: dict[float, list[float]] = {}
        for size, value in zip(column.numbers, goal.numbers, strict=True):
            if size is not None and value is not None:
                levels.setdefault(size, []).append(value)
        means = [float(np.mean(levels[size])) for size in sorted(levels)]
        steps = np.diff(means) * (1 if direction == "max" else -1)
        if len(means) > 1 and bool(np.all(steps < 0)):
            return True
    return False


def _no_outcome(roles: Roles) -> str:
    likely = [
        n for n in roles.free if _is_likely_outcome(roles, roles.finished[n])
    ]
    hint = f" The likeliest is {likely[-1]!r}." if likely else ""
    example = likely[-1] if likely else "COLUMN"
    return (
        f"{roles.table.file}: no column looks like an outcome (loss, accuracy ...).{hint} "
        f"Columns that vary: {', '.join(roles.free) or 'none'}. Fix: --objective "
        f"{example}:min (or :max); where outcomes stand in another file, write "
        "[[tables]] with `join` (docs/mapping-files.md)."
    )


def _likely_outcomes(roles: Roles) -> list[Column]:
    """Where no name speaks of an outcome: metrics under a prefix of settings (TensorBoard
    writes `hparam/accuracy`), else the one number that does not look chosen.
    """
    free = [roles.finished[n] for n in roles.free]
    metrics = [c for c in free if c.is_numeric and _speaks_of_metric(c.name)]
    if metrics:
        return metrics
    likely = [c for c in free if _is_likely_outcome(roles, c)]
    return likely if len(likely) == 1 else []


def _speaks_of_metric(name: Name) -> bool:
    metric = metric_of(name)
    is_knob = name.is_a("rate", "knobs") or name.is_a("size", "knobs")
    return metric is not None and bool(metric.direction) and not is_knob


def _is_likely_outcome(roles: Roles, column: Column) -> bool:
    name = column.name
    if not column.is_numeric or roles.is_setting(name.raw):
        return False
    known = any(name.is_a(entry) for entry, _, _ in NAMED_ROLES)
    is_knob = name.is_a("rate", "knobs") or name.is_a("size", "knobs")
    is_known = known or is_knob or _is_no_outcome_by_name(roles, column)
    is_known = is_known or is_setting_by_name(column) or name.is_a("key")
    return not is_known and not looks_chosen(column)


def _is_outcome(roles: Roles, column: Column) -> bool:
    name = column.name
    if not column.is_numeric or not column.finite or roles.is_setting(name.raw):
        return False
    if _is_no_outcome_by_name(roles, column):
        return False
    if roles.is_result(name.raw):
        return True
    metric = metric_of(name)
    if metric is not None:
        return True
    generic = words_of("metrics", "generic").search(name.last)
    return bool(generic) or has_split(name)


def _is_no_outcome_by_name(roles: Roles, column: Column) -> bool:
    name = column.name
    entries = (
        "seed",
        "time",
        "throughput",
        "duration",
        "memory",
        "measured",
        "path",
    )
    if any(
        name.is_a(entry)
        for entry in (*entries, "consequence", "params", "tokens", "samples")
    ):
        return True
    is_plain = not roles.is_result(name.raw) and not has_split(name)
    if is_plain and name.is_a("rate", "knobs"):
        return metric_of(name) is None or looks_chosen(column)
    if name.core in ("precision", "bits") and set(column.levels) <= _BITS:
        return True
    return name.is_a("flops") or (is_plain and name.is_a("size", "knobs"))


def _best_outcome(roles: Roles, outcomes: list[Column]) -> Column:
    """The outcome that is optimized; a note names others that speak as loudly and call
    another run the best.
    """
    has_reward = any(c.name.is_a("reward", "metrics") for c in outcomes)
    merits = {c.name.raw: _merit(roles, c, has_reward) for c in outcomes}
    chosen = max(outcomes, key=lambda c: merits[c.name.raw])
    rivals = []
    for column in outcomes:
        is_equal = merits[column.name.raw] == merits[chosen.name.raw]
        if (
            column is not chosen
            and is_equal
            and _best_row(column)
            not in (
                None,
                _best_row(chosen),
            )
        ):
            rivals.append(column.name.raw)
    if rivals:
        roles.book.say(
            "objective-guessed",
            f"{chosen.name.raw!r} was taken for the objective; {listed(rivals)} could be "
            "it as well, and call another run the best. Fix: --objective NAME:min (or "
            ":max).",
            chosen.name.raw,
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
    name = column.name
    metric = metric_of(name)
    is_known = name.raw in roles.table.directions or (
        metric is not None and bool(metric.direction)
    )
    is_spread = metric is not None and metric.is_spread
    speaks = 0.0
    for word in (
        "speak_for_split",
        "speak_for_smooth",
        "speak_for_mean",
        "speak_for_kind",
    ):
        speaks += bool(words_of("metrics", word).search(name.full))
    against = 2 * bool(words_of("metrics", "speak_against").search(name.full))
    if (
        has_reward
        and not has_split(name)
        and metric
        and metric.direction == "min"
    ):
        against = 4
    is_filled = len(column.finite) >= 0.5 * len(column.cells)
    at = _AT_STEP.search(name.raw)
    return (
        not is_spread,
        is_filled,
        is_known + speaks - against,
        float(at[1]) if at else 0.0,
    )
