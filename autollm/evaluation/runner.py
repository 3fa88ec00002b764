"""Many judged episodes: in parallel, resumable, each identity played once.

Registered policies play in worker processes, one chunk (policy, task) at a time; agents
play here, in batches. Results are appended as Parquet parts while it runs, so that a
killed evaluation goes on where it stopped.

Invariant: the answer does not depend on `jobs`, on what was stored before, or on where
a former run was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from threadpoolctl import threadpool_limits

from autollm.core.errors import (
    ComparisonError,
    SetupError,
    SnapshotError,
    UnknownNameError,
)
from autollm.core.processes import die_with_parent
from autollm.core.progress import Progress
from autollm.core.records import canonical_json, content_hash
from autollm.evaluation.contenders import Contender, registered
from autollm.evaluation.episodes import load_results, write_parts
from autollm.evaluation.protocol import (
    Calls,
    EpisodeResult,
    Player,
    key_of,
    play,
    result_of,
    task_digest,
)
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import Suite
from autollm.gym.tasks.task import Setting, TargetRows, Task
from autollm.policies.registry import make_policy

FLUSH_S = 10.0
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


@dataclass(frozen=True)
class Chunk:
    """Seeds of one contender on one task that are still to be played."""

    contender: Contender
    task: Task
    seeds: tuple[int, ...]


def evaluate(
    suites: Sequence[Suite],
    contenders: Sequence[Contender | str],
    seeds: int | Sequence[int],
    table: OutcomeTable,
    *,
    out_url: str,
    setting: Setting = "declared",
    target_rows: TargetRows = "redraw",
    split: str = "test",
    trials: int | None = None,
    objectives: Sequence[str] = (),
    jobs: int = 1,
) -> list[EpisodeResult]:
    """Play what is not stored yet, and return all results in the order suites, tasks,
    contenders, seeds.

    Args:
        contenders: ids of registered policies, or Contender objects.
        seeds: how many (0 .. n - 1), or which.
        out_url: folder of the Parquet parts, `<home>/reports/episodes`.
        split: tasks of which split; trials: the task's own budget when None;
            objectives: tasks with these alone, all of them when empty.

    Raises:
        SnapshotError: a suite needs experiments that the table does not hold.
        SealedError: a suite is sealed.
        UnknownNameError: an unknown policy, or an objective that no task has.
        SetupError: a worker process died; what was played before is kept.
    """
    field = [registered(c) if isinstance(c, str) else c for c in contenders]
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    tasks = tasks_of(
        suites,
        table,
        setting=setting,
        target_rows=target_rows,
        split=split,
        trials=trials,
        objectives=objectives,
    )
    known = load_results(out_url, (task_digest(task, table) for task in tasks))
    left = _left(tasks, field, seeds, table, known)
    for result in _played(left, field, table, out_url, jobs):
        known[result.key] = result
    out = []
    for task in tasks:
        for contender in field:
            for seed in seeds:
                found = known[key_of(task, table, contender.player, seed)]
                # it may have been played on an older snapshot with the same rows
                out.append(replace(found, table_id=table.table_id))
    return out


def _played(
    left: Sequence[Chunk],
    field: Sequence[Contender],
    table: OutcomeTable,
    out_url: str,
    jobs: int,
) -> list[EpisodeResult]:
    """Play and store what is left: policies in workers, then agent by agent."""
    writer = _Writer(out_url, sum(len(chunk.seeds) for chunk in left))
    policies = [chunk for chunk in left if chunk.contender.make_agent is None]
    try:
        for results in _play_policies(policies, table, jobs):
            writer.add(results)
        for contender in field:
            own = [chunk for chunk in left if chunk.contender is contender]
            for results in _play_agent(contender, own, table):
                writer.add(results)
    finally:
        writer.close()
    return writer.results


def tasks_of(
    suites: Sequence[Suite],
    table: OutcomeTable,
    *,
    setting: Setting,
    target_rows: TargetRows,
    split: str,
    trials: int | None = None,
    objectives: Sequence[str] = (),
) -> list[Task]:
    """Tasks of a split as this evaluation poses them.

    Raises:
        SnapshotError: a suite needs experiments that the table does not hold.
        UnknownNameError: an objective that no task has.
        SealedError: a suite is sealed (Suite.opened opens it).
    """
    out = []
    changes: dict[str, Any] = {"setting": setting, "target_rows": target_rows}
    if trials:
        changes["trials"] = trials
    for suite in suites:
        asked = suite.opened("").split(split)
        missing = suite.missing(table)
        if missing:
            raise SnapshotError(
                f"suite {suite.suite_id} needs {len(missing)} experiments of source "
                f"{suite.source} that "
                f"snapshot {table.table_id} does not hold, such as {missing[0]}. "
                "Fix: ingest that source, or leave the suite out."
            )
        out += [task.with_(**changes) for task in asked]
    if not objectives:
        return out
    known = sorted({task.objective for task in out})
    for name in objectives:
        if name not in known:
            raise UnknownNameError("objective", name, known)
    return [task for task in out if task.objective in objectives]


def evaluation_id(results: Sequence[EpisodeResult]) -> str:
    """16 hex digits that name a set of judged episodes: what was played by whom, under
    which protocol.

    Raises:
        ComparisonError: results of several snapshots, or recorded beside live ones.
    """
    tables = {r.table_id for r in results}
    if len(tables) > 1:
        raise ComparisonError(
            f"results of {len(tables)} snapshots ({', '.join(sorted(tables))}) may not "
            "be compared. "
            "Evaluate all of them on one."
        )
    if len({r.live for r in results}) > 1:
        raise ComparisonError(
            "recorded results and live ones may not be compared: a live outcome was "
            "trained anew. Evaluate all of them with --live, or none."
        )
    return content_hash(canonical_json(sorted(repr(r.key) for r in results)))


def _left(
    tasks: Sequence[Task],
    field: Sequence[Contender],
    seeds: tuple[int, ...],
    table: OutcomeTable,
    known: dict[tuple[Any, ...], EpisodeResult],
) -> list[Chunk]:
    chunks = []
    for task in tasks:
        for contender in field:
            missing = []
            for seed in seeds:
                key = key_of(task, table, contender.player, seed)
                if key not in known:
                    missing.append(seed)
            if missing:
                chunks.append(Chunk(contender, task, tuple(missing)))
    return chunks


def _play_policies(
    chunks: list[Chunk], table: OutcomeTable, jobs: int
) -> Iterator[list[EpisodeResult]]:
    """Results chunk by chunk, in the order in which they are finished."""
    jobs = min(jobs, len(chunks))
    if jobs <= 1:
        for chunk in chunks:
            yield _play_chunk(
                chunk.contender.player, chunk.task, chunk.seeds, table
            )
        return
    with _one_thread_each():
        # spawn: workers share no lock or thread with this process, which may hold
        # torch's.
        pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _begin_worker, (table,)
        )
        try:
            futures: list[Future[list[EpisodeResult]]] = []
            for chunk in chunks:
                asked = chunk.contender.player, chunk.task, chunk.seeds
                futures.append(pool.submit(_play_in_worker, *asked))
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise SetupError(
                f"one of {jobs} worker processes died (out of memory, or killed). What "
                "was played is kept. "
                "Fix: call again, with fewer --jobs if it was memory."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _play_chunk(
    player: Player, task: Task, seeds: Sequence[int], table: OutcomeTable
) -> list[EpisodeResult]:
    policy = make_policy(player.policy_id)
    # matrices are small: on a busy machine a second thread made the GP ten times slower
    with threadpool_limits(1):
        return [play(policy, task, table, seed, player) for seed in seeds]


_worker_table: list[OutcomeTable] = []


def _begin_worker(table: OutcomeTable) -> None:
    """The table at hand, and no waiting for work after this process's starter was
    killed.
    """
    die_with_parent()
    _worker_table[:] = [table]


def _play_in_worker(
    player: Player, task: Task, seeds: Sequence[int]
) -> list[EpisodeResult]:
    return _play_chunk(player, task, seeds, _worker_table[0])


def _play_agent(
    contender: Contender, chunks: list[Chunk], table: OutcomeTable
) -> Iterator[list[EpisodeResult]]:
    """Batches of a suite's tasks that miss the same seeds; the conversation of each
    task's first seed is kept.
    """
    if contender.make_agent is None or not chunks:
        return
    agent = contender.make_agent()
    batches: dict[tuple[str, tuple[int, ...]], list[Task]] = {}
    for chunk in chunks:
        key = chunk.task.suite_id, chunk.seeds
        batches.setdefault(key, []).append(chunk.task)
    for (_, seeds), tasks in sorted(batches.items(), key=itemgetter(0)):
        at_once = contender.tasks_at_once or len(tasks)
        for begin in range(0, len(tasks), at_once):
            some = tasks[begin : begin + at_once]
            played = []
            for i, one in enumerate(agent.play_many(some, table, seeds)):
                calls = _calls(contender, one, keep=i % len(seeds) == 0)
                played.append(result_of(one.episode, contender.player, calls))
            yield played


def _calls(contender: Contender, one: Any, keep: bool) -> Calls:
    traced = 0
    numbers = 0
    if contender.traced_numbers:
        traced, numbers = contender.traced_numbers(one.conversation)
    return Calls(
        one.n_calls,
        one.n_malformed,
        traced,
        numbers,
        list(one.conversation) if keep else [],
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers inherit one numeric thread each: two processes with two threads each are
    slower than with one.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Writer:
    """Collects results, writes parts every FLUSH_S seconds and says how far it is."""

    def __init__(self, out_url: str, n_wanted: int):
        self.out_url = out_url
        self.n_wanted = n_wanted
        self.results: list[EpisodeResult] = []
        self._progress = Progress("evaluate", n_wanted)
        self._waiting: list[EpisodeResult] = []
        self._written_s = time.monotonic()

    def add(self, results: list[EpisodeResult]) -> None:
        self.results += results
        self._waiting += results
        n = len(self.results)
        who = f" ({results[0].player} on {results[0].suite})" if results else ""
        self._progress.reach(n, f"{n}/{self.n_wanted} episodes{who}")
        if time.monotonic() - self._written_s > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            write_parts(self.out_url, self._waiting)
        self._waiting = []
        self._written_s = time.monotonic()

    def close(self) -> None:
        self.flush()
        self._progress.close()
