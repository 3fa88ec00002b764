"""Train a stack of decoders that share shape, batch and number of steps: the loop that
every language-model family uses.

What a run becomes depends on its own weights' seed, recipe and batches alone. AdamW,
linear warm-up, cosine to a tenth, no clipping: high rates may diverge, and are recorded
so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autollm.lab.model import StackedDecoder
from autollm.lab.recording import POINTS_IN_FULL
from autollm.lab.shapes import CONTEXT, VOCABULARY

VALIDATION_SEQUENCES = 512
DIVERGED_ABOVE = math.log(VOCABULARY)
"""A final loss above that of a uniform guess counts as diverged, in nats per token."""
Batch = tuple[torch.Tensor, torch.Tensor]
"""Tokens and next tokens, int64 [runs, sequences * CONTEXT]."""


@dataclass(frozen=True)
class Recipe:
    """How one run of a stack is optimized; `warmup` is a share of its steps."""

    peak_rate: float
    weight_decay: float = 0.1
    warmup: float = 0.05
    beta2: float = 0.95


@dataclass(frozen=True)
class Curve:
    """Train losses [points, runs] at `steps` [points], wall seconds there, whether the
    stack ran out of time, and processor seconds of this process.
    """

    steps: list[int]
    losses: np.ndarray
    wall_s: list[float]
    timed_out: bool
    processor_s: float


def fit(
    model: StackedDecoder,
    recipes: Sequence[Recipe],
    batch_of: Callable[[int], Batch],
    n_steps: int,
    max_seconds: float = math.inf,
) -> Curve:
    """Train every run of a stack by its own recipe; `batch_of(step)` gives the stack's
    batch.
    """
    optimizer = _optimizer(model, recipes)
    every = max(1, n_steps // POINTS_IN_FULL)
    steps, losses, wall_s, start = [], [], [], time.perf_counter()
    processor_start = time.process_time()
    running, since = torch.zeros(model.runs), 0
    for step in range(n_steps):
        loss = model.losses(*batch_of(step))
        model.grad.zero_()
        loss.sum().backward()
        for group, recipe in zip(optimizer.param_groups, recipes, strict=True):
            group["lr"] = recipe.peak_rate * _schedule(
                step, n_steps, recipe.warmup
            )
        optimizer.step()
        running, since = running + loss.detach(), since + 1
        if (step + 1) % every == 0 or step + 1 == n_steps:
            steps.append(step + 1)
            losses.append((running / since).numpy())
            wall_s.append(time.perf_counter() - start)
            running, since = torch.zeros(model.runs), 0
            if wall_s[-1] > max_seconds:
                processor_s = time.process_time() - processor_start
                return Curve(steps, np.array(losses), wall_s, True, processor_s)
    return Curve(
        steps,
        np.array(losses),
        wall_s,
        False,
        time.process_time() - processor_start,
    )


@torch.no_grad()
def validate(
    model: StackedDecoder,
    tokens: np.ndarray,
    n_sequences: int = VALIDATION_SEQUENCES,
) -> np.ndarray:
    """Loss of every run on the first sequences of a stream [n], float64 [runs], nats
    per token.
    """
    stream = torch.from_numpy(tokens.astype(np.int64))
    first_positions = torch.arange(n_sequences) * CONTEXT
    parts = [
        model.losses(*gather(stream, part.expand(model.runs, -1)))
        for part in first_positions.split(16)
    ]
    return torch.stack(parts).double().mean(dim=0).numpy()


def gather(stream: torch.Tensor, first_positions: torch.Tensor) -> Batch:
    """Sequences of a stream [n] by their starts [runs, sequences]."""
    positions = (first_positions[:, :, None] + torch.arange(CONTEXT)).reshape(
        len(first_positions), -1
    )
    return stream[positions], stream[positions + 1]


def _optimizer(
    model: StackedDecoder, recipes: Sequence[Recipe]
) -> torch.optim.AdamW:
    """One parameter group a run: a row of the flat buffer."""
    rows = [torch.nn.Parameter(model.flat[r]) for r in range(model.runs)]
    for r, row in enumerate(rows):
        row.grad = model.grad[r]
    groups = [
        {
            "params": [row],
            "betas": (0.9, recipe.beta2),
            "weight_decay": recipe.weight_decay,
        }
        for row, recipe in zip(rows, recipes, strict=True)
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def _schedule(step: int, n_steps: int, warmup: float) -> float:
    warm = min(1.0, (step + 1) / max(1, int(n_steps * warmup + 1e-9)))
    return warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / n_steps)))
