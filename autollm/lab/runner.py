"""Run a family's sweep on this machine: cheap levels first, resumable, one raw log per run.

Runs that share level and batch size train as one stack; a stack's logs appear together, each through a temporary name. A run whose
log is there is not trained again, so killing the runner loses the stacks in flight and nothing else.
`python -m autollm.lab.runner FAMILY --out FOLDER` is what `autollm lab run` calls.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing as mp
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from autollm.lab.spec import FAMILIES, Family, Level, Run, load_family
from autollm.processes import die_with_parent
from autollm.records import MAX_STEPS, RunEnd, RunStep, parse_record, to_line

STACK = 16
"""Runs in a stack at most: more no longer pays, and a kill loses more."""


@dataclass(frozen=True)
class SweepReport:
    """What a call of `run_family` did."""

    trained: int
    skipped: int
    left: int
    seconds: float


def run_family(family_name: str, out_dir: str | Path, level: str | None = None, budget_s: float | None = None,
               jobs: int = 1, max_seconds_a_run: float = 3600.0, cache_dir: str | Path | None = None) -> SweepReport:
    """Train what is missing of a family (or of one level) into `out_dir`/<run_id>.jsonl.

    Args:
        budget_s: no new stack is started after this many seconds. jobs: processes, one torch thread each.
        max_seconds_a_run: times the stack's size is its time limit; what outlives it is recorded as failed.

    Raises:
        UnknownNameError: no such family or level. CorpusError: the corpus differs from the recorded one.
    """
    family, out = load_family(family_name), Path(out_dir)
    cache = Path(cache_dir) if cache_dir else out.parent
    levels = [family.level(level)] if level else list(family.levels)
    out.mkdir(parents=True, exist_ok=True)
    wanted = [run for lv in sorted(levels, key=_cost) for run in family.runs(lv)]
    done = {p.stem for p in out.glob("*.jsonl")}
    stacks = list(_stacks([r for r in wanted if r.run_id not in done]))
    start, trained = time.perf_counter(), 0
    progress = _Progress(stacks)
    with ProcessPoolExecutor(jobs, mp_context=mp.get_context("spawn"), initializer=_begin_worker) as pool:
        waiting, running = iter(stacks), {}
        while True:
            in_time = budget_s is None or time.perf_counter() - start < budget_s
            for stack in itertools.islice(waiting, jobs - len(running) if in_time else 0):
                running[pool.submit(_train_and_write, stack, out, cache, max_seconds_a_run * len(stack))] = stack
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                stack = running.pop(future)
                trained += len(stack)
                progress.show(stack)
    left = len(wanted) - len([r for r in wanted if (out / f"{r.run_id}.jsonl").exists()])
    return SweepReport(trained, len(wanted) - sum(map(len, stacks)), left, time.perf_counter() - start)


def status(out_dir: str | Path) -> dict[str, dict[str, dict[str, int]]]:
    """Runs recorded in a folder: {"families": {name: {"runs": n, "declared": n, "finished": n, "diverged": n, "failed": n}}}."""
    counts = {name: {"runs": 0, "declared": sum(len(f.runs(lv)) for lv in f.levels), "finished": 0, "diverged": 0, "failed": 0}
              for name, f in FAMILIES.items()}
    for path in Path(out_dir).glob("*.jsonl"):
        family = counts.get(path.stem.split("-")[0])
        end = parse_record(path.read_text().splitlines()[-1])
        if family is not None and isinstance(end, RunEnd):
            family["runs"] += 1
            family[end.status] += 1
    return {"families": counts}


def _cost(level: Level) -> float:
    return level.width**2 * level.layers * float(level.tokens)


def _stacks(runs: list[Run]) -> Iterator[list[Run]]:
    """Runs of equal level and batch size, at most STACK together, in order; large batches (few steps) first."""
    for _, of_level in itertools.groupby(runs, key=lambda r: r.level.name):
        ordered = sorted(of_level, key=lambda r: -r.cell.batch_log2)
        for _, same in itertools.groupby(ordered, key=lambda r: r.cell.batch_log2):
            group = list(same)
            size = -(-len(group) // -(-len(group) // STACK))
            yield from (group[i : i + size] for i in range(0, len(group), size))


def _begin_worker() -> None:
    """One thread, and no training on after the runner was killed: its successor would train the same runs beside it."""
    die_with_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _train_and_write(stack: list[Run], out: Path, cache: Path, max_seconds: float) -> None:
    from autollm.lab.corpus import load
    from autollm.lab.training import train_stack

    for run_id, records in train_stack(stack, load(cache), max_seconds).items():
        assert sum(isinstance(r, RunStep) for r in records) <= MAX_STEPS
        temporary = out / f".{run_id}.tmp"
        temporary.write_text("".join(to_line(r) + "\n" for r in records))
        temporary.replace(out / f"{run_id}.jsonl")


class _Progress:
    """Lines on stderr: stacks done, runs done, time left by compute still to do."""

    def __init__(self, stacks: list[list[Run]]):
        self.total_flops = sum(len(s) * _cost(s[0].level) for s in stacks)
        self.total_runs = sum(map(len, stacks))
        self.flops, self.runs, self.start = 0.0, 0, time.perf_counter()

    def show(self, stack: list[Run]) -> None:
        self.flops += len(stack) * _cost(stack[0].level)
        self.runs += len(stack)
        elapsed = time.perf_counter() - self.start
        left = elapsed * (self.total_flops / self.flops - 1)
        first = stack[0]
        print(f"lab {first.family} {first.level.name} batch 2^{first.cell.batch_log2}: {self.runs}/{self.total_runs} runs, "
              f"{elapsed / 60:.1f} min, about {left / 60:.1f} min left", file=sys.stderr, flush=True)


def known(family: Family) -> dict[str, Run]:
    """Every declared run of a family by its id."""
    return {run.run_id: run for level in family.levels for run in family.runs(level)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run a lab family.")
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("--out", required=True)
    parser.add_argument("--level")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--budget-s", type=float)
    options = parser.parse_args()
    print(run_family(options.family, options.out, options.level, options.budget_s, options.jobs), file=sys.stderr)
