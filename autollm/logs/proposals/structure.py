"""How the columns of a table hang together: what determines what, what sums to 1, what
was changed together, where a setting exists only under another one.

All of it is counted on codes (a whole number for each distinct cell), so that a table of
many columns costs little. Invariant: a statement holds in every row that was looked at.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autollm.logs.proposals.columns import Column

SIMPLEX_TOLERANCE = 0.02
"""Of a sum of weights: published mixtures are printed with three decimals."""
MOST_PARTS = 64
"""Of a mixture whose parts share no beginning: published ones have up to 22."""
ROUNDING = 1e-9
"""Of a sum of weights in double precision."""
LOOSE = {1.0: SIMPLEX_TOLERANCE, 100.0: 0.05}
"""By the total of the weights: whole percents of ten parts are up to 5 off."""
MOST_OTHERS = 40
"""Settings that are looked at in pairs: of more, only a table of measurements has."""
MOST_LEVELS_OF_A_SWITCH = 12
"""Of a setting under which another one exists."""
FEW_LEVELS = 12
"""Of a number that nothing else speaks for: more were measured rather than chosen."""
TIED = 0.03
"""Octaves by which a constant ratio may vary: steps are rounded to whole ones."""
_UNIT_FACTORS = (60.0, 1e3, 1024.0, 3600.0, 1e6, 2.0**20, 1e9)


def joint_codes(columns: Sequence[Column]) -> np.ndarray:
    """A whole number for each combination of cells, by row."""
    if not columns:
        return np.zeros(0, dtype=np.int64)
    joint = columns[0].codes
    for column in columns[1:]:
        pairs = joint * (column.codes.max(initial=0) + 2) + column.codes + 1
        _, joint = np.unique(pairs, return_inverse=True)
    return joint


def n_groups(columns: Sequence[Column]) -> int:
    """How many different combinations of cells there are."""
    return len(np.unique(joint_codes(columns)))


def is_function_of(effect: Column, causes: Sequence[Column]) -> bool:
    """Whether rows that agree in `causes` agree in `effect`; it says little where they
    hardly agree (`n_groups`).
    """
    groups = joint_codes(causes)
    if not len(groups):
        return False
    order = np.argsort(groups, kind="stable")
    same_group = np.diff(groups[order]) == 0
    same_value = np.diff(effect.codes[order]) == 0
    return bool(np.all(same_value[same_group]))


def determines(
    causes: Sequence[Column], effect: Column, most_groups: float = 0.7
) -> bool:
    """Whether `effect` has one value for each combination of `causes`; unknown (False)
    where combinations hardly repeat: in more than `most_groups` of the rows.
    """
    if not causes:
        return False
    n = n_groups(causes)
    repeats = 0 < n <= most_groups * len(effect.cells)
    return repeats and is_function_of(effect, causes)


def is_decided(
    effect: Column, known: Sequence[Column], others: Sequence[Column]
) -> bool:
    """Whether a column follows from what is known and at most two others."""
    for n_more in (0, 1, 2):
        for more in itertools.combinations(others[:MOST_OTHERS], n_more):
            if determines([*known, *more], effect):
                return True
    return False


def is_one_to_one(a: Column, b: Column) -> bool:
    """Whether two columns split the rows in the same way. Where each row is a part of
    its own, that says nothing, and one must rise or fall with the other.
    """
    if len(np.unique(a.codes)) == len(a.cells) == len(np.unique(b.codes)):
        return _is_monotone(a, b)
    return (
        len(np.unique(a.codes)) == len(np.unique(b.codes)) == n_groups([a, b])
    )


def _is_monotone(a: Column, b: Column) -> bool:
    if not (a.is_full and b.is_full):
        return False
    steps = np.diff(np.array(b.finite)[np.argsort(a.finite)])
    return bool(np.all(steps > 0) or np.all(steps < 0))


def changed_together(columns: Sequence[Column]) -> list[list[Column]]:
    """Groups of two or more columns that split the rows in the same way."""
    groups: list[list[Column]] = []
    for column in columns:
        for group in groups:
            if is_one_to_one(group[0], column):
                group.append(column)
                break
        else:
            groups.append([column])
    return [group for group in groups if len(group) > 1]


def switch_of(
    column: Column, candidates: Iterable[Column]
) -> tuple[Column, tuple[int, ...]] | None:
    """(setting, rows of its values) under which `column` exists: a value wherever that
    setting has one of these values, and none elsewhere. None where no setting decides.
    Words and truth values are asked before numbers; values that hardly repeat (a rate
    that was drawn) decide nothing.
    """
    is_there = column.codes >= 0
    most = min(MOST_LEVELS_OF_A_SWITCH, len(column.cells) / 2)
    for candidate in sorted(candidates, key=lambda c: c.is_numeric):
        levels = np.unique(candidate.codes)
        if candidate is column or not 2 <= len(levels) <= most:
            continue
        with_value = np.unique(candidate.codes[is_there])
        without = np.unique(candidate.codes[~is_there])
        is_split = not np.intersect1d(with_value, without).size
        if is_split and len(with_value) and len(without) and with_value[0] >= 0:
            rows = tuple(
                int(np.argmax(candidate.codes == v)) for v in with_value
            )
            return candidate, rows
    return None


@dataclass(frozen=True)
class Simplex:
    """Columns of weights that sum to `total` (1, or 100 for percent) in every row,
    within `worst` of it.
    """

    prefix: str
    columns: list[Column]
    worst: float
    total: float


def simplex_groups(
    columns: dict[str, Column], tolerance: float = SIMPLEX_TOLERANCE
) -> list[Simplex]:
    """Groups of weights that sum to 1 or 100, at least two of which move by more than the
    tolerance: a rate of .001 beside a seed of 1 sums to 1, too. Weights of one group
    share the beginning of their names, or stand side by side.
    """
    found: list[Simplex] = []
    used: set[str] = set()
    for total in (1.0, 100.0):
        weights = [c for c in columns.values() if _is_weight(c, total)]
        for prefix in sorted(
            set(_prefixes(weights)), key=lambda p: (-len(p), p)
        ):
            named = [c for c in weights if c.raw.startswith(prefix)]
            group = _summed(_unused(named, used), prefix, total, tolerance)
            if group is not None:
                found.append(group)
                used |= {c.raw for c in group.columns}
        while group := _side_by_side(_unused(weights, used), total, tolerance):
            found.append(group)
            used |= {c.raw for c in group.columns}
    return found


def _summed(
    group: list[Column], prefix: str, total: float, tolerance: float
) -> Simplex | None:
    """The columns as one mixture, where they are one."""
    spans = [c.levels[-1] - c.levels[0] for c in group]
    if sum(span > tolerance * total for span in spans) < 2:
        return None
    sums = np.sum([c.finite for c in group], axis=0)
    worst = float(np.abs(sums / total - 1).max())
    is_one = worst <= max(tolerance, _rounding(group) / total)
    return Simplex(prefix, group, worst, total) if is_one else None


def _rounding(group: list[Column]) -> float:
    """How far the sum of whole percents may be from 100."""
    are_whole = all(x.is_integer() for c in group for x in c.levels)
    return (len(group) + 1) / 2 if are_whole else 0.0


def _side_by_side(
    weights: list[Column], total: float, tolerance: float
) -> Simplex | None:
    """The neighbouring columns whose sums are nearest to the total, of those the most:
    a part of nothing belongs to its mixture.
    """
    if len(weights) < 2:
        return None
    sums = np.cumsum(
        [np.zeros(len(weights[0].finite))] + [c.finite for c in weights], 0
    )
    best: Simplex | None = None
    for first in range(len(weights) - 1):
        ends = sums[first + 2 : first + 1 + MOST_PARTS] - sums[first]
        worst = np.abs(ends / total - 1).max(axis=1)
        for at in np.flatnonzero(worst <= max(tolerance, LOOSE[total])):
            group = weights[first : first + 2 + at]
            mixture = _summed(group, "", total, tolerance)
            if mixture is not None and (
                best is None or _is_nearer(mixture, best)
            ):
                best = mixture
    return best


def _is_nearer(group: Simplex, best: Simplex) -> bool:
    if abs(group.worst - best.worst) > ROUNDING:
        return group.worst < best.worst
    return len(group.columns) > len(best.columns)


def _unused(weights: list[Column], used: set[str]) -> list[Column]:
    return [c for c in weights if c.raw not in used]


def _is_weight(column: Column, total: float) -> bool:
    if not column.is_numeric or not column.is_full:
        return False
    levels = column.levels
    return bool(levels) and levels[0] >= 0 and levels[-1] <= total


def _prefixes(columns: list[Column]) -> Iterator[str]:
    """Beginnings that end in a separator."""
    for column in columns:
        for match in re.finditer(r"[_/.:\- ]", column.raw):
            yield column.raw[: match.end()]


def is_tied(a: Column, b: Column, size: Sequence[Column]) -> str:
    """`divided by` or `times` where the ratio or product of two positive numbers is one
    for each size, within what rounding makes of it, and they vary at one size; else
    empty.
    """
    if not (a.is_full and b.is_full):
        return ""
    groups = joint_codes(size) if size else np.zeros(len(a.cells), dtype=int)
    first, second = np.log2(a.array), np.log2(b.array)
    if _widest(first, groups) < 10 * TIED:
        return ""
    spreads = {
        "divided by": _widest(first - second, groups),
        "times": _widest(first + second, groups),
    }
    how = min(spreads, key=spreads.__getitem__)
    return how if spreads[how] < TIED else ""


def _widest(values: np.ndarray, groups: np.ndarray) -> float:
    """The widest range of the values of one group."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-2))
    values = values[order]
    low = np.minimum.reduceat(values, starts)
    return float((np.maximum.reduceat(values, starts) - low).max())


