"""Muon in float32: momentum, orthogonalized by a Newton-Schulz iteration, for the
matrices of a model (after Keller Jordan's Muon).

torch.optim.Muon iterates in bfloat16, one matrix at a time: on a CPU without bfloat16
instructions that took 38 % of a training step. Here matrices of equal shape go through
one batched product. Steps are scaled to the size of AdamW's (0.2 sqrt(max(rows,
columns))).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Takes 2-D parameters alone. `lr` as for AdamW; decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ):
        super().__init__(
            params,
            {"lr": lr, "weight_decay": weight_decay, "momentum": momentum},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                steps = orthogonalized(
                    torch.stack(
                        [self._direction(p, group["momentum"]) for p in params]
                    )
                )
                for p, step in zip(params, steps, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                        step, alpha=-0.2 * max(shape) ** 0.5 * group["lr"]
                    )

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        """Nesterov's look ahead along the running mean of gradients."""
        mean = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Nearly the orthogonal factor of each matrix [n, rows, columns]: singular values
    between 0.5 and 1.5.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
