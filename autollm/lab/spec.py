"""What the lab's families are: declared space, fidelity ladder, which cells are trained, with which seeds.

Declared before the sweep; changing any of it is a new version of the family. Imports no torch.
Invariant: one window of knobs at every level, and a cell's seeds depend on nothing but its level's list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autollm.errors import UnknownNameError
from autollm.records import canonical_json, content_hash

CONTEXT = 64
"""Tokens in a sequence, so that the smallest batch is one sequence."""


EXTRA_EVERY = 5
"""Extra seeds go to one cell in so many."""


@dataclass(frozen=True)
class Cell:
    """A configuration by its exponents of 2."""

    rate_log2: float
    batch_log2: int

    @property
    def config(self) -> dict[str, float]:
        return {"learning_rate": 2.0**self.rate_log2, "batch_tokens": 2**self.batch_log2}


@dataclass(frozen=True)
class Level:
    """One experiment: a model shape, a token count, the part of the grid that is trained there.

    `part`: `full`, or `checkerboard` (every other cell of the full range). `seeds` are trained for every cell, `extra_seeds`
    for one cell in EXTRA_EVERY as well (their spread is the noise estimate).
    """

    name: str
    split: str
    width: int
    layers: int
    tokens: int
    part: str = "full"
    seeds: tuple[int, ...] = (0,)
    extra_seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run to be trained; `run_id` is stable under everything but its own definition."""

    family: str
    level: Level
    cell: Cell
    seed: int

    @cached_property
    def run_id(self) -> str:
        key: dict[str, Any] = {**self.cell.config, "width": self.level.width, "layers": self.level.layers,
                               "tokens": self.level.tokens, "seed": self.seed}
        return f"{self.family}-{self.level.name}-{content_hash(canonical_json(key), 12)}"


@dataclass(frozen=True)
class Family:
    """A lab family and its sweep."""

    name: str
    version: int
    rates_log2: tuple[float, ...]
    batches_log2: tuple[int, ...]
    levels: tuple[Level, ...]

    def level(self, name: str) -> Level:
        """A level by name.

        Raises:
            UnknownNameError: no such level.
        """
        by_name = {level.name: level for level in self.levels}
        if name not in by_name:
            raise UnknownNameError("level", name, by_name)
        return by_name[name]

    def cells(self, level: Level) -> list[Cell]:
        """Cells that are trained at a level, rates slowest."""
        grid = [(i, j) for i in range(len(self.rates_log2)) for j in range(len(self.batches_log2))]
        kept = [(i, j) for i, j in grid if level.part == "full" or (i + j) % 2 == 0]
        return [Cell(self.rates_log2[i], self.batches_log2[j]) for i, j in kept]

    def runs(self, level: Level) -> list[Run]:
        """Runs of a level, in a fixed order."""
        cells = self.cells(level)
        runs = [Run(self.name, level, c, s) for c in cells for s in level.seeds]
        return runs + [Run(self.name, level, c, s) for c in cells[EXTRA_EVERY - 1 :: EXTRA_EVERY] for s in level.extra_seeds]


PRETRAINING = Family(
    name="pretraining",
    version=2,
    rates_log2=tuple(np.arange(-9.0, -4.4, 0.5).tolist()),
    batches_log2=(6, 7, 8, 9, 10, 11),
    levels=(
        Level("a1", "train", width=16, layers=1, tokens=2**18, extra_seeds=(1,)),
        Level("a2", "train", width=16, layers=1, tokens=2**20, extra_seeds=(1,)),
        Level("b1", "train", width=32, layers=1, tokens=2**18, extra_seeds=(1,)),
        Level("b2", "validation", width=32, layers=1, tokens=3 * 2**18, extra_seeds=(1,)),
        Level("c1", "train", width=48, layers=1, tokens=2**18, extra_seeds=(1,)),
        Level("c2", "validation", width=48, layers=1, tokens=7 * 2**16, extra_seeds=(1,)),
        Level("f1", "train", width=32, layers=2, tokens=2**19, extra_seeds=(1,)),
        Level("g1", "train", width=32, layers=3, tokens=3 * 2**17, extra_seeds=(1,)),
        Level("h1", "train", width=48, layers=3, tokens=3 * 2**16, extra_seeds=(1,)),
        Level("i1", "validation", width=64, layers=2, tokens=3 * 2**16, extra_seeds=(1,)),
        Level("d1", "test", width=64, layers=2, tokens=3 * 2**19, part="checkerboard", seeds=(0, 1)),
        Level("e1", "test", width=80, layers=3, tokens=899 * 2**11, part="checkerboard", seeds=(0, 1)),
    ),
)

FAMILIES = {family.name: family for family in (PRETRAINING,)}


def load_family(name: str) -> Family:
    """A family by name.

    Raises:
        UnknownNameError: no such family.
    """
    if name not in FAMILIES:
        raise UnknownNameError("lab family", name, FAMILIES)
    return FAMILIES[name]
