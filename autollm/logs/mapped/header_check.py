"""Whether a relation has the columns that a mapping needs.

Invariant: what a run log may leave out in one run (the objective of a run in flight,
its costs) is no missing column; a table that lacks a column is another table.
"""

from __future__ import annotations

import difflib

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping
from autollm.core.mappings.mapping_checks import TABLES
from autollm.logs.relation import FILE_COLUMN, OWN_COLUMNS, Relation

SHOWN = 60
"""Columns that a message lists."""


def check_columns(
    mapping: Mapping, relation: Relation, columns: list[str]
) -> None:
    """Compare a table's header with what the mapping needs.

    Raises:
        MappingError: naming the missing column, the nearest one there is, and the
            remedy.
    """
    if relation.format not in TABLES:
        return
    header = [name for name in columns if name not in OWN_COLUMNS]
    known = {*header, FILE_COLUMN}
    missing = [name for name in mapping.needed_columns() if name not in known]
    if missing:
        close = difflib.get_close_matches(missing[0], header, n=1, cutoff=0.0)
        also = f" (missing too: {missing[1:]})" if missing[1:] else ""
        raise MappingError(
            f"no column {missing[0]!r}, which the mapping {mapping.source!r} "
            f"needs{also}. Nearest: {close[0] if close else 'none'!r}. Columns: "
            f"{', '.join(header[:SHOWN])}. Fix: name the right column in the mapping "
            "file, or use the mapping of this table."
        )
    for knob, pattern in mapping.unmatched_patterns(header):
        raise MappingError(
            f"no column like {pattern!r}, which the knob {knob!r} of the mapping "
            f"{mapping.source!r} needs. Columns: {', '.join(header[:SHOWN])}. Fix: "
            "correct `columns` of that knob."
        )
