"""Run a family's sweep: cheap levels first, resumable, one raw log per run.

Runs of one stack train together (spec.Family.stacks); a stack's logs appear together,
each through a temporary name. A run whose log is there is not trained again, so killing
the runner loses the stacks in flight and nothing else. Replicas of a level's best third
are trained when its first seed is complete.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autollm.core.errors import RecordError
from autollm.core.progress import Progress
from autollm.core.records import (
    MAX_STEPS,
    Record,
    RunEnd,
    RunStep,
    parse_record,
    to_line,
)
from autollm.lab.families import FAMILIES, load_family
from autollm.lab.launchers import Launcher, LocalLauncher
from autollm.lab.spec import Family, Run, trainer


@dataclass(frozen=True)
class SweepReport:
    """What a call of `run_family` did."""

    trained: int
    skipped: int
    left: int
    seconds: float


def run_family(
    family_name: str,
    out_dir: str | Path,
    level: str | None = None,
    budget_s: float | None = None,
    jobs: int = 1,
    max_seconds_a_run: float = 3600.0,
    cache_dir: str | Path | None = None,
    launcher: Launcher | None = None,
) -> SweepReport:
    """Train what is missing of a family's ladder (or of one level) into
    `out_dir`/<run_id>.jsonl.

    Args:
        budget_s: no new stack is started after this many seconds. jobs: processes, one
            torch thread each, unless a launcher is given.
        max_seconds_a_run: times the stack's size is its time limit; what outlives it is
            recorded as failed.

    Raises:
        UnknownNameError: no such family or level. CorpusError: the corpus differs from
            the recorded one.
    """
    family, out, start = (
        load_family(family_name),
        Path(out_dir),
        time.perf_counter(),
    )
    levels = (
        [family.level(level)]
        if level
        else sorted(family.levels, key=family.flops)
    )
    trained, skipped = 0, None
    # Twice at most: replicas of the best third are known when the first seed is complete.
    while True:
        losses = recorded_losses(family, out)
        wanted = [run for lv in levels for run in family.runs(lv, losses)]
        missing = [run for run in wanted if run.run_id not in losses]
        skipped = len(wanted) - len(missing) if skipped is None else skipped
        left_s = (
            None
            if budget_s is None
            else budget_s - (time.perf_counter() - start)
        )
        if not missing or (left_s is not None and left_s <= 0):
            break
        done = train_runs(
            family,
            missing,
            out,
            left_s,
            launcher or LocalLauncher(jobs),
            max_seconds_a_run,
            cache_dir,
        )
        trained += done
        if done < len(missing):
            break
    losses = recorded_losses(family, out)
    left = 0
    for lv in levels:
        done = [r for r in family.runs(lv, losses) if r.run_id in losses]
        left += family.n_runs(lv) - len(done)
    return SweepReport(trained, skipped, left, time.perf_counter() - start)


def train_runs(
    family: Family,
    runs: Sequence[Run],
    out_dir: Path,
    budget_s: float | None,
    launcher: Launcher,
    max_seconds_a_run: float = 3600.0,
    cache_dir: str | Path | None = None,
) -> int:
    """Train the given runs; returns how many. Nothing new is started after `budget_s`."""
    out_dir.mkdir(parents=True, exist_ok=True)
    cache, start, trained = (
        Path(cache_dir) if cache_dir else out_dir.parent,
        time.perf_counter(),
        0,
    )
    waiting, running = family.stacks(runs), {}
    progress = _Progress(family, waiting)
    with launcher:
        while True:
            in_time = budget_s is None or time.perf_counter() - start < budget_s
            while waiting and in_time and len(running) < launcher.slots:
                stack = waiting.pop(0)
                ticket = launcher.submit(
                    train_and_write,
                    family.name,
                    stack,
                    out_dir,
                    cache,
                    max_seconds_a_run * len(stack),
                )
                running[ticket] = stack
            if not running:
                return trained
            for ticket in launcher.wait(list(running)):
                launcher.result(ticket)
                stack = running.pop(ticket)
                trained += len(stack)
                progress.show(stack)


def train_and_write(
    family_name: str,
    stack: list[Run],
    out_dir: Path,
    cache_dir: Path,
    max_seconds: float,
) -> None:
    """Train a stack in this process and write its logs."""
    module = trainer(family_name)
    for run_id, records in module.train(
        stack, module.load(cache_dir), max_seconds
    ).items():
        write_log(out_dir, run_id, records)


def write_log(out_dir: Path, run_id: str, records: Sequence[Record]) -> None:
    """Write the raw log of a run, whole or not at all."""
    assert sum(isinstance(r, RunStep) for r in records) <= MAX_STEPS
    temporary = out_dir / f".{run_id}.tmp"
    temporary.write_text("".join(to_line(r) + "\n" for r in records))
    temporary.replace(out_dir / f"{run_id}.jsonl")


def recorded_losses(family: Family, out_dir: Path) -> dict[str, float]:
    """Objective of every log in a folder by run_id, lower is better; inf where a run
    diverged or failed without one.
    """
    return {
        path.stem: _finite(family, path) for path in out_dir.glob("*.jsonl")
    }


def status(out_dir: str | Path) -> dict[str, dict[str, dict[str, int]]]:
    """Runs recorded in a folder: {"families": {name: {"runs": n, "declared": n,
    "finished": n, "diverged": n, "failed": n}}}.
    """
    counts: dict[str, dict[str, int]] = {}
    for name, family in FAMILIES.items():
        ends = dict.fromkeys(("finished", "diverged", "failed"), 0)
        counts[name] = {"runs": 0, "declared": declared(family), **ends}
    for path in Path(out_dir).glob("*.jsonl"):
        header, end = _ends_of(path)
        count = counts.get(header.family)
        if count is not None and isinstance(end, RunEnd):
            count["runs"] += 1
            count[end.status] += 1
    return {"families": counts}


def declared(family: Family) -> int:
    """Runs of all sweeps."""
    return sum(family.n_runs(level) for level in family.every_level)


def _ends_of(path: Path) -> tuple[Any, Any]:
    """First and last record of a log.

    Raises:
        RecordError: it is empty, or holds no records.
    """
    records = read_log(path)
    return records[0], records[-1]


def read_log(path: Path) -> list[Record]:
    """All records of a log, at least one.

    Raises:
        RecordError: it is empty, or a line of it is no record; the file is named.
    """
    try:
        records = [parse_record(x) for x in path.read_text().splitlines()]
    except (RecordError, UnicodeDecodeError) as error:
        raise RecordError(_damaged(path, str(error))) from None
    if not records:
        raise RecordError(_damaged(path, "it is empty"))
    return records


def _damaged(path: Path, problem: str) -> str:
    return f"{path} is damaged: {problem}. Fix: remove it; its run is trained again."


def _end(path: Path) -> Any:
    return _ends_of(path)[1]


def _finite(family: Family, path: Path) -> float:
    end = _end(path)
    loss = family.loss(_final(end))
    return loss if np.isfinite(loss) else float("inf")


def _final(end: Any) -> Mapping[str, float]:
    return end.final if isinstance(end, RunEnd) else {}


class _Progress:
    """Runs done; the time left is by the compute that is still to do."""

    def __init__(self, family: Family, stacks: list[list[Run]]):
        self.family = family
        self.total_runs = sum(map(len, stacks))
        self.flops = 0.0
        self.runs = 0
        total_flops = sum(map(self._flops, stacks))
        self._progress = Progress(f"lab {family.name}", total_flops, every_s=0)

    def show(self, stack: list[Run]) -> None:
        self.flops += self._flops(stack)
        self.runs += len(stack)
        level = stack[0].level.name
        self._progress.reach(
            self.flops, f"{level}, {self.runs}/{self.total_runs} runs"
        )

    def _flops(self, stack: list[Run]) -> float:
        return len(stack) * self.family.flops(stack[0].level)
