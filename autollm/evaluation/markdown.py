"""Leaderboards and other rows as Markdown: for metadata, pages and the README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autollm.evaluation.scores import Leaderboard, Score


def markdown(rows: Sequence[dict[str, Any]], limit: int = 60) -> str:
    """A Markdown table of dicts with equal keys; empty text for no rows. Numbers to 4
    significant digits.
    """
    if not rows:
        return ""
    names = list(rows[0])
    lines = [_line(list(map(_cell, names))), _line(["---"] * len(names))]
    for row in rows[:limit]:
        lines.append(_line([_cell(row[name]) for name in names]))
    if len(rows) > limit:
        lines += ["", f"... and {len(rows) - limit} more"]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def score_rows(board: Leaderboard) -> list[dict[str, Any]]:
    """One row a suite and policy, regret at each k, best first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    ks = sorted({score.k for score in board.rows})
    columns = [f"k={k}" for k in ks]
    for score in board.rows:
        head = {"suite": score.suite, "policy": score.player}
        blank = dict.fromkeys(columns, "")
        row = rows.setdefault((score.suite, score.player), {**head, **blank})
        row[f"k={score.k}"] = _regret(score)
    return sorted(
        rows.values(), key=lambda row: (row["suite"], row[columns[0]])
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
