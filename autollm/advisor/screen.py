"""An advice on one screen of a terminal.

What does not belong here: numbers that are not in the advice. Invariant: text of the
user's files is escaped, so that a name cannot write markup or move the cursor.
"""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autollm.advisor.answer import Advice, Checked, Interval, Proposal

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MARK = {"yes": "green", "partly": "yellow", "no": "red"}
VERDICTS = {
    "fine": "green",
    "wasteful": "yellow",
    "outside": "yellow",
    "risky": "red",
}


def show(advice: Advice, console: Console) -> None:
    """Print an advice."""
    console.print(_heading(advice))
    if advice.checked is not None:
        console.print(_checked(advice.checked))
    console.print(_recommendations(advice))
    if advice.allocation is not None:
        console.print(_split(advice))
    console.print(_answers(advice))
    for warning in advice.warnings:
        line = Text(f"! {warning.code}: ", style="yellow")
        console.print(line + _text(warning.text))
    console.print(_footer(advice))


def _heading(advice: Advice) -> Group:
    target = advice.target
    coordinates = ", ".join(
        f"{n} {_short(v)}" for n, v in target.fidelity.items()
    )
    first = Text("Next run at ", style="bold") + _text(coordinates)
    if target.times_evidence is not None:
        first += _text(
            f": {target.compute_flops:.3g} FLOPs, {target.times_evidence:.3g} times "
            "your most expensive evidence"
        )
    evidence = advice.evidence
    better = "lower" if advice.objective["direction"] == "min" else "higher"
    second = (
        f"{evidence['n_runs']} runs in {evidence['n_experiments']} experiments of "
        f"{advice.source}; {advice.objective['name']}, {better} is better"
    )
    if advice.basis == "prior":
        second += (
            "; one scale only: how optima move is a prior, not your evidence"
        )
    return Group(first, _text(second))


def _recommendations(advice: Advice) -> Table:
    table = Table(title="What to run", title_justify="left", expand=False)
    for column in (
        "",
        "configuration",
        "costs at most 1 % more compute",
        "expected",
    ):
        table.add_column(column)
    table.add_column("regret", justify="right")
    table.add_column("diverges", justify="right")
    for entry in advice.recommendations:
        table.add_row(
            str(entry.rank),
            _settings(entry.configuration),
            _ranges(entry),
            _interval(entry.predicted),
            _share(entry.expected_regret),
            "-" if entry.p_diverge is None else f"{entry.p_diverge:.1%}",
        )
    return table


def _settings(configuration: dict[str, Any]) -> Text:
    shown = [f"{n} = {_short(v)}" for n, v in configuration.items()]
    if len(shown) > 8:
        heaviest = sorted(
            configuration.items(), key=lambda item: -_size(item[1])
        )[:6]
        shown = [f"{n} = {_short(v)}" for n, v in heaviest]
        shown.append(f"... {len(configuration) - 6} more (--json, --write)")
    return _text("\n".join(shown))


def _ranges(entry: Proposal) -> Text:
    if entry.acceptable is None:
        return _text("not known")
    if len(entry.acceptable) > 8:
        return _text("a range a part (--json)")
    lines = []
    for name, allowed in entry.acceptable.items():
        numbers = (
            all(isinstance(v, (int, float)) for v in allowed)
            and len(allowed) == 2
        )
        joined = " to " if numbers else ", "
        lines.append(f"{name} {joined.join(_short(v) for v in allowed)}")
    return _text("\n".join(lines))


def _checked(checked: Checked) -> Panel:
    lines = [_settings(checked.configuration)]
    if checked.predicted is not None:
        lines.append(_text(f"expected {_interval(checked.predicted)}"))
    if checked.loses is not None and checked.compute_equivalent is not None:
        waste = checked.compute_equivalent - 1
        lines.append(
            _text(
                f"loses {checked.loses.mean:.3g} ({checked.loses.low:.3g} to "
                f"{checked.loses.high:.3g}) against the advice: {waste:.0%} of compute"
            )
        )
    if checked.p_diverge is not None:
        lines.append(
            _text(f"diverges with probability {checked.p_diverge:.1%}")
        )
    for knob, distance in checked.distance_to_optimum.items():
        if distance is not None:
            lines.append(
                _text(f"{knob}: {distance:+.2f} steps from its optimum")
            )
    style = VERDICTS[checked.verdict]
    title = f"Your plan is {checked.verdict}"
    return Panel(Group(*lines), title=title, border_style=style, expand=False)


def _answers(advice: Advice) -> Table:
    table = Table(
        title="What your logs can answer", title_justify="left", expand=False
    )
    for column in ("question", "answer", "because"):
        table.add_column(column)
    for row in advice.can_answer:
        answer = Text(row.answer, style=MARK[row.answer])
        because = row.because
        if row.would_help and row.answer != "yes":
            because += f". Would help: {_help(row.would_help[0])}"
        table.add_row(row.question, answer, _text(because))
    return table


def _help(run: Any) -> str:
    places = ", ".join(f"{n} {_short(v)}" for n, v in run.experiment.items())
    settings = ", ".join(
        f"{n}={_short(v)}" for n, v in run.configuration.items()
    )
    cost = run.cost.get("flops")
    price = f" for {cost:.2g} FLOPs" if cost else ""
    few = settings if len(run.configuration) <= 6 else "the best mixture"
    return f"a run of {few} at {places}{price}"


def _footer(advice: Advice) -> Text:
    tests = advice.decided_by["backtest"]
    own = [t for t in tests if t["policy"] == advice.decided_by["policy"]]
    text = f"Decided by {advice.decided_by['policy']}"
    if own:
        mean = sum(t["regret"] for t in own) / len(own)
        text += (
            f"; on {len(own)} hidden experiments of yours its first pick lost {mean:.1%} "
            "of median - best"
        )
    else:
        text += "; too few scales to try it on your own history"
    return _text(f"{text}. Advice {advice.advice_id}.")


def _split(advice: Advice) -> Text:
    """The best split of the target's compute, in a line."""
    allocation = dict(advice.allocation or {})
    flat = allocation.pop("flat_within")
    told = [
        f"{n} {_short(v.mean)} ({_short(v.low)} to {_short(v.high)})"
        for n, v in allocation.items()
    ]
    return _text(
        f"This compute is best spent on {', '.join(told)}; a factor of {flat:.2g} off "
        "costs 1 % of it"
    )


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    return f"{interval.mean:.4g} ({interval.low:.4g} to {interval.high:.4g})"


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _size(value: Any) -> float:
    return abs(value) if isinstance(value, (int, float)) else 1e9


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


def _text(text: str) -> Text:
    """Plain text without control characters but line ends."""
    kept = "\n".join(CONTROL.sub("?", line) for line in text.split("\n"))
    return Text(kept)
