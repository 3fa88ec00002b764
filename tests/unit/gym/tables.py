"""The toy tables of autollm.testing, under the name that our own tests use."""

from autollm.testing.tables import (
    FAMILIES,
    MIXED,
    SPACE,
    make_family_table,
    make_mixed_table,
    make_rich_table,
    make_table,
    make_task,
    mixed_configuration,
    with_curves,
)

__all__ = [
    "FAMILIES",
    "MIXED",
    "SPACE",
    "make_family_table",
    "make_mixed_table",
    "make_rich_table",
    "make_table",
    "make_task",
    "mixed_configuration",
    "with_curves",
]
