"""What the landing reads as one, with its reader and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

from autollm.core.mappings.mapping import Mapping
from autollm.logs.opening.contents import member_path_id
from autollm.logs.opening.opened import Opened, RawFile
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
    def place(self) -> str:
        """See `Found.place`; of a member, its path below the archive."""
        is_file = self.kind == "file" and self.raw is not None
        return self.raw.found.place if is_file else self.opened.name

    @property
    def raw_sha256(self) -> str:
        return self.raw.sha256 if self.raw else self.opened.sha256

    @property
    def own_path_id(self) -> str:
        """That of its file, or of the member or part of it that this is."""
        if self.kind in ("member", "part"):
            return member_path_id(self.path_id, self.opened.name)
        return self.path_id

    def reading(
        self, number: int, mapping: Mapping | None, is_again: bool = False
    ) -> Reading:
        """The `number`-th reading of an ingest, of this unit."""
        return Reading(
            number,
            self.opened.name,
            self.opened.sha256,
            self.raw_sha256,
            self.own_path_id,
            self.kind,
            self.opened.n_bytes,
            self.reader.format if self.reader else "",
            mapping,
            is_again=is_again,
        )
