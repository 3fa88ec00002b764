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

from autollm.core.expressions import ARITY
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.names import plain
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.structure import n_groups

PARTS = {
    "width": "d_model n_embd hidden_size hidden_dim hidden embed_dim embedding_dim "
    "model_dim width dim n_embed h dmodel",
    "depth": "n_layer n_layers num_layers num_hidden_layers layers depth numl num_layer",
    "vocabulary": "vocab_size vocabulary_size n_vocab",
    "batch": "batch_size train_batch_size global_batch_size batch bs gbs "
    "total_batch_size effective_batch_size batch_seqs",
    "batch_tokens": "batch_tokens tokens_per_batch tokens_per_step batch_size_tokens "
    "total_batch_tokens global_batch_tokens tokens_per_iter total_batch_size_tokens",
    "sequence": "seq_len sequence_length seq_length block_size context_length n_ctx "
    "max_seq_len max_seq_length ctx_len context_len max_length context_size",
    "accumulation": "gradient_accumulation_steps grad_accum accumulation_steps "
    "grad_accum_steps",
}
PARTS = {part: words.split() for part, words in PARTS.items()}


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
    """Computes sizes of one table."""

    def __init__(self, roles: Roles, naming: Naming):
        self._roles = roles
        self._naming = naming

    def computed(
        self, name: str, params: Params | None = None
    ) -> Computed | None:
        """Parameters or tokens from settings, None where settings are missing. `params`:
        what is known of them, for a ratio of tokens to them.
        """
        if name == "params":
            return self._params()
        return (params and self._ratio(*params)) or self._tokens()

    def _ratio(self, formula: str, values: np.ndarray) -> Computed | None:
        """Tokens from a number of tokens a parameter."""
        for raw in (*self._roles.free, *self._roles.named("constant")):
            column = self._roles.finished[raw]
            if not column.name.is_a("tokens_per_param") or not _is_filled(
                column
            ):
                continue
            is_multiple = "chinchilla" in column.name.full
            factor = CHINCHILLA if is_multiple else 1.0
            scale = f"{factor:g} * " if is_multiple else ""
            alias = self._naming.alias(raw)
            product = _numbers(column) * factor * values
            words = "tokens a parameter * parameters"
            return Computed(
                f"{scale}{alias} * {formula}", words, (raw,), product
            )
        return None

    def _part(self, part: str) -> Column | None:
        roles = self._roles
        for word in PARTS[part]:
            for raw in (*roles.free, *roles.named("constant")):
                column = roles.finished[raw]
                if word in (column.name.full, column.name.last) and _is_filled(
                    column
                ):
                    return column
        return None

    def _params(self) -> Computed | None:
        width = self._part("width")
        depth = self._part("depth")
        if width is None or depth is None:
            return None
        vocabulary = self._part("vocabulary")
        columns = [depth, width] + ([vocabulary] if vocabulary else [])
        names = [self._naming.alias(c.name.raw) for c in columns]
        formula = f"12 * {names[0]} * {names[1]} ** 2"
        values = 12 * _numbers(depth) * _numbers(width) ** 2
        words = "12 * depth * width**2"
        if vocabulary is not None:
            formula += f" + {names[2]} * {names[1]}"
            values = values + _numbers(vocabulary) * _numbers(width)
            words += " + vocabulary * width"
        varying = [c for c in (depth, width) if not c.is_constant]
        is_crossed = len(varying) == 2 and n_groups(varying) > max(
            c.n_distinct for c in varying
        )
        n_rows = len(width.cells)
        is_ladder = not is_crossed and n_groups([depth, width]) <= n_rows / 2
        return Computed(formula, words, _raws(columns), values, is_ladder)

    def _tokens(self) -> Computed | None:
        steps = self._steps()
        batch_tokens = self._part("batch_tokens")
        if steps is None:
            return None
        if batch_tokens is not None:
            return self._product(
                "batch in tokens * steps", [batch_tokens, steps], steps
            )
        batch = self._part("batch")
        sequence = self._part("sequence")
        if batch is None or sequence is None:
            return None
        columns = [batch, sequence, steps]
        words = "batch * sequence length * steps"
        accumulation = self._part("accumulation")
        if accumulation is not None and "global" not in batch.name.full:
            columns.insert(1, accumulation)
            words = "batch * accumulation * sequence length * steps"
        return self._product(words, columns, steps)

    def _product(
        self, words: str, columns: list[Column], steps: Column
    ) -> Computed:
        names = [self._naming.alias(c.name.raw) for c in columns]
        values = np.prod([_numbers(c) for c in columns], axis=0)
        n_steps = max(1, steps.n_distinct)
        # a batch or a length that was swept at equal steps is a knob, and no ladder
        is_ladder = len(np.unique(values)) <= n_steps
        return Computed(
            " * ".join(names), words, _raws(columns), values, is_ladder
        )

    def _steps(self) -> Column | None:
        roles = self._roles
        for raw in (*roles.free, *roles.named("constant")):
            column = roles.finished[raw]
            is_reached = column.name.is_a(
                "measured"
            ) or column.name.last.startswith("lr_")
            if (
                column.name.is_a("steps")
                and not is_reached
                and _is_filled(column)
            ):
                return column
        return None


def _is_filled(column: Column) -> bool:
    if not column.is_numeric or len(column.finite) < len(column.cells):
        return False
    return bool(column.levels) and column.levels[0] > 0


def _numbers(column: Column) -> np.ndarray:
    return np.array(column.finite, dtype=float)


def _raws(columns: list[Column]) -> tuple[str, ...]:
    return tuple(c.name.raw for c in columns)
