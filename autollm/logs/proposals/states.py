"""How runs ended: the column that says so, in any tool's words, and values that a crash
leaves instead of an outcome.

Invariant: a word that `core.statuses` does not know has no status here either; it is
named, and a person decides.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from autollm.core.statuses import Status, status_of
from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.names import plain
from autollm.logs.readers.log_ends import WHOLE

_NAMES = """state status run_state run_status job_state job_status trial_state trial_status
outcome end_state final_state final_status exit_status exit_state result_state ended
how_it_ended verdict termination ending lifecycle phase"""
STATE_NAMES = frozenset(_NAMES.split())
_STRONG = """finished complete completed failed fail crashed crash diverged killed pruned
running terminated succeeded cancelled canceled preempted oom timeout timed_out
out_of_memory error aborted interrupted early_stopped"""
STRONG_WORDS = frozenset(_STRONG.split())
"""Words that mean an end wherever they stand; `ok` or `pass` may mean anything."""
FLAGS: dict[str, tuple[Status, str]] = {
    # name: (status, the cell that means it)
    "diverged": ("diverged", "true"),
    "is_diverged": ("diverged", "true"),
    "exploded": ("diverged", "true"),
    "collapsed": ("diverged", "true"),
    "blew_up": ("diverged", "true"),
    "unstable": ("diverged", "true"),
    "loss_spike": ("diverged", "true"),
    "is_nan": ("diverged", "true"),
    "has_nan": ("diverged", "true"),
    "nan": ("diverged", "true"),
    "failed": ("failed", "true"),
    "is_failed": ("failed", "true"),
    "crashed": ("failed", "true"),
    "oom": ("failed", "true"),
    "killed": ("killed", "true"),
    "pruned": ("pruned", "true"),
    "stopped_early": ("pruned", "true"),
    "early_stopped": ("pruned", "true"),
    "success": ("failed", "false"),
    "succeeded": ("failed", "false"),
    "successful": ("failed", "false"),
    "ok": ("failed", "false"),
    "completed": ("running", "false"),
    "complete": ("running", "false"),
    "finished": ("running", "false"),
    "is_finished": ("running", "false"),
    "done": ("running", "false"),
    "converged": ("diverged", "false"),
}
_TRUE = frozenset(("true", "yes", "y", "1", "1.0", "✓", "✔", "✅"))
_FALSE = frozenset(("false", "no", "n", "0", "0.0", "✗", "✘", "❌"))
EXIT_CODES = frozenset(
    {"exit_code", "exitcode", "return_code", "returncode", "rc"}
)
_COUNTED = re.compile(r"(?:^|_)(token|step|iter|iteration|epoch)s?(?:_|$)")
_NO_COUNT = re.compile(
    r"(?:^|_)(per|batch|warmup|decay|eval|save|best|log|time|s)(?:_|$)"
)
MOSTLY_KNOWN = 0.5
"""Share of the filled cells whose words must be known, where the name says `state`."""


@dataclass
class StateReading:
    """`column` holds words; `flags` are columns of true and false (or exit codes) with
    the status that their rule gives. `statuses`: of each row, finished where nothing
    speaks.
    """

    column: str = ""
    unknown: tuple[str, ...] = ()
    reached: tuple[str, str] = ("", "")
    """(how far a run came, how far it should have come), where nothing else says it."""
    flags: dict[str, tuple[Status, str]] = field(default_factory=dict)
    statuses: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """All columns that say how a run ended."""
        named = [self.column, self.reached[0]]
        return [name for name in named if name] + list(self.flags)

    def why(self, name: str) -> str:
        """The reason for the role of one of them."""
        if name == self.reached[0]:
            return f"says which runs did not reach {self.reached[1]}"
        if name != self.column:
            return f"says which runs {self.flags[name][0]}"
        counted = Counter(self.statuses)
        return "how a run ended: " + ", ".join(
            f"{n} {s}" for s, n in counted.items()
        )

    def is_finished(self, n_rows: int) -> np.ndarray:
        """Of each row, whether its run finished."""
        if not self.statuses:
            return np.ones(n_rows, dtype=bool)
        return np.array([status == "finished" for status in self.statuses])


def read_states(table: Table, columns: dict[str, Column]) -> StateReading:
    """How the runs of a table ended."""
    column = _state_column(table, columns)
    flags = {}
    for name, found in columns.items():
        flag = _flag_of(found) if name != column else None
        if flag is not None:
            flags[name] = flag
    endings = _endings(columns)
    reached = ("", "")
    if not column and not flags and not endings:
        reached = _reached(columns)
        if not reached[0]:
            return StateReading()
    statuses = ["finished"] * len(table.lines)
    unknown: dict[str, None] = {}
    if column:
        for row, cell in enumerate(columns[column].cells):
            status = status_of(cell)
            if status is None and cell is not None:
                unknown[str(cell)] = None
            statuses[row] = status or "unknown"
    for name, (status, cell) in flags.items():
        for row, found in enumerate(columns[name].cells):
            if statuses[row] == "finished" and _means(found, cell):
                statuses[row] = status
    for row, status in endings.items():
        if statuses[row] == "finished":
            statuses[row] = status
    if reached[0]:
        for row in np.flatnonzero(
            _share(*(columns[n] for n in reached)) < WHOLE
        ):
            statuses[row] = "killed"
    return StateReading(column, tuple(unknown), reached, flags, tuple(statuses))


def _reached(columns: dict[str, Column]) -> tuple[str, str]:
    """Two counts of one thing, the first of which is the second in most rows and less in
    the others: how far runs came, and how far they should have come.
    """
    counted: dict[str, list[Column]] = {}
    for column in columns.values():
        match = _COUNTED.search(column.name.full)
        is_count = match and not _NO_COUNT.search(column.name.full)
        if is_count and column.is_numeric and not column.is_partial:
            kind = "step" if match[1] in ("iter", "iteration") else match[1]
            counted.setdefault(kind, []).append(column)
    for found in counted.values():
        for near, far in itertools.permutations(found, 2):
            shares = _share(near, far)
            n_whole = int(np.sum(shares >= WHOLE))
            is_most = len(shares) > n_whole >= len(shares) / 2
            if is_most and np.all((shares > 0) & (shares <= 1.001)):
                return near.name.raw, far.name.raw
    return "", ""


def _share(near: Column, far: Column) -> np.ndarray:
    """What share of `far` each row reached; 0 where that is no number."""
    if len(near.finite) < len(near.cells) or len(far.finite) < len(far.cells):
        return np.zeros(len(near.cells))
    whole = np.array(far.finite)
    return np.array(near.finite) / np.where(whole > 0, whole, np.inf)


def _endings(columns: dict[str, Column]) -> dict[int, Status]:
    """Row to the status that stands where a column has numbers elsewhere: a loss of
    `OOM`.
    """
    found: dict[int, Status] = {}
    for column in columns.values():
        for row in column.odd_rows:
            status = status_of(column.cells[row])
            if status and status != "finished":
                found.setdefault(row, status)
    return found


def _state_column(table: Table, columns: dict[str, Column]) -> str:
    ranked = []
    for name, column in columns.items():
        rank = _state_rank(table, column)
        if rank:
            ranked.append((rank, name))
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else ""


def _state_rank(table: Table, column: Column) -> float:
    """How surely a column says how runs ended; 0: it does not."""
    if column.kind != "text":
        return 0.0
    words = Counter(map(str, column.present))
    n_known = sum(n for word, n in words.items() if status_of(word))
    share = n_known / len(column.present)
    plain_words = {plain(word) for word in words}
    is_strong = bool(plain_words & STRONG_WORDS) or any(
        "state_" in w for w in plain_words
    )
    if table.roles.get(column.name.raw) == "status" and n_known:
        return 4.0
    is_named = (
        column.name.last in STATE_NAMES or column.name.full in STATE_NAMES
    )
    if is_named and share >= MOSTLY_KNOWN:
        return 2.0 + share
    return 1.0 if is_strong and share == 1.0 and len(words) <= 8 else 0.0


def _flag_of(column: Column) -> tuple[Status, str] | None:
    name = column.name.last
    if name in EXIT_CODES and column.kind == "integer" and 0.0 in column.levels:
        return ("failed", "nonzero")
    flag = FLAGS.get(name)
    if flag is None or column.is_constant:
        return None
    words = {str(cell).strip().lower() for cell in column.present}
    return flag if words <= _TRUE | _FALSE else None


def _means(cell: object, meaning: str) -> bool:
    text = str(cell).strip().lower()
    if meaning == "nonzero":
        return cell is not None and text not in ("0", "0.0")
    return text in (_TRUE if meaning == "true" else _FALSE)


def rule_of(flag: tuple[Status, str], alias: str, column: Column) -> str:
    """The condition of a `[[status]]` rule for a column of true and false."""
    meaning = flag[1]
    if meaning == "nonzero":
        return f"{alias} != 0"
    if column.is_numeric:
        return f"{alias} == {1 if meaning == 'true' else 0}"
    cells = dict.fromkeys(_as_landed(cell) for cell in column.present)
    meant = [f'{alias} == "{cell}"' for cell in cells if _means(cell, meaning)]
    return " or ".join(meant)


def _as_landed(cell: object) -> str:
    """A cell as text, as landing compares it."""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
