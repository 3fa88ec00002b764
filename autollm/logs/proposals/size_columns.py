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
    octaves_of,
    positive_numbers,
)
from autollm.logs.proposals.structure import (
    determines,
    is_decided,
    is_function_of,
    n_groups,
)

LEAST_PARAMS = 1e4
"""Smaller numbers under a name such as `size` count something else."""
CROWD = 8
"""Runs of each size on average: people who try as many at each of two near sizes mean
to compare them."""
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
        columns = [*self._roles.open(), *self._roles.columns("constant")]
        found = [c for c in columns if _counts(c, entry)]
        return sorted(
            found,
            key=lambda c: (
                not c.is_a(entry),
                "total" not in c.name.full,
                c.is_constant,
            ),
        )

    def written_as_sizes(self) -> list[Column]:
        """Columns of unknown names whose numbers are written as sizes (125M, 1.3B), the
        smallest first.
        """
        found = []
        for column in self._roles.open():
            is_size = column.is_numeric and not column.unit and column.present
            is_known = column.is_a("rate", "size", *COUNTS)
            texts = map(str, column.present)
            if (
                is_size
                and not is_known
                and all(map(_SIZE_TEXT.fullmatch, texts))
            ):
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
        """Whether a size follows from what is known and at most two settings that repeat."""
        others = []
        for other in self._roles.open(but=size.raw):
            is_repeated = other.n_distinct <= len(other.cells) / 2
            if is_repeated and not other.is_a("params", *COUNTS):
                others.append(other)
        return is_decided(size, known, others)

    def is_ladder(self, column: Column) -> bool:
        """Whether sizes differ, and are not one for each run beside settings."""
        n_levels = self.levels(column).n_levels
        is_repeated = n_levels <= len(column.cells) / 2
        return n_levels > 1 and (is_repeated or not self._has_knobs(column))

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

    def varying(self, entry: str) -> list[Column]:
        """Columns without a role whose name is in an entry, if they vary."""
        columns = self._roles.open()
        return [c for c in columns if c.is_a(entry) and c.n_distinct > 1]

    def _has_knobs(self, size: Column) -> bool:
        """Whether other columns vary that are settings by name, and do not just rise or
        fall with the size: then a size that differs in every row is their consequence.
        """
        for column in self._roles.open(but=size.raw):
            is_knob = column.is_a("rate") or "batch" in column.name.full
            if is_knob and not _goes_with(column, size):
                return True
        return False

    def best(self, columns: list[Column]) -> Column:
        """Of several counts of parameters the one that goes with the compute; else the
        one from which fewest settings follow: of a mixture of experts, all parameters
        follow from the number of experts, the active ones do not.
        """
        flops = [c for c in self._roles.columns("cost") if c.is_a("flops")]
        tokens = self.named("tokens")
        if len(columns) > 1 and flops and tokens:
            of_params = octaves_of(flops[0]) - octaves_of(tokens[0])
            spreads = [np.nanstd(of_params - octaves_of(c)) for c in columns]
            return columns[int(np.argmin(spreads))]
        settings = self.varying("size")
        return min(
            columns, key=lambda c: sum(determines([c], s) for s in settings)
        )


def _counts(column: Column, entry: str) -> bool:
    """Whether a column counts these, by its name or the unit of its cells."""
    if not column.is_numeric or column.is_a(*NO_SIZES):
        return False
    is_unit = column.unit == entry and not column.is_a("rate", "size")
    is_named = is_unit or column.is_a(_meant(column, entry))
    if (
        entry == "params" and not is_named
    ):  # `model_size` or `model`: 125M, 1.3B
        least = min(column.finite, default=0)
        is_named = column.is_a("size_word") and least >= LEAST_PARAMS
    elif entry == "data_fraction" and column.unit == "share":
        is_named = is_named or column.is_a("data")
    return is_named and positive_numbers(column) is not None


def _meant(column: Column, entry: str) -> str:
    """The words that a column of this entry is called by: a budget of hundreds of
    millions counts tokens, no steps.
    """
    is_huge = min(column.finite, default=0) >= LEAST_BUDGET
    if is_huge and entry in ("tokens", "steps") and column.is_a("steps"):
        return "steps" if entry == "tokens" else "tokens"
    return entry


def _goes_with(column: Column, size: Column) -> bool:
    """Whether a column only rises, or only falls, as a size grows."""
    pairs = zip(size.numbers, column.numbers, strict=True)
    known = sorted(p for p in pairs if None not in p)
    steps = np.diff([value for _, value in known])
    return bool(np.all(steps >= 0) or np.all(steps <= 0))
