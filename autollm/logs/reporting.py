"""What an ingest tells: counts and reasons of its readings.

Of a path that was read more than once in one ingest (a source is read anew, and has a
newer version of the file) the last reading is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from autollm.logs.ingest_report import SHOWN, Ignored, IngestReport, Quarantined
from autollm.logs.lake.bronze_tables import Batch
from autollm.logs.lake.known_files import KnownFiles
from autollm.logs.readings import Landing, Reading
from autollm.logs.source_checks import source_warnings

_COUNTED = ("file", "member", "folder")
"""Kinds of files that are counted: an archive and a folder's parts come with them."""


def report_of(
    batch_id: str | None,
    readings: Sequence[Reading],
    landing: Landing,
    batch: Batch,
    known: KnownFiles,
    n_skipped: int,
    ignored: Sequence[Ignored],
    notes: Sequence[str],
) -> IngestReport:
    """The report of an ingest; without a batch nothing of its readings is new."""
    last = {reading.path_id: reading for reading in readings}
    told = [r for r in readings if last[r.path_id] is r and batch_id]
    files = [reading for reading in told if reading.kind in _COUNTED]
    n_again = sum(map(attrgetter("is_again"), files))
    quarantined: list[Quarantined] = []
    for reading in told:
        quarantined += reading.shown[: SHOWN - len(quarantined)]
    n_lines = sum(reading.n_lines for reading in told)
    n_bad = sum(reading.n_bad for reading in told)
    tables, totals = batch.tables, landing.totals
    return IngestReport(
        batch_id=batch_id,
        n_files_new=len(files) - n_again,
        n_files_again=n_again,
        n_files_skipped=n_skipped,
        n_runs=len(tables["runs"]) if batch_id else 0,
        n_runs_seen=totals.n_seen,
        n_runs_changed=totals.n_changed,
        n_metric_points=len(tables["run_metrics"]) if batch_id else 0,
        n_lines=n_lines,
        n_lines_read=n_lines - n_bad,
        n_lines_quarantined=n_bad,
        quarantined=tuple(quarantined),
        changed=tuple(totals.changed),
        n_ignored=len(ignored),
        ignored=tuple(map(attrgetter("file"), ignored[:SHOWN])),
        ignored_reasons=tuple(map(attrgetter("reason"), ignored[:SHOWN])),
        again=known.again,
        warnings=(
            *source_warnings(landing.checks),
            *known.fewer_runs(readings),
        ),
        notes=tuple(notes),
    )
