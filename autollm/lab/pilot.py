"""A few cells of a few levels, before a sweep is worth its hours: does the optimum lie
inside, does it move, does noise hide it?

`autollm lab pilot FAMILY --levels a1,c1` may be killed and called again.
"""

from __future__ import annotations

from pathlib import Path

from autollm.lab.families import load_family
from autollm.lab.launchers import LocalLauncher
from autollm.lab.runner import recorded_losses, train_runs
from autollm.lab.spec import Family, Level, Run

REPLICATED = 4
"""Cells that get a second seed."""


def pilot_runs(
    family: Family, level: Level, n_cells: int, losses: dict[str, float]
) -> list[Run]:
    """Cells evenly out of the level's design with its first seed; when these are there,
    a second seed for the best few.
    """
    cells, seed = family.design(level), level.seeds[0]
    step = max(1, len(cells) // n_cells)
    first = [Run(family.name, level, c, seed) for c in cells[::step][:n_cells]]
    if not all(r.run_id in losses for r in first):
        return first
    other = next(
        s
        for s in (
            *level.seeds[1:],
            *level.extra_seeds,
            *level.best_third_seeds,
            1,
        )
        if s != seed
    )
    best = sorted(first, key=lambda r: (losses[r.run_id], r.run_id))[
        :REPLICATED
    ]
    return first + [Run(family.name, level, r.config, other) for r in best]


def run_pilot(
    family_name: str,
    levels: list[str],
    n_cells: int,
    out_dir: Path,
    budget_s: float | None = None,
) -> int:
    """Train what is missing of a pilot in one process; returns how many runs are still
    missing.
    """
    family, missing = load_family(family_name), []
    for _ in range(2):
        losses = recorded_losses(family, out_dir)
        wanted = [
            run
            for name in levels
            for run in pilot_runs(family, family.level(name), n_cells, losses)
        ]
        missing = [run for run in wanted if run.run_id not in losses]
        if missing:
            train_runs(family, missing, out_dir, budget_s, LocalLauncher(1))
    return len(
        [r for r in missing if r.run_id not in recorded_losses(family, out_dir)]
    )
