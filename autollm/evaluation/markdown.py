"""Leaderboards and other rows as Markdown: for metadata, pages and the README. What
does not belong here: numbers of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autollm.evaluation.terminal import bounds_of


def markdown(rows: Sequence[dict[str, Any]], limit: int = 60) -> str:
    """A Markdown table of dicts with equal keys; empty text for no rows. Numbers to 4
    significant digits.
    """
    if not rows:
        return ""
    names = list(rows[0])
    lines = [
        names,
        ["---"] * len(names),
        *[[_cell(row[n]) for n in names] for row in rows[:limit]],
    ]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text if len(rows) <= limit else f"{text}\n\n... and {len(rows) - limit} more"


def score_rows(board: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a suite and policy, regret at each k, best first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    ks = sorted({r["k"] for r in board["rows"]})
    for r in board["rows"]:
        row = rows.setdefault(
            (r["suite"], r["policy"]),
            {"suite": r["suite"], "policy": r["policy"], **{f"k={k}": "" for k in ks}},
        )
        low, high, _ = bounds_of(r)
        row[f"k={r['k']}"] = f"{r['regret_mean']:.3f}" + (
            f" [{low:.3f}, {high:.3f}]" if low is not None else ""
        )
    return sorted(rows.values(), key=lambda row: (row["suite"], row[f"k={ks[0]}"]))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
