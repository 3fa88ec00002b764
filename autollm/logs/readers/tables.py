"""Whole tables of a database, as the readers of trackers' stores take them.

Invariant: rows come in the order written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from autollm.logs.readers.cells import Row


class Tables(Protocol):
    """Tables by name (autollm.logs.readers.tools.sqlite_stores.Database)."""

    def rows(self, table: str) -> Iterable[Row]:
        """Rows by column; none of a table that is not there."""
        ...
