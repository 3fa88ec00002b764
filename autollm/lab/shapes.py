"""The shape of a small decoder, and what it costs. Imports no torch, so that a family
can be declared without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CONTEXT = 64
"""Tokens in a sequence, so that the smallest batch is one sequence."""
VOCABULARY = 512
HEAD_SIZE = 16
"""Width of a head where a shape does not say how many heads it has."""


@dataclass(frozen=True)
class Shape:
    """Shape of one decoder. `params` counts the weights that multiply activations:
    blocks and head, without the embedding.
    """

    width: int
    layers: int
    vocabulary: int = VOCABULARY
    context: int = CONTEXT
    heads: int = 0
    mlp_ratio: int = 4
    tied: bool = False

    @property
    def n_heads(self) -> int:
        return self.heads or self.width // HEAD_SIZE

    def tensors(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and dimensions in the order in which they are drawn and stored. A tied
        shape has no head of its own.
        """
        d, hidden = self.width, self.mlp_ratio * self.width
        blocks = [
            (f"{name}.{i}", shape)
            for i in range(self.layers)
            for name, shape in (
                ("norm1", (d,)),
                ("qkv", (d, 3 * d)),
                ("out", (d, d)),
                ("norm2", (d,)),
                ("up", (d, hidden)),
                ("down", (hidden, d)),
            )
        ]
        head = [] if self.tied else [("head", (d, self.vocabulary))]
        return [
            ("embedding", (self.vocabulary, d)),
            *blocks,
            ("norm", (d,)),
            *head,
        ]

    @property
    def params(self) -> int:
        return sum(
            math.prod(s) for name, s in self.tensors() if name != "embedding"
        )

    @property
    def total_params(self) -> int:
        """Everything that is stored, the embedding included."""
        return sum(math.prod(s) for _, s in self.tensors())

    @property
    def train_flops_a_token(self) -> float:
        """Forward and backward: 6 a weight that multiplies (a tied head multiplies
        too), and attention over the whole context.
        """
        head = self.vocabulary * self.width if self.tied else 0
        return (
            6.0 * (self.params + head)
            + 12.0 * self.layers * self.context * self.width
        )
