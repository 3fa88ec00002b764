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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autollm.core.errors import SourceError
from autollm.core.records import content_hash
from autollm.logs.readers.cells import Cells
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation, Role

RUNS = "runs.jsonl"
FETCHED_SCHEMA = "autollm.fetched/1"
N_WORKERS = 8
"""Histories asked for at once; servers of both tools answer 429 from some 20 on."""
_HISTORY = re.compile(r"histories/[^/]+\.jsonl")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True)
class Job:
    """One run's history: `mark` changes when the run has gone on, `fetch` asks for it."""

    run_id: str
    mark: str
    fetch: Callable[[], Sequence[Cells]]


def shown_address(address: str) -> str:
    """An address without the name and password that may stand in it."""
    return re.sub(r"//[^/@\s]*@", "//", address)


def _history_path(run_id: str) -> str:
    """Where a run's history stands; ids that are no file names are hashed."""
    is_plain = _PLAIN.fullmatch(run_id) and not run_id.startswith(".")
    return f"histories/{run_id if is_plain else content_hash(run_id)}.jsonl"


def write_runs(
    folder: Path, tool: str, address: str, runs: Sequence[Cells]
) -> None:
    """The list of runs, and the mark of the tool that they are of."""
    head = {"schema": FETCHED_SCHEMA, "tool": tool, "n_runs": len(runs)}
    _write_lines(folder / RUNS, [head, *runs])
    (folder / f"{tool}.fetched").write_text(f"{address}\n")


def _write_lines(path: Path, records: Iterable[Cells]) -> None:
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
    path = folder / _history_path(job.run_id)
    try:
        with path.open(encoding="utf-8") as lines:
            head = json.loads(next(lines, "{}"))
    except (OSError, ValueError):
        return False
    return isinstance(head, dict) and head.get("mark") == job.mark


def _fetch_one(folder: Path, job: Job) -> None:
    rows = job.fetch()
    head = {"schema": FETCHED_SCHEMA, "run_id": job.run_id, "mark": job.mark}
    _write_lines(folder / _history_path(job.run_id), [head, *rows])


class FetchedReader:
    """Reads what was fetched. A tool's reader says what its runs and rows are."""

    format: ClassVar[str]
    tool: ClassVar[str]
    roles: ClassVar[Mapping[str, Role]]

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        if not {RUNS, f"{self.tool}.fetched"} <= set(listing):
            return ()
        return (RUNS, *filter(_HISTORY.fullmatch, listing))

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run_id", self.roles)
        runs: Cells = {}
        for line, record, text in _records_of(builder, opened.files[RUNS]):
            with builder.setting_aside(line, text, RUNS):
                run_id, run = self.run_of(builder, record, line)
                runs[_history_path(run_id)] = run
        for path, file in sorted(opened.files.items()):
            if path not in runs:
                continue
            for line, record, text in _records_of(builder, file):
                with builder.setting_aside(line, text, path):
                    self.take(builder, runs[path], record, line)
        self.finish(builder, list(runs.values()))
        return [builder.relation()]

    def run_of(
        self, builder: RelationBuilder, record: Cells, line: int
    ) -> tuple[str, Any]:
        """The id of a run, and what `take` shall know of it."""
        raise NotImplementedError

    def take(
        self,
        builder: RelationBuilder,
        run: Any,
        record: Cells,
        line: int,
    ) -> None:
        """One record of a run's history."""
        raise NotImplementedError

    def finish(self, builder: RelationBuilder, runs: Sequence[Any]) -> None:
        """After all histories."""


def _records_of(
    builder: RelationBuilder, opened: OpenedFile
) -> Iterator[tuple[int, Cells, bytes]]:
    """The objects after the head, with their lines."""
    for line_number, line in builder.lines(opened):
        record: Cells = {"schema": ""}
        with builder.setting_aside(line_number, line, opened.name):
            record = parse_object(line, "a line")
        if "schema" not in record:
            yield line_number, record, line
