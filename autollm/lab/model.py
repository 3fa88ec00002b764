"""Many small decoders of one shape, trained side by side: parameters carry a leading
axis of runs.

One flat buffer [runs, parameters] holds every run's weights in one contiguous row, so
that one fused AdamW step per row gives each run its own learning rate, while matrix
products are batched over runs. With one run it is the plain model: runs never mix.
Architecture: pre-norm RMSNorm, rotary positions, GELU MLP, untied head unless the shape
says so (after Llama and GPT-2).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autollm.lab.shapes import Shape


class StackedDecoder:
    """`len(seeds)` decoders. Weights of run r depend on `seeds[r]` alone."""

    def __init__(self, shape: Shape, seeds: list[int]):
        self.shape, self.runs = shape, len(seeds)
        self.flat = torch.stack([_initial(shape, seed) for seed in seeds])
        self.grad = torch.zeros_like(self.flat)
        self.weights: dict[str, Tensor] = {}
        start = 0
        for name, dims in shape.tensors():
            stop = start + math.prod(dims)
            leaf = (
                self.flat[:, start:stop]
                .view(self.runs, *dims)
                .detach()
                .requires_grad_()
            )
            leaf.grad = self.grad[:, start:stop].view(self.runs, *dims)
            self.weights[name] = leaf
            start = stop
        size = shape.width // shape.n_heads
        positions = torch.arange(shape.context)[:, None] * (
            10000.0 ** (-torch.arange(0, size, 2) / size)
        )
        self._cos, self._sin = positions.cos(), positions.sin()

    def losses(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy of each run, nats per token, [runs]. tokens, targets:
        int64 [runs, sequences * context].
        """
        logits = self._logits(tokens)
        each = F.cross_entropy(
            logits.reshape(-1, self.shape.vocabulary),
            targets.reshape(-1),
            reduction="none",
        )
        return each.view(self.runs, -1).mean(dim=1)

    def _logits(self, tokens: Tensor) -> Tensor:
        w, d = self.weights, self.shape.width
        rows = tokens + torch.arange(self.runs)[:, None] * self.shape.vocabulary
        h = F.embedding(rows, w["embedding"].reshape(-1, d))
        for i in range(self.shape.layers):
            qkv = torch.bmm(self._normed(h, f"norm1.{i}"), w[f"qkv.{i}"])
            h = torch.baddbmm(h, self._attention(qkv), w[f"out.{i}"])
            hidden = F.gelu(
                torch.bmm(self._normed(h, f"norm2.{i}"), w[f"up.{i}"]),
                approximate="tanh",
            )
            h = torch.baddbmm(h, hidden, w[f"down.{i}"])
        head = w["embedding"].transpose(1, 2) if self.shape.tied else w["head"]
        return torch.bmm(self._normed(h, "norm"), head)

    def _normed(self, h: Tensor, name: str) -> Tensor:
        return F.rms_norm(h, (self.shape.width,)) * self.weights[name][:, None]

    def _attention(self, qkv: Tensor) -> Tensor:
        heads, context = self.shape.n_heads, self.shape.context
        q, k, v = qkv.view(
            -1, context, 3, heads, self.shape.width // heads
        ).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            self._rotated(q), self._rotated(k), v, is_causal=True
        )
        return mixed.transpose(1, 2).reshape(self.runs, -1, self.shape.width)

    def _rotated(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat(
            [a * self._cos - b * self._sin, a * self._sin + b * self._cos],
            dim=-1,
        )


def _initial(shape: Shape, seed: int) -> Tensor:
    """Flat weights of one run: unit norms, embedding with sd 0.02, matrices with sd
    1/sqrt(fan in).
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for name, dims in shape.tensors():
        if name.startswith("norm"):
            parts.append(torch.ones(dims))
        else:
            scale = 0.02 if name == "embedding" else dims[0] ** -0.5
            parts.append(torch.randn(dims, generator=generator) * scale)
    return torch.cat([p.flatten() for p in parts])
