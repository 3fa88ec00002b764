"""Train runs of `data_mixture`: sequences of every domain in the exact shares of a
mixture, in the order of a seed.

Runs of one seed meet the sequences of a domain in the same order whatever their shares,
so that they differ by the mixture alone. A run diverged when it did on its own training
text: who leaves a domain out is worse than a guess on it, and may be the best
elsewhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from autollm.core.records import Record
from autollm.lab.designs import largest_remainders
from autollm.lab.domains import Domains, load
from autollm.lab.families.data_mixture import (
    BATCH_TOKENS,
    DATA_MIXTURE,
    DOMAINS,
    TARGETS,
)
from autollm.lab.model import StackedDecoder
from autollm.lab.recording import language_model_logs, now
from autollm.lab.shapes import CONTEXT
from autollm.lab.spec import Run, shape_of
from autollm.lab.stack import DIVERGED_ABOVE, Recipe, fit, gather, validate

__all__ = ["load", "sequence_starts", "train"]

VALIDATION_SEQUENCES = 256
"""Validation sequences of each domain."""


def train(
    runs: list[Run], data: Domains, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """Records of every run by run_id; all of one level. A stack that outlives
    `max_seconds` is recorded as failed.
    """
    started, level = now(), runs[0].level
    shape, tokens = shape_of(level), int(level.settings["tokens"])
    model = StackedDecoder(shape, [r.seed for r in runs])
    stream = torch.from_numpy(
        np.concatenate([data.train[name] for name in DOMAINS]).astype(np.int64)
    )
    starts = torch.stack(
        [
            sequence_starts(
                r.config["mixture"], data, tokens // CONTEXT, r.seed
            )
            for r in runs
        ]
    )
    per_step = BATCH_TOKENS // CONTEXT
    curve = fit(
        model,
        [Recipe(2.0 ** level.settings["rate_log2"])] * len(runs),
        lambda step: gather(
            stream, starts[:, step * per_step : (step + 1) * per_step]
        ),
        tokens // BATCH_TOKENS,
        max_seconds,
    )
    finals = [{}] * len(runs) if curve.timed_out else _finals(model, data)
    described = {
        "width": shape.width,
        "layers": shape.layers,
        "vocabulary": shape.vocabulary,
        "context": shape.context,
        "learning_rate": 2.0 ** level.settings["rate_log2"],
        "batch_tokens": BATCH_TOKENS,
    }
    return language_model_logs(
        DATA_MIXTURE,
        runs,
        curve,
        finals,
        models=[described] * len(runs),
        sha256=data.sha256,
        started=started,
        batch_tokens=BATCH_TOKENS,
        flops_a_token=6.0 * shape.params,
        limit=DIVERGED_ABOVE,
        judged_loss="train_loss",
    )


def sequence_starts(
    mixture: dict[str, float], data: Domains, n_sequences: int, seed: int
) -> torch.Tensor:
    """Starts of a run's sequences in the concatenated domains, int64 [n_sequences]; a
    domain is repeated when it has too few.
    """
    counts = largest_remainders(
        [mixture[name] * n_sequences for name in DOMAINS]
    )
    labels = torch.repeat_interleave(
        torch.arange(len(DOMAINS)), torch.tensor(counts)
    )
    labels = labels[
        torch.randperm(
            n_sequences,
            generator=torch.Generator().manual_seed(2_000_003 + seed),
        )
    ]
    starts, offset = torch.empty(n_sequences, dtype=torch.int64), 0
    for d, name in enumerate(DOMAINS):
        n_unique = (len(data.train[name]) - 1) // CONTEXT
        epochs = [
            torch.randperm(
                n_unique,
                generator=torch.Generator().manual_seed(
                    3_000_017 + 1_009 * seed + 101 * d + 7_919 * e
                ),
            )
            for e in range(-(-counts[d] // n_unique))
        ]
        if epochs:
            starts[labels == d] = (
                offset + CONTEXT * torch.cat(epochs)[: counts[d]]
            )
        offset += len(data.train[name])
    return starts


def _finals(model: StackedDecoder, data: Domains) -> list[dict[str, float]]:
    """Losses on every domain and target mix, one dict a run."""
    losses = {
        name: validate(model, data.validation[name], VALIDATION_SEQUENCES)
        for name in DOMAINS
    }
    every = dict(losses)
    for name, parts in TARGETS.items():
        every[name] = sum(
            weight * losses[part] for part, weight in parts.items()
        )
    finals = []
    for i in range(model.runs):
        finals.append(
            {f"{name}_loss": float(v[i]) for name, v in every.items()}
        )
    return finals
