"""What looks wrong about a whole source, though each of its rows can be read.

A knob that never varies, one fidelity only, no finite objective, a direction against
the objective's name, cells that several rows share: the runs land, and the report says
so.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.ids import Origin
from autollm.core.mappings.mapping import Mapping, Quantity
from autollm.logs.lake.ledger import Judged
from autollm.logs.proposals.names import direction_of

_CONFIGURATIONS = 5000
"""Configurations of a chunk that are looked at for knobs that never vary."""


class SourceChecks:
    """The runs of one source (with its group) as they land in one ingest."""

    def __init__(self, mapping: Mapping, origin: Origin, is_new: bool):
        self._mapping, self._origin, self.is_new = mapping, origin, is_new
        self.n_runs = self._n_finite = self._n_repeated = 0
        self._first: dict[str, Any] = {}
        self._constant: set[str] = set()
        self.levels: set[str] = set()
        self._example = ""

    def add(self, runs: pa.Table) -> None:
        """Take runs into account."""
        self.n_runs += runs.num_rows
        is_finite = pc.is_finite(runs["objective_value"])
        self._n_finite += pc.sum(is_finite).as_py() or 0
        if len(self.levels) < 2:
            self.levels |= set(pc.unique(runs["fidelity_json"]).to_pylist())
        if self._constant or not self._first:
            self._look_for_constants(runs)

    def add_repeated(self, judged: Judged) -> None:
        """Take runs into account that share a cell."""
        self._n_repeated += judged.n_repeated
        self._example = self._example or judged.example

    def _look_for_constants(self, runs: pa.Table) -> None:
        for text in (
            pc.unique(runs["config_json"]).slice(0, _CONFIGURATIONS).to_pylist()
        ):
            config = json.loads(text)
            if not self._first:
                self._first, self._constant = config, set(config)
            same = {
                n for n in self._constant if config.get(n) == self._first[n]
            }
            self._constant = same
            if not same:
                return

    def warnings(self) -> list[str]:
        """What a person should look at, each with the remedy."""
        goal, found = self._mapping.objective, []
        if self.n_runs and not self._n_finite:
            found.append(
                f"no run has a finite {goal.name!r}. Fix: check `column` of [objective]."
            )
        for quantity in (goal, *self._mapping.secondary):
            found += [doubt for doubt in [direction_doubt(quantity)] if doubt]
        if self._n_repeated and not self._mapping.has_replicas:
            found.append(
                f"{self._n_repeated} runs share a cell with an earlier one "
                f"({self._example}): averaged as replicas. Fix: if they are not, a knob "
                "is missing in the mapping, or set [replica] duplicate_cells = "
                '"quarantine".'
            )
        if self.is_new and self.n_runs > 1:
            for name in sorted(self._constant):
                found.append(
                    f"knob {name!r} is {self._first[name]!r:.60} in every run: nothing "
                    "to choose. Fix: leave it out of the mapping."
                )
        return [f"source {self._origin.name}: {text}" for text in found]


def source_warnings(checks: dict[Origin, SourceChecks]) -> list[str]:
    """The warnings of all sources; fidelity is looked at over all groups of a source."""
    found = []
    for origin in sorted(checks):
        found += checks[origin].warnings()
    for source in sorted({origin.source for origin in checks}):
        groups = [c for o, c in checks.items() if o.source == source]
        n_runs = sum(check.n_runs for check in groups)
        is_flat = all(
            check.is_new and len(check.levels) == 1 for check in groups
        )
        if n_runs > 1 and is_flat:
            where = " of their group" if len(groups) > 1 else ""
            found.append(
                f"source {source}: all {n_runs} runs are at one fidelity{where}: "
                "nothing cheaper to learn from. Fix: check [[fidelity]], or land runs "
                "of other sizes too."
            )
    return found


def direction_doubt(quantity: Quantity) -> str:
    """Why the direction of an objective looks wrong; empty when it does not."""
    told = {direction_of(name) for name in (quantity.name, quantity.column)}
    other = "min" if quantity.direction == "max" else "max"
    if not quantity.direction or told - {""} != {other}:
        return ""
    meaning = "lower" if other == "min" else "higher"
    return (
        f"{quantity.name!r} has direction {quantity.direction!r}, though its name says "
        f'that {meaning} is better. Fix: direction = "{other}", or another name.'
    )
