"""Whole tables of a database, as the readers of trackers' stores take them.

Invariant: rows come in the order written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

Row = Mapping[str, Any]


class Tables(Protocol):
    """Tables by name (autollm.logs.readers.sqlite_stores.Database)."""

    def rows(self, table: str) -> Iterable[Row]:
        """Rows by column; none of a table that is not there."""
        ...
