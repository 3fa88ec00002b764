"""Train runs of `architecture`: one shape a stack, on as many tokens as the FLOP budget
pays for; and measure what the shape costs.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from autollm.core.records import Record
from autollm.lab.corpus import Corpus, load
from autollm.lab.families.architecture import (
    ARCHITECTURE,
    n_steps,
    peak_rate,
    shape_of,
)
from autollm.lab.model import StackedDecoder
from autollm.lab.recording import language_model_logs, now
from autollm.lab.shapes import CONTEXT, Shape
from autollm.lab.spec import Run
from autollm.lab.stack import (
    DIVERGED_ABOVE,
    Batch,
    Recipe,
    fit,
    gather,
    validate,
)
from autollm.lab.trainers.pretraining import order

__all__ = ["load", "train"]

REPEATS = 20


def train(
    runs: list[Run], data: Corpus, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """Records of every run by run_id; all of one level and shape. A stack that outlives
    `max_seconds` is recorded as failed.
    """
    started, shape, steps = now(), shape_of(runs[0].config), n_steps(runs[0])
    model = StackedDecoder(shape, [r.seed for r in runs])
    stream = torch.from_numpy(data.train.astype(np.int64))
    batch = int(runs[0].level.settings["batch_tokens"])
    seeds = {r.seed for r in runs}
    orders = {
        seed: epochs(len(stream), steps * batch // CONTEXT, seed)
        for seed in seeds
    }
    per_step = batch // CONTEXT

    def batch_of(step: int) -> Batch:
        return gather(
            stream,
            torch.stack(
                [
                    orders[r.seed][step * per_step : (step + 1) * per_step]
                    for r in runs
                ]
            ),
        )

    curve = fit(
        model,
        [Recipe(peak_rate(r.config)) for r in runs],
        batch_of,
        steps,
        max_seconds,
    )
    losses = (
        np.full(len(runs), np.nan)
        if curve.timed_out
        else validate(model, data.validation)
    )
    measured = costs(
        shape, gather(stream, orders[runs[0].seed][None, :per_step])
    ) | {"tokens": float(steps * batch)}
    models = []
    finals = []
    for run, loss in zip(runs, losses, strict=True):
        rate = peak_rate(run.config)
        recipe = {"learning_rate": rate, "batch_tokens": batch}
        models.append({**vars(shape), **recipe})
        finals.append({"val_loss": loss, **measured})
    return language_model_logs(
        ARCHITECTURE,
        runs,
        curve,
        finals,
        models=models,
        sha256=data.sha256,
        started=started,
        batch_tokens=batch,
        flops_a_token=shape.train_flops_a_token,
        limit=DIVERGED_ABOVE,
    )


def epochs(n_tokens: int, n_sequences: int, seed: int) -> torch.Tensor:
    """Starts of a run's sequences, int64 [n_sequences]: all of the text once, then
    again in another order, as long as it takes.
    """
    once = (n_tokens - 1) // CONTEXT
    parts = [
        order(n_tokens, n_tokens, seed + 10_007 * epoch)
        for epoch in range(-(-n_sequences // once))
    ]
    return torch.cat(parts)[:n_sequences]


def costs(shape: Shape, batch: Batch) -> dict[str, float]:
    """What one decoder of this shape costs: parameters and FLOPs counted, latency and
    memory measured on this machine.

    Latency is the fastest of some forward passes of one sequence (the fastest: others
    wait for other programs). Memory is that of weights, gradients, two moments, and
    what one batch of a single run keeps for the backward pass.
    """
    alone, kept = StackedDecoder(shape, [0]), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = (
            tensor.untyped_storage().nbytes()
        )
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = alone.losses(*batch)
    kept.pop(alone.flat.untyped_storage().data_ptr(), None)
    memory = 4 * alone.flat.nbytes + sum(kept.values())
    del loss
    one, times = tuple(part[:, :CONTEXT] for part in batch), []
    with torch.no_grad():
        for _ in range(REPEATS):
            start = time.perf_counter()
            alone.losses(*one)
            times.append(time.perf_counter() - start)
    return {
        "total_params": float(shape.total_params),
        "train_flops_a_token": shape.train_flops_a_token,
        "latency_ms": 1000 * min(times),
        "train_memory_bytes": float(memory),
    }
