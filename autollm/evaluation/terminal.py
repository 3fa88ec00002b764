"""The leaderboard as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autollm.evaluation.results import having
from autollm.evaluation.scores import Leaderboard, Pair, Score

NOTE = (
    "regret after k trials: 0 is the best recorded row, 1 the median; [95 % interval "
    "over {unit}]; "
    "bad: malformed, repeated or off-table calls"
)


def print_leaderboard(
    board: Leaderboard, console: Console | None = None
) -> None:
    """Print one table a suite, best policy first, with the paired differences of agents
    below it. Fits 80 columns.
    """
    console = console or Console()
    for name, rows in board.groups.items():
        console.print(_table(name, rows))
        shown = having(board.pairs, group=name, measure="regret")
        if shown:
            console.print("", _pair_table(shown), sep="\n")
        console.print()


def by_policy(rows: Sequence[Score]) -> list[dict[int, Score]]:
    """Rows of one group as {k: row} per policy, lowest regret at the smallest k first."""
    out: dict[str, dict[int, Score]] = {}
    for row in rows:
        out.setdefault(row.player, {})[row.k] = row
    return sorted(out.values(), key=lambda ks: ks[min(ks)].regret_mean)


def short(value: float | None) -> str:
    """Three decimals without the leading zero: `.052`, `-.120`, `1.000`."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    if text.startswith("-0."):
        return "-" + text[2:]
    return text.removeprefix("0") if text.startswith("0.") else text


def _table(name: str, rows: Sequence[Score]) -> Table:
    ks = sorted({row.k for row in rows})
    first = rows[0]
    table = Table(
        title=f"{escape(name)}: {first.n_tasks} targets x {first.n_seeds} seeds",
        title_justify="left",
        caption=escape(NOTE.format(unit=first.bounds.over)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("policy", no_wrap=True)
    for k in ks:
        table.add_column(f"k={k}", justify="right", no_wrap=True)
    table.add_column("bad", justify="right", no_wrap=True)
    for own in by_policy(rows):
        last = own[max(own)]
        bad = last.malformed + last.repeated + last.off_table
        table.add_row(
            escape(last.player),
            *(_with_bounds(own.get(k)) for k in ks),
            f"{100 * bad:.0f}%",
            style="bold" if last.stage else None,
        )
    return table


def _with_bounds(row: Score | None) -> str:
    """Empty where the policy played fewer trials."""
    if row is None:
        return ""
    mean = short(row.regret_mean)
    bounds = row.bounds
    if bounds.low is None:
        return mean
    return f"{mean} {escape(f'[{short(bounds.low)},{short(bounds.high)}]')}"


def _pair_table(pairs: Sequence[Pair]) -> Table:
    """Paired differences of regret, over experiments where there are enough of them,
    else over seeds.
    """
    table = Table(
        title="difference of regret on the same tasks and seeds (negative: the first "
        "is better)",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("policy - baseline", overflow="fold")
    for heading in ("k", "diff", "95 % interval", "over", "zero in"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in pairs:
        bounds = pair.bounds
        words = f"{short(bounds.low)} to {short(bounds.high)}"
        table.add_row(
            escape(f"{pair.policy} - {pair.baseline}"),
            str(pair.k),
            short(pair.difference),
            words if bounds.low is not None else "one seed",
            bounds.over,
            "yes" if pair.includes_zero else "no",
        )
    return table
