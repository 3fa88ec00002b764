"""Columns that count parameters, tokens, steps ..., and whether they are a ladder or only
follow from what was chosen.
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.sizes import (
    Levels,
    levels_of,
    positive_numbers,
)
from autollm.logs.proposals.structure import (
    determines,
    is_function_of,
    n_groups,
)

LEAST_PARAMS = 1e4
"""Smaller numbers under a name such as `size` count something else."""
CROWD = 8
"""Runs of each size on average: people who try as many at each of two near sizes mean
to compare them."""
MOST_OTHERS = 40
"""Settings that are looked at in pairs: of more, only a table of measurements has."""
LEAST_BUDGET = 1e8
"""No run takes as many steps."""
_SIZE_TEXT = re.compile(r"\d+(?:[.,]\d+)?\s?[MB]", re.IGNORECASE)
COUNTS = ("tokens", "steps", "epochs", "samples")
"""What a column may count that is called so, and is then no count of parameters."""
NO_SIZES = ("measured", "throughput", "tokens_per_param")


class Sizes:
    """Looks for them among the columns of one table."""

    def __init__(self, roles: Roles):
        self._roles = roles

    def named(self, entry: str) -> list[Column]:
        """Columns that count these, best names first: numbers, varying or constant."""
        roles = self._roles
        names = [*roles.free, *roles.named("constant")]
        found = []
        for raw in names:
            column = roles.finished[raw]
            is_unit = column.unit == entry and not _is_knob(column)
            is_named = column.name.is_a(_meant(column, entry)) or is_unit
            is_named = is_named or (entry == "params" and _is_size(column))
            if entry == "data_fraction" and column.unit == "share":
                is_named = is_named or column.name.is_a("data", "contexts")
            if (
                not is_named
                or not column.is_numeric
                or raw in roles.said.columns
            ):
                continue
            if any(column.name.is_a(word) for word in NO_SIZES):
                continue
            if positive_numbers(column) is not None:
                found.append(column)
        return sorted(
            found,
            key=lambda c: (
                not c.name.is_a(entry),
                "total" not in c.name.full,
                c.is_constant,
            ),
        )

    def written_as_sizes(self) -> list[Column]:
        """Columns of unknown names whose numbers are written as sizes (125M, 1.3B), the
        smallest first.
        """
        found = []
        for raw in self._roles.free:
            column = self._roles.finished[raw]
            texts = [str(cell) for cell in column.present]
            is_size = bool(texts) and all(map(_SIZE_TEXT.fullmatch, texts))
            is_size = is_size and column.is_numeric and not column.unit
            is_known = any(column.name.is_a(entry) for entry in COUNTS)
            if is_size and not is_known and not _is_knob(column):
                found.append(column)
        return sorted(found, key=lambda c: float(np.median(c.finite)))

    def levels(self, column: Column) -> Levels:
        """The levels of a size. Near ones are several where each has many runs and none
        of their settings decides on it, as on the parameters of an ablation.
        """
        values = positive_numbers(column)
        if values is None:
            return Levels(1)
        found = levels_of(values)
        is_crowded = column.n_distinct * CROWD <= len(values)
        if found.n_levels > 1 or not is_crowded or self.is_decided(column, []):
            return found
        return levels_of(values, least_span=1.0)

    def is_decided(self, size: Column, known: list[Column]) -> bool:
        """Whether a size follows from what is known and at most two settings."""
        others = []
        for raw in self._roles.free:
            other = self._roles.finished[raw]
            is_size = any(other.name.is_a(word) for word in (*COUNTS, "params"))
            is_repeated = other.n_distinct <= len(other.cells) / 2
            if is_repeated and other is not size and not is_size:
                others.append(other)
        for n_more in (0, 1, 2):
            for more in itertools.combinations(others[:MOST_OTHERS], n_more):
                if determines([*known, *more], size):
                    return True
        return False

    def is_ladder(self, column: Column) -> bool:
        n_levels = self.levels(column).n_levels
        n_rows = len(column.cells)
        return n_levels > 1 and (
            n_levels <= n_rows / 2 or not self._has_named_knobs(column)
        )

    def is_made_of_shapes(self, size: Column) -> bool:
        """Whether widths, depths ... were swept freely, so that a count of parameters
        only follows from them: of two of them most combinations occur, as in no ladder.
        """
        shapes = [c for c in self.varying("shape") if c.is_numeric]
        if not shapes or not is_function_of(size, shapes):
            return False
        for pair in itertools.combinations(shapes, 2):
            n_crossed = math.prod(column.n_distinct for column in pair)
            if n_crossed >= 6 and n_groups(pair) > 0.8 * n_crossed:
                return True
        return False

    def varying(self, entry: str, section: str = "roles") -> list[Column]:
        """Columns without a role whose name is in an entry, if they vary."""
        columns = [self._roles.finished[raw] for raw in self._roles.free]
        named = (c for c in columns if c.name.is_a(entry, section))
        return [c for c in named if c.n_distinct > 1]

    def _has_named_knobs(self, size: Column) -> bool:
        """Whether other columns vary that are settings by name, and do not just rise or
        fall with the size: then a size that differs in every row is their consequence.
        """
        for raw in self._roles.free:
            column = self._roles.finished[raw]
            is_knob = (
                column.name.is_a("rate", "knobs") or "batch" in column.name.full
            )
            if is_knob and column is not size and not _goes_with(column, size):
                return True
        return False

    def best(self, columns: list[Column]) -> Column:
        """Of several counts of parameters the one that goes with the compute."""
        flops = [
            n for n in self._roles.named("cost") if _is_flops(self._roles, n)
        ]
        tokens = self.named("tokens")
        if len(columns) == 1:
            return columns[0]
        if not flops or not tokens:
            return min(columns, key=self._n_settings_of)
        compute = logs(self._roles.finished[flops[0]])
        amount = logs(tokens[0])
        spreads = [np.nanstd(compute - amount - logs(c)) for c in columns]
        return columns[int(np.argmin(spreads))]

    def _n_settings_of(self, size: Column) -> int:
        """How many settings have one value for each size: of a mixture of experts, all
        parameters follow from the number of experts, the active ones do not.
        """
        return sum(determines([size], c) for c in self.varying("size", "knobs"))


def _meant(column: Column, entry: str) -> str:
    """The words that a column of this entry is called by: a budget of hundreds of
    millions counts tokens, no steps.
    """
    is_huge = (
        column.is_numeric and min(column.finite, default=0) >= LEAST_BUDGET
    )
    if is_huge and entry in ("tokens", "steps") and column.name.is_a("steps"):
        return "steps" if entry == "tokens" else "tokens"
    return entry


def _is_knob(column: Column) -> bool:
    name = column.name
    return name.is_a("rate", "knobs") or name.is_a("size", "knobs")


def _is_size(column: Column) -> bool:
    """Whether a column called `model_size` or `model` holds counts: 125M, 1.3B."""
    is_word = column.name.is_a("size_word") and column.is_numeric
    return is_word and bool(column.levels) and column.levels[0] >= LEAST_PARAMS


def _goes_with(column: Column, size: Column) -> bool:
    """Whether a column only rises, or only falls, as a size grows."""
    pairs = zip(size.numbers, column.numbers, strict=True)
    known = sorted(p for p in pairs if p[0] is not None and p[1] is not None)
    steps = np.diff([value for _, value in known])
    return bool(np.all(steps >= 0) or np.all(steps <= 0))


def _is_flops(roles: Roles, raw: str) -> bool:
    return roles.table.columns[raw].name.is_a("flops")


def logs(column: Column) -> np.ndarray:
    """Octaves by row, NaN where there is no positive number."""
    numbers = np.array(
        [np.nan if not x or x <= 0 else x for x in column.numbers]
    )
    return np.log2(numbers.astype(float))
