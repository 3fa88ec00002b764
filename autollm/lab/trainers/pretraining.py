"""Train runs of `pretraining`: library code in the order of a seed, without repetition,
one stack a batch size.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from autollm.core.records import Record
from autollm.lab.corpus import Corpus, load
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.model import StackedDecoder
from autollm.lab.recording import language_model_logs, now
from autollm.lab.shapes import CONTEXT
from autollm.lab.spec import Config, Family, Run, shape_of
from autollm.lab.stack import (
    DIVERGED_ABOVE,
    Curve,
    Recipe,
    fit,
    gather,
    validate,
)

__all__ = ["load", "order", "train", "train_as"]


def train(
    runs: list[Run], data: Corpus, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """Records of every run by run_id. All runs share level and batch size.

    A stack that outlives `max_seconds` is recorded as failed, with the reason.
    """
    return train_as(PRETRAINING, runs, data, max_seconds)


def train_as(
    family: Family, runs: list[Run], data: Corpus, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """The same for a family that may choose more of a recipe than the rate."""
    started, level, batch = (
        now(),
        runs[0].level,
        int(runs[0].config["batch_tokens"]),
    )
    shape, tokens = shape_of(level), int(level.settings["tokens"])
    model = StackedDecoder(shape, [r.seed for r in runs])
    curve = _fit(runs, data, model, batch, tokens, max_seconds)
    losses = (
        np.full(len(runs), np.nan)
        if curve.timed_out
        else validate(model, data.validation)
    )
    described = {
        "width": shape.width,
        "layers": shape.layers,
        "vocabulary": shape.vocabulary,
        "context": shape.context,
    }
    return language_model_logs(
        family,
        runs,
        curve,
        [{"val_loss": loss} for loss in losses],
        models=[described] * len(runs),
        sha256=data.sha256,
        started=started,
        batch_tokens=batch,
        flops_a_token=6.0 * shape.params,
        limit=DIVERGED_ABOVE,
    )


def _fit(
    runs: list[Run],
    data: Corpus,
    model: StackedDecoder,
    batch: int,
    tokens: int,
    max_seconds: float,
) -> Curve:
    stream = torch.from_numpy(data.train.astype(np.int64))
    seeds = {r.seed for r in runs}
    orders = {seed: order(len(stream), tokens, seed) for seed in seeds}
    n_sequences = batch // CONTEXT

    def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [
            orders[r.seed][step * n_sequences : (step + 1) * n_sequences]
            for r in runs
        ]
        return gather(stream, torch.stack(chosen))

    return fit(
        model,
        [_recipe(r.config) for r in runs],
        batch_of,
        tokens // batch,
        max_seconds,
    )


def _recipe(config: Config) -> Recipe:
    knobs = {
        "weight_decay": "weight_decay",
        "warmup": "warmup_share",
        "beta2": "beta2",
    }
    return Recipe(
        config["learning_rate"],
        **{
            field: config[knob]
            for field, knob in knobs.items()
            if knob in config
        },
    )


def order(n_tokens: int, budget_tokens: int, seed: int) -> torch.Tensor:
    """Starts of sequences in the order of a seed, without repetition."""
    generator = torch.Generator().manual_seed(1_000_003 + seed)
    return (
        torch.randperm((n_tokens - 1) // CONTEXT, generator=generator)[
            : budget_tokens // CONTEXT
        ]
        * CONTEXT
    )
