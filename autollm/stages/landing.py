"""What the main job lands: the embedded lab runs, the public tables at hand or fetched,
runs of the tracking server that was named, and whatever was dropped into the inbox.

Invariant: `fingerprint` changes whenever landing could bring something.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from autollm.core.errors import RecordError
from autollm.core.files import exists, join, read_bytes, write_atomic
from autollm.core.locks import hold
from autollm.core.places import Places, embedded_archives
from autollm.core.records import canonical_json, content_hash
from autollm.logs.bronze import Bronze
from autollm.logs.ingest_report import IngestReport
from autollm.logs.landing import ingest, require_bronze
from autollm.logs.sources import public_tables, tables_below
from autollm.stages.settings import Settings
from autollm.stages.trackers import fetch_tracker, tracker_paths

WAIT_S = 120.0
INPUTS = "inputs"
"""File that holds the fingerprint of what landed last."""


def sources(places: Places, settings: Settings) -> list[Path]:
    """Files and folders that a run lands, in a fixed order."""
    found = embedded_archives() if settings.embedded else []
    found += (
        [*public_tables(), *tables_below(places.sources)]
        if settings.public
        else []
    )
    found += tracker_paths(places)
    return found + ([places.inbox] if files_below(places.inbox) else [])


def land(places: Places, settings: Settings) -> IngestReport:
    """Land all sources; what has landed before is skipped.

    Raises:
        RecordError: there is no run at all to build tables from. BusyError: another
            process is landing. MappingError: see ingest.
    """
    warning = fetch_tracker(places)
    found = sources(places, settings)
    if not found and not Bronze(places.home).read("files", ["n_runs"]):
        raise RecordError(
            "nothing to land: no archive under data/lab, AUTOLLM_DATA_DIR is "
            f"{os.environ.get('AUTOLLM_DATA_DIR') or 'unset'} "
            f"and {places.inbox} is empty. Fix: autollm ingest PATH, or put logs into "
            "the inbox."
        )
    with hold(places.locks / "landing.lock", "the landing zone", WAIT_S):
        before = fingerprint(found)
        report = ingest(found, places.home)
        write_atomic(join(places.landing, INPUTS), before.encode())
    require_bronze(places.home)
    if warning:
        return replace(report, warnings=(*report.warnings, warning))
    return report


def landed_fingerprint(places: Places) -> str:
    """Fingerprint of the sources when they landed last; empty before the first time."""
    url = join(places.landing, INPUTS)
    return read_bytes(url).decode() if exists(url) else ""


def files_below(folder: Path) -> list[Path]:
    """Visible files below a folder, sorted."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).as_posix()
        is_hidden = f"/{inside}".find("/.") >= 0
        if path.is_file() and not is_hidden:
            found.append(path)
    return sorted(found)


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
