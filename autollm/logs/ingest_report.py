"""What an ingest did, for the command line and for metadata.

Invariant: `n_lines_read + n_lines_quarantined == n_lines`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from autollm.logs.lake.ledger import Changed

SHOWN = 20
"""Quarantined entries, changes and ignored files that a report lists; the tables hold
all.
"""


@dataclass(frozen=True)
class Quarantined:
    """One entry of the quarantine table: `n_lines` lines of `file` from `line` on
    (1-based).
    """

    file: str
    line: int
    n_lines: int
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A file that was left alone, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class IngestReport:
    """What one call did. `batch_id` is None when everything had landed before.

    Lines are those of whole files: headers, settings and points are lines, too.
    `n_files_again` are files that were read anew from their raw copies, `n_runs_seen`
    are rows that say what is known already, `changed` runs of which a
    later reading says something else. `ignored` are files that no reader or mapping
    claims. `warnings` are what looks wrong about a whole source, `notes` what readers
    say of files. `again` are sources that were read anew from the raw files, since
    their mapping changed or somebody asked.
    """

    batch_id: str | None
    n_files_new: int
    n_files_again: int
    n_files_skipped: int
    n_runs: int
    n_runs_seen: int
    n_runs_changed: int
    n_metric_points: int
    n_lines: int
    n_lines_read: int
    n_lines_quarantined: int
    quarantined: tuple[Quarantined, ...]
    changed: tuple[Changed, ...]
    n_ignored: int
    ignored: tuple[str, ...]
    ignored_reasons: tuple[str, ...]
    again: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_read_nothing(self) -> bool:
        """Whether nothing of what was named could be read, now or before."""
        n_good = self.n_runs + self.n_runs_seen + self.n_files_skipped
        return (
            n_good == 0
            and (self.n_files_new + self.n_files_again + self.n_ignored) > 0
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for metadata."""
        return dataclasses.asdict(self)
