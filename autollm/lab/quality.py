"""Whether a level is good enough to test on: noise, cells, diverged runs, and whether
the optimum lies in the window.

Nothing else may be told about a sealed level. Invariant: nothing here tells an outcome,
a configuration or a difference between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autollm.core.records import Record, RunHeader
from autollm.lab.spec import Config, Family, Level
from autollm.lab.summary import LevelSummary, summarize

MOST_NOISE = 0.1
"""Most noise of a good cell's mean, as a part of median - best."""
CORNER = 0.9
"""A part of a mixture with so large a share leaves nothing to the others."""


@dataclass(frozen=True)
class Quality:
    """Quality of one level for one target. `noise_share`: None where too few good cells
    have two finite seeds.

    `edges`: knobs of more than three values whose best value is the window's first or last.
    """

    family: str
    level: str
    split: str
    target: str
    n_cells: int
    n_seeds: int
    n_runs: int
    diverged_share: float
    failed_share: float
    noise_share: float | None
    edges: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether noise is small enough to judge by."""
        return self.noise_share is not None and self.noise_share <= MOST_NOISE


def qualities(
    family: Family, sweep: str, runs: Iterable[list[Record]]
) -> list[Quality]:
    """One `Quality` for each level of a sweep that has a run, and each metric that is a
    target there.
    """
    levels = {level.name: level for level in family.sweep_levels(sweep)}
    kept = []
    for records in runs:
        if level_name_of(family, records) in levels:
            kept.append(records)
    out = []
    for target in targets(family):
        for found in summarize(family, kept, target):
            level = levels[found.level]
            out.append(_quality(family, level, found, target))
    return sorted(out, key=lambda q: q.level)


def level_name_of(family: Family, records: list[Record]) -> str:
    """Name of the level that a log is a run of; empty where it is none of the family's."""
    header = records[0]
    if not isinstance(header, RunHeader):
        return ""
    level = family.level_of(header.run_id, header.config, header.seed)
    return level.name if level else ""


def targets(family: Family) -> list[str]:
    """The family's objective, then what else of its runs the suites ask for."""
    return [family.objective.name, *family.more_targets]


def _quality(
    family: Family, level: Level, summary: LevelSummary, target: str
) -> Quality:
    corners = _corners(summary.best)
    return Quality(
        family.name,
        summary.level,
        summary.split,
        target,
        summary.n_cells,
        len(level.seeds),
        summary.n_runs,
        summary.n_diverged / summary.n_runs,
        summary.n_failed / summary.n_runs,
        summary.noise_share,
        (*summary.edges, *corners),
    )


def _corners(config: Config) -> tuple[str, ...]:
    """Mixtures that are nearly one part alone."""
    corners = []
    for name, value in config.items():
        if isinstance(value, dict) and max(value.values()) >= CORNER:
            corners.append(name)
    return tuple(corners)


def shown(qualities: Iterable[Quality]) -> str:
    """As a table of text."""
    lines = [
        f"{'level':24} {'target':14} {'cells':>5} {'seeds':>5} {'runs':>5} {'diverged':>8} "
        f"{'failed':>6} {'noise':>6}  optimum"
    ]
    for q in qualities:
        noise = "-" if q.noise_share is None else f"{100 * q.noise_share:.1f} %"
        where = (
            f"on an edge: {', '.join(q.edges)}"
            if q.edges
            else "inside the window"
        )
        lines.append(
            f"{q.family + ' ' + q.level:24} {q.target:14} {q.n_cells:5} {q.n_seeds:5} {q.n_runs:5} "
            f"{100 * q.diverged_share:6.0f} % {100 * q.failed_share:4.0f} % {noise:>6}  {where}"
        )
    return "\n".join(lines)
