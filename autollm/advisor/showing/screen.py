"""An advice on one screen of a terminal.

Invariant: text of the user's files is escaped, so that a name cannot write markup or
move the cursor.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autollm.advisor.answer import (
    Advice,
    Checked,
    Help,
    Interval,
    PlannedRun,
    Proposal,
)
from autollm.advisor.answering.lines import (
    MOST_SETTINGS,
    by_reason,
    interval_text,
    plan_lines,
    setting_lines,
    settings,
)
from autollm.advisor.asking.target import NO_SIZE
from autollm.advisor.words import (
    NO_CHOICE,
    count,
    have_in_words,
    several,
    short,
)
from autollm.core.spaces.knobs import is_number

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MARK = {"yes": "green", "partly": "yellow", "no": "red"}
JUDGED = (
    "What to expect: on 26 tables with hidden experiments such a plan was not told apart "
    "from a plain ladder (regret .245 and .261 for a tenth of the target's cost, .280 "
    "without a run), with 2 runs where the ladder made 58. It says when cheap runs do "
    "not pay; that its order is the best is not shown."
)
"""`autollm advice judge --parts plan --seeds 4` (docs/results.md)."""
REGRET = (
    "Regret: what a run is expected to lose, as a share of what separates the median "
    "configuration (1) from the best (0)."
)
UNTESTED = (
    "No scale of yours could be hidden to test that: the interval is that of other "
    "people's runs."
)
VERDICTS = {
    "fine": "green",
    "wasteful": "yellow",
    "outside": "yellow",
    "infeasible": "red",
    "risky": "red",
}


def show(advice: Advice, console: Console) -> None:
    """Print an advice."""
    console.print(_heading(advice))
    console.print(_title("What to run"))
    for entry in advice.recommendations:
        console.print(_recommendation(advice, entry))
    console.print(_reasons(advice, advice.recommendations))
    if advice.allocation is not None:
        console.print(_split(advice))
    helpful = _helpful(advice)
    console.print(_title("What your logs can answer"))
    console.print(_answers(advice, helpful))
    if helpful:
        console.print(
            _title("What would turn these answers to yes, whatever it is worth")
        )
        console.print(_runs(helpful))
    if advice.plan:
        console.print(
            _title("Worth running first, by what it saves at the target")
        )
        console.print(_planned(advice.plan))
    for opinion in advice.opinions:
        console.print(_opinion(opinion))
    _warn(advice, console)
    console.print(_footer(advice))


def show_check(advice: Advice, console: Console) -> None:
    """Print how a configuration of the user's own does, beside the advice."""
    console.print(_heading(advice))
    console.print(_checked(advice))
    console.print(_title("The advice there"))
    for entry in advice.recommendations[:1]:
        console.print(_recommendation(advice, entry))
    console.print(_reasons(advice, advice.recommendations[:1]))
    _warn(advice, console)


def show_plan(advice: Advice, console: Console) -> None:
    """Print which cheap runs come first."""
    console.print(_heading(advice))
    console.print(_title("Cheap runs, in this order"))
    console.print(_planned(advice.plan))
    console.print(Text(JUDGED, style="dim"))
    _warn(advice, console)


def _warn(advice: Advice, console: Console) -> None:
    for warning in advice.warnings:
        line = Text(f"! {warning.code}: ", style="yellow")
        console.print(line + _text(warning.text))


def _planned(plan: Sequence[PlannedRun]) -> Table:
    """A row a step: its runs, and below them what they lower."""
    table = Table.grid(padding=(0, 1))
    for step, runs in itertools.groupby(plan, key=lambda run: run.step):
        steps = list(runs)
        first = steps[0]
        if first.experiment is None or first.configuration is None:
            table.add_row("", _text(first.why))
            continue
        lines = []
        for run in steps:
            place = _place(run.experiment or {}, run.about)
            lines.append(
                f"{settings(run.configuration or {})}{place}{_price(run.cost)}"
            )
        lines.append(
            f"regret by the fit alone {first.expected_regret_before:.3f} to "
            f"{steps[-1].expected_regret_after:.3f}: {first.why}"
        )
        table.add_row(f" {step}", _text("\n".join(lines)))
    return table


