"""What the recorded runs of a family say about each level: where the best cell lies, how wide the bowl is, how noisy a cell is.

Every cell of a level is trained with the same seeds, and a seed (its data order, its start) shifts all cells of a level alike. Only
what is left after cells' and seeds' own means decides which cell is the best, so that is the noise here.
What does not belong here: training, tables. Invariant: computed from raw logs alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autollm.lab.spec import Cell, Family, Level
from autollm.records import Record, RunEnd, RunHeader


@dataclass(frozen=True)
class LevelSummary:
    """One experiment of the lab.

    `spread`: median - min of the cells' means, nats per token. `noise`: standard deviation of a cell's mean over the level's seeds,
    same unit, None where no cell has two seeds. `edge`: the best cell lies on the window's edge.
    """

    level: str
    split: str
    params: float
    tokens: int
    flops: float
    n_cells: int
    n_runs: int
    n_diverged: int
    best: Cell
    edge: bool
    spread: float
    noise: float | None

    @property
    def noise_share(self) -> float | None:
        """Noise as a part of the spread."""
        return None if self.noise is None else self.noise / self.spread


def summarize(family: Family, runs: Iterable[list[Record]]) -> list[LevelSummary]:
    """A summary of each level that has a recorded run, in the order of the ladder."""
    by_level: dict[str, list[tuple[RunHeader, RunEnd]]] = {}
    for records in runs:
        header, end = records[0], records[-1]
        if isinstance(header, RunHeader) and isinstance(end, RunEnd) and end.status != "failed":
            by_level.setdefault(header.run_id.split("-")[1], []).append((header, end))
    return [_level(family, level, by_level[level.name]) for level in family.levels if level.name in by_level]


def _level(family: Family, level: Level, runs: list[tuple[RunHeader, RunEnd]]) -> LevelSummary:
    cells: dict[Cell, dict[int, float]] = {}
    for header, end in runs:
        cells.setdefault(_cell(header), {})[header.seed] = end.final["val_loss"]
    means = {cell: float(np.mean(list(losses.values()))) for cell, losses in cells.items()}
    best, spread = min(means, key=means.__getitem__), float(np.median(list(means.values())) - min(means.values()))
    edge = best.rate_log2 in (family.rates_log2[0], family.rates_log2[-1]) or best.batch_log2 in (family.batches_log2[0], family.batches_log2[-1])
    middle = np.median(list(means.values()))
    fidelity = runs[0][0].fidelity
    return LevelSummary(
        level.name, level.split, fidelity["params"], level.tokens, 6 * fidelity["params"] * level.tokens, len(cells), len(runs),
        sum(end.status == "diverged" for _, end in runs), best, edge, spread,
        cell_noise([losses for cell, losses in cells.items() if means[cell] <= middle], len(level.seeds)))


def cell_noise(cells: list[dict[int, float]], n_seeds: int) -> float | None:
    """Standard deviation of a mean over `n_seeds` seeds once seeds' common shifts are taken out; None with too few replicas.

    Cells are {seed: loss}; those with the most common set of two or more seeds are used (two-way analysis of variance).
    """
    replicated = [frozenset(c) for c in cells if len(c) > 1]
    if not replicated:
        return None
    seeds = sorted(max(set(replicated), key=replicated.count))
    losses = np.array([[c[s] for s in seeds] for c in cells if set(seeds) <= set(c)])
    if len(losses) < 2 or not np.isfinite(losses).all():
        return None
    left = losses - losses.mean(axis=1, keepdims=True) - losses.mean(axis=0) + losses.mean()
    freedom = (losses.shape[0] - 1) * (losses.shape[1] - 1)
    return float(np.sqrt((left**2).sum() / freedom / n_seeds))


def _cell(header: RunHeader) -> Cell:
    rate, batch = np.log2([header.config["learning_rate"], header.config["batch_tokens"]])
    return Cell(round(2 * rate) / 2, round(batch))
