"""What is read as one, and the readings that an ingest makes of it.

Invariant: a member of an archive or a part of a folder has a path id of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from autollm.core.mapping import Mapping
from autollm.core.records import content_hash
from autollm.logs.opened import Opened, RawFile
from autollm.logs.readings import Reading
from autollm.logs.relation import FileReader


@dataclass(frozen=True)
class Unit:
    """What is read as one: an opened file with its reader, and where it came from."""

    opened: Opened
    raw: RawFile | None
    kind: str
    path_id: str
    folder: str
    reader: FileReader | None = None

    @property
    def raw_sha256(self) -> str:
        return self.raw.sha256 if self.raw else self.opened.sha256

    def reading(self, number: int, mapping: Mapping | None) -> Reading:
        """The `number`-th reading of an ingest, of this unit."""
        path_id = self.path_id
        if self.kind in ("member", "part"):
            path_id = f"{path_id}-{content_hash(self.opened.name, 8)}"
        return Reading(
            number,
            self.opened.name,
            self.opened.sha256,
            self.raw_sha256,
            path_id,
            self.kind,
            self.opened.n_bytes,
            self.reader.format if self.reader else "",
            mapping,
        )
