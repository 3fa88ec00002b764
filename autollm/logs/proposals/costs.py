"""What one run cost: FLOPs from a column, from parameters and tokens, or guessed and
marked; device hours and wall time where they were logged.

Invariant: `flops` is always there, since it orders the experiments; a doubt says when it
is no more than a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.ladder import Ladder
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.structure import two_clusters

DEVICE_FLOPS = "4e14"
"""Per second: what an accelerator of today reaches in training. Only to order runs of
which nothing but their time is known.
"""
_FLOP_UNITS = (
    ("pflops?_days|pf_days|petaflops?_days", 8.64e19),
    ("^(total_|train_)?gflops?$|_gflops?$", 1e9),
    ("mflops?$", 1e6),
    ("eflops?$", 1e18),
    ("pflops?$", 1e15),
    ("tflops?$", 1e12),
    ("gmacs$", 2e9),
    ("macs$", 2.0),
)
_HOURS = re.compile(
    r"(gpu|device|tpu|cpu|accelerator|node|core|chip|[ahv]\d{3})_?(hours?|hrs?|h|days?)"
)
_TIME_UNITS = (
    ("(^|_)ms(_|$)|millis", 1e-3),
    ("(^|_)min(s|utes?)?(_|$)", 60.0),
    ("(^|_)(h|hrs?|hours?)(_|$)", 3600.0),
    ("(^|_)days?(_|$)", 86400.0),
    (
        "(^|_)(s|secs?|seconds?)(_|$)|^_runtime$|_runtime$|^runtime$|^duration$",
        1.0,
    ),
)
_PART_OF_RUN = re.compile(
    r"eval|val_|step|iter|epoch|avg|per_|latency|ms_per|this"
)
_WHOLE_RUN = re.compile(
    r"wall|total|runtime|duration|train|elapsed|run_time|^time"
)


@dataclass
class Costs:
    """Key of [cost] to formula, and to a doubt where there is one; whether the FLOPs
    are a guess.
    """

    formulas: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    guessed: bool = False


def find_costs(roles: Roles, ladder: Ladder, naming: Naming) -> Costs:
    """What runs of this table cost."""
    costs = Costs()
    costly = roles.named("cost", "constant", "fidelity")
    columns = [roles.table.columns[n] for n in costly]
    columns = [c for c in columns if c.is_numeric]
    hours = next((c for c in columns if _HOURS.search(c.name.full)), None)
    if hours is not None:
        days = " * 24" if "day" in hours.name.full else ""
        costs.formulas["device_hours"] = naming.alias(hours.name.raw) + days
    _wall_time(roles, costs, columns, naming)
    _flops(roles, costs, columns, ladder, naming)
    for column in columns:
        factor = two_clusters(column)
        if factor:
            _say_clusters(roles, column, factor)
    return costs


def _flops(
    roles: Roles,
    costs: Costs,
    columns: list[Column],
    ladder: Ladder,
    naming: Naming,
) -> None:
    found = [c for c in columns if c.name.is_a("flops") and not c.is_partial]
    found.sort(
        key=lambda c: ("pred" in c.name.full, "exact" not in c.name.full)
    )
    known = ladder.known
    if found:
        factor = _factor(found[0], _FLOP_UNITS)
        alias = naming.alias(found[0].name.raw)
        costs.formulas["flops"] = f"{alias} * {factor:g}" if factor else alias
    elif "params" in known and "tokens" in known:
        costs.formulas["flops"] = f"6 * {known['params']} * {known['tokens']}"
        if any(c.texts and c.texts.guessed for c in ladder.coordinates):
            _guess(roles, costs, costs.formulas["flops"], "sizes are guessed")
    elif "device_hours" in costs.formulas:
        formula = f"{costs.formulas['device_hours']} * 3600 * {DEVICE_FLOPS}"
        _guess(roles, costs, formula, "from device hours")
    else:
        names = [c.name for c in ladder.coordinates]
        if names:
            _guess(roles, costs, " * ".join(names), "from the fidelity alone")
        elif "wall_time_s" in costs.formulas:
            formula = f"{costs.formulas['wall_time_s']} * {DEVICE_FLOPS}"
            _guess(roles, costs, formula, "from wall time")
        else:
            _guess(roles, costs, "one", "nothing in the table says it")


def _guess(roles: Roles, costs: Costs, formula: str, why: str) -> None:
    costs.formulas["flops"] = formula
    costs.guessed = True
    costs.doubts["flops"] = "what one run costs; it orders the experiments"
    roles.book.say(
        "cost-guessed",
        f"no column says what a run cost in FLOPs: flops = {formula} is a guess ({why}). "
        "It orders the experiments from cheap to expensive; correct [cost], and delete "
        "`guessed` there.",
    )


def _wall_time(
    roles: Roles,
    costs: Costs,
    columns: list[Column],
    naming: Naming,
) -> None:
    times = []
    for column in columns:
        is_time = column.name.is_a("duration") or column.unit == "s"
        is_whole = not _PART_OF_RUN.search(column.name.full)
        if is_time and is_whole and not _HOURS.search(column.name.full):
            times.append(column)
    if not times:
        return
    times.sort(key=lambda c: not _WHOLE_RUN.search(c.name.full))
    column = times[0]
    alias = naming.alias(column.name.raw)
    factor = 1.0 if column.unit == "s" else _factor(column, _TIME_UNITS)
    costs.formulas["wall_time_s"] = (
        alias if factor in (None, 1.0) else f"{alias} * {factor:g}"
    )
    if factor is None:
        costs.doubts["wall_time_s"] = (
            "its unit is not in its name; seconds are taken"
        )
        roles.book.say(
            "unit-guessed",
            f"{column.name.raw}: seconds, minutes or hours? Correct [cost] wall_time_s.",
            column.name.raw,
        )


def _factor(
    column: Column, units: tuple[tuple[str, float], ...]
) -> float | None:
    for pattern, factor in units:
        if re.search(pattern, column.name.full) or re.search(
            pattern, column.name.raw
        ):
            return factor
    return None


def _say_clusters(roles: Roles, column: Column, factor: float) -> None:
    roles.book.say(
        "mixed-units",
        f"{column.name.raw}: values lie in two groups a factor of about {factor:g} "
        "apart. Mixed units? Fix: write every row in one unit.",
        column.name.raw,
    )
