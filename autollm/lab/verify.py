"""Train recorded runs again and compare: the check that the archive holds what it says.

A run agrees when its objective is within TOLERANCE_SD spreads of seeds of the recorded
one. On equal hardware it is equal to the last digit; other CPUs sum in another order,
and small models amplify that, at most to the spread of another seed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autollm.core.errors import CorpusError, RecordError
from autollm.core.records import Record, RunEnd, RunHeader, canonical_json
from autollm.lab.archive import read_runs, shipped
from autollm.lab.families import load_family
from autollm.lab.spec import trainer

TOLERANCE_SD = 3.0


@dataclass(frozen=True)
class Comparison:
    """One run trained again; values of the family's objective, in its unit."""

    run_id: str
    recorded: float
    again: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        both_diverged = not np.isfinite(self.recorded) and not np.isfinite(
            self.again
        )
        return both_diverged or self.difference <= self.tolerance

    @property
    def difference(self) -> float:
        return abs(self.recorded - self.again)

    @property
    def described(self) -> dict[str, Any]:
        """Everything about it, for people and JSON; None for what is no number."""
        return {
            "run_id": self.run_id,
            "recorded": _finite(self.recorded),
            "again": _finite(self.again),
            "difference": _finite(self.difference),
            "tolerance": _finite(self.tolerance),
            "agrees": self.agrees,
        }


def verify(
    family_name: str,
    sample: int,
    max_seconds: float,
    cache_dir: str | Path,
    archive: Path | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Train `sample` recorded runs again, drawn at random among those that fit
    `max_seconds` together by their recorded cost.

    Raises:
        CorpusError: the corpus on this machine differs from the runs' own. RecordError:
            no run fits the time.
    """
    family, module = load_family(family_name), trainer(family_name)
    runs = read_runs(archive or shipped(family_name))
    data, declared, objective = (
        module.load(Path(cache_dir)),
        family.known(),
        family.objective.name,
    )
    tolerance = TOLERANCE_SD * seed_spread(
        runs, objective, family.objective.direction
    )
    compared, spent = [], 0.0
    for run_id in np.random.default_rng(seed).permutation(sorted(runs)):
        header, end = _header(runs[run_id]), _end(runs[run_id])
        if header.data.get("sha256") != data.sha256:
            raise CorpusError(
                f"run {run_id} used data {str(header.data.get('sha256'))[:16]}, here "
                f"is {data.sha256[:16]}."
            )
        expected_s = (
            end.cost["device_hours"] * 3600 * 4
        )  # alone a run is slower than its share of a stack
        if (
            run_id not in declared
            or spent + expected_s > max_seconds
            or len(compared) == sample
        ):
            continue
        start = time.perf_counter()
        again = _end(module.train([declared[run_id]], data)[run_id])
        spent += time.perf_counter() - start
        compared.append(
            Comparison(
                run_id,
                end.final.get(objective, np.nan),
                again.final.get(objective, np.nan),
                tolerance,
            )
        )
    if not compared:
        raise RecordError(
            f"no recorded run of {family_name} fits {max_seconds:g} s. Fix: raise "
            "--max-seconds."
        )
    return compared


def seed_spread(
    runs: dict[str, list[Record]], objective: str, direction: str
) -> float:
    """Median over the better half of the replicated cells of the standard deviation
    between seeds, in the objective's unit. A cell is one of a level: ladders of several
    tasks share configurations and fidelities.
    """
    cells: dict[tuple[str, str], list[float]] = {}
    for records in runs.values():
        header, end = _header(records), _end(records)
        if end.status == "finished":
            level = {"fidelity": header.fidelity, "model": header.model}
            cell = canonical_json(level), canonical_json(header.config)
            cells.setdefault(cell, []).append(
                end.final[objective]
                if direction == "min"
                else -end.final[objective]
            )
    replicated = [v for v in cells.values() if len(v) > 1]
    if not replicated:
        raise RecordError(
            "no cell was trained with two seeds: the noise of a run is unknown. Fix: "
            "autollm lab run to the end."
        )
    middle = np.median([np.mean(v) for v in replicated])
    return float(
        np.median(
            [np.std(v, ddof=1) for v in replicated if np.mean(v) <= middle]
        )
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _header(records: list[Record]) -> RunHeader:
    return next(r for r in records if isinstance(r, RunHeader))


def _end(records: list[Record]) -> RunEnd:
    return next(r for r in records if isinstance(r, RunEnd))
