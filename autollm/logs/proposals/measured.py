"""Numbers that were measured rather than chosen, told by their values and by what stands
beside them.

Invariant: a number whose name is a setting's is one, unless that name is a measurement's
as well and it hardly repeats beside others that do.
"""

from __future__ import annotations

import math
import re

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import Name
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.structure import FEW_LEVELS, looks_chosen

LEAST_DRAWN = 40
"""Rows from which an even spread of values says something."""
EVEN_RANGE = (2 * math.pi * math.e) ** 0.5
"""Standard deviations of a range below which an even distribution is likelier than a
normal one.
"""
_LOGGED_RATE = re.compile(r"(lr|learning_rate)(_\w*(\d|last|final|end))?")
_PEAK = re.compile(r"(max|peak)_")
DOUBTFUL = "measured rather than chosen"
"""Ends the reason for a number that only its values speak against."""


def leave_last_rates(roles: Roles) -> None:
    """Learning rates that were logged, beside those that were chosen."""
    for name in list(roles.free):
        column = roles.finished[name]
        is_open = column.is_numeric and not roles.is_setting(name)
        if is_open and _is_last_rate(roles, column):
            why = "a rate as it was last, beside the one chosen"
            roles.give(name, "measured", why)


def leave_measured(roles: Roles) -> None:
    """Numbers that were measured rather than chosen."""
    has_prefixes = any(
        c.name.origin == "setting" for c in roles.table.columns.values()
    )
    for name in list(roles.free):
        column = roles.finished[name]
        if not column.is_numeric or roles.is_setting(name):
            continue
        if is_named_knob(column):
            if _is_beside_a_grid(roles, column):
                roles.give(name, "measured", "hardly repeats, beside a grid")
                _say_measured(roles, column)
            continue
        if has_prefixes and column.name.origin == "":
            roles.give(
                name,
                "measured",
                "settings have a prefix here, and this has none",
            )
        elif not looks_chosen(column) and not _is_drawn(roles, column):
            n = column.n_distinct
            why = f"{n} different numbers: {DOUBTFUL}"
            roles.give(name, "measured", why)
            if n <= FEW_LEVELS:
                _say_measured(roles, column)


def _say_measured(roles: Roles, column: Column) -> None:
    name = column.name.raw
    roles.book.say(
        "measured-or-chosen",
        f"{name} was taken for something measured: its values are no round numbers "
        "and hardly repeat. If it was chosen, say --knobs with it, or write it under "
        "[[knobs]].",
        name,
    )


def _is_last_rate(roles: Roles, column: Column) -> bool:
    """Whether a learning rate was logged while it decayed: trackers keep its last value
    beside the setting. It does not repeat while the other rate does, or it never lies
    above the peak that stands beside it.
    """
    name = column.name
    is_logged = name.path.startswith("lr-")  # Lightning's: `lr-AdamW`
    if not is_logged and not _LOGGED_RATE.fullmatch(name.core):
        return False
    others = [roles.finished[name] for name in roles.free]
    rates = [c for c in others if is_learning_rate(c.name) and c is not column]
    if not looks_chosen(column):
        return any(looks_chosen(c) for c in rates)
    n = len(column.finite)
    peaks = [c for c in rates if _PEAK.match(c.name.core)]
    peaks = [c for c in peaks if len(c.finite) == n and not c.is_constant]
    last = np.array(column.finite)
    return any(bool(np.all(last <= np.array(c.finite))) for c in peaks)


def _is_beside_a_grid(roles: Roles, column: Column) -> bool:
    """Whether a number that could be a setting by its name or none (`drop_rate`, `kl`)
    differs in most rows, while all others so named were chosen from a few values.
    """
    if not column.name.is_a("measured_too", "knobs") or looks_chosen(column):
        return False
    others = [roles.finished[n] for n in roles.free if n != column.name.raw]
    named = [c for c in others if c.is_numeric and is_named_knob(c)]
    is_grid = len(named) > 0 and all(looks_chosen(c) for c in named)
    return is_grid and column.n_distinct > len(column.cells) / 2


def is_learning_rate(name: Name) -> bool:
    """Whether a name is that of the rate itself, and not of a part of it."""
    return name.core in (
        "lr",
        "learning_rate",
        "max_lr",
        "peak_lr",
        "peak_learning_rate",
        "max_learning_rate",
    )


def _is_drawn(roles: Roles, column: Column) -> bool:
    """Whether a number without a telling name was drawn at random like the settings
    beside it: spread evenly over its range, and going with none of them.
    """
    n = len(column.cells)
    known = [
        roles.finished[name] for name in roles.free if name != column.name.raw
    ]
    known = [c for c in known if is_named_knob(c) and len(c.finite) == n]
    is_search = any(c.n_distinct > n / 2 for c in known)
    if n < LEAST_DRAWN or len(column.finite) < n or not is_search:
        return False
    scales = [np.array(column.finite)]
    if column.levels[0] > 0:
        scales.append(np.log(scales[0]))
    is_even = any(np.ptp(v) < EVEN_RANGE * v.std() for v in scales)
    known += [roles.finished[name] for name in roles.named("fidelity")]
    shares = [_rank_correlation(column, c) for c in known if len(c.finite) == n]
    if not is_even or max(shares) > 3 / n**0.5:
        return False
    roles.book.say(
        "measured-or-chosen",
        f"{column.name.raw} was taken for a setting that was drawn at random, since its "
        "values lie evenly and go with no other setting. If it was measured, name what "
        "was chosen with --knobs.",
        column.name.raw,
    )
    return True


def _rank_correlation(a: Column, b: Column) -> float:
    """Spearman's, without its sign; 0 for a column of one value."""
    if b.n_distinct < 2:
        return 0.0
    ranks = [np.argsort(np.argsort(c.finite)) for c in (a, b)]
    return abs(float(np.corrcoef(*ranks)[0, 1]))


def is_named_knob(column: Column) -> bool:
    is_known = column.name.is_a("rate", "knobs") or column.name.is_a(
        "size", "knobs"
    )
    return is_known and not column.name.is_a("consequence")
