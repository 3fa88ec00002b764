"""What a lab family is: declared space, fidelity ladder, objective, design of cells,
seeds.

Declared before the sweep; changing any of it is a new version of the family. Imports no
torch: how a family trains is said by the module of its name under `trainers/`.
Invariant: one window of knobs at every level, and a run's id depends on nothing but
configuration, level's settings and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from operator import itemgetter
from types import ModuleType
from typing import Any, Literal

from autollm.core.errors import FamilyError, UnknownNameError
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json, content_hash
from autollm.core.spaces.space import Space
from autollm.core.validation import declaration
from autollm.lab.shapes import Shape

EXTRA_EVERY = 5
"""Extra seeds go to one cell in so many."""
LADDER, FAR, FRESH = "ladder", "far", "fresh"
SWEEPS = (LADDER, FAR, FRESH)
"""What is trained and packed together: a family's ladder, its far validation levels,
its sealed test levels.
"""
Sweep = Literal["ladder", "far", "fresh"]
Config = dict[str, Any]


@declaration(FamilyError)
class Level:
    """One experiment of a ladder.

    `settings`: what the trainer needs (a shape, tokens, budgets, a task); part of a
    run's id. `part`: which part of the family's design is trained here. `seeds` are
    trained for every cell, `extra_seeds` for one cell in EXTRA_EVERY (their spread is
    the noise estimate), `best_third_seeds` for the third of the cells that was best
    with the first seed. `sweep`: one of SWEEPS. `clock`: what a run's device hours are
    read from, `wall` or `processor` (that of the training process: a machine that does
    other work beside it does not raise it).
    """

    name: str
    split: Literal["train", "validation", "test"]
    settings: Mapping[str, Any] = field(hash=False)
    part: str = "full"
    seeds: tuple[int, ...] = (0,)
    extra_seeds: tuple[int, ...] = ()
    best_third_seeds: tuple[int, ...] = ()
    sweep: Sweep = LADDER
    clock: Literal["wall", "processor"] = "wall"

    @property
    def n_seeds_near_best(self) -> int:
        """Seeds that a good cell's mean is taken over."""
        return len(self.seeds) + len(self.best_third_seeds)


@dataclass(frozen=True)
class Run:
    """One run to be trained; `run_id` is stable under everything but its own
    definition.
    """

    family: str
    level: Level
    config: Config = field(hash=False)
    seed: int

    @cached_property
    def run_id(self) -> str:
        key = {**self.config, **self.level.settings, "seed": self.seed}
        return f"{self.family}-{self.level.name}-{content_hash(canonical_json(key), 12)}"


