"""Which files a lake holds, and whether one has landed under the mapping that it has
now.

Invariant: a file that has landed under another mapping is read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autollm.core.mappings.mapping import Mapping
from autollm.logs.choosing.catalog import MappingChoice
from autollm.logs.lake.bronze import Bronze
from autollm.logs.opening.opened import Opened
from autollm.logs.readings import Reading

_COLUMNS = [
    "sha256",
    "source",
    "mapping_id",
    "file",
    "path_id",
    "file_version",
    "n_lines",
    "bytes",
]


@dataclass(frozen=True)
class Landed:
    """A file of an earlier landing, as the table of files has it."""

    source: str
    mapping_id: str
    name: str
    n_lines: int


class KnownFiles:
    """The files of earlier landings, and those of this one. `again` are the sources that
    are read anew: those that are asked for, and those whose mapping has changed.
    """

    def __init__(
        self, bronze: Bronze, choice: MappingChoice, again: Iterable[str]
    ):
        self._choice = choice
        rows = bronze.read("files", _COLUMNS)
        now = {m.source: m.mapping_id for m in choice.candidates}
        changed = set()
        for _, source, mapping_id, *_ in rows:
            if mapping_id and now.get(source, mapping_id) != mapping_id:
                changed.add(source)
        self.again = tuple(sorted({*again, *changed}))
        landed = bronze.read("runs", ["source"]) if self.again else []
        self._n_before = Counter(source for (source,) in landed)
        self._versions: dict[str, int] = {}
        self._landed: dict[str, list[Landed]] = {}
        self._sizes: set[int] = set()
        for row in rows:
            (
                sha256,
                source,
                mapping_id,
                name,
                path_id,
                version,
                n_lines,
                size,
            ) = row
            self._sizes.add(size)
            if path_id:
                last = self._versions.get(path_id, 0)
                self._versions[path_id] = max(last, version)
            if source not in self.again:
                self._add(sha256, Landed(source, mapping_id, name, n_lines))

    def _add(self, sha256: str, entry: Landed) -> None:
        self._landed.setdefault(sha256, []).append(entry)

    def add(self, reading: Reading) -> None:
        """Take a reading in that has come to its end."""
        mapping_id = reading.mapping.mapping_id if reading.mapping else ""
        entry = Landed(
            reading.source_name, mapping_id, reading.name, reading.n_lines
        )
        self._add(reading.sha256, entry)
        self._sizes.add(reading.n_bytes)

    def fewer_runs(self, readings: Sequence[Reading]) -> list[str]:
        """What sources lost when they were read anew: no run vanishes unsaid."""
        found = []
        for source in self.again:
            mine = [r for r in readings if r.source_name == source]
            n_now = sum(reading.n_runs for reading in mine)
            n_before = self._n_before[source]
            if n_now < n_before:
                found.append(
                    f"source {source}: {n_before} runs had landed, {n_now} are left now "
                    "that its mapping reads them anew. Fix: if that is not meant, put the "
                    f"columns of mappings/{source}.toml back, then: autollm ingest --again "
                    f"{source}"
                )
        return found

    def has_size(self, n_bytes: int) -> bool:
        """Whether a file of this size came before, which may be the same."""
        return n_bytes in self._sizes

    def next_version(self, path_id: str) -> int:
        """The version of the next file of a path."""
        return self._versions.get(path_id, 0) + 1

    def holds(self, sha256: str, name: str | None = None) -> bool:
        """Whether these bytes came before, under this name where one is given; whatever
        was made of them.
        """
        entries = self._landed.get(sha256, []) if sha256 else []
        return any(name is None or entry.name == name for entry in entries)

    def has_copy(self, sha256: str) -> bool:
        """Whether these bytes have been read with a mapping that there still is, whatever
        they were called.
        """
        for entry in self._landed.get(sha256, []):
            is_read = entry.mapping_id and entry.n_lines
            if is_read and self._choice.for_source(entry.source) is not None:
                return True
        return False

    def has_landed(
        self,
        opened: Opened,
        mapping: Mapping | None,
        by_name: bool = False,
        is_log: bool = False,
    ) -> bool:
        """Whether these bytes have landed under the mapping that they have now; under any
        where none means them. Files of pairs may have equal bytes and different meanings,
        so that their names count.
        """
        is_unclaimed = mapping is None and self._choice.named is None
        if is_unclaimed and not is_log and self.has_copy(opened.sha256):
            return True
        for entry in (
            self._landed.get(opened.sha256, []) if opened.sha256 else []
        ):
            now = mapping
            if is_log:
                now = self._choice.for_source(entry.source)
                if self._choice.named is not None and now is None:
                    continue
            is_same = (now.source if now else "") == (
                entry.source if now else ""
            )
            is_same &= (now.mapping_id if now else "") == entry.mapping_id
            if by_name:
                is_same &= entry.name == opened.name and entry.n_lines > 0
            if is_same:
                return True
        return False
