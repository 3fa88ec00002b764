"""What the screen and the page say in the same words: lines of text without layout.

Invariant: nothing here knows a terminal or a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autollm.advisor.answer import Advice, Checked, Interval
from autollm.advisor.words import short
from autollm.core.spaces.knobs import is_number

NO_NUMBER = math.inf
MOST_SETTINGS = 8
"""Of a configuration; of more the largest are shown, and the rest counted."""
MOST_NAMES = 5
"""Of settings that are told in one line."""
FIELDS = {
    "predicted": "outcome",
    "expected_regret": "regret",
    "p_diverge": "probability of divergence",
    "probability_best": "probability of being the best",
    "compute_equivalent": "compute",
    "acceptable": "acceptable range",
    "loses": "loss against the advice",
}
LEAST_WASTE, AT_OPTIMUM = 0.005, 0.05
"""Of compute, that is not told apart in two digits; of a setting, that nobody tells."""


def settings(configuration: dict[str, Any]) -> str:
    """Settings in a line."""
    kept = _heaviest(configuration)
    told = ", ".join(f"{n} = {short(v)}" for n, v in kept.items())
    return told if len(kept) == len(configuration) else f"{told}, ... (--json)"


def setting_lines(configuration: dict[str, Any]) -> dict[str, str]:
    """Name -> value; how many more there are stands last."""
    kept = _heaviest(configuration)
    shown = {n: short(v) for n, v in kept.items()}
    n_more = len(configuration) - len(kept)
    if n_more:
        shown[f"... {n_more} more (--json, --write)"] = ""
    return shown


def _heaviest(configuration: dict[str, Any]) -> dict[str, Any]:
    """All settings; of many, as in a mixture, the six largest."""
    if len(configuration) <= MOST_SETTINGS:
        return configuration
    ordered = sorted(configuration.items(), key=lambda item: -_size(item[1]))
    return dict(ordered[: MOST_SETTINGS - 2])


def _size(value: Any) -> float:
    return abs(value) if is_number(value) else NO_NUMBER


def by_reason(missing: Mapping[str, str]) -> dict[str, str]:
    """Reason -> the fields that are null for it, in words."""
    found: dict[str, list[str]] = {}
    for field, reason in missing.items():
        found.setdefault(reason, []).append(FIELDS.get(field, field))
    return {reason: ", ".join(fields) for reason, fields in found.items()}


def interval_text(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    return f"{interval.mean:.4g} ({interval.low:.4g} to {interval.high:.4g})"


def plan_lines(advice: Advice, checked: Checked) -> list[str]:
    """All that is said of a plan of the user's own."""
    lines = [
        f"{n} = {v}" for n, v in setting_lines(checked.configuration).items()
    ]
    name = advice.objective["name"]
    if checked.predicted is not None:
        expected = f"expected {name} {interval_text(checked.predicted)}"
        if checked.advised_predicted is not None:
            expected += f"; of the advice {checked.advised_predicted.mean:.4g}"
        lines.append(expected)
    if checked.loses is not None and checked.compute_equivalent is not None:
        lines.append(_lost(checked))
    for reason, fields in by_reason(checked.missing).items():
        lines.append(f"not known: {fields}; {reason}")
    if checked.p_diverge is not None:
        lines.append(f"diverges with probability {checked.p_diverge:.1%}")
    if checked.nearest_diverged is not None:
        lines.append(_nearest(checked.nearest_diverged))
    for column, optimum in checked.optimum.items():
        if column in checked.taken_as:
            continue
        side = checked.open_end.get(column)
        if side:
            lines.append(
                f"{column}: its optimum there is {short(optimum)} or {side}, the end of "
                "what may be proposed"
            )
            continue
        lines.append(_away(column, checked.configuration[column], optimum))
    for column, level in checked.taken_as.items():
        lines.append(
            f"{column} = {short(checked.configuration[column])} was not tried: it is "
            f"judged as {short(level)}, the nearest that was"
        )
    for mixture, (total, usual) in checked.sums.items():
        lines.append(
            f"{mixture} sums to {total:.4g}, in your runs to {usual:.4g}: it is judged by "
            "its shares"
        )
    for key, (said, had) in checked.otherwise.items():
        lines.append(
            f"{key} = {said} in your plan, {had} in all of your runs: nothing says what "
            "that changes"
        )
    if checked.unknown:
        verb = "is" if len(checked.unknown) == 1 else "are"
        lines.append(
            f"{_listed(checked.unknown)} {verb} in no run of yours, and not judged"
        )
    for column, (low, high) in checked.beyond.items():
        lines.append(
            f"{column} = {short(checked.configuration[column])} lies outside of what "
            f"was tried ({short(low)} to {short(high)}): what is said of it is a guess"
        )
    return lines


def _listed(names: list[str]) -> str:
    """The first few, and how many more."""
    told = ", ".join(names[:MOST_NAMES])
    n_more = len(names) - MOST_NAMES
    return f"{told} and {n_more} more" if n_more > 0 else told


def _lost(checked: Checked) -> str:
    """What a plan loses, as loss and as compute."""
    lost = checked.loses
    factor = checked.compute_equivalent
    assert lost is not None and factor is not None
    if lost.low == lost.high == 0:
        return "is as good as the advice"
    if factor < 1 + LEAST_WASTE:
        return (
            "loses nothing that can be told against the advice (90 %: "
            f"{lost.low:.2g} to {lost.high:.2g})"
        )
    unsure = (
        "" if lost.low > 0 else ", which your runs do not tell from nothing,"
    )
    share = 1 / factor
    compute = f"{share:.0%}" if share >= 0.01 else "less than 1 %"
    return (
        f"loses {lost.mean:.2g} ({lost.low:.2g} to {lost.high:.2g}){unsure} against the "
        f"advice, which gives the same with {compute} of the compute"
    )


def _nearest(diverged: Mapping[str, Any]) -> str:
    run = f" {diverged['run_id']}" if diverged["run_id"] else ""
    return (
        f"nearest run that diverged:{run} {settings(diverged['configuration'])}"
    )


def _away(column: str, value: float, optimum: float) -> str:
    """Where a setting stands to its optimum."""
    if value * optimum <= 0:
        return f"{column}: its optimum there is {short(optimum)}"
    times = value / optimum
    if abs(times - 1) < AT_OPTIMUM:
        return f"{column} is at its optimum there"
    return f"{column} is {times:.2g} times its optimum there, {short(optimum)}"
