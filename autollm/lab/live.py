"""The gym's outcomes by training: what a policy proposes is trained at its task's level
of the lab, logged, and returned as the outcome.

    proposal -> nearest configuration that the level can train (the declared window, not
    the recorded rows)
             -> a run of that level with the seed SEEDS_FROM + the episode's -> raw log
             in the inbox -> outcome

A run whose log is there is not trained again, whoever asked for it: killing an
evaluation loses the run in flight, and two at once share their runs. A run that
diverges, crashes or outlives its time has a log as well.

How it is judged: seeds shift all configurations of a level alike, by as much as good
ones differ. So the best recorded configuration of the draw is trained with the
episode's seed too, and an outcome counts as that one's recorded loss plus the
difference between the two. Regret 0 is then "as good as the best recorded
configuration, trained under the same conditions"; its unit stays that of the recorded
rows.

Invariant: a live run never has the id of a declared one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autollm.core.errors import AutoLLMError, EpisodeError, SetupError
from autollm.core.ids import Origin, experiment_id
from autollm.core.locks import hold
from autollm.core.progress import say
from autollm.core.records import Record, RunEnd, parse_record
from autollm.core.spaces.distances import nearest
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import Experiment, OutcomeTable
from autollm.gym.tasks.drawing import Draw
from autollm.gym.tasks.outcomes import Outcome, TableSource
from autollm.gym.tasks.playable import PlayableExperiment, playable_experiments
from autollm.lab.families import FAMILIES
from autollm.lab.launchers import Launcher, LocalLauncher
from autollm.lab.recording import digits, header, now
from autollm.lab.runner import write_log
from autollm.lab.spec import Config, Family, Level, Run, trainer

SEEDS_FROM = 1000
"""Seed of the runs of episode 0; declared runs have smaller ones."""
MAX_SECONDS = 600.0
SAME = 1e-4
"""Natural units within which two configurations are one: what six digits of a log leave
open.
"""


@dataclass
class LiveLab:
    """Trains runs and makes the outcome source of a draw (`OutcomeTable.with_outcomes_from`).

    Attributes:
        logs_dir: folder of the raw logs. cache_dir: corpora and start models.
            locks_dir: one lock a run.
        max_seconds: time limit of a run; what outlives it is recorded as failed.
        make_launcher: of the process that trains; opened at the first run, and kept.
    """

    logs_dir: Path
    cache_dir: Path
    locks_dir: Path
    max_seconds: float = MAX_SECONDS
    make_launcher: Callable[[], Launcher] = LocalLauncher
    _launcher: Launcher | None = field(default=None, init=False)

    def __call__(self, drawn: Draw, table: OutcomeTable) -> LiveSource:
        return LiveSource(self, drawn, table)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_launcher": None}

    def log_path(self, run: Run) -> Path:
        return self.logs_dir / f"{run.run_id}.jsonl"

    def outcome_of(self, run: Run) -> RunEnd:
        """The outcome of a run, which is trained where it has no log.

        Raises:
            BusyError: another evaluation trains it and does not finish. CorpusError,
                SetupError: this machine cannot train it.
        """
        path, begin, known = self.log_path(run), time.perf_counter(), True
        if not path.exists():
            with hold(
                self.locks_dir / f"{run.run_id}.lock",
                f"the live run {run.run_id}",
                wait_s=600.0 + 2 * self.max_seconds,
            ):
                known = path.exists()
                if not known:
                    self._train(run)
        end = parse_record(path.read_text().splitlines()[-1])
        name = FAMILIES[run.family].objective.name
        took_s = time.perf_counter() - begin
        origin = "recorded before" if known else f"trained in {took_s:.1f} s"
        reason = f" ({end.reason})" if end.reason else ""
        value = end.final.get(name, math.nan)
        say(
            f"live {run.run_id}: {origin}, {end.status}{reason}, {name} "
            f"{value:.4f}"
        )
        return end

    def _train(self, run: Run) -> None:
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        self._launcher = self._launcher or self.make_launcher().__enter__()
        begin, started = time.perf_counter(), now()
        ticket = self._launcher.submit(
            train_and_record,
            run,
            self.logs_dir,
            self.cache_dir,
            self.max_seconds,
        )
        self._launcher.wait([ticket])
        try:
            self._launcher.result(ticket)
        except BrokenProcessPool:
            self._launcher = None
            write_log(
                self.logs_dir,
                run.run_id,
                failed(
                    run,
                    "",
                    started,
                    time.perf_counter() - begin,
                    "the process that trained it died",
                ),
            )


class LiveSource:
    """Outcomes of one draw. What is charged beside the target is still answered by the
    table.

    Raises:
        EpisodeError: the task's target is no level of the lab, or its runs may be
            paused.
    """

    def __init__(self, lab: LiveLab, drawn: Draw, table: OutcomeTable):
        if drawn.task.pausable:
            raise EpisodeError(
                f"{drawn.task.task_id} lets runs be paused, and live runs are trained "
                "to their ends. Fix: leave --live out, or name a "
                "suite without paused runs."
            )
        self.lab, self.drawn, self.table = lab, drawn, table
        self.experiment = table.experiments[drawn.target]
        self.family, self.level = level_of(self.experiment, drawn.task.task_id)
        self.recorded = TableSource(table, drawn.task.objective)
        self.losses = table.losses(drawn.target, drawn.task.objective)

    def playable(
        self, drawn: Draw, table: OutcomeTable
    ) -> dict[str, PlayableExperiment]:
        """The recorded rows of charged experiments; of the target, whatever its level
        can train.
        """
        return {
            **playable_experiments(drawn, table),
            "": self.level_experiment,
            drawn.task.target: self.level_experiment,
        }

    @cached_property
    def level_experiment(self) -> LiveExperiment:
        return LiveExperiment(
            **vars(playable_experiments(self.drawn, self.table)[""]),
            space=self.experiment.space,
            family=self.family,
            level=self.level,
        )

    def outcome(self, experiment: int, row: int) -> Outcome:
        """Train what stands at a row of the target, or find its log.

        Raises:
            SetupError: the best recorded configuration cannot be trained, so that
                nothing could be judged. See also LiveLab.outcome_of.
        """
        if experiment != self.drawn.target:
            return self.recorded.outcome(experiment, row)
        # first, so that nothing is trained that could not be judged
        reference = self._reference
        if row == self._anchor_row:
            return reference
        return self._outcome(self.lab.outcome_of(self._run(row)))

    def curve(self, experiment: int, row: int) -> np.ndarray:
        """The curve of a charged experiment's recorded run; live runs have none."""
        return self.recorded.curve(experiment, row)

    def comparable_loss(
        self, loss: float, place: int, values: np.ndarray
    ) -> float:
        """The best recorded configuration's value, and how much worse than that one a
        run with the same seed was.
        """
        return float(values[self._anchor] + (loss - self._reference.loss))

    @cached_property
    def _anchor(self) -> int:
        return int(np.argmin(self.losses[self.drawn.rows]))

    @property
    def _anchor_row(self) -> int:
        return int(self.drawn.rows[self._anchor])

    @cached_property
    def _reference(self) -> Outcome:
        run = self._run(self._anchor_row)
        end = self.lab.outcome_of(run)
        if end.status == "failed":
            raise SetupError(
                f"{self.drawn.task.task_id}: the best recorded configuration could not "
                f"be trained ({end.reason}), so that nothing can "
                f"be judged. Fix: delete {self.lab.log_path(run)}, then evaluate "
                "again, with more --max-seconds if it was time."
            )
        return self._outcome(end)

    def _run(self, row: int) -> Run:
        point = self.level_experiment.at(row)
        return Run(
            self.family.name,
            self.level,
            trainable(
                self.family, self.level, self.experiment.space.decode(point)
            ),
            SEEDS_FROM + self.drawn.seed,
        )

    def _outcome(self, end: RunEnd) -> Outcome:
        """A run without a finite objective counts as the worst recorded one."""
        name = self.drawn.task.objective or self.experiment.objective
        value = (
            math.nan
            if end.status == "failed"
            else end.final.get(name, math.nan)
        )
        loss = value if self.experiment.objectives[name] == "min" else -value
        feasible = all(
            c.holds(np.array([end.final[c.metric]]))[0]
            for c in self.drawn.task.constraints
            if c.metric in end.final
        )
        return Outcome(
            value,
            loss if math.isfinite(loss) else float(self.losses.max()),
            end.status != "finished",
            end.cost.get("flops", math.nan),
            end.cost.get("device_hours", math.nan),
            bool(feasible),
        )


