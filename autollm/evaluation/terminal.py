"""The leaderboard as tables for a terminal. What does not belong here: any number that
is not in leaderboard.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

NOTE = (
    "regret after k trials: 0 is the best recorded row, 1 the median; [95 % interval "
    "over {unit}]; "
    "bad: malformed, repeated or off-table calls"
)


def print_board(board: dict[str, Any], console: Console | None = None) -> None:
    """Print one table a suite, best policy first, with the paired differences of agents
    below it. Fits 80 columns.
    """
    console = console or Console()
    for name in dict.fromkeys(map(group_name, board["rows"])):
        console.print(_table(name, [r for r in board["rows"] if group_name(r) == name]))
        pairs = [
            p
            for p in board["pairs"]
            if group_name(p) == name and p["measure"] == "regret"
        ]
        if pairs:
            console.print("", _pair_table(pairs), sep="\n")
        console.print()


def group_name(row: dict[str, Any]) -> str:
    """What is compared with what: `lab-pretraining-v3, declared, redraw`."""
    return ", ".join(
        [
            row["suite"],
            row["setting"],
            row["target_rows"],
            *(["masked"] if row["masked"] else []),
        ]
    )


def by_policy(rows: Sequence[dict[str, Any]]) -> list[dict[int, dict[str, Any]]]:
    """Rows of one group as {k: row} per policy, lowest regret at the smallest k first."""
    out: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        out.setdefault(row["policy"], {})[row["k"]] = row
    return sorted(out.values(), key=lambda ks: ks[min(ks)]["regret_mean"])


def bounds_of(row: dict[str, Any]) -> tuple[float | None, float | None, str]:
    """The interval to show: over experiments where there is one, else over seeds; and
    which of them it is.
    """
    if row["regret_low"] is not None:
        return row["regret_low"], row["regret_high"], "experiments"
    return row["regret_seed_low"], row["regret_seed_high"], "seeds"


def short(value: float | None) -> str:
    """Three decimals without the leading zero: `.052`, `-.120`, `1.000`."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return (
        "-" + text[2:]
        if text.startswith("-0.")
        else text.removeprefix("0")
        if text.startswith("0.")
        else text
    )


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    ks, first = sorted({r["k"] for r in rows}), rows[0]
    table = Table(
        title=f"{name}: {first['n_tasks']} targets x {first['n_seeds']} seeds",
        title_justify="left",
        caption=escape(NOTE.format(unit=bounds_of(first)[2])),
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
        bad = sum(last[share] for share in ("malformed", "repeated", "off_table"))
        table.add_row(
            escape(last["policy"]),
            *(_with_bounds(own[k]) if k in own else "" for k in ks),
            f"{100 * bad:.0f}%",
            style="bold" if last["stage"] else None,
        )
    return table


def _with_bounds(row: dict[str, Any]) -> str:
    low, high, _ = bounds_of(row)
    return (
        short(row["regret_mean"])
        if low is None
        else f"{short(row['regret_mean'])} {escape(f'[{short(low)},{short(high)}]')}"
    )


def _pair_table(pairs: Sequence[dict[str, Any]]) -> Table:
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
    for p in pairs:
        wide = p["low"] is not None
        low, high, unit = (
            (p["low"], p["high"], "experiments")
            if wide
            else (p["seed_low"], p["seed_high"], "seeds")
        )
        bounds = f"{short(low)} to {short(high)}" if low is not None else "one seed"
        table.add_row(
            escape(f"{p['policy']} - {p['baseline']}"),
            str(p["k"]),
            short(p["difference"]),
            bounds,
            unit,
            "yes" if p["includes_zero"] else "no",
        )
    return table
