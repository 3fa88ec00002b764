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
from autollm.logs.proposals.roles import Roles, listed
from autollm.logs.proposals.structure import looks_chosen

LEAST_DRAWN = 40
"""Rows from which an even spread of values says something."""
EVEN_RANGE = (2 * math.pi * math.e) ** 0.5
"""Standard deviations of a range below which an even distribution is likelier than a
normal one.
"""
_RATE_ITSELF = re.compile(r"((max|peak)_)?(lr|learning_rate)|peak_lr")
_LOGGED_RATE = re.compile(r"(lr|learning_rate)(_\w*(\d|last|final|end))?")
_PEAK = re.compile(r"(max|peak)_")
DOUBTFUL = "measured rather than chosen"
"""Ends the reason for a number that only its values speak against."""


def is_learning_rate(name: Name) -> bool:
    """Whether a name is that of the rate itself, and not of a part of it."""
    return bool(_RATE_ITSELF.fullmatch(name.core))


def is_named_knob(column: Column) -> bool:
    """Whether a name is that of a setting, and not of what follows from settings."""
    return column.is_a("rate", "size") and not column.is_a("consequence")


def leave_last_rates(roles: Roles) -> None:
    """Learning rates that were logged, beside those that were chosen."""
    for column in roles.open():
        is_open = column.is_numeric and not roles.is_setting(column)
        if is_open and _is_last_rate(roles, column):
            why = "a rate as it was last, beside the one chosen"
            roles.give(column.raw, "measured", why)


def leave_measured(roles: Roles) -> None:
    """Numbers that were measured rather than chosen."""
    columns = roles.table.columns.values()
    has_prefixes = any(c.name.origin == "setting" for c in columns)
    doubtful = []
    for column in roles.open():
        if not column.is_numeric or roles.is_setting(column):
            continue
        n = column.n_distinct
        why, is_doubtful = "", True
        if is_named_knob(column):
            if _is_beside_a_grid(roles, column):
                why = "hardly repeats, beside a grid"
        elif has_prefixes and not column.name.origin:
            why = "settings have a prefix here, and this has none"
            is_doubtful = False
        elif not looks_chosen(column) and not _is_drawn(roles, column):
            why = f"{n} different numbers: {DOUBTFUL}"
        if why:
            roles.give(column.raw, "measured", why)
            doubtful += [column.raw] * is_doubtful
    if doubtful:
        roles.say(
            "measured-or-chosen",
            f"{listed(doubtful)} {'was' if len(doubtful) == 1 else 'were'} taken for "
            "something measured: the values are no round numbers and hardly repeat. "
            "What was chosen of it, say with --knobs, or write it under [[knobs]].",
            *doubtful,
        )


def _is_last_rate(roles: Roles, column: Column) -> bool:
    """Whether a learning rate was logged while it decayed: trackers keep its last value
    beside the setting. It does not repeat while the other rate does, or it never lies
    above the peak that stands beside it.
    """
    is_logged = column.name.path.startswith("lr-")  # Lightning's: `lr-AdamW`
    if not is_logged and not _LOGGED_RATE.fullmatch(column.name.core):
        return False
    others = roles.open(but=column.raw)
    rates = [c for c in others if is_learning_rate(c.name)]
    if not looks_chosen(column):
        return any(map(looks_chosen, rates))
    peaks = [c for c in rates if _PEAK.match(c.name.core)]
    peaks = [c for c in peaks if not c.is_constant]
    last = np.array(column.finite)
    same = [c.finite for c in peaks if len(c.finite) == len(last)]
    return any(np.all(last <= np.array(finite)) for finite in same)


def _is_beside_a_grid(roles: Roles, column: Column) -> bool:
    """Whether a number that could be a setting by its name or none (`drop_rate`, `kl`)
    differs in most rows, while all others so named were chosen from a few values.
    """
    if not column.is_a("measured_too") or looks_chosen(column):
        return False
    others = [c for c in roles.open(but=column.raw) if c.is_numeric]
    named = [c for c in others if is_named_knob(c)]
    is_grid = named and all(map(looks_chosen, named))
    return bool(is_grid) and column.n_distinct > len(column.cells) / 2


def _is_drawn(roles: Roles, column: Column) -> bool:
    """Whether a number without a telling name was drawn at random like the settings
    beside it: spread evenly over its range, and going with none of them.
    """
    n = len(column.cells)
    others = [c for c in roles.open(but=column.raw) if c.is_full]
    known = [c for c in others if is_named_knob(c)]
    is_search = any(c.n_distinct > n / 2 for c in known)
    if n < LEAST_DRAWN or not column.is_full or not is_search:
        return False
    scales = [np.array(column.finite)]
    if column.levels[0] > 0:
        scales.append(np.log(scales[0]))
    is_even = any(np.ptp(v) < EVEN_RANGE * v.std() for v in scales)
    known += [c for c in roles.columns("fidelity") if c.is_full]
    shares = [_rank_correlation(column, c) for c in known]
    if not is_even or max(shares) > 3 / n**0.5:
        return False
    roles.say(
        "measured-or-chosen",
        f"{column.raw} was taken for a setting that was drawn at random, since its "
        "values lie evenly and go with no other setting. If it was measured, name what "
        "was chosen with --knobs.",
        column.raw,
    )
    return True


def _rank_correlation(a: Column, b: Column) -> float:
    """Spearman's, without its sign; 0 for a column of one value."""
    if b.n_distinct < 2:
        return 0.0
    ranks = [np.argsort(np.argsort(c.finite)) for c in (a, b)]
    return abs(float(np.corrcoef(*ranks)[0, 1]))
