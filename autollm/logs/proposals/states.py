"""How runs ended: the column that says so, in any tool's words, and values that a crash
leaves instead of an outcome.

Invariant: a word that `core.statuses` does not know has no status here either; it is
named, and a person decides.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from autollm.core.statuses import Status, status_of
from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.names import plain, tables
from autollm.logs.readers.texts.log_ends import WHOLE

_COUNTED = re.compile(r"(?:^|_)(token|step|iter|iteration|epoch)s?(?:_|$)")
_NO_COUNT = re.compile(
    r"(?:^|_)(per|batch|warmup|decay|eval|save|best|log|time|s)(?:_|$)"
)
MOSTLY_KNOWN = 0.5
"""Share of the filled cells whose words must be known, where the name says `state`."""
MOST_WORDS = 8
"""Words of a column whose name does not say that it is one of states."""
Flag = tuple[Status, str]
"""A status, and the cells that mean it: `yes`, `no`, or `nonzero` of an exit code."""


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
    flags: dict[str, Flag] = field(default_factory=dict)
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
        return f"how a run ended: {counted(Counter(self.statuses))}"

    @property
    def unfinished(self) -> Counter[str]:
        """How many runs did not finish, by status."""
        statuses = Counter(self.statuses)
        del statuses["finished"], statuses["unknown"]
        return statuses

    def is_finished(self, n_rows: int) -> np.ndarray:
        """Of each row, whether its run finished."""
        if not self.statuses:
            return np.ones(n_rows, dtype=bool)
        return np.array(self.statuses) == "finished"


def counted(statuses: Counter[str]) -> str:
    """`40 finished, 2 failed`: the commonest first."""
    return ", ".join(f"{n} {status}" for status, n in statuses.most_common())


def read_states(table: Table, columns: Sequence[Column]) -> StateReading:
    """How the runs of a table ended. `columns`: those that may say it, besides cells that
    say it instead of a number.
    """
    ranked = [(_state_rank(table, column), column) for column in columns]
    rank, word = max(ranked, key=itemgetter(0), default=(0.0, None))
    word = word if rank else None
    flags: dict[str, tuple[Column, Flag]] = {}
    for column in columns:
        flag = None if column is word else _flag_of(column)
        if flag is not None:
            flags[column.raw] = (column, flag)
    endings = _endings(table.columns.values())
    reached = None if word or flags or endings else _reached(columns)
    if not (word or flags or endings or reached):
        return StateReading()
    statuses: list[str] = ["finished"] * len(table.lines)
    unknown: dict[str, None] = {}
    for row, cell in enumerate(word.cells if word else ()):
        status = status_of(cell)
        if status is None and cell is not None:
            unknown[str(cell)] = None
        statuses[row] = status or "unknown"
    said: list[tuple[int, str]] = []
    for column, (status, meaning) in flags.values():
        is_meant = [_means(cell, meaning) for cell in column.cells]
        said += [(row, status) for row in np.flatnonzero(is_meant)]
    said += endings
    if reached:
        is_short = _share(*reached) < WHOLE
        said += [(row, "killed") for row in np.flatnonzero(is_short)]
    for row, status in said:
        if statuses[row] == "finished":
            statuses[row] = status
    return StateReading(
        word.raw if word else "",
        tuple(unknown),
        (reached[0].raw, reached[1].raw) if reached else ("", ""),
        {name: flag for name, (_, flag) in flags.items()},
        tuple(statuses),
    )


def _reached(columns: Sequence[Column]) -> tuple[Column, Column] | None:
    """Two counts of one thing, the first of which is the second in most rows and less in
    the others: how far runs came, and how far they should have come.
    """
    counts: dict[str, list[Column]] = {}
    for column in columns:
        match = _COUNTED.search(column.name.full)
        if match and not _NO_COUNT.search(column.name.full) and column.is_full:
            kind = "step" if match[1] in ("iter", "iteration") else match[1]
            counts.setdefault(kind, []).append(column)
    for found in counts.values():
        for near, far in itertools.permutations(found, 2):
            shares = _share(near, far)
            n_whole = np.sum(shares >= WHOLE)
            is_most = len(shares) > n_whole >= len(shares) / 2
            if is_most and np.all((shares > 0) & (shares <= 1.001)):
                return near, far
    return None


def _share(near: Column, far: Column) -> np.ndarray:
    """What share of `far` each row reached; 0 where that is no number."""
    whole = np.array(far.finite)
    return np.array(near.finite) / np.where(whole > 0, whole, np.inf)


def _endings(columns: Iterable[Column]) -> list[tuple[int, Status]]:
    """Rows and the status that stands where a column has numbers elsewhere: a loss of
    `OOM`.
    """
    found = []
    for column in columns:
        for row in column.odd_rows:
            status = status_of(column.cells[row])
            if status and status != "finished":
                found.append((row, status))
    return found


def _state_rank(table: Table, column: Column) -> float:
    """How surely a column says how runs ended; 0: it does not."""
    if column.kind != "text":
        return 0.0
    cells = Counter(map(str, column.present))
    n_known = sum(n for cell, n in cells.items() if status_of(cell))
    share = n_known / len(column.present)
    if table.roles.get(column.raw) == "status" and n_known:
        return 4.0
    if share >= MOSTLY_KNOWN and {column.name.last, column.name.full} & set(
        tables("states")["columns"]
    ):
        return 2.0 + share
    spelled = {plain(cell) for cell in cells}
    is_strong = any("state_" in cell for cell in spelled)
    is_strong = is_strong or bool(spelled & set(tables("states")["strong"]))
    return float(is_strong and share == 1.0 and len(cells) <= MOST_WORDS)


def _flag_of(column: Column) -> Flag | None:
    name = column.name.last
    is_code = (
        name in tables("states")["exit_codes"] and column.kind == "integer"
    )
    if is_code and 0.0 in column.levels:
        return "failed", "nonzero"
    known = {*tables("states")["yes"], *tables("states")["no"]}
    for meaning, names in tables("states")["flags"].items():
        for status, meant in names.items():
            if name in meant and not column.is_constant:
                is_truth = set(map(_word, column.present)) <= known
                return (status, meaning) if is_truth else None
    return None


def _word(cell: object) -> str:
    return str(cell).strip().lower()


def _means(cell: object, meaning: str) -> bool:
    if meaning == "nonzero":
        return cell is not None and _word(cell) not in ("0", "0.0")
    return _word(cell) in tables("states")[meaning]


def rule_of(flag: Flag, alias: str, column: Column) -> str:
    """The condition of a `[[status]]` rule for a column of yes and no."""
    meaning = flag[1]
    if meaning == "nonzero":
        return f"{alias} != 0"
    if column.is_numeric:
        return f"{alias} == {int(meaning == 'yes')}"
    meant = [cell for cell in column.present if _means(cell, meaning)]
    spelled = [str(c).lower() if isinstance(c, bool) else str(c) for c in meant]
    return " or ".join(f'{alias} == "{c}"' for c in dict.fromkeys(spelled))
