"""`pretraining`: learning rate and batch size of small decoders, over widths, depths
and numbers of tokens.
"""

from __future__ import annotations

import numpy as np

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
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

RATES = tuple(2.0**r for r in np.arange(-9.0, -4.4, 0.5).tolist())
BATCHES = tuple(2**b for b in range(6, 12))
MIDDLE = ((4, 3), (5, 2))
"""Two cells of the checkerboard's other colour, rate and batch: with them a target has
32.
"""
MIDDLE_OF_OTHER = ((4, 2), (5, 3))
"""Two cells of the first colour, for the levels that have the other one."""


def design(level: Level) -> list[Config]:
    """`full`: every cell of the grid, rates slowest; `checkerboard`: every other one of
    the full range, at a test level two more; `other`: the checkerboard's other colour,
    and two more.
    """
    kept = []
    for i, rate in enumerate(RATES):
        for j, batch in enumerate(BATCHES):
            if _is_tried(level, i, j):
                kept.append({"learning_rate": rate, "batch_tokens": batch})
    return kept


def _is_tried(level: Level, i: int, j: int) -> bool:
    """Whether a level has the cell of the i-th rate and the j-th batch."""
    colour = (i + j) % 2
    if level.part == "full":
        return True
    if level.part == "other":
        return colour == 1 or (i, j) in MIDDLE_OF_OTHER
    return colour == 0 or (level.split == "test" and (i, j) in MIDDLE)


def _level(
    name: str,
    split: str,
    width: int,
    layers: int,
    tokens: int,
    part: str = "full",
    **seeds: tuple[int, ...],
) -> Level:
    """One cell in five has a second seed. The best third has more where noise was above
    a tenth of median - min without, the test levels three; at d1 every cell has them,
    since there a seed (its order of the data) moves all cells by half of median - min.
    """
    settings = {"width": width, "layers": layers, "tokens": tokens}
    return Level(
        name,
        split,
        settings,
        part=part,
        **({"seeds": (0, 1)} if split == "test" else {"extra_seeds": (1,)})
        | seeds,
    )


PRETRAINING = Family(
    name="pretraining",
    version=4,
    space=Space(
        (
            Knob("learning_rate", "log", RATES, "1", 0.5, "rate"),
            Knob("batch_tokens", "log", BATCHES, "tokens", 1.0, "size"),
        ),
        "lab-pretraining",
    ),
    levels=(
        _level("a1", "train", 16, 1, 2**18),
        _level("a2", "train", 16, 1, 2**20, best_third_seeds=(2, 3)),
        _level("b1", "train", 32, 1, 2**18),
        _level("b2", "validation", 32, 1, 3 * 2**18),
        _level("c1", "train", 48, 1, 2**18),
        _level("c2", "validation", 48, 1, 7 * 2**16, best_third_seeds=(2, 3)),
        _level("f1", "train", 32, 2, 2**19, best_third_seeds=(2, 3)),
        _level("g1", "train", 32, 3, 3 * 2**17, best_third_seeds=(2, 3)),
        _level("h1", "train", 48, 3, 3 * 2**16),
        _level("i1", "validation", 64, 2, 3 * 2**16),
        _level("j1", "validation", 96, 2, 3 * 2**18, "checkerboard"),
        _level(
            "k1",
            "validation",
            64,
            3,
            9 * 2**17,
            "checkerboard",
            best_third_seeds=(2,),
        ),
        _level("d1", "test", 64, 2, 3 * 2**19, "checkerboard", seeds=(0, 1, 2)),
        _level(
            "e1",
            "test",
            80,
            3,
            899 * 2**11,
            "checkerboard",
            best_third_seeds=(2,),
        ),
    ),
    objective=Metric("val_loss", "nats per token", "min"),
    secondary=(Metric("train_loss", "nats per token"),),
    signal=Metric("train_loss", "nats per token", "min"),
    design=design,
    fidelity=params_and_tokens,
    flops=flops,
    stack_key=lambda run: -run.config["batch_tokens"],
    added=(
        added_level(
            "far1",
            FAR,
            {"width": 80, "layers": 1, "tokens": 29 * 2**15},
            "other",
            (0, 1, 2, 3),
        ),
        added_level(
            "fresh1",
            FRESH,
            {"width": 80, "layers": 2, "tokens": 33 * 2**15},
            "other",
            (0, 1, 2, 3),
        ),
    ),
)
