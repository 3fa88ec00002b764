"""What one run cost: FLOPs from a column, from parameters and tokens, or guessed and
marked; device hours and wall time where they were logged.

Invariant: `flops` is always there, since it orders the experiments; a doubt says when it
is no more than a guess.
"""

from __future__ import annotations

import re
from typing import Any

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.ladder import Ladder
from autollm.logs.proposals.names import tables
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.structure import two_clusters
from autollm.logs.proposals.toml_text import Noted

DEVICE_FLOPS = "4e14"
"""Per second: what an accelerator of today reaches in training. Only to order runs of
which nothing but their time is known.
"""
_HOURS = re.compile(
    r"(gpu|device|tpu|cpu|accelerator|node|core|chip|[ahv]\d{3})_?(hours?|hrs?|h|days?)"
)
_PART_OF_RUN = re.compile(
    r"eval|val_|step|iter|epoch|avg|per_|latency|ms_per|this"
)
_WHOLE_RUN = re.compile(
    r"wall|total|runtime|duration|train|elapsed|run_time|^time"
)
Costs = dict[str, Any]
"""Key of [cost] to formula."""


def find_costs(roles: Roles, ladder: Ladder, naming: Naming) -> Costs:
    """What runs of this table cost: the entries of [cost]."""
    names = roles.named("cost", "constant", "fidelity")
    columns = [roles.table.columns[name] for name in names]
    columns = [c for c in columns if c.is_numeric]
    costs = _device_hours(columns, naming) | _wall_time(roles, columns, naming)
    logged = _logged_flops(columns, naming)
    costs |= logged or _computed_flops(roles, ladder, costs)
    for column in columns:
        factor = two_clusters(column)
        if factor:
            roles.say(
                "mixed-units",
                f"{column.raw}: values lie in two groups a factor of about {factor:g} "
                "apart. Mixed units? Fix: write every row in one unit.",
                column.raw,
            )
    return costs


def _device_hours(columns: list[Column], naming: Naming) -> Costs:
    for column in columns:
        if _HOURS.search(column.name.full):
            days = " * 24" * ("day" in column.name.full)
            return {"device_hours": naming.alias(column.raw) + days}
    return {}


def _wall_time(roles: Roles, columns: list[Column], naming: Naming) -> Costs:
    times = []
    for column in columns:
        is_time = column.is_a("duration") or column.unit == "s"
        is_part = _PART_OF_RUN.search(column.name.full)
        if is_time and not is_part and not _HOURS.search(column.name.full):
            times.append(column)
    if not times:
        return {}
    column = min(times, key=lambda c: not _WHOLE_RUN.search(c.name.full))
    factor = 1.0 if column.unit == "s" else _factor(column, "seconds")
    formula = _times(naming.alias(column.raw), factor or 1.0)
    if factor is not None:
        return {"wall_time_s": formula}
    roles.say(
        "unit-guessed",
        f"{column.raw}: seconds, minutes or hours? Correct [cost] wall_time_s.",
        column.raw,
    )
    doubt = "its unit is not in its name; seconds are taken"
    return {"wall_time_s": Noted(formula, doubt=doubt)}


def _logged_flops(columns: list[Column], naming: Naming) -> Costs:
    """FLOPs of a column: exact ones before others, and before predicted ones."""
    found = [c for c in columns if c.is_a("flops") and not c.is_partial]
    if not found:
        return {}
    column = min(
        found, key=lambda c: ("pred" in c.name.full, "exact" not in c.name.full)
    )
    factor = _factor(column, "flops") or 1.0
    return {"flops": _times(naming.alias(column.raw), factor)}


def _computed_flops(roles: Roles, ladder: Ladder, costs: Costs) -> Costs:
    """FLOPs from sizes where both are known, else a guess from what there is."""
    known = ladder.known
    names = [c.name for c in ladder.coordinates]
    time = costs.get("wall_time_s")
    if "params" in known and "tokens" in known:
        formula = f"6 * {known['params']} * {known['tokens']}"
        if not any(c.texts and c.texts.guessed for c in ladder.coordinates):
            return {"flops": formula}
        why = "sizes are guessed"
    elif "device_hours" in costs:
        formula = f"{costs['device_hours']} * 3600 * {DEVICE_FLOPS}"
        why = "from device hours"
    elif names:
        formula, why = " * ".join(names), "from the fidelity alone"
    elif time:
        time = time.value if isinstance(time, Noted) else time
        formula, why = f"{time} * {DEVICE_FLOPS}", "from wall time"
    else:
        formula, why = "one", "nothing in the table says it"
    roles.say(
        "cost-guessed",
        f"no column says what a run cost in FLOPs: flops = {formula} is a guess ({why}). "
        "It orders the experiments from cheap to expensive; correct [cost], and delete "
        "`guessed` there.",
    )
    doubt = "what one run costs; it orders the experiments"
    return {"flops": Noted(formula, doubt=doubt), "guessed": True}


def _factor(column: Column, what: str) -> float | None:
    """What a unit in a column's name comes to; None where its name holds none."""
    for pattern, factor in tables("costs")[what].items():
        if any(re.search(pattern, n) for n in (column.name.full, column.raw)):
            return factor
    return None


def _times(alias: str, factor: float) -> str:
    return alias if factor == 1.0 else f"{alias} * {factor:g}"
