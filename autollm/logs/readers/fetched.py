"""Runs that are fetched from a server: a folder that fills up run by run, and can be
filled on after a break.

    <folder>/runs.jsonl                the head, then a run a line
    <folder>/histories/<run>.jsonl     the head (with the run's mark), then its rows

Invariant: a history file is written whole or not at all; one whose mark is the run's is
not asked for again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autollm.core.errors import SourceError
from autollm.core.records import content_hash

FETCHED_SCHEMA = "autollm.fetched/1"
N_WORKERS = 8
"""Histories asked for at once; servers of both tools answer 429 from some 20 on."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True)
class Job:
    """One run's history: `mark` changes when the run has gone on, `fetch` asks for it."""

    run_id: str
    mark: str
    fetch: Callable[[], Sequence[dict[str, Any]]]


def shown_address(address: str) -> str:
    """An address without the name and password that may stand in it."""
    return re.sub(r"//[^/@\s]*@", "//", address)


def history_path(folder: str, run_id: str) -> str:
    """Where a run's history stands; ids that are no file names are hashed."""
    is_plain = _PLAIN.fullmatch(run_id) and not run_id.startswith(".")
    name = run_id if is_plain else content_hash(run_id)
    below = f"histories/{name}.jsonl"
    return f"{folder}/{below}" if folder else below


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """JSON lines, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writing = path.with_name(f".{path.name}.writing")
    with writing.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record) + "\n")
    os.replace(writing, path)


def fetch_histories(
    folder: Path,
    jobs: Sequence[Job],
    errors: tuple[type[Exception], ...],
    say: Callable[[str], None],
) -> None:
    """The histories that are not there yet, several at once.

    Raises:
        SourceError: some could not be fetched; those that came are kept.
    """
    missing = [job for job in jobs if not _is_there(folder, job)]
    say(f"{len(jobs) - len(missing)} of {len(jobs)} histories are here already")
    failed: list[str] = []
    n_done = 0
    with ThreadPoolExecutor(N_WORKERS) as pool:
        waiting = {pool.submit(_fetch_one, folder, job): job for job in missing}
        for future in as_completed(waiting):
            error = future.exception()
            n_done += 1
            if error is None:
                say(f"{n_done} of {len(missing)} histories")
            elif isinstance(error, errors):
                failed.append(f"{waiting[future].run_id}: {str(error)[:200]}")
            else:
                raise error
    if failed:
        raise SourceError(
            f"{len(failed)} of {len(jobs)} histories could not be fetched, the first: "
            f"{sorted(failed)[0]}. What came is kept. Fix: run the same command again."
        )


def _is_there(folder: Path, job: Job) -> bool:
    try:
        with Path(history_path(str(folder), job.run_id)).open(
            encoding="utf-8"
        ) as lines:
            head = json.loads(next(lines, "{}"))
    except (OSError, ValueError):
        return False
    return isinstance(head, dict) and head.get("mark") == job.mark


def _fetch_one(folder: Path, job: Job) -> None:
    rows = job.fetch()
    head = {"schema": FETCHED_SCHEMA, "run_id": job.run_id, "mark": job.mark}
    path = Path(history_path(str(folder), job.run_id))
    write_lines(path, [head, *rows])