@declaration(FamilyError)
class Family:
    """A lab family and its sweep.

    Attributes:
        space: the declared window. objective: what is optimized. secondary: kept beside
            it; with a direction they are targets too.
        design: the cells that are trained at a level, in a fixed order; a shared prefix
            makes levels comparable.
        fidelity: a level's coordinates, as they stand in the logs. flops: of a typical
            run, for order and progress.
        stack_key: runs of a level with equal keys train together, low keys first, at
            most `stack_size` at once.
        decides: the kind of decision that the gym counts it to, empty for its own name.
        signal: the metric whose curve a paused run shows. group: the column of a log by
            which runs compare only among themselves. cost_flops: a run's FLOPs, as an
            expression over the columns of its log.
        allows: whether a level can train a configuration of the space at all; those of
            the design it can.
        added: levels of the other sweeps, each sweep in an archive of its own.
        more_targets: secondary metrics that suites make tasks of, beside the objective.
    """

    name: str
    version: int
    space: Space
    levels: tuple[Level, ...]
    objective: Metric
    secondary: tuple[Metric, ...]
    design: Callable[[Level], list[Config]]
    fidelity: Callable[[Level], dict[str, float]]
    flops: Callable[[Level], float]
    stack_key: Callable[[Run], Any]
    stack_size: int = 16
    allows: Callable[[Level, Config], bool] = lambda level, config: True
    added: tuple[Level, ...] = ()
    more_targets: tuple[str, ...] = ()
    decides: str = ""
    signal: Metric | None = None
    group: str = ""
    cost_flops: str = "cost.flops"

    def __post_init__(self) -> None:
        names = [level.name for level in self.every_level]
        for name in names:
            if names.count(name) > 1:
                raise FamilyError(
                    f"lab family {self.name!r} has two levels {name!r}. Fix: rename one."
                )
        if not self.objective.direction:
            raise FamilyError(
                f"lab family {self.name!r}: the objective {self.objective.name!r} has no "
                "direction. Fix: min or max."
            )
        first, *others = (tuple(self.fidelity(level)) for level in self.levels)
        for coordinates in others:
            if coordinates != first:
                raise FamilyError(
                    f"lab family {self.name!r}: levels with the fidelities "
                    f"{', '.join(first)} and {', '.join(coordinates)}, expected one ladder."
                )

    @property
    def source(self) -> str:
        """Where its runs come from, as landed logs say it."""
        return f"lab-{self.name}"

    def group_of(self, level: Level) -> str:
        """The group in which a level's runs compare; empty where all do."""
        if not self.group:
            return ""
        return str(level.settings[self.group.rpartition(".")[2]])

    @property
    def every_level(self) -> tuple[Level, ...]:
        """Levels of all sweeps, the ladder first."""
        return (*self.levels, *self.added)

    def sweep_levels(self, sweep: str) -> tuple[Level, ...]:
        """Levels of one sweep.

        Raises:
            UnknownNameError: no such sweep.
        """
        if sweep not in SWEEPS:
            raise UnknownNameError("sweep", sweep, SWEEPS)
        found = []
        for level in self.every_level:
            if level.sweep == sweep:
                found.append(level)
        return tuple(found)

    def level(self, name: str) -> Level:
        """A level by name.

        Raises:
            UnknownNameError: no such level.
        """
        names = []
        for level in self.every_level:
            if level.name == name:
                return level
            names.append(level.name)
        raise UnknownNameError("level", name, names)

    def runs_of(
        self, level: Level, configs: Iterable[Config], seeds: Iterable[int]
    ) -> list[Run]:
        """Each configuration with each seed."""
        pairs = product(configs, seeds)
        return [Run(self.name, level, config, seed) for config, seed in pairs]

    def runs(
        self, level: Level, losses: Mapping[str, float] | None = None
    ) -> list[Run]:
        """Runs of a level, in a fixed order.

        `losses`: objectives of recorded runs by run_id, lower is better. Where all
        cells have one of the first seed, the replicas of the best third come last.
        """
        cells = self.design(level)
        extra = cells[EXTRA_EVERY - 1 :: EXTRA_EVERY]
        runs = self.runs_of(level, cells, level.seeds)
        runs += self.runs_of(level, extra, level.extra_seeds)
        if level.best_third_seeds and losses is not None:
            first = self.runs_of(level, cells, level.seeds[:1])
            best = best_configs(first, losses)[: self.n_best(level)]
            runs += self.runs_of(level, best, level.best_third_seeds)
        return runs

    def n_best(self, level: Level) -> int:
        """A third of a level's cells, rounded up."""
        return -(-len(self.design(level)) // 3)

    def n_runs(self, level: Level) -> int:
        """Runs of a level when all is done."""
        return len(self.runs(level)) + self.n_best(level) * len(
            level.best_third_seeds
        )

    def level_of(self, run_id: str, config: Config, seed: int) -> Level | None:
        """The level that a recorded run is of: the one whose run it would be."""
        for level in self.every_level:
            if Run(self.name, level, config, seed).run_id == run_id:
                return level
        return None

    def known(self) -> dict[str, Run]:
        """Every run that the sweep may train, by its id: replicas of the best third may
        be of any cell.
        """
        declared, every = [], []
        for level in self.every_level:
            seeds = (*level.seeds, *level.best_third_seeds)
            declared += self.runs(level)
            every += self.runs_of(level, self.design(level), seeds)
        return {run.run_id: run for run in (*declared, *every)}

    def loss(self, final: Mapping[str, float]) -> float:
        """The objective of a run's end turned so that lower is better; NaN where it has
        none.
        """
        value = final.get(self.objective.name, float("nan"))
        return value if self.objective.direction == "min" else -value

    def stacks(self, runs: Iterable[Run]) -> list[list[Run]]:
        """Runs in stacks that train together, levels in the order in which they come."""
        groups: dict[tuple[str, Any], list[Run]] = {}
        order: dict[str, int] = {}
        for run in runs:
            order.setdefault(run.level.name, len(order))
            groups.setdefault((run.level.name, self.stack_key(run)), []).append(
                run
            )
        out = []
        for key in sorted(groups, key=lambda k: (order[k[0]], k[1])):
            group = groups[key]
            size = -(-len(group) // -(-len(group) // self.stack_size))
            out += [group[i : i + size] for i in range(0, len(group), size)]
        return out


def best_configs(
    runs: Iterable[Run], losses: Mapping[str, float]
) -> list[Config]:
    """Configurations of runs, lowest loss first; none where a run has no loss yet."""
    ranked = []
    for run in runs:
        if run.run_id not in losses:
            return []
        ranked.append((losses[run.run_id], run.run_id, run))
    return [run.config for _, _, run in sorted(ranked, key=itemgetter(0, 1))]


def added_level(
    name: str,
    sweep: Sweep,
    settings: Mapping[str, Any],
    part: str,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Level:
    """A level beside the ladder: every seed for every cell, cost in processor time."""
    split = "test" if sweep == FRESH else "validation"
    return Level(
        name, split, settings, part, seeds, sweep=sweep, clock="processor"
    )


def shape_of(level: Level) -> Shape:
    """The decoder of a level that fixes width and layers."""
    return Shape(level.settings["width"], level.settings["layers"])


def params_and_tokens(level: Level) -> dict[str, float]:
    """Fidelity of a level that fixes shape and tokens."""
    return {
        "params": float(shape_of(level).params),
        "tokens": float(level.settings["tokens"]),
    }


def flops(level: Level) -> float:
    """FLOPs of one run of a level that fixes shape and tokens: 6 for each parameter and
    token.
    """
    return 6.0 * shape_of(level).params * level.settings["tokens"]


def trainer(family_name: str) -> ModuleType:
    """The module that trains a family. It has

        load(cache_dir) -> data
            with `.sha256`; raises CorpusError when it is not the recorded one
        train(runs, data, max_seconds=inf) -> {run_id: [header, steps ..., end]}

    and what a run becomes depends on its own (configuration, level, seed) alone,
    whatever it is stacked with.

    Raises:
        SetupError: torch, or another package of the extra `lab`, is not installed.
    """
    from importlib import import_module

    from autollm.core.extras import naming_extra

    with naming_extra(f"training runs of the lab's family {family_name!r}"):
        return import_module(f"autollm.lab.trainers.{family_name}")
