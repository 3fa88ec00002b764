"""What looks wrong about a whole source, though each of its rows can be read.

A knob that never varies, one fidelity only, no finite objective, a direction against
the objective's name, cells that several rows share: the runs land, and the report says
so. What does not belong here: single rows (`canonical.py`).

Invariant: a mapping with duplicate_cells = "quarantine" gives at most one run a cell
and seed.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from autollm.logs.bronze import Bronze
from autollm.logs.mapping import Mapping, Quantity
from autollm.logs.reading import RunRow
from autollm.logs.seen import Seen

LOWER = re.compile(r"loss|nll|perplex|\bppl|error|\bbpb|bits", re.IGNORECASE)
HIGHER = re.compile(
    r"acc(uracy)?\b|score|reward|\bf1\b|bleu|success|win.?rate", re.IGNORECASE
)


class SourceChecks:
    """The runs of one source, as they land in one ingest."""

    def __init__(self, mapping: Mapping, source: str, is_new: bool, cells: Seen):
        self._mapping, self._source, self._is_new, self._cells = (
            mapping,
            source,
            is_new,
            cells,
        )
        self._n_runs = self._n_finite = self._n_repeated = 0
        self._first: dict[str, Any] = {}
        self._constant: set[str] = set()
        self._levels: dict[str, None] = {}
        self._example = ""

    def add(self, run: RunRow, file: str) -> str:
        """Take a run into account; returns why it must be set aside, or nothing."""
        row = run.row
        cell = cell_key(
            self._source, row["fidelity_json"], row["config_id"], row["seed"]
        )
        earlier = self._cells.get(cell)
        if earlier is None:
            self._cells.put(cell, run.line)
        else:
            where = f"line {earlier}" if earlier else "an earlier batch"
            if self._mapping.duplicate_cells == "quarantine":
                return (
                    f"the cell {row['config_json']:.200} at {row['fidelity_label']} "
                    f"stands in {where} already; the first is kept. "
                    'Fix: if these are replicas, take duplicate_cells = "quarantine" '
                    "out of the mapping; else a knob is missing in it."
                )
            self._n_repeated += 1
            self._example = self._example or f"{file} line {run.line} and {where}"
        self._count(row)
        return ""

    def _count(self, row: dict[str, Any]) -> None:
        self._n_runs += 1
        value = row["objective_value"]
        self._n_finite += value is not None and math.isfinite(value)
        if len(self._levels) < 2:
            self._levels[row["fidelity_label"]] = None
        if not self._first:
            self._first = json.loads(row["config_json"])
            self._constant = set(self._first)
        elif self._constant:
            config = json.loads(row["config_json"])
            self._constant = {
                name for name in self._constant if config[name] == self._first[name]
            }

    def warnings(self) -> list[str]:
        """What a person should look at, each with the remedy."""
        found = []
        if self._n_runs and not self._n_finite:
            found.append(
                f"no run has a finite {self._mapping.objective.name!r}. Fix: check "
                "`column` of [objective]."
            )
        found += [
            d
            for d in map(
                direction_doubt, (self._mapping.objective, *self._mapping.secondary)
            )
            if d
        ]
        if self._n_repeated and not self._mapping.has_replicas:
            found.append(
                f"{self._n_repeated} runs share a cell with an earlier one "
                f"({self._example}): averaged as replicas. "
                "Fix: if they are not, a knob is missing in the mapping, or set "
                '[replica] duplicate_cells = "quarantine".'
            )
        if self._is_new and self._n_runs > 1:
            found += [
                f"knob {name!r} is {self._first[name]!r:.60} in every run: nothing to "
                "choose. Fix: leave it out of the mapping."
                for name in sorted(self._constant)
            ]
        return [f"source {self._source}: {text}" for text in found]

    @property
    def is_new_and_flat(self) -> bool:
        """Whether the source is new in the lake and has one fidelity."""
        return self._is_new and len(self._levels) == 1

    @property
    def n_runs(self) -> int:
        return self._n_runs


class EarlierRuns:
    """Runs and cells that landed before, read when the first run of a source lands."""

    def __init__(self, bronze: Bronze):
        self._bronze, self.runs, self.cells = bronze, Seen(), Seen()
        self.sources: set[str] = set()
        self._loaded: set[str] = set()

    def load(self, source: str, with_cells: bool) -> None:
        """Take in the runs of `source` (all its groups); its cells too where no cell
        may land twice.
        """
        whole = source.split("/")[0]
        if whole in self._loaded:
            return
        self._loaded.add(whole)
        names = ["source", "run_id", "fidelity_json", "config_id", "seed"]
        rows = [
            row
            for row in self._bronze.scan("runs", names)
            if row[0].split("/")[0] == whole
        ]
        self.sources |= {row[0] for row in rows}
        self.runs.load((f"{row[0]}\0{row[1]}" for row in rows), 0)
        if with_cells:
            self.cells.load((cell_key(row[0], *row[2:]) for row in rows), 0)


def source_warnings(checks: dict[str, SourceChecks]) -> list[str]:
    """The warnings of all sources; fidelity is looked at over all groups of a source."""
    found = [text for source in sorted(checks) for text in checks[source].warnings()]
    for whole in sorted({source.split("/")[0] for source in checks}):
        groups = [
            check for source, check in checks.items() if source.split("/")[0] == whole
        ]
        n_runs = sum(check.n_runs for check in groups)
        if n_runs > 1 and all(check.is_new_and_flat for check in groups):
            found.append(
                f"source {whole}: all {n_runs} runs are at one "
                f"fidelity{' of their group' if len(groups) > 1 else ''}: "
                "nothing cheaper to learn from. Fix: check [[fidelity]], or land runs "
                "of other sizes too."
            )
    return found


def cell_key(source: str, fidelity_json: str, config_id: str, seed: int | None) -> str:
    """What makes two runs repetitions of each other."""
    return f"{source}\0{fidelity_json}\0{config_id}\0{seed}"


def direction_doubt(quantity: Quantity) -> str:
    """Why the direction of an objective looks wrong; empty when it does not."""
    name = f"{quantity.name} {quantity.column}"
    wrong = (quantity.direction == "max" and LOWER.search(name)) or (
        quantity.direction == "min" and HIGHER.search(name)
    )
    if not wrong or (LOWER.search(name) and HIGHER.search(name)):
        return ""
    other, meaning = (
        ("min", "lower") if quantity.direction == "max" else ("max", "higher")
    )
    return (
        f"{quantity.name!r} has direction {quantity.direction!r}, though its name says "
        f"that {meaning} is better. "
        f'Fix: direction = "{other}", or another name.'
    )
