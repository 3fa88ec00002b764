"""How a log says that its run ended: a traceback, a full memory, a scheduler's word
after the last point, or fewer steps than it announces (`iteration 300/ 500`) or than its
settings plan (`max_iters=51879`).

Invariant: a log that goes on after such a line did not end there.
"""

from __future__ import annotations

import math
import re
from typing import Any

from autollm.logs.readers.cells import Cells, Row, number
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.words import ending

WHOLE = 0.95
"""Share of the planned length from which on a run came to its end: the last steps are
seldom logged.
"""

_ENDINGS = {
    "killed": ending("killed"),
    "failed": ending("failed"),
    "completed": ending("completed"),
}
_PLANNED_STEPS = ending("planned_steps")
_PLANNED_EPOCHS = ending("planned_epochs")
_STOPS_ITSELF = ending("stops_itself")
_OFF = (None, "", "None", "null", "false", "False", False, 0, "0")
_PLAN = re.compile(r"(?<![\d/.])(\d[\d,]*)\s*/\s*(\d[\d,]*)(?![\d/.])")
_NAMED_PLAN = re.compile(
    r"(?:step|iter|iteration|update|epoch|(?<!eval )batch)[\s:=\[]*(?=\d)",
    re.IGNORECASE,
)


class LogEnd:
    """Sees a log's lines in order."""

    def __init__(self) -> None:
        self._word: str | None = None
        self._plans: dict[bool, tuple[int, int, int]] = {}
        """Reached, widest and planned, of those that say what they count (`Epoch 3/8`)
        and of others (`100/100`)."""

    def see(self, line: str, is_point: bool) -> None:
        """One line; of words only what stands after the last point counts. A plan that
        says what it counts may stand anywhere, another one in a point alone.
        """
        self._word = None if is_point else ending_of(line) or self._word
        named = _NAMED_PLAN.search(line)
        found = _PLAN.match(line, named.end()) if named else None
        is_named = found is not None
        if is_point and not is_named:
            found = _PLAN.search(line)
        if found:
            at, planned = (int(n.replace(",", "")) for n in found.groups())
            before, widest, _ = self._plans.get(is_named, (at, 0, 0))
            widest = max(widest, at - before)
            self._plans[is_named] = (at, widest, planned)

    def state(self) -> str:
        """`failed`, `killed` or `completed` where the log says so, else `unfinished` or
        `finished` by what it announces.
        """
        is_cut = any(is_short(*plan) for plan in self._plans.values())
        return self._word or ("unfinished" if is_cut else "finished")


def ending_of(line: str) -> str | None:
    """`killed`, `failed` or `completed` where a line says so, else None."""
    for word, said in _ENDINGS.items():
        if said.search(line):
            return word
    return None


def is_short(reached: float, widest: float, planned: float) -> bool:
    """Whether a run stopped short of its plan. `widest`: between two points of its log;
    the next one would lie within the plan, too.
    """
    return reached < WHOLE * planned and reached + widest < planned


def add_plan_state(
    builder: RelationBuilder,
    cells: Cells,
    counter: str,
    reached: float | None,
    widest: float = 0.0,
) -> None:
    """Whether a run came to the length that its settings plan, as its `state`, where
    nothing else says how it ended.

    Args:
        builder: Takes the role of `state`, and a note of a run that is short.
        cells: The run's row.
        counter: What the run counts by: the name of its step.
        reached: Its last step.
        widest: See `is_short`.
    """
    if reached is None or cells.get("state", "finished") != "finished":
        return
    state, plan = _plan_state(cells, counter, reached, widest)
    if not state:
        return
    builder.put(cells, {"state": state}, "status")
    if plan:
        builder.note(
            f"{cells['run']}: its last {counter} is {reached:g} of {plan}: it counts as "
            "running, and is no outcome until it has come to its end"
        )


def _plan_state(
    cells: Row, counter: str, reached: float, widest: float
) -> tuple[str, str]:
    """(`unfinished`, the plan that a run fell short of) or (`finished`, ""); both empty
    where no plan is known, or where the run may stop by itself. Of several plans (steps,
    epochs) the one that is reached counts.
    """
    short = ""
    state = ""
    epoch = number(cells.get("metrics.epoch"))
    for column, value in cells.items():
        if _STOPS_ITSELF.search(column) and value not in _OFF:
            return "", ""
        name = re.split(r"[./]", column.lower().replace("-", "_"))[-1]
        planned = _as_number(value)
        if column.startswith("metrics.") or planned is None:
            continue
        at, gap = reached, widest
        if _PLANNED_EPOCHS.fullmatch(name):
            if not counts_epochs(counter):
                at, gap = epoch, 1.0  # points within an epoch bear one number
        elif not _PLANNED_STEPS.fullmatch(name) or not _counts_steps(counter):
            continue
        if at is None or not 0 < planned < math.inf:  # -1 and inf: no limit
            continue
        if not is_short(at, gap, planned):
            return "finished", ""
        state, short = "unfinished", f"{name}={planned:g}"
    return state, short


def _as_number(value: Any) -> float | None:
    """A setting as a number; logs print them as text."""
    try:
        return float(value) if isinstance(value, str) else number(value)
    except ValueError:
        return None


def counts_epochs(counter: str) -> bool:
    """Whether a run counts by epochs, by the name of its step."""
    return re.search(r"(^|[/_. ])epochs?$", counter, re.IGNORECASE) is not None


def _counts_steps(counter: str) -> bool:
    """Whether by updates of the weights: a `timestep` is a game's, a `batch` an epoch's."""
    return re.search("(?<!time)step|iter|update", counter.lower()) is not None
