"""Names that expressions can spell, and sizes computed from a model's settings.

    parameters = 12 * depth * width**2 + vocabulary * width    (a decoder's blocks and its
                 embedding; Kaplan et al., arXiv 2001.08361)
    tokens     = batch (sequences) * sequence length * steps, or batch (tokens) * steps

Invariant: a name is given out once.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass, field

import numpy as np

from autollm.core.mappings.expressions import ARITY
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import plain, tables
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.structure import n_groups

CHINCHILLA = 20.0
"""Tokens a parameter that one multiple of "Chinchilla" means (arXiv 2203.15556)."""
Params = tuple[str, np.ndarray]
"""Parameters as expressions spell them, and by row."""


class Naming:
    """Canonical names of columns, each used once; aliases for those that an expression
    cannot spell.
    """

    def __init__(self, columns: dict[str, Column]):
        self._columns = columns
        self._names: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    def reserve(self, raw: str, wanted: str | None = None) -> str:
        """The canonical name of a column: `wanted`, or its plain name."""
        name = self.free(wanted or plain(raw))
        self._names[raw] = name
        return name

    def free(self, wanted: str) -> str:
        """A name like `wanted` that nobody has."""
        name = wanted
        if not _is_spelled(name):
            name = f"c_{name}"
        taken = {*self._names.values(), *self.aliases}
        while name in taken:
            name += "_"
        return name

    def alias(self, raw: str, avoid: str = "") -> str:
        """A name for a column in expressions; another one than `avoid`, which means
        something else there.
        """
        for alias, column in self.aliases.items():
            if column == raw:
                return alias
        if raw in self._names and not avoid:
            return self._names[raw]
        if (
            raw != avoid
            and _is_spelled(raw)
            and raw not in self._names.values()
        ):
            return raw
        alias = plain(raw)
        others = {*self._names.values(), *self.aliases, *self._columns, avoid}
        if not _is_spelled(alias):
            alias = f"c_{alias}"
        while alias in others:
            alias += "_"
        self.aliases[alias] = raw
        return alias


def _is_spelled(name: str) -> bool:
    """Whether an expression can spell a name."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and name not in ARITY
    )


@dataclass(frozen=True)
class Computed:
    """A size from settings. `is_ladder`: whether the settings are a ladder's and not
    themselves what was swept.
    """

    formula: str
    words: str
    columns: tuple[str, ...]
    values: np.ndarray = field(repr=False)
    is_ladder: bool = True


class Formulas:
    """Computes sizes of one table; each gives None where settings are missing."""

    def __init__(self, roles: Roles, naming: Naming):
        self._roles, self._naming = roles, naming

    def params(self) -> Computed | None:
        """Parameters of a decoder."""
        width, depth = self._part("width"), self._part("depth")
        if width is None or depth is None:
            return None
        columns = [depth, width]
        names = [self._naming.alias(c.raw) for c in columns]
        formula = f"12 * {names[0]} * {names[1]} ** 2"
        words = "12 * depth * width**2"
        values = 12 * depth.array * width.array**2
        vocabulary = self._part("vocabulary")
        if vocabulary is not None:
            columns.append(vocabulary)
            formula += f" + {self._naming.alias(vocabulary.raw)} * {names[1]}"
            words += " + vocabulary * width"
            values = values + vocabulary.array * width.array
        n_shapes = n_groups([depth, width])
        is_crossed = n_shapes > max(depth.n_distinct, width.n_distinct)
        is_ladder = not is_crossed and n_shapes <= len(values) / 2
        raws = tuple(c.raw for c in columns)
        return Computed(formula, words, raws, values, is_ladder)

    def tokens(self, params: Params | None) -> Computed | None:
        """Tokens, from a ratio of them to parameters or from batches and steps."""
        return (params and self._ratio(*params)) or self._product()

    def _ratio(self, formula: str, values: np.ndarray) -> Computed | None:
        """Tokens from a number of tokens a parameter."""
        for column in self._settings():
            if not column.is_a("tokens_per_param"):
                continue
            product, ratio = (
                column.array * values,
                self._naming.alias(column.raw),
            )
            if "chinchilla" in column.name.full:
                product, ratio = (
                    CHINCHILLA * product,
                    f"{CHINCHILLA:g} * {ratio}",
                )
            words = "tokens a parameter * parameters"
            shown = f"{ratio} * {formula}"
            return Computed(shown, words, (column.raw,), product)
        return None

    def _product(self) -> Computed | None:
        steps = self._steps()
        parts: dict[str, Column | None]
        parts = {"batch in tokens": self._part("batch_tokens")}
        if parts["batch in tokens"] is None:
            batch = self._part("batch")
            parts = {"batch": batch}
            accumulation = self._part("accumulation")
            if accumulation and batch and "global" not in batch.name.full:
                parts["accumulation"] = accumulation
            parts["sequence length"] = self._part("sequence")
        parts["steps"] = steps
        if None in parts.values():
            return None
        columns = parts.values()
        names = [self._naming.alias(c.raw) for c in columns]
        values = np.prod([c.array for c in columns], axis=0)
        # a batch or a length that was swept at equal steps is a knob, and no ladder
        is_ladder = len(np.unique(values)) <= max(1, steps.n_distinct)
        raws = tuple(c.raw for c in columns)
        formula, words = " * ".join(names), " * ".join(parts)
        return Computed(formula, words, raws, values, is_ladder)

    def _settings(self) -> list[Column]:
        """Columns of positive numbers in every row that may be settings."""
        columns = [*self._roles.open(), *self._roles.columns("constant")]
        columns = [c for c in columns if c.is_numeric and c.is_full]
        return [c for c in columns if c.levels and c.levels[0] > 0]

    def _part(self, part: str) -> Column | None:
        columns = self._settings()
        for word in tables()["model_parts"][part]:
            for column in columns:
                if word in (column.name.full, column.name.last):
                    return column
        return None

    def _steps(self) -> Column | None:
        for column in self._settings():
            is_rate = column.name.last.startswith("lr_")
            if (
                column.is_a("steps")
                and not is_rate
                and not column.is_a("measured")
            ):
                return column
        return None
