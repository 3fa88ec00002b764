"""`architecture`: shapes of small decoders under a budget of stored parameters and a
budget of training FLOPs.

A level fixes both budgets. Every shape that fits the first is trained on as many tokens
as the second pays for: what a larger shape gains in capacity it loses in tokens, so
that the best shape moves with either budget. The learning rate follows a rule of width,
times a multiplier that is a knob, since the rule would else decide which shape wins.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.shapes import Shape
from autollm.lab.spec import FAR, FRESH, Config, Family, Level, Run, added_level

DEPTHS, WIDTHS, HEADS, RATIOS = (
    (1, 2, 3, 4, 6),
    (8, 16, 24, 32, 48, 64, 96),
    (1, 2, 4),
    (1, 2, 4),
)
MULTIPLIERS = (0.5, 1.0, 2.0)
RATE, RATE_WIDTH = 2.0**-6, 32
"""Peak learning rate at a width; it falls as the width grows."""
N_SHAPES, N_SHARED, N_TEST = 20, 10, 16
"""Shapes of a level, two multipliers each; how many of them are taken over from the
next smaller budget of parameters; how many of a test level, the first of those that
cheaper levels of its budget have.
"""
PARAM_BUDGETS = (20_000, 40_000, 80_000, 160_000)


def shape_of(config: Config) -> Shape:
    return Shape(
        config["width"],
        config["depth"],
        heads=config["heads"],
        mlp_ratio=config["mlp_ratio"],
        tied=config["tied"],
    )


def peak_rate(config: Config) -> float:
    return config["rate_multiplier"] * RATE * RATE_WIDTH / config["width"]


def n_steps(run: Run) -> int:
    """Steps that the FLOP budget pays for."""
    settings = run.level.settings
    return max(
        1,
        round(
            settings["flop_budget"]
            / (
                shape_of(run.config).train_flops_a_token
                * settings["batch_tokens"]
            )
        ),
    )


def design(level: Level) -> list[Config]:
    """Shapes that fit the budget, each with two neighbours of the three multipliers."""
    chosen = shapes(level.settings["param_budget"])
    return [
        {**shape, "rate_multiplier": MULTIPLIERS[k]}
        for shape in (chosen if level.part == "full" else chosen[:N_TEST])
        for k in ((0, 1), (1, 2))[_parity(shape)]
    ]


def _parity(shape: Config) -> int:
    """Parity of the ranks of a shape's knobs, so that a shape has the same multipliers
    at every level.
    """
    ranks = (
        DEPTHS.index(shape["depth"]),
        WIDTHS.index(shape["width"]),
        HEADS.index(shape["heads"]),
        RATIOS.index(shape["mlp_ratio"]),
    )
    return (sum(ranks) + shape["tied"]) % 2


@cache
def _fitting(
    param_budget: float,
) -> tuple[tuple[int, int, int, int, bool], ...]:
    every = itertools.product(DEPTHS, WIDTHS, HEADS, RATIOS, (False, True))
    return tuple(
        s for s in every if shape_of(_named(s)).total_params <= param_budget
    )


@cache
def _chosen(param_budget: float) -> tuple[tuple[int, int, int, int, bool], ...]:
    """Some of the next smaller budget's shapes, then the shape farthest from all chosen
    ones, again and again.

    Only shapes that use a fifth of the budget are new: others belong to smaller ones.
    """
    smaller = [b for b in PARAM_BUDGETS if b < param_budget]
    chosen = list(_chosen(smaller[-1])[-N_SHARED:]) if smaller else []
    pool = [
        s
        for s in _fitting(param_budget)
        if shape_of(_named(s)).total_params >= param_budget / 5
    ]
    if not chosen:
        chosen = [
            min(
                pool,
                key=lambda s: (
                    abs(shape_of(_named(s)).total_params - param_budget / 2),
                    s,
                ),
            )
        ]
    while len(chosen) < N_SHAPES:
        left = [s for s in pool if s not in chosen]
        chosen.append(
            max(left, key=lambda s: (min(_distance(s, c) for c in chosen), s))
        )
    return tuple(chosen)


def shapes(param_budget: float) -> list[Config]:
    return [_named(s) for s in _chosen(param_budget)]


def _distance(
    a: tuple[int, int, int, int, bool], b: tuple[int, int, int, int, bool]
) -> float:
    """In octaves; tying counts one."""
    return round(
        sum(math.log2(x / y) ** 2 for x, y in zip(a[:4], b[:4], strict=True))
        + (a[4] != b[4]),
        9,
    )


def _named(s: tuple[int, int, int, int, bool]) -> Config:
    return dict(
        zip(("depth", "width", "heads", "mlp_ratio", "tied"), s, strict=True)
    )


def fidelity(level: Level) -> dict[str, float]:
    return {
        "param_budget": float(level.settings["param_budget"]),
        "flop_budget": float(level.settings["flop_budget"]),
    }


def _level(
    name: str,
    split: str,
    param_budget: int,
    flop_budget: float,
    best_third_seeds: tuple[int, ...] = (),
) -> Level:
    """The best third of a cheap level has more seeds where noise was above a tenth of
    median - min without them.
    """
    settings = {
        "param_budget": param_budget,
        "flop_budget": flop_budget,
        "batch_tokens": 1024 if split == "test" else 256,
    }
    if split == "test":
        return Level(
            name, split, settings, part="first", best_third_seeds=(1, 2)
        )
    return Level(
        name,
        split,
        settings,
        extra_seeds=(1,),
        best_third_seeds=best_third_seeds,
    )


def _added(
    name: str, sweep: str, param_budget: int, flop_budget: float
) -> Level:
    settings = {
        "param_budget": param_budget,
        "flop_budget": flop_budget,
        "batch_tokens": 1024,
    }
    return added_level(name, sweep, settings, "first")


ARCHITECTURE = Family(
    name="architecture",
    version=2,
    space=Space(
        (
            Knob("depth", "ordinal", DEPTHS, role="size"),
            Knob("width", "ordinal", WIDTHS, role="size"),
            Knob("heads", "ordinal", HEADS),
            Knob("mlp_ratio", "ordinal", RATIOS, role="size"),
            Knob("tied", "categorical", (False, True)),
            Knob("rate_multiplier", "log", MULTIPLIERS, "1", 1.0, "rate"),
        ),
        "lab-architecture",
    ),
    levels=(
        _level("a1", "train", 20_000, 7e9),
        _level("a2", "train", 20_000, 2.8e10),
        _level("b1", "train", 40_000, 1.4e10),
        _level("b2", "train", 40_000, 5.6e10),
        _level("c1", "train", 80_000, 2.8e10),
        _level("c2", "validation", 80_000, 7e10, best_third_seeds=(2,)),
        _level("b3", "test", 40_000, 3.5e11),
        _level("c3", "test", 80_000, 3.5e11),
        _level("d3", "test", 160_000, 3.5e11),
    ),
    objective=Metric("val_loss", "nats per token", "min"),
    secondary=(
        Metric("total_params", "parameters"),
        Metric("train_flops_a_token", "FLOPs per token, forward and backward"),
        Metric("tokens", "tokens"),
        Metric("latency_ms", "ms, forward pass of one sequence of 64 tokens"),
        Metric(
            "train_memory_bytes",
            "bytes of weights, optimizer and activations of a batch",
        ),
        Metric("train_loss", "nats per token"),
    ),
    # The level's budget: what a run spends differs from it by less than a step.
    cost_flops="fidelity.flop_budget",
    design=design,
    fidelity=fidelity,
    flops=lambda level: level.settings["flop_budget"],
    stack_key=lambda run: tuple(
        run.config[k] for k in ("depth", "width", "heads", "mlp_ratio", "tied")
    ),
    allows=lambda level, config: (
        shape_of(config).total_params <= level.settings["param_budget"]
    ),
    added=(
        _added("far1", FAR, 60_000, 2.3e11),
        _added("fresh1", FRESH, 120_000, 3e11),
    ),
)