def _place(fidelity: Mapping[str, float], about: Sequence[str] = ()) -> str:
    """` at params 1.3B`; nothing where no run tells its size."""
    if list(fidelity) == [NO_SIZE]:
        return ""
    told = []
    for name, value in fidelity.items():
        near = "about " if name in about else ""
        told.append(f"{name} {near}{count(value)}")
    return " at " + ", ".join(told)


def _price(cost: dict[str, float | None]) -> str:
    hours = cost.get("device_hours")
    flops = cost.get("flops")
    if hours:
        return f": {hours:.3g} device hours"
    return f": {flops:.2g} FLOPs" if flops else ""


def _opinion(opinion: dict[str, Any]) -> Text:
    """One line; the transcript stands in the JSON and on the page."""
    words = opinion["problem"] or "proposed nothing that can be run"
    if opinion["configuration"]:
        words = ", ".join(
            f"{n} {v}" for n, v in opinion["configuration"].items()
        )
    regret = opinion["expected_regret"]
    worth = f"; regret {regret.mean:.2g} by the same fit" if regret else ""
    line = f"{opinion['policy']} would run: {words}{worth}"
    return Text("~ ", style="cyan") + _text(line)


def _heading(advice: Advice) -> Group:
    target = advice.target
    coordinates = ", ".join(
        f"{n} {count(v)}" for n, v in target.fidelity.items()
    )
    if list(target.fidelity) == [NO_SIZE]:
        coordinates = "the size of your runs, which they do not tell"
    lines = [Text("Next run at ", style="bold") + _text(coordinates)]
    if target.times_evidence is not None:
        times = (
            f"{target.times_evidence:.3g} times your most expensive evidence"
        )
        if target.compute_flops is None:
            times += " (FLOPs are not known)"
        else:
            times = f"{target.compute_flops:.3g} FLOPs, {times}"
        lines.append(_text(times))
    evidence = advice.evidence
    better = "lower" if advice.objective["direction"] == "min" else "higher"
    read = (
        f"{several(evidence['n_runs'], 'run')} in "
        f"{several(evidence['n_experiments'], 'experiment')} of {advice.source}"
        f"{_context(evidence)}; "
        f"{advice.objective['name']}, {better} is better"
    )
    if advice.basis == "prior":
        read += (
            "; one scale only: how optima move is a prior, not your evidence"
        )
    return Group(*lines, _text(read))


def _context(evidence: Mapping[str, Any]) -> str:
    """Which runs count, where others are left out."""
    values = evidence.get("context") or {}
    told = ", ".join(f"{name} = {value}" for name, value in values.items())
    return f" with {told}" if told else ""


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _recommendation(advice: Advice, entry: Proposal) -> Table:
    """The settings, a line each with what is as good, and below what they promise."""
    lines = []
    allowed = _ranges(entry, advice.categorical, advice.one_valued)
    settings = setting_lines(entry.configuration)
    if (
        NO_CHOICE in entry.missing.values()
    ):  # one made-up setting stands for all
        lines.append("as your runs were: no setting varies between them")
        settings = {}
    for name, value in settings.items():
        setting = f"{name} = {value}" if value else name
        as_good = allowed.get(name)
        lines.append(f"{setting}  ({as_good})" if as_good else setting)
    lines.append(_promise(entry, advice.objective["name"]))
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(f" {entry.rank}"), _text("\n".join(lines)))
    return table


def _reasons(advice: Advice, entries: Sequence[Proposal]) -> Text:
    """What the brackets are, and why numbers are missing."""
    own = [t["policy"] for t in advice.decided_by["backtest"]]
    is_tested = advice.decided_by["policy"] in own
    lines = []
    choices = [e for e in entries if NO_CHOICE not in e.missing.values()]
    if any(_ranges(entry, (), ()) for entry in choices):
        lines.append(
            "In brackets: what costs at most 1 % more compute than this proposal, its "
            "other settings held."
        )
    if any(entry.expected_regret for entry in entries):
        lines.append(REGRET if is_tested else f"{REGRET} {UNTESTED}")
    for entry in entries[:1]:
        for reason, fields in by_reason(entry.missing).items():
            lines.append(f"Not known: {fields}; {reason}.")
    return _text("\n".join(lines))


