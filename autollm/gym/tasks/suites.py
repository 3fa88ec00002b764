"""Suites: versioned, explicit lists of targets and their evidence, one TOML file each
(suite_files.py says where they lie and what stands in them).

A file names every experiment by its fidelity; a table resolves that to the experiment
that it holds there. Nothing else is computed at load. A wider family gets a new file
with a new version.

Invariant: what is held out are the test targets of all suites: those that ship, those
of packages, and the home's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from autollm.core.errors import SealedError, SuiteError, UnknownNameError
from autollm.core.files import is_local, local_path
from autollm.core.ids import Origin, experiment_id
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suite_files import (
    Entry,
    SuiteFile,
    SuiteText,
    TaskEntry,
    suite_files,
)
from autollm.gym.tasks.task import Constraint, Task

MASKED = "-masked"


@dataclass(frozen=True)
class Place:
    """Where a suite looks for an experiment."""

    origin: Origin
    fidelity: Mapping[str, float]


@dataclass(frozen=True)
class Suite:
    """A versioned list of tasks over one source.

    Attributes:
        places: experiment id -> where the file puts it; those that it names by their
            id alone are not in here.
    """

    suite_id: str
    version: int
    family: str
    source: str
    description: str
    tasks: tuple[Task, ...]
    places: Mapping[str, Place] = field(default_factory=dict, compare=False)

    def split(self, name: str) -> tuple[Task, ...]:
        """Tasks of a split: train, validation or test."""
        return tuple(t for t in self.tasks if t.split == name)

    @property
    def sealed(self) -> bool:
        return any(task.sealed for task in self.tasks)

    def opened(self, reason: str) -> Suite:
        """The same suite, free to play. Whoever opens a sealed one writes the look down
        first.

        Raises:
            SealedError: it is sealed, and there is no reason to open it.
        """
        if not self.sealed:
            return self
        if not reason.strip():
            raise SealedError(
                f"suite {self.suite_id!r} is sealed: it is played for a stated reason "
                "alone, and none was given. Fix: autollm evaluate --suite "
                f'{self.suite_id} --open-sealed "reason", which is logged as a look.'
            )
        return replace(
            self, tasks=tuple(task.with_(sealed=False) for task in self.tasks)
        )

    def missing(self, table: OutcomeTable) -> list[str]:
        """Experiments that the suite needs and the table does not hold, or holds
        without a metric that it needs.
        """
        lacking: set[str] = set()
        for task in self.tasks:
            lacking |= _missing(task, table)
        return sorted(lacking)


def _missing(task: Task, table: OutcomeTable) -> set[str]:
    named = (task.target, *task.evidence, *task.charged)
    lacking = {e for e in named if e not in table}
    needed = [(e, task.objective) for e in named]
    needed += [
        (task.target, constraint.metric) for constraint in task.constraints
    ]
    for e, metric in needed:
        if e in table and metric and not _reports(table, e, metric):
            lacking.add(f"{e} with {metric}")
    if task.pausable:
        for e in (task.target, *task.charged):
            if e in table and not table.experiments[table.index(e)].signal:
                lacking.add(f"{e} with learning curves")
    return lacking


def _reports(table: OutcomeTable, experiment_id: str, metric: str) -> bool:
    known = table.experiments[table.index(experiment_id)]
    return metric in (known.objective, *(m.name for m in known.metrics))


def suite_ids(home: str | None = None) -> list[str]:
    """Ids of all suites, without the masked variants: those that ship, those of
    packages, and those of a home (default AUTOLLM_HOME, else ./var).
    """
    return list(suite_files(home))


def load_suite(
    suite_id: str, table: OutcomeTable | None = None, home: str | None = None
) -> Suite:
    """A suite by its id; `<id>-masked` has the same tasks without names and units
    (masking.py).

    Args:
        table: experiments are then those that it holds at the suite's fidelities.

    Raises:
        UnknownNameError: no such suite. SuiteError: its file is wrong, or the table
            holds several experiments at a fidelity.
    """
    masked = suite_id.endswith(MASKED)
    files = suite_files(home)
    file = files.get(suite_id.removesuffix(MASKED))
    if file is None:
        known = [*files, *(s + MASKED for s in files if masked)]
        raise UnknownNameError("suite", suite_id, known)
    suite = _load(file, _stamp(file.url))
    if table is not None:
        suite = resolved(suite, table)
    if not masked:
        return suite
    tasks = tuple(
        replace(t, suite_id=suite_id, masked=True) for t in suite.tasks
    )
    return replace(suite, suite_id=suite_id, tasks=tasks)


def resolved(suite: Suite, table: OutcomeTable) -> Suite:
    """The suite with the experiments that a table holds at its fidelities; what the
    table does not hold stays as it is.

    Raises:
        SuiteError: the table holds several experiments there, of different contexts.
    """
    ids = {
        e: _id_in(table, e, place, suite) for e, place in suite.places.items()
    }
    if all(resolved_id == named for named, resolved_id in ids.items()):
        return suite
    tasks = tuple(_renamed(task, ids) for task in suite.tasks)
    places = {ids[named]: place for named, place in suite.places.items()}
    return replace(suite, tasks=tasks, places=places)


def _renamed(task: Task, ids: Mapping[str, str]) -> Task:
    evidence = tuple(ids.get(e, e) for e in task.evidence)
    charged = tuple(ids.get(e, e) for e in task.charged)
    target = ids.get(task.target, task.target)
    return replace(task, target=target, evidence=evidence, charged=charged)


def held_out(
    table: OutcomeTable | None = None, home: str | None = None
) -> frozenset[str]:
    """Ids of every experiment that is the target of a test task of any suite: never
    trained on, never selected on.

    Raises:
        SuiteError: a suite's file is wrong, so that what it holds out is unknown.
    """
    targets = set()
    for suite_id in suite_ids(home):
        suite = load_suite(suite_id, home=home)
        targets |= {task.target for task in suite.split("test")}
        if table is not None:
            targets |= {
                task.target for task in resolved(suite, table).split("test")
            }
    return frozenset(targets)


def _id_in(table: OutcomeTable, named: str, place: Place, suite: Suite) -> str:
    if named in table:
        return named
    matching = [
        e.experiment_id
        for e in table.experiments
        if e.origin == place.origin and e.fidelity == place.fidelity
    ]
    if len(matching) > 1:
        raise SuiteError(
            f"suite {suite.suite_id}: the snapshot holds {len(matching)} experiments of "
            f"{place.origin.name} at {dict(place.fidelity)}, of different contexts: "
            f"{', '.join(matching)}. Fix: name one of them in the file (id = ...)."
        )
    return matching[0] if matching else named


def _stamp(url: str) -> int:
    """Changes when a local file does; files elsewhere are read once a process."""
    return os.stat(local_path(url)).st_mtime_ns if is_local(url) else 0


@lru_cache(maxsize=256)
def _load(file: SuiteFile, stamp: int) -> Suite:
    text = file.text()
    places = {}
    ids = {}
    for name, entry in text.experiments.items():
        place = _place(text, entry)
        named = entry.get("id")
        ids[name] = str(
            named or experiment_id(place.origin, dict(place.fidelity))
        )
        if named is None:
            places[ids[name]] = place
    tasks = []
    for entry in text.tasks:
        tasks += [
            _task(text, entry, ids, objective) for objective in text.objectives
        ]
    return Suite(
        suite_id=text.suite_id,
        version=text.version,
        family=text.family,
        source=text.source,
        description=text.description,
        tasks=tuple(tasks),
        places=places,
    )


def _place(text: SuiteText, entry: Entry) -> Place:
    """An experiment has its own source where the suite spans several."""
    fidelity = {n: v for n, v in entry.items() if not isinstance(v, str)}
    source = str(entry.get("source", text.source))
    return Place(Origin(source, str(entry.get("group", ""))), fidelity)


def _task(
    text: SuiteText, entry: TaskEntry, ids: Mapping[str, str], objective: str
) -> Task:
    bounds = text.constraint
    named = f"{text.suite_id}/{entry.target}"
    return Task(
        task_id=f"{named}/{objective}" if objective else named,
        suite_id=text.suite_id,
        suite_version=text.version,
        split=entry.split,
        target=ids[entry.target],
        evidence=tuple(map(ids.__getitem__, entry.evidence)),
        charged=tuple(map(ids.__getitem__, entry.charged)),
        pausable=text.pausable,
        sealed=text.sealed,
        trials=text.trials,
        tolerance=text.tolerance,
        objective=objective,
        constraints=(
            (Constraint(bounds.metric, bounds.max, bounds.min),)
            if bounds
            else ()
        ),
    )
