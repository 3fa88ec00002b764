"""`optimizer`: what `pretraining` varies and the rest of the recipe (weight decay,
warm-up, beta2), over wider windows and four sizes.

A source of its own: its space has other knobs than `pretraining`, so its runs compare
among themselves. In the gym it belongs to that family.
"""

from __future__ import annotations

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.designs import even_cells
from autollm.lab.spec import (
    FAR,
    FRESH,
    Config,
    Family,
    Level,
    added_level,
    flops,
    params_and_tokens,
)

RATES = tuple(2.0**r for r in range(-12, -3))
BATCHES = tuple(2**b for b in range(6, 12))
WEIGHT_DECAYS = tuple(2.0**w for w in (-6, -4, -2, 0))
WARMUPS = (0.0, 0.02, 0.05, 0.1, 0.2)
BETAS = (0.9, 0.95, 0.98, 0.99, 0.999)
N_CELLS, N_CHEAP = 32, 40
"""Cells of the test level and of the cheap levels; the cheap levels begin with the test
level's cells.
"""


def design(level: Level) -> list[Config]:
    """Space-filling, the same first cells at every level."""
    axes = {
        "learning_rate": RATES,
        "batch_tokens": BATCHES,
        "weight_decay": WEIGHT_DECAYS,
        "warmup_share": WARMUPS,
        "beta2": BETAS,
    }
    return even_cells(axes, N_CELLS if level.part == "first" else N_CHEAP)


def _level(
    name: str,
    split: str,
    width: int,
    layers: int,
    tokens: int,
    part: str = "full",
) -> Level:
    replicas = (
        {"best_third_seeds": (1, 2)}
        if split == "test"
        else {"extra_seeds": (1,)}
    )
    return Level(
        name,
        split,
        {"width": width, "layers": layers, "tokens": tokens},
        part=part,
        **replicas,
    )


OPTIMIZER = Family(
    name="optimizer",
    version=1,
    space=Space(
        (
            Knob("learning_rate", "log", RATES, "1", 1.0, "rate"),
            Knob("batch_tokens", "log", BATCHES, "tokens", 1.0, "size"),
            Knob("weight_decay", "log", WEIGHT_DECAYS, "1", 2.0),
            Knob("warmup_share", "ordinal", WARMUPS),
            Knob("beta2", "ordinal", BETAS),
        ),
        "lab-optimizer",
    ),
    levels=(
        _level("a1", "train", 16, 1, 2**18),
        _level("b1", "train", 32, 1, 2**18),
        _level("c1", "train", 48, 1, 2**18),
        _level("c2", "validation", 48, 1, 7 * 2**16),
        _level("d1", "test", 64, 2, 5 * 2**18, "first"),
    ),
    objective=Metric("val_loss", "nats per token", "min"),
    secondary=(Metric("train_loss", "nats per token"),),
    signal=Metric("train_loss", "nats per token", "min"),
    decides="pretraining",
    design=design,
    fidelity=params_and_tokens,
    flops=flops,
    stack_key=lambda run: -run.config["batch_tokens"],
    added=(
        added_level(
            "far1",
            FAR,
            {"width": 64, "layers": 1, "tokens": 21 * 2**16},
            "first",
        ),
        added_level(
            "fresh1",
            FRESH,
            {"width": 96, "layers": 2, "tokens": 11 * 2**16},
            "first",
        ),
    ),
)