@dataclass(frozen=True)
class LiveExperiment(PlayableExperiment):
    """A level as a place to try things: recorded rows in play stand first, then what
    else was proposed, in that order.
    """

    space: Space
    family: Family
    level: Level
    beyond: list[np.ndarray] = field(default_factory=list)

    def nearest(self, point: np.ndarray) -> tuple[int, float]:
        """Place of the nearest configuration that the level can train, and its
        distance.
        """
        spot = self.space.encode(
            trainable(self.family, self.level, self.space.decode(point))
        )
        return self._place(spot), float(np.linalg.norm(spot - point))

    def row_id(self, place: int) -> int:
        """Ids of what was not in play follow the table's last row."""
        return (
            int(self.rows[place])
            if place < len(self.rows)
            else len(self.table_points) + place - len(self.rows)
        )

    def point(self, place: int) -> np.ndarray:
        return self.at(self.row_id(place))

    def at(self, row: int) -> np.ndarray:
        """float64 [d] of an id."""
        n = len(self.table_points)
        return self.table_points[row] if row < n else self.beyond[row - n]

    def _place(self, spot: np.ndarray) -> int:
        known = np.vstack([self.points, *self.beyond])
        place, distance = nearest(known, spot)
        if distance <= SAME:
            return place
        self.beyond.append(spot)
        return len(known)


