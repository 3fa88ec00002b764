"""Sizes: as texts (`125M`, `Qwen2.5-0.5B`, `small`), as levels of a ladder, and computed
from a model's settings.

Invariant: a word such as `small` is never a number; where only words tell sizes apart,
they are put in their order and marked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from autollm.core.value_words import POWERS
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import plain, tables

LEAST_SPAN = 1.5
"""Largest over smallest level of a ladder. Below it a size is a consequence: an ablation
moves the number of parameters by some percent, and nobody calls that two sizes.
"""
_GAP = 1.2
"""Between neighbours of two levels; sizes of one level are nearer."""
MOSTLY = 0.5
"""Share of the rows in which a size must stand; the others are set aside."""
NEARLY_ALL = 0.9
"""Share of the numbers that must be positive."""
_LEVEL_SPREAD = 1.06
"""Largest over smallest value of one level: what an ablation moves."""
_SIZE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s?([KMBT])(?![a-zA-Z])", re.IGNORECASE
)
_SIZE_INSIDE = re.compile(r"(\d+(?:\.\d+)?)([KMBT])(?![a-zA-Z])", re.IGNORECASE)
_SIZE_WORD = re.compile(r"(small|medium|base|large|xl)$")
_CASING = re.compile(r"(multilingual)?(un)?cased$")


def size_of(text: str) -> float | None:
    """The size that a name states: the first number before K, M, B or T (30B of
    `30B-A3B`), or a published model's; None where it states none.
    """
    match = _SIZE.search(text) or _SIZE_INSIDE.search(text)
    if match:
        return float(match[1]) * POWERS[match[2].lower()]
    return tables()["published_sizes"].get(_model_name(text))


def _model_name(text: str) -> str:
    """`roberta-base` of `FacebookAI/roberta-base-cased`, without separators."""
    name = plain(text.rsplit("/", 1)[-1]).replace("_", "")
    return _CASING.sub("", name)


def _families(levels: tuple[str, ...]) -> set[str]:
    """Of published models' names, without their sizes."""
    names = {_model_name(level) for level in levels}
    known = names & tables()["published_sizes"].keys()
    return {_SIZE_WORD.sub("", name) for name in known}


def word_rank(text: str) -> int | None:
    """Where a name stands among size words; None where it holds none."""
    order = tables()["size_words"]["order"]
    ranks = [order.index(w) for w in plain(text).split("_") if w in order]
    return ranks[-1] if ranks else None


def stated_sizes(levels: tuple[str, ...]) -> bool:
    """Whether each text states a size as a word of its own: `pythia-1.3b`."""
    found = {_SIZE.search(level.replace("_", "-")) for level in levels}
    return len(levels) > 1 and None not in found


@dataclass(frozen=True)
class TextSizes:
    """Levels of a text column as sizes. `guessed` are those without a number: their
    value is only their rank, or is missing where others have numbers.
    """

    sizes: dict[str, float]
    guessed: tuple[str, ...] = ()


def sizes_of(levels: tuple[str, ...]) -> TextSizes | None:
    """Sizes of texts: by their numbers where at least half have one, else by size words
    where each has another one; None where the texts are no sizes, as published models
    of several families, which differ in more.
    """
    if len(_families(levels)) > 1:
        return None
    found = {level: size_of(level) for level in levels}
    sizes = {level: size for level, size in found.items() if size}
    is_most = len(sizes) >= max(2, len(levels) / 2)
    if is_most and len(set(sizes.values())) > 1:
        return TextSizes(sizes, tuple(n for n in levels if n not in sizes))
    ranks = {level: word_rank(level) for level in levels}
    if None in ranks.values() or len(set(ranks.values())) < len(levels):
        return None
    in_order = sorted(levels, key=lambda level: ranks[level])
    sizes = {level: float(rank) for rank, level in enumerate(in_order, start=1)}
    return TextSizes(sizes, tuple(in_order))


@dataclass(frozen=True)
class Levels:
    """The levels of a ladder's column. `centre` and `step` (octaves) say how values near
    each other become one level: centre * 2 ** (step * round(log2(x / centre) / step));
    step 0: every value is a level of its own.
    """

    n_levels: int
    centre: float = 0.0
    step: float = 0.0
    of: tuple[int, ...] = field(default=(), repr=False)


def levels_of(values: np.ndarray, least_span: float = LEAST_SPAN) -> Levels:
    """The levels of positive values: one where they span less than `least_span`, the
    clusters where values lie in some, else all of them.
    """
    distinct, ranks = np.unique(values, return_inverse=True)
    centre = float(f"{np.median(values):.6g}")
    if distinct[-1] / distinct[0] < least_span:
        step = 0.0 if len(distinct) == 1 else 1.0
        return Levels(1, centre, step, tuple(np.zeros(len(values), dtype=int)))
    starts = np.flatnonzero(distinct[1:] / distinct[:-1] >= _GAP) + 1
    clusters = np.split(distinct, starts)
    is_tight = all(c[-1] / c[0] <= _LEVEL_SPREAD for c in clusters)
    if is_tight and len(clusters) <= len(distinct) / 2:
        centre = float(f"{np.median(clusters[0]):.6g}")
        for step in (1.0, 0.5, 0.25):
            grid = np.rint(np.log2(values / centre) / step).astype(int)
            if len(np.unique(grid)) == len(clusters):
                return Levels(len(clusters), centre, step, tuple(grid))
    return Levels(len(distinct), centre, 0.0, tuple(ranks))


def positive_numbers(column: Column) -> np.ndarray | None:
    """The positive numbers of a column; None where few rows have one, or a zero."""
    is_fine = np.isfinite(column.array) & (column.array > 0)
    n_least = max(MOSTLY * len(is_fine), NEARLY_ALL * len(column.finite), 1)
    return column.array[is_fine] if is_fine.sum() >= n_least else None


def octaves_of(column: Column) -> np.ndarray:
    """Octaves by row, NaN where there is no positive number."""
    return np.log2(np.where(column.array > 0, column.array, np.nan))


def level_column(column: Column, levels: Levels) -> Column:
    """The column with values near each other made one."""
    if not levels.step:
        return column
    octaves = (octaves_of(column) - np.log2(levels.centre)) / levels.step
    cells = [None if np.isnan(x) else int(np.rint(x)) for x in octaves]
    return Column(column.name, tuple(cells))


def on_levels(base: str, levels: Levels, factor: float = 1.0) -> str:
    """The formula that makes values near each other one level."""
    centre = f"{levels.centre * factor:.10g}"
    octaves = f"log2({base} / {centre})"
    if levels.step == 1.0:
        return f"{centre} * 2 ** round({octaves})"
    step = f"{levels.step:g}"
    return f"{centre} * 2 ** ({step} * round({octaves} / {step}))"
