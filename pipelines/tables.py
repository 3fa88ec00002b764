"""Rows as Markdown, for metadata that people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown(rows: Sequence[dict[str, Any]], limit: int = 60) -> str:
    """A Markdown table of dicts with equal keys; empty text for no rows. Numbers to 4 significant digits."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *[[_cell(row[n]) for n in names] for row in rows[:limit]]]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text if len(rows) <= limit else f"{text}\n\n... and {len(rows) - limit} more"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
