"""Sweeps with a known truth: optima, losses and noise by formula, written as the CSV
that a person would have.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LEVELS = (
    (1e8, 2e9),
    (2e8, 4e9),
    (4e8, 6e9),
    (4e8, 1.6e10),
    (8e8, 1.6e10),
    (8e8, 4e10),
)
RATES = 2.0 ** np.arange(-13, -6.9, 0.5)
BATCHES = (64, 128, 256, 512, 1024)
FLOOR = 1.6


def mapping_text(source: str, file: str, key: str, knob: str) -> str:
    """A mapping of a table of params, tokens and val_loss; `key`: of its runs, `knob`:
    the section of its one knob.
    """
    return f"""schema = "autollm.mapping/1"
source = "{source}"
family = "pretraining"
format = "csv"
files = ["{file}"]
[run_key]
{key}
{knob}
[[fidelity]]
name = "params"
column = "params"
[[fidelity]]
name = "tokens"
column = "tokens"
[objective]
name = "val_loss"
column = "val_loss"
direction = "min"
[cost]
flops = "6 * params * tokens"
"""


def best_rate(params: float, tokens: float) -> float:
    """log2 of the best learning rate: falls with params^-.5, rises with tokens^.25."""
    return -9.5 - 0.5 * np.log2(params / 4e8) + 0.25 * np.log2(tokens / 1e10)


def best_batch(tokens: float) -> float:
    """log2 of the best batch: rises with tokens^.5."""
    return 8.0 + 0.5 * np.log2(tokens / 1e10)


def best_loss(params: float, tokens: float) -> float:
    """Chinchilla's form."""
    return FLOOR + 0.5 * (params / 4e8) ** -0.3 + 0.4 * (tokens / 1e10) ** -0.3


def loss_at(rate: float, batch: float, params: float, tokens: float) -> float:
    """Noise-free loss of a configuration."""
    off_rate = np.log2(rate) - best_rate(params, tokens)
    off_batch = np.log2(batch) - best_batch(tokens)
    scale = 0.1 * (best_loss(params, tokens) - FLOOR)
    return best_loss(params, tokens) + scale * (
        0.2 * off_rate**2 + 0.1 * off_batch**2
    )


def rows_of(
    levels: Sequence[tuple[float, float]] = LEVELS,
    noise: float = 0.001,
    seeds: int = 1,
    rates: Sequence[float] = RATES,
    batches: Sequence[int] = BATCHES,
) -> list[dict]:
    """One row a run; a rate over two octaves above the optimum diverges (loss nan)."""
    rng = np.random.default_rng(0)
    rows = []
    for params, tokens in levels:
        for rate in rates:
            for batch in batches:
                for seed in range(seeds):
                    loss = (
                        loss_at(rate, batch, params, tokens)
                        + noise * rng.normal()
                    )
                    if np.log2(rate) > best_rate(params, tokens) + 2:
                        loss = float("nan")
                    rows.append(
                        {
                            "run_id": f"r{len(rows)}",
                            "lr": f"{rate:.6g}",
                            "batch_size": batch,
                            "params": int(params),
                            "tokens": int(tokens),
                            "seed": seed,
                            "optimizer": "adamw",
                            "val_loss": loss,
                        }
                    )
    return rows


def write_csv(path: Path, rows: list[dict]) -> Path:
    """The rows as CSV, columns of the first row."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
