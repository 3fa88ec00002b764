"""What the main job lands: the embedded lab runs, the public tables at hand or fetched,
runs of the tracking server that was named, and whatever was dropped into the inbox. For
a table there that no mapping reads one is guessed, as `autollm ingest` does.

Invariant: `fingerprint` changes whenever landing could bring something.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from autollm.core.errors import RecordError
from autollm.core.files import exists, join, read_bytes, write_atomic
from autollm.core.locks import hold
from autollm.core.places import Places, embedded_archives
from autollm.core.records import canonical_json, content_hash
from autollm.logs.choosing.guesses import Guess, Guesser, nobody, problems_of
from autollm.logs.ingest_report import IngestReport
from autollm.logs.lake.bronze import Bronze
from autollm.logs.landing import ingest, require_bronze
from autollm.logs.proposals import TableOptions
from autollm.logs.sources import public_tables, tables_below
from autollm.stages.settings import Settings
from autollm.stages.trackers import fetch_tracker, tracker_paths

WAIT_S = 120.0
INPUTS = "inputs"
"""File that holds the fingerprint of what landed last."""


def sources(places: Places, settings: Settings) -> list[Path]:
    """Files and folders that a run lands, in a fixed order."""
    paths = embedded_archives() if settings.embedded else []
    paths += (
        [*public_tables(), *tables_below(places.sources)]
        if settings.public
        else []
    )
    paths += tracker_paths(places)
    return paths + ([places.inbox] if files_below(places.inbox) else [])


def land(
    places: Places,
    settings: Settings,
    say: Callable[[str], None] = lambda text: None,
) -> IngestReport:
    """Land all sources; what has landed before is skipped. `say` is told what was made
    of tables without a mapping; the report has it among its notes.

    Raises:
        RecordError: there is no run at all to build tables from. BusyError: another
            process is landing. MappingError: see ingest.
    """
    warning = fetch_tracker(places)
    paths = sources(places, settings)
    if not paths and not Bronze(places.home).read("files", ["n_runs"]):
        raise RecordError(
            "nothing to land: no archive under data/lab, AUTOLLM_DATA_DIR is "
            f"{os.environ.get('AUTOLLM_DATA_DIR') or 'unset'} "
            f"and {places.inbox} is empty. Fix: autollm ingest PATH, or put logs into "
            "the inbox."
        )
    with hold(places.locks / "landing.lock", "the landing zone", WAIT_S):
        before = fingerprint(paths)
        guesses = _guessed(places, paths)
        reasons = problems_of(guesses)
        report = ingest(paths, places.home, say=say, reasons=reasons)
        write_atomic(join(places.landing, INPUTS), before.encode())
    told: list[str] = []
    for guess in guesses:
        told += guess.told()
    for line in told:
        say(line)
    require_bronze(places.home)
    warnings = (*report.warnings, warning) if warning else report.warnings
    return replace(report, warnings=warnings, notes=(*report.notes, *told))


def _guessed(places: Places, found: list[Path]) -> list[Guess]:
    """Guesses for what a person put where no mapping reads it. Nobody can be asked here:
    an open question is a guess's problem, and stays until somebody answers it.
    """
    if places.inbox not in found:
        return []
    guesser = Guesser(places.home, TableOptions(), nobody, lambda text: None)
    return guesser.guess([str(places.inbox)])


def landed_fingerprint(places: Places) -> str:
    """Fingerprint of the sources when they landed last; empty before the first time."""
    url = join(places.landing, INPUTS)
    return read_bytes(url).decode() if exists(url) else ""


def files_below(folder: Path) -> list[Path]:
    """Visible files below a folder, sorted."""
    if not folder.is_dir():
        return []
    files = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).as_posix()
        is_hidden = f"/{inside}".find("/.") >= 0
        if path.is_file() and not is_hidden:
            files.append(path)
    return sorted(files)


def fingerprint(paths: list[Path]) -> str:
    """16 hex digits over name, size and time of change of every file at or below
    `paths`.
    """
    states = []
    for path in paths:
        for file in files_below(path) if path.is_dir() else [path]:
            stat = file.stat()
            states.append([str(file), stat.st_size, stat.st_mtime_ns])
    return content_hash(canonical_json(states, digits=None))


def table_counts(places: Places) -> dict[str, int]:
    """Rows of the bronze tables."""
    bronze = Bronze(places.home)
    columns = {
        "files": ["file"],
        "runs": ["run_id"],
        "run_metrics": ["run_id"],
        "spaces": ["space_id"],
    }
    return {
        name: len(bronze.read(name, wanted)) for name, wanted in columns.items()
    }
