"""What an ingest did, for the command line and for metadata.

What does not belong here: doing it. Invariant: `n_lines_read + n_lines_quarantined ==
n_lines`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

SHOWN = 20
"""Quarantined entries and ignored files that a report lists; the tables hold all."""


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
class IngestReport:
    """What one call did. `batch_id` is None when everything had landed before.

    `ignored` are files in folders and archives that no mapping claims. `warnings` are
    what looks wrong about a whole source, each with its remedy. `stale_sources` landed
    under another version of their mapping. Remedy: remove `bronze/batches` and
    `quarantine` of the lake and ingest its `landing` folder, which keeps all raw bytes.
    """

    batch_id: str | None
    n_files_new: int
    n_files_skipped: int
    n_runs: int
    n_metric_points: int
    n_lines: int
    n_lines_read: int
    n_lines_quarantined: int
    quarantined: tuple[Quarantined, ...]
    n_ignored: int
    ignored: tuple[str, ...]
    stale_sources: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for metadata."""
        return dataclasses.asdict(self)
