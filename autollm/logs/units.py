"""What is read as one, and the readings that an ingest makes of it.

Invariant: a member of an archive or a part of a folder has a path id of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from autollm.core.errors import RecordError
from autollm.core.mapping import Mapping
from autollm.core.records import content_hash
from autollm.logs.opening.opened import Opened, RawFile
from autollm.logs.readings import Reading
from autollm.logs.relation import FileReader


def parts_of(opened: Opened, reader: FileReader) -> list[Opened]:
    """The tables of a file, where it holds several that are read one by one."""
    find = getattr(reader, "parts", None)
    if find is None or opened.problem:
        return []
    try:
        names = find(opened)
    except RecordError:  # reading it says why
        return []
    found = []
    for name in names:
        digest = hashlib.sha256(f"{opened.sha256} {name}".encode()).hexdigest()
        whole = f"{opened.name}!{name}"
        found.append(replace(opened, name=whole, sha256=digest, part=name))
    return found


def member_path_id(path_id: str, name: str) -> str:
    """The path id of a member or part, by that of its archive or folder."""
    return f"{path_id}-{content_hash(name, 8)}"


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