def _promise(entry: Proposal, objective: str) -> str:
    told = []
    if entry.known_outcome is not None:
        told.append(have_in_words(entry.known_outcome))
    if entry.predicted is not None:
        told.append(f"{objective} {interval_text(entry.predicted)}")
    if entry.expected_regret is not None:
        told.append(f"regret {_share(entry.expected_regret)}")
    if entry.p_diverge is not None:
        told.append(f"diverges {entry.p_diverge:.1%}")
    return "; ".join(told)


def _ranges(
    entry: Proposal, categories: Sequence[str], one_valued: Sequence[str]
) -> dict[str, str]:
    """Knob -> what costs at most 1 % more compute."""
    if entry.acceptable is None or len(entry.acceptable) > MOST_SETTINGS:
        return {}
    told = {}
    for name, allowed in entry.acceptable.items():
        ends = [short(v) for v in allowed]
        is_range = name not in categories and len(allowed) == 2
        is_range = is_range and is_number(allowed[0])
        if len(set(ends)) == 1:
            none = name in one_valued
            told[name] = "no other tried" if none else "no other within 1 %"
        elif is_range:
            told[name] = f"{ends[0]} to {ends[1]}"
        else:
            told[name] = ", ".join(ends)
    return told


def _checked(advice: Advice) -> Panel:
    """The plan, what it gives, and where its settings stand."""
    checked = advice.checked
    assert checked is not None
    return Panel(
        _text("\n".join(plan_lines(advice, checked))),
        title=f"Your plan is {_verdict(checked)}",
        border_style=VERDICTS[checked.verdict],
        expand=False,
    )


def _verdict(checked: Checked) -> str:
    """A waste that may as well be none is probable."""
    lost = checked.loses
    is_open = lost is not None and lost.low <= 0 < lost.mean
    is_wasteful = checked.verdict == "wasteful"
    return "probably wasteful" if is_open and is_wasteful else checked.verdict


def _helpful(advice: Advice) -> dict[str, str]:
    """Run in words -> its letter, each once: what would turn an answer to yes."""
    letters: dict[str, str] = {}
    for row in advice.can_answer:
        if row.would_help and row.answer != "yes":
            run = _help(row.would_help[0])
            letters.setdefault(run, chr(ord("A") + len(letters)))
    return letters


def _answers(advice: Advice, helpful: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in advice.can_answer:
        answer = Text(row.answer, style=MARK[row.answer])
        because = row.because
        if row.would_help and row.answer != "yes":
            because += f" [{helpful[_help(row.would_help[0])]}]"
        table.add_row(_text(f" {row.question}"), answer, _text(because))
    return table


def _runs(helpful: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for run, letter in helpful.items():
        table.add_row(_text(f" [{letter}]"), _text(run))
    return table


def _help(run: Help) -> str:
    return (
        f"{settings(run.configuration)}{_place(run.experiment, run.about)}"
        f"{_price(run.cost)}"
    )


def _footer(advice: Advice) -> Text:
    tests = advice.decided_by["backtest"]
    own = [t for t in tests if t["policy"] == advice.decided_by["policy"]]
    text = f"Decided by {advice.decided_by['policy']}"
    if own:
        mean = sum(t["regret"] for t in own) / len(own)
        text += (
            f"; on {several(len(own), 'hidden experiment')} of yours its first pick lost "
            f"{mean:.1%} of median - best"
        )
    else:
        text += "; too few scales to try it on your own history"
    return _text(f"{text}. Advice {advice.advice_id}.")


def _split(advice: Advice) -> Text:
    """The best split of the target's compute, in a line."""
    allocation = dict(advice.allocation or {})
    flat = allocation.pop("flat_within")
    told = [
        f"{n} {count(v.mean)} ({count(v.low)} to {count(v.high)})"
        for n, v in allocation.items()
    ]
    return _text(
        f"This compute is best spent on {', '.join(told)}; a factor of {flat:.2g} off "
        "costs 1 % of it"
    )


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _text(text: str) -> Text:
    """Plain text without control characters but line ends."""
    kept = "\n".join(CONTROL.sub("?", line) for line in text.split("\n"))
    return Text(kept)
