"""Leaderboards and other rows as Markdown: for metadata, pages and the README. What
does not belong here: numbers of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autollm.evaluation.scores import Leaderboard, Score


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
    return (
        text
        if len(rows) <= limit
        else f"{text}\n\n... and {len(rows) - limit} more"
    )


def score_rows(board: Leaderboard) -> list[dict[str, Any]]:
    """One row a suite and policy, regret at each k, best first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    ks = sorted({score.k for score in board.rows})
    for score in board.rows:
        blank = {f"k={k}": "" for k in ks}
        head = {"suite": score.suite, "policy": score.policy}
        row = rows.setdefault((score.suite, score.policy), {**head, **blank})
        row[f"k={score.k}"] = _regret(score)
    return sorted(
        rows.values(), key=lambda row: (row["suite"], row[f"k={ks[0]}"])
    )


def _regret(score: Score) -> str:
    text = f"{score.regret_mean:.3f}"
    bounds = score.bounds
    if bounds.low is None:
        return text
    return f"{text} [{bounds.low:.3f}, {bounds.high:.3f}]"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
