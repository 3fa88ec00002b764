"""What the columns of a table are for, told by their names, their tracker, their values
and how they hang together.

The order matters, and is the order of certainty: what a person said; what the reader
knows of its tool; how a run ended; the outcome; names that speak for themselves (seeds,
labels, paths, times, measured things); fidelity; contexts; and of what is left, what was
chosen and what was measured. How a column varies is judged on runs that finished: a
broken run's last step is no setting.

Invariant: a column has exactly one role, and the reason for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.notes import Notebook
from autollm.logs.proposals.options import TableOptions
from autollm.logs.proposals.states import StateReading
from autollm.logs.proposals.structure import Simplex

NAMED_ROLES = (
    # entry of names.toml, role, why
    ("time", "ignored", "a moment, no choice of a researcher"),
    ("throughput", "measured", "by its name, how fast it ran"),
    ("flops", "cost", "by its name, what it cost"),
    ("duration", "cost", "by its name, how long it took"),
    ("memory", "measured", "by its name, what it took of the machine"),
    ("money", "measured", "by its name, what it cost"),
    ("measured", "measured", "by its name, measured while it ran"),
    ("label", "label", "by its name, a label"),
    ("path", "ignored", "by its name, no choice of a researcher"),
)
SIZES = ("params", "tokens", "steps", "epochs", "samples", "data_fraction")
SETTINGS_BY_NAME = (
    "optimizer",
    "schedule",
    "tokenizer",
    "parametrization",
    "evaluation",
)


@dataclass(frozen=True)
class Role:
    """What a column is for, and why: constant, seed, simplex, objective, metric, cost,
    key, status, trunk, fidelity, context, knob, fixed, label, measured, ignored.
    """

    role: str
    why: str


@dataclass
class Roles:
    """The roles of all columns. `finished` are the columns in the rows of runs that
    finished.
    """

    table: Table
    said: TableOptions
    book: Notebook
    of: dict[str, Role] = field(default_factory=dict)
    groups: list[Simplex] = field(default_factory=list)
    states: StateReading = field(default_factory=StateReading)
    finished: dict[str, Column] = field(default_factory=dict)
    direction: str = ""

    def __post_init__(self) -> None:
        self.finished = dict(self.table.columns)

    def give(self, name: str, role: str, why: str) -> None:
        """Decide on a column."""
        self.of[name] = Role(role, why)

    def say(self, code: str, text: str, *columns: str) -> None:
        """See `Notebook.say`."""
        self.book.say(code, text, *columns)

    def named(self, *roles: str) -> list[str]:
        """Columns of some roles, in the order of the table."""
        order = self.table.columns
        return [n for n in order if n in self.of and self.of[n].role in roles]

    def columns(self, *roles: str) -> list[Column]:
        """Columns of some roles, in the rows of runs that finished."""
        return [self.finished[name] for name in self.named(*roles)]

    def open(self, but: str | None = None) -> list[Column]:
        """Columns that have no role yet, in the rows of runs that finished; all `but`
        one.
        """
        found = self.finished.items()
        return [c for n, c in found if n not in self.of and n != but]

    def whole(self) -> list[Column]:
        """Columns that have no role yet, in all rows."""
        return [c for n, c in self.table.columns.items() if n not in self.of]

    def is_setting(self, column: Column) -> bool:
        """Whether the tracker says that a column was chosen."""
        return self.table.is_setting(column)

    def is_result(self, column: Column) -> bool:
        """Whether the tracker says that a column was an outcome."""
        return "result" in (column.name.origin, self.fact(column))

    def fact(self, column: Column) -> str:
        """What the reader says of a column."""
        return self.table.fact(column)

    def described(self) -> tuple[dict[str, Any], ...]:
        """What each column was taken for, as plain values."""
        found = []
        for name, column in self.table.columns.items():
            entry = {"name": name, "kind": column.kind}
            entry["n_distinct"] = column.n_distinct
            found.append(entry | asdict(self.of[name]))
        return tuple(found)


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: at most six of them."""
    names = list(names)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def is_setting_by_name(column: Column) -> bool:
    """Whether a name is that of a size, a count of steps or a context, whatever else its
    words say.
    """
    if column.is_numeric and column.is_a(*SIZES):
        return not column.is_a("measured")
    return column.is_a("size_word", *SETTINGS_BY_NAME)
