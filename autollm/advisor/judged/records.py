"""Answers as they come: one file a question and seed, so that a judge that was stopped
goes on where it was.

A policy's proposal is kept under the digest of all that it read and of its code; the
advice's answer under the digest of the table and of the advisor's code.

Invariant: a file is whole or absent; what is read back is what was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autollm.core import files as storage
from autollm.core.errors import SnapshotError
from autollm.core.identity import code_digest, identity_of
from autollm.core.records import content_hash
from autollm.core.sealed import read_sealed, write_sealed

REMEDY = "remove this file; it is made again."


def made_by(
    module: str,
    table_id: str,
    **more: Any,
) -> str:
    """Identity of what a module makes of a table, and of what else it hangs on."""
    code = code_digest([module])
    return identity_of({"code": code, "rows": table_id, **more})


@dataclass(frozen=True)
class Records:
    """Below `<home>/reports/advice_judge/`."""

    home: str

    def url(
        self,
        part: str,
        key: str,
    ) -> str:
        """Where the record of a part of the judge (`picks`, `reading` ...) lies."""
        name = f"{content_hash(key)[:16]}.json"
        return storage.join(self.home, "reports", "advice_judge", part, name)

    def read(
        self,
        part: str,
        key: str,
    ) -> dict[str, Any]:
        """The record, empty where there is none.

        Raises:
            SnapshotError: it is damaged.
        """
        url = self.url(part, key)
        if not storage.exists(url):
            return {}
        return read_sealed(url, SnapshotError, REMEDY)

    def write(
        self,
        part: str,
        key: str,
        fields: Mapping[str, Any],
    ) -> None:
        write_sealed(self.url(part, key), {"key": key, **fields})

    def known(
        self,
        part: str,
        key: str,
        identity: str,
        make: Callable[[], Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The record of that identity; made and written where there is none."""
        found = self.read(part, key)
        if found.get("identity") != identity:
            self.write(part, key, {"identity": identity, **make()})
            found = self.read(part, key)
        return found