def level_of(experiment: Experiment, task_id: str) -> tuple[Family, Level]:
    """The level of the lab that an experiment of a table is.

    Raises:
        EpisodeError: it is none.
    """
    for family in FAMILIES.values():
        for level in family.every_level:
            origin = Origin(family.source, family.group_of(level))
            own_id = experiment_id(origin, family.fidelity(level))
            if own_id == experiment.experiment_id:
                return family, level
    raise EpisodeError(
        f"{task_id}: its target {experiment.label} (source {experiment.origin.name}) cannot "
        "be played live, it is no level of the lab's "
        f"families {', '.join(FAMILIES)}. Fix: leave --live out, or name a suite of "
        "the lab (autollm suites)."
    )


def trainable(
    family: Family, level: Level, configuration: Mapping[str, Any]
) -> Config:
    """The nearest configuration that a level can train: of the declared grid, with the
    declared values themselves; where the space has no finite grid, the configuration as
    it is.

    Raises:
        SpaceError: not of the family's space.
    """
    if family.space.grid is None:
        return dict(configuration)
    points, configurations = _trainable(family, level)
    return configurations[
        nearest(points, family.space.encode(configuration))[0]
    ]


@cache
def _trainable(family: Family, level: Level) -> tuple[np.ndarray, list[Config]]:
    """Points [n, d] of the declared grid that a level allows, and their configurations."""
    every = []
    for point in family.space.grid:
        values = family.space.decode(point).values()
        pairs = zip(family.space.knobs, values, strict=True)
        every.append({k.name: _declared(k.levels, value) for k, value in pairs})
    kept = [i for i, c in enumerate(every) if family.allows(level, c)]
    return family.space.grid[kept], [every[i] for i in kept]


def _declared(levels: tuple[Any, ...], value: Any) -> Any:
    """The level that a decoded value stands for: whole numbers stay such, and no digit
    is lost.
    """
    return next(
        v
        for v in levels
        if v == value
        or (
            not isinstance(value, (bool, str))
            and math.isclose(v, value, rel_tol=1e-8)
        )
    )


def train_and_record(
    run: Run, logs_dir: Path, cache_dir: Path, max_seconds: float
) -> None:
    """Train one run in this process and write its log, also where the trainer raises.

    Raises:
        CorpusError, SetupError: this machine cannot train it; nothing is written.
    """
    module, started = trainer(run.family), now()
    data, begin = module.load(cache_dir), time.perf_counter()
    try:
        records = module.train([run], data, max_seconds)[run.run_id]
    except AutoLLMError:
        raise
    except Exception as crash:
        # Whatever a trainer raises at a configuration is that configuration's outcome;
        # the episode goes on.
        records = failed(
            run,
            data.sha256,
            started,
            time.perf_counter() - begin,
            f"{type(crash).__name__}: {crash}",
        )
    write_log(logs_dir, run.run_id, records)


def failed(
    run: Run, sha256: str, started: str, seconds: float, reason: str
) -> list[Record]:
    """The log of a run that ended without a result."""
    head = header(
        FAMILIES[run.family],
        run,
        model=run.level.settings,
        sha256=sha256,
        packages=("torch",),
        started=started,
    )
    return [
        head,
        RunEnd(
            "failed",
            {},
            {"flops": 0.0, "device_hours": digits(seconds / 3600)},
            reason,
        ),
    ]
