"""What a sweep showed, level by level: the best cell, the spread that makes it worth
finding, the noise that hides it; computed from raw logs alone. Invariant: a number here
is a function of configuration, level, seed and objective of the runs, never of their
order.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autollm.core.errors import UnknownNameError
from autollm.core.records import Record, RunEnd, RunHeader, canonical_json
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.lab.spec import Config, Family, Level

Cells = dict[str, dict[int, float]]
"""{configuration as JSON: {seed: loss}}, lower is better."""


@dataclass(frozen=True)
class LevelSummary:
    """One experiment of the lab.

    `spread`: median - min of the cells' means, in the objective's unit. `noise`:
    standard deviation of a good cell's mean over its seeds, same unit, None where too
    few cells have two. `best_value`: the best mean. `edges`: knobs whose best value
    lies on the window's edge. `seconds`: of a run, median.
    """

    level: str
    split: str
    fidelity: dict[str, float]
    flops: float
    n_cells: int
    n_runs: int
    n_diverged: int
    n_failed: int
    best: Config
    best_value: float
    edges: tuple[str, ...]
    spread: float
    noise: float | None
    seconds: float

    @property
    def noise_share(self) -> float | None:
        """Noise as a part of the spread; None where there is no spread."""
        if self.noise is None or not self.spread:
            return None
        return self.noise / self.spread

    @property
    def edge(self) -> bool:
        return bool(self.edges)

    @property
    def described(self) -> dict[str, Any]:
        """As plain values."""
        derived = {"noise_share": self.noise_share, "edge": self.edge}
        return {**asdict(self), **derived}


def summarize(
    family: Family, runs: Iterable[list[Record]], objective: str = ""
) -> list[LevelSummary]:
    """A summary of each level of which a recorded run has a finite loss, in the order
    of the ladder; of another metric than the family's when named.

    Raises:
        UnknownNameError: the family has no such metric.
    """
    by_level = runs_by_level(family, runs)
    summaries = []
    for level in family.every_level:
        here = by_level.get(level.name, [])
        cells = cells_of(family, here, objective)
        if any(
            np.isfinite(loss) for c in cells.values() for loss in c.values()
        ):
            summaries.append(_level(family, level, here, cells, objective))
    return summaries


def runs_by_level(
    family: Family, runs: Iterable[list[Record]]
) -> dict[str, list[tuple[RunHeader, RunEnd]]]:
    """Header and end of the runs of the family's levels, by the level's name."""
    out: dict[str, list[tuple[RunHeader, RunEnd]]] = {}
    for records in runs:
        header, end = records[0], records[-1]
        if not isinstance(header, RunHeader) or not isinstance(end, RunEnd):
            continue
        level = family.level_of(header.run_id, header.config, header.seed)
        if level is not None:
            out.setdefault(level.name, []).append((header, end))
    return out


def cells_of(
    family: Family, runs: list[tuple[RunHeader, RunEnd]], objective: str = ""
) -> Cells:
    """Losses of one level's runs by cell and seed; failed runs are left out, a diverged
    one without a loss counts as the worst.
    """
    out: Cells = {}
    worst = float("nan")
    for header, end in runs:
        if end.status == "failed":
            continue
        loss = _oriented(family, end.final, objective)
        out.setdefault(canonical_json(header.config), {})[header.seed] = loss
        if np.isfinite(loss):
            worst = loss if np.isnan(worst) else max(worst, loss)
    for cell in out.values():
        for seed, loss in cell.items():
            if not np.isfinite(loss):
                cell[seed] = worst
    return out


def _oriented(family: Family, final: dict[str, float], objective: str) -> float:
    name = objective or family.objective.name
    value = final.get(name, np.nan)
    return -value if _is_maximized(family, objective) else value


def _is_maximized(family: Family, objective: str) -> bool:
    """Whether more is better of the named metric, or of the family's objective.

    Raises:
        UnknownNameError: the family has no such metric.
    """
    if objective in ("", family.objective.name):
        return family.objective.direction == "max"
    known = {m.name: m for m in family.secondary}
    if objective not in known:
        raise UnknownNameError(
            f"metric of {family.name}",
            objective,
            [family.objective.name, *known],
        )
    return known[objective].direction == "max"


def _level(
    family: Family,
    level: Level,
    runs: list[tuple[RunHeader, RunEnd]],
    cells: Cells,
    objective: str,
) -> LevelSummary:
    means = _means(cells)
    best = min(means, key=means.__getitem__)
    best_config = json.loads(best)
    middle = float(np.median(list(means.values())))
    good = [losses for key, losses in cells.items() if means[key] <= middle]
    flops, seconds, statuses = [], [], []
    for header, end in runs:
        flops.append(end.cost["flops"])
        seconds.append(end.cost["device_hours"] * 3600)
        statuses.append(end.status)
        if canonical_json(header.config) == best:
            best_config = header.config  # with all of its digits
    return LevelSummary(
        level.name,
        level.split,
        runs[0][0].fidelity,
        float(np.median(flops)),
        len(cells),
        len(runs),
        statuses.count("diverged"),
        statuses.count("failed"),
        best_config,
        -means[best] if _is_maximized(family, objective) else means[best],
        edges(family, best_config),
        middle - means[best],
        cell_noise(good, level.n_seeds_near_best),
        float(np.median(seconds)),
    )


def _has_loss(cells: Cells) -> bool:
    """Whether some run has a finite one: then all cells have."""
    return bool(np.isfinite(list(_means(cells).values())).any())


def _means(cells: Cells) -> dict[str, float]:
    """Mean of each cell over its seeds."""
    return {key: float(np.mean(list(c.values()))) for key, c in cells.items()}


def edges(family: Family, config: Config) -> tuple[str, ...]:
    """Names of the number knobs of more than three values that stand on the first or
    last of them.
    """
    ends = []
    for knob in family.space.knobs:
        if knob.scale not in ONE_COORDINATE or len(knob.levels) <= 3:
            continue
        first_and_last = (knob.levels[0], knob.levels[-1])
        if np.isclose(config[knob.name], first_and_last, rtol=1e-6).any():
            ends.append(knob.name)
    return tuple(ends)


def cell_noise(cells: list[dict[int, float]], n_seeds: int) -> float | None:
    """Standard deviation of a mean over `n_seeds` seeds once seeds' common shifts are
    taken out; None with too few replicas.

    Cells are {seed: loss}; those with the most common set of two or more seeds are used
    (two-way analysis of variance).
    """
    replicated = [frozenset(c) for c in cells if len(c) > 1]
    if not replicated:
        return None
    seeds = sorted(
        max(sorted(set(replicated), key=sorted), key=replicated.count)
    )
    whole = [c for c in cells if set(seeds) <= set(c)]
    losses = np.array([list(map(c.__getitem__, seeds)) for c in whole])
    if len(losses) < 2 or not np.isfinite(losses).all():
        return None
    left = (
        losses
        - losses.mean(axis=1, keepdims=True)
        - losses.mean(axis=0)
        + losses.mean()
    )
    freedom = (losses.shape[0] - 1) * (losses.shape[1] - 1)
    return float(np.sqrt((left**2).sum() / freedom / n_seeds))


def level_means(
    family: Family, runs: Iterable[list[Record]], objective: str = ""
) -> dict[str, dict[str, float]]:
    """{level: {configuration as JSON: mean loss}}, lower is better, levels in the
    ladder's order; those without a finite loss are left out.
    """
    by_level = runs_by_level(family, runs)
    means = {}
    for level in family.every_level:
        own = cells_of(family, by_level.get(level.name, []), objective)
        if _has_loss(own):
            means[level.name] = _means(own)
    return means


def rank_correlations(
    family: Family, runs: Iterable[list[Record]], objective: str = ""
) -> dict[tuple[str, str], tuple[float, int]]:
    """Spearman's correlation between levels over the cells that both have, and their
    number; levels in the ladder's order.
    """
    means, out = level_means(family, runs, objective), {}
    for a, b in itertools.combinations(means, 2):
        shared = sorted(set(means[a]) & set(means[b]))
        if len(shared) >= 4:
            in_a = [means[a][k] for k in shared]
            in_b = [means[b][k] for k in shared]
            out[a, b] = (_spearman(in_a, in_b), len(shared))
    return out


def _spearman(a: list[float], b: list[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


HEAD = (
    "level split       FLOPs    cells runs diverged failed  s/run     best  "
    "median-min  noise          fidelity; best cell"
)


def lines(
    family: Family,
    levels: Iterable[LevelSummary],
    correlations: Mapping[tuple[str, str], tuple[float, int]],
) -> list[str]:
    """Summaries and rank correlations as a table for a terminal."""
    out = [HEAD]
    for s in levels:
        noise = "-"
        if s.noise is not None and s.noise_share is not None:
            noise = f"{s.noise:.4f} ({100 * s.noise_share:.0f} %)"
        edge = f"  edge: {', '.join(s.edges)}" if s.edges else ""
        out.append(
            f"{s.level:5} {s.split:10} {s.flops:8.1e} {s.n_cells:6} {s.n_runs:4} "
            f"{s.n_diverged:8} {s.n_failed:6} {s.seconds:6.1f} "
            f"{s.best_value:8.3f} {s.spread:11.3f}  {noise:14} {shown(s.fidelity)}; "
            f"{shown(s.best, family)}{edge}"
        )
    pairs = []
    for (a, b), (correlation, n) in correlations.items():
        pairs.append(f"{a}-{b} {correlation:.2f} ({n})")
    if pairs:
        out.append(f"rank correlation over shared cells: {', '.join(pairs)}")
    return out


def shown(config: Config, family: Family | None = None) -> str:
    """A configuration on one line: numbers of log knobs as powers of two where they
    are, mixtures as percents.
    """
    logs = (
        {k.name for k in family.space.knobs if k.scale == "log"}
        if family
        else set()
    )
    return ", ".join(
        f"{name} {_value(value, name in logs)}"
        for name, value in config.items()
    )


def _value(value: Any, is_log: bool) -> str:
    if isinstance(value, dict):
        return " ".join(
            f"{part}={100 * weight:.0f}%"
            for part, weight in value.items()
            if weight >= 0.005
        )
    if is_log and float(2 * np.log2(value)).is_integer():
        return f"2^{np.log2(value):g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