def two_clusters(column: Column) -> float | None:
    """The factor between two far groups of positive values when it is that of a unit
    (1000, 60 ...), as of mixed units.
    """
    if column.spans < 30 or column.n_distinct < 6:
        return None
    levels = np.array(column.levels)
    ratios = levels[1:] / levels[:-1]
    at = int(np.argmax(ratios)) + 1
    low, high = levels[:at], levels[at:]
    widest = max(low[-1] / low[0], high[-1] / high[0])
    if min(len(low), len(high)) < 2 or widest**1.5 > ratios[at - 1]:
        return None
    factor = high[len(high) // 2] / low[len(low) // 2]
    near = (f for f in _UNIT_FACTORS if abs(math.log2(factor / f)) < 0.5)
    return next(near, None)


def looks_chosen(column: Column) -> bool:
    """Whether the values of a number are those of a sweep: they repeat, or they are
    round, or they keep a regular distance.
    """
    n = column.n_distinct
    n_rows = len(column.finite)
    roundness = [_is_round(x) for x in column.levels]
    repeats = n <= n_rows / 2 and n <= max(FEW_LEVELS, n_rows**0.5)
    if repeats:
        return sum(roundness) >= len(roundness) / 2 or n <= n_rows / 4
    return n <= FEW_LEVELS and (all(roundness) or _is_regular(column.levels))


def _is_round(number: float) -> bool:
    """One digit, a half of it, a power of two times 1 or 3, or a whole number below 10."""
    if number == 0:
        return True
    mantissa, _ = np.frexp(abs(number))
    if mantissa * 4 in (2.0, 3.0):
        return True
    digits = f"{abs(number):.12e}".split("e")[0].replace(".", "").rstrip("0")
    return len(digits) == 1 or (len(digits) == 2 and digits[1] == "5")


def _is_regular(levels: tuple[float, ...]) -> bool:
    """Whether three or more values keep one distance, or one ratio."""
    if len(levels) < 3:
        return False
    values = np.array(levels)
    gaps = np.diff(values)
    if np.ptp(gaps) <= 0.01 * abs(gaps.mean()):
        return True
    if values[0] <= 0:
        return False
    ratios = np.diff(np.log2(values))
    return bool(np.ptp(ratios) <= 0.02 * abs(ratios.mean()))
