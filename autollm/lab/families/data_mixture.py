"""`data_mixture`: shares of six text domains in the training of small decoders, over
sizes and numbers of tokens.

Three useful domains have few unique tokens (domains.CAPPED), so that they repeat as
runs grow longer and the best shares move. Five target mixes are scored by the same
runs. `writer_loss` is the objective, the others are targets as well; for `broad` equal
shares are nearly the best, so that whoever proposes the middle wins.
"""

from __future__ import annotations

import math

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.designs import even_points, largest_remainders
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

DOMAINS = ("arithmetic", "code", "dialogue", "prose", "structured", "tests")
TARGETS: dict[str, dict[str, float]] = {
    "broad": {
        "arithmetic": 0.2,
        "code": 0.2,
        "dialogue": 0.2,
        "prose": 0.2,
        "structured": 0.2,
    },
    "coder": {"code": 0.7, "prose": 0.15, "structured": 0.15},
    "writer": {"prose": 0.6, "dialogue": 0.4},
    "analyst": {"structured": 0.6, "arithmetic": 0.4},
    "tutor": {"arithmetic": 0.4, "dialogue": 0.4, "prose": 0.2},
}
"""Weights of validation losses. `tests` has no weight: it only helps through what it
teaches about the other domains.
"""
OBJECTIVE = "writer"
BATCH_TOKENS = 512
GRID = 50
"""Shares are multiples of 1 / GRID."""
N_CELLS, N_SHARED = 40, 32
"""Cells of the cheap levels; the first so many are trained at every level."""


def design(level: Level) -> list[Config]:
    """`full`: all cells, `shared`: those that every level has."""
    return [
        {"mixture": mixture}
        for mixture in mixtures(N_CELLS if level.part == "full" else N_SHARED)
    ]


def mixtures(n: int) -> list[dict[str, float]]:
    """Space-filling shares, equal ones first: an additive recurrence in six dimensions,
    its odd points drawn towards the corners.
    """
    out, points = (
        [_rounded([1.0] * len(DOMAINS))],
        enumerate(even_points(len(DOMAINS)), start=1),
    )
    while len(out) < n:
        i, uniform = next(points)
        mixture = _rounded([(-math.log(u)) ** (1.0 + i % 2) for u in uniform])
        if mixture not in out:
            out.append(mixture)
    return out


def _rounded(amounts: list[float]) -> dict[str, float]:
    """Shares in steps of 1 / GRID."""
    counts = largest_remainders([GRID * a / sum(amounts) for a in amounts])
    return {
        name: count / GRID for name, count in zip(DOMAINS, counts, strict=True)
    }


def _settings(
    width: int, layers: int, tokens: int, rate_log2: float
) -> dict[str, float]:
    return {
        "width": width,
        "layers": layers,
        "tokens": tokens,
        "rate_log2": rate_log2,
    }


def _level(
    name: str,
    split: str,
    width: int,
    layers: int,
    tokens: int,
    rate_log2: float,
    seeds: tuple[int, ...] = (0,),
) -> Level:
    """`seeds` are of every cell: each target has a best third of its own. One seed
    leaves some cells a second one.
    """
    settings = _settings(width, layers, tokens, rate_log2)
    return Level(
        name,
        split,
        settings,
        part="shared" if split == "test" else "full",
        seeds=seeds,
        extra_seeds=() if len(seeds) > 1 else (1,),
    )


def _metrics() -> tuple[Metric, ...]:
    targets = [
        Metric(f"{name}_loss", "nats per token", "min")
        for name in TARGETS
        if name != OBJECTIVE
    ]
    domains = [
        Metric(f"{name}_loss", "nats per token", "min") for name in DOMAINS
    ]
    return (*targets, *domains, Metric("train_loss", "nats per token"))


DATA_MIXTURE = Family(
    name="data_mixture",
    version=1,
    space=Space(
        (Knob("mixture", "simplex", DOMAINS, role="weight"),),
        "lab-data_mixture",
    ),
    levels=(
        _level("a1", "train", 16, 1, 2**16, -6.0, seeds=(0, 1)),
        _level("a2", "train", 16, 1, 2**18, -6.0),
        _level("b1", "train", 32, 1, 2**17, -6.5),
        _level("c1", "validation", 32, 2, 2**17, -6.5),
        _level("d1", "test", 48, 2, 33 * 2**14, -7.0, seeds=(0, 1, 2)),
    ),
    objective=Metric(f"{OBJECTIVE}_loss", "nats per token", "min"),
    secondary=_metrics(),
    design=design,
    fidelity=params_and_tokens,
    flops=flops,
    stack_key=lambda run: 0,
    more_targets=tuple(f"{name}_loss" for name in TARGETS if name != OBJECTIVE),
    added=(
        added_level(
            "far1",
            FAR,
            _settings(32, 3, 35 * 2**14, -6.5),
            "shared",
            (0, 1, 2, 3),
        ),
        added_level(
            "fresh1",
            FRESH,
            _settings(48, 1, 52 * 2**14, -7.0),
            "shared",
            (0, 1, 2, 3, 4, 5),
        ),
    ),
)
