"""A few cells of a few levels, before a sweep is worth its hours: does the optimum lie
inside, does it move, does noise hide it?

`autollm lab pilot FAMILY --levels a1,c1` may be killed and called again.
"""

from __future__ import annotations

from pathlib import Path

from autollm.lab.families import load_family
from autollm.lab.launchers import LocalLauncher
from autollm.lab.runner import recorded_losses, train_runs
from autollm.lab.spec import Family, Level, Run, best_configs

REPLICATED = 4
"""Cells that get a second seed."""


def pilot_runs(
    family: Family, level: Level, n_cells: int, losses: dict[str, float]
) -> list[Run]:
    """Cells evenly out of the level's design with its first seed; when these are there,
    a second seed for the best few.
    """
    cells = family.design(level)
    step = max(1, len(cells) // n_cells)
    first = family.runs_of(level, cells[::step][:n_cells], level.seeds[:1])
    best = best_configs(first, losses)[:REPLICATED]
    return first + family.runs_of(level, best, [_second_seed(level)])


def _second_seed(level: Level) -> int:
    """A seed of the level that is not its first, the declared ones before others."""
    declared = *level.seeds[1:], *level.extra_seeds, *level.best_third_seeds, 1
    others = filter(level.seeds[0].__ne__, declared)
    return next(others)


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
    family = load_family(family_name)
    missing: list[Run] = []
    for _ in range(2):
        losses = recorded_losses(family, out_dir)
        wanted = []
        for name in levels:
            wanted += pilot_runs(family, family.level(name), n_cells, losses)
        missing = [run for run in wanted if run.run_id not in losses]
        if missing:
            train_runs(family, missing, out_dir, budget_s, LocalLauncher(1))
    recorded = recorded_losses(family, out_dir)
    return sum(run.run_id not in recorded for run in missing)
