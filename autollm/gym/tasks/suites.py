"""Suites: versioned, explicit lists of targets and their evidence, one TOML file each in
gym/suites/.

Nothing is computed at load: a file names every experiment by its fidelity, every task
by its target, its free `evidence` and what is `charged` (then `trials` is the budget,
in runs of the target); `pausable`: runs may be paused.
`objectives` makes a task of each named metric, `[constraint]` (metric, max, min) bounds
what is feasible on the targets. A wider family gets a new file with a new version.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from autollm.core.errors import UnknownNameError
from autollm.core.ids import experiment_id
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.task import Constraint, Task

FOLDER = Path(__file__).parents[1] / "suites"
MASKED = "-masked"


@dataclass(frozen=True)
class Suite:
    """A versioned list of tasks over one source."""

    suite_id: str
    version: int
    family: str
    source: str
    description: str
    tasks: tuple[Task, ...]

    def split(self, name: str) -> tuple[Task, ...]:
        """Tasks of a split: train, validation or test."""
        return tuple(t for t in self.tasks if t.split == name)

    def missing(self, table: OutcomeTable) -> list[str]:
        """Experiments that the suite needs and the table does not hold, or holds
        without a metric that it needs.
        """
        out = {
            e
            for t in self.tasks
            for e in (t.target, *t.evidence, *t.charged)
            if e not in table
        }
        for task in self.tasks:
            needed = [
                (e, task.objective)
                for e in (task.target, *task.evidence, *task.charged)
            ] + [(task.target, c.metric) for c in task.constraints]
            for e, metric in needed:
                known = table.experiments[table.index(e)] if e in table else None
                if (
                    known
                    and metric
                    and metric
                    not in (known.objective, *(m.name for m in known.metrics))
                ):
                    out.add(f"{e} with {metric}")
            curveless = [
                e
                for e in (task.target, *task.charged)
                if task.pausable
                and e in table
                and not table.experiments[table.index(e)].signal
            ]
            out |= {f"{e} with learning curves" for e in curveless}
        return sorted(out)


def suite_ids() -> list[str]:
    """Ids of all suites that ship with autollm, without the masked variants."""
    return sorted(p.stem for p in FOLDER.glob("*.toml"))


def load_suite(suite_id: str) -> Suite:
    """A suite by its id; `<id>-masked` has the same tasks without names and units
    (masking.py).

    Raises:
        UnknownNameError: no such suite.
    """
    masked = suite_id.endswith(MASKED)
    suite = (
        _load(suite_id.removesuffix(MASKED))
        if suite_id.removesuffix(MASKED) in suite_ids()
        else None
    )
    if suite is None:
        raise UnknownNameError(
            "suite",
            suite_id,
            [*suite_ids(), *(s + MASKED for s in suite_ids() if masked)],
        )
    if not masked:
        return suite
    tasks = tuple(replace(t, suite_id=suite_id, masked=True) for t in suite.tasks)
    return replace(suite, suite_id=suite_id, tasks=tasks)


def held_out() -> frozenset[str]:
    """Ids of every experiment that is the target of a test task of any suite: never
    trained on, never selected on.
    """
    return frozenset(t.target for s in suite_ids() for t in load_suite(s).split("test"))


@cache
def _load(suite_id: str) -> Suite:
    raw = tomllib.loads((FOLDER / f"{suite_id}.toml").read_text())
    ids = {
        name: _experiment(raw["source"], entry)
        for name, entry in raw["experiments"].items()
    }
    tasks = tuple(
        _task(raw, entry, ids, objective)
        for entry in raw["tasks"]
        for objective in raw.get("objectives", [""])
    )
    return Suite(
        suite_id,
        raw["version"],
        raw["family"],
        raw["source"],
        raw["description"],
        tasks,
    )


def _experiment(source: str, entry: dict[str, Any]) -> str:
    """Id of an experiment of a file: its fidelity, and its own source where the suite
    spans several.
    """
    fidelity = {name: value for name, value in entry.items() if name != "source"}
    return experiment_id(entry.get("source", source), fidelity)


def _task(
    raw: dict[str, Any], entry: dict[str, Any], ids: dict[str, str], objective: str
) -> Task:
    bounds = raw.get("constraint")
    constraints = (
        (
            Constraint(
                bounds["metric"],
                float(bounds.get("max", "inf")),
                float(bounds.get("min", "-inf")),
            ),
        )
        if bounds
        else ()
    )
    return Task(
        task_id=f"{raw['suite_id']}/{entry['target']}{f'/{objective}' if objective else ''}",
        suite_id=raw["suite_id"],
        suite_version=raw["version"],
        split=entry["split"],
        target=ids[entry["target"]],
        evidence=tuple(ids[e] for e in entry.get("evidence", ())),
        charged=tuple(ids[e] for e in entry.get("charged", ())),
        pausable=raw.get("pausable", False),
        trials=raw.get("trials", 5),
        tolerance=raw.get("tolerance", 1.0),
        objective=objective,
        constraints=constraints,
    )
