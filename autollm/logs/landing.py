"""Landing: raw logs into the lake, once, with nothing lost.

Each file is copied to `<lake>/landing/<sha[:2]>/<sha>/<name>` and read by its format's
reader; all files of one call are written as one bronze batch. A file that has landed
(by sha256) is skipped; a run that another file brought first goes to quarantine; so
does every line that cannot be used, with file, line and reason. What does not belong
here:
formats, the warehouse, schedules; `session.py` does the work of one call.

Invariant: killed at any moment, the lake holds the batch whole or not at all, and
landing again gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from autollm.core.errors import RecordError
from autollm.logs.bronze import Batch, Bronze
from autollm.logs.catalog import MappingChoice, own_mappings
from autollm.logs.containers import find_files
from autollm.logs.ingest_report import IngestReport
from autollm.logs.mapping import Mapping
from autollm.logs.session import Session


def ingest(
    paths: Iterable[str | Path],
    lake: str,
    mapping: Mapping | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> IngestReport:
    """Land log files, tables, archives, or folders of them in the lake at `lake`
    (fsspec URL or path).

    With a mapping, files named in `paths` are read as its format and folders are
    searched for its `files`; without one, those added to the lake and the built-in ones
    are used (run logs by their header's source, tables by file name). `say` is told how
    far a long file is.

    Raises:
        FileNotFoundError: a path does not exist.
        MappingError: a table that no mapping describes or fits; nothing has been
            written to bronze then.
        BusyError: another ingest is writing to this lake.
    """
    bronze = Bronze(lake)
    choice = MappingChoice(mapping, tuple(own_mappings(lake).values()))
    with bronze.writing(), Batch() as batch:
        session = Session(bronze, choice, batch, say)
        for path in paths:
            files, is_folder = find_files(str(path))
            for raw in files:
                session.land(raw, claimed_only=is_folder)
        session.land_rest()
        return session.commit()


def require_bronze(lake: str) -> None:
    """Check that there is something to build tables from.

    Raises:
        RecordError: no batch with a run has landed.
    """
    bronze = Bronze(lake)
    if not any(n_runs for (n_runs,) in bronze.read("files", ["n_runs"])):
        raise RecordError(
            f"no run has landed in {bronze.batches}: there is nothing to build tables "
            "from. "
            "Fix: autollm ingest PATH (a log, a table, an archive or a folder)."
        )


def bronze_path(lake: str) -> str:
    """Where bronze lies, as dbt wants it: a plain path for local lakes, a URL for
    others.
    """
    bronze = Bronze(lake)
    path = f"{bronze.root}/bronze"
    return path if bronze.is_local else bronze.fs.unstrip_protocol(path)
