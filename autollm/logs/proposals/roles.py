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
from dataclasses import dataclass, field

import numpy as np

from autollm.core.errors import MappingError
from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.names import has_split, metric_of, words_of
from autollm.logs.proposals.notes import Notebook, Question
from autollm.logs.proposals.said import Said
from autollm.logs.proposals.states import StateReading, read_states
from autollm.logs.proposals.structure import simplex_groups

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
READER_ROLES = {
    "key": "key",
    "label": "label",
    "time": "ignored",
    "seed": "seed",
    "measured": "measured",
    "trunk": "trunk",
    "status": "status",
}
"""Facts that a reader knows of its tool's columns; `setting`, `result` and `cost` need a
closer look.
"""
LEAST_FINISHED = 4
LEAST_SHARE = 0.3
"""Runs that finished, and their share, from which on they alone say how columns vary."""
_BITS = frozenset({2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0})
"""Of a column `precision`: bits of a number format, no outcome."""


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
    finished; `free` those that have no role yet.
    """

    table: Table
    said: Said
    book: Notebook
    of: dict[str, Role] = field(default_factory=dict)
    groups: list[tuple[str, list[Column], float]] = field(default_factory=list)
    states: StateReading = field(default_factory=StateReading)
    finished: dict[str, Column] = field(default_factory=dict)
    free: dict[str, Column] = field(default_factory=dict)
    direction: str = ""

    def give(self, name: str, role: str, why: str) -> None:
        """Decide on a column."""
        self.of[name] = Role(role, why)
        self.free.pop(name, None)

    def named(self, *roles: str) -> list[str]:
        """Columns of some roles, in the order of the table."""
        order = self.table.columns
        return [n for n in order if n in self.of and self.of[n].role in roles]

    def is_setting(self, name: str) -> bool:
        """Whether the tracker says that a column was chosen."""
        column = self.table.columns[name]
        return column.name.origin == "setting" or self.fact(name) == "setting"

    def is_result(self, name: str) -> bool:
        """Whether the tracker says that a column was an outcome."""
        column = self.table.columns[name]
        return column.name.origin == "result" or self.fact(name) == "result"

    def fact(self, name: str) -> str:
        """What the reader says of a column."""
        return self.table.roles.get(name, "")


def first_roles(table: Table, said: Said, book: Notebook) -> Roles:
    """All roles that names and facts decide: everything but fidelity, context, knobs.

    Raises:
        MappingError: nothing looks like an outcome, or what was said fits no column.
    """
    roles = Roles(table, said, book, free=dict(table.columns))
    said.check(table.columns)
    _empty_and_index(roles)
    roles.states = read_states(table, roles.free)
    for name in roles.states.columns:
        roles.give(name, "status", roles.states.why(name))
    is_finished = roles.states.is_finished(len(table.lines))
    is_enough = is_finished.sum() >= max(
        LEAST_FINISHED, LEAST_SHARE * len(is_finished)
    )
    rows = (
        np.flatnonzero(is_finished)
        if is_enough
        else np.arange(len(is_finished))
    )
    roles.finished = table.at(rows)
    _facts(roles)
    _weights(roles)
    _constants(roles)
    _outcomes(roles)
    _named(roles)
    _keys(roles)
    return roles


def _empty_and_index(roles: Roles) -> None:
    for name, column in list(roles.free.items()):
        is_index = name in ("", "_index", "index", "idx") or name.startswith(
            "Unnamed:"
        )
        is_wanted = roles.table.key == name or name in roles.said.columns
        if column.kind == "empty":
            roles.give(name, "ignored", "every cell is empty")
        elif is_index and not is_wanted:
            roles.give(name, "label", "numbers the rows")


def _facts(roles: Roles) -> None:
    for name in list(roles.free):
        role = READER_ROLES.get(roles.fact(name))
        if role and name not in roles.said.columns:
            roles.give(name, role, "its tool says so")


def _weights(roles: Roles) -> None:
    candidates = {
        n: roles.finished[n] for n in roles.free if not roles.is_result(n)
    }
    for name in list(candidates):
        if metric_of(candidates[name].name) or name in roles.said.columns:
            candidates.pop(name)
    roles.groups = simplex_groups(candidates)
    for prefix, group, worst in roles.groups:
        why = f"{len(group)} columns {prefix}* sum to 1 within {worst:.2g}"
        for column in group:
            roles.give(column.name.raw, "simplex", why)


def _constants(roles: Roles) -> None:
    for name, column in list(roles.free.items()):
        if name in roles.said.columns:
            continue
        if column.is_constant:
            roles.give(name, "constant", f"{_shown(column)} in every row")
        elif roles.finished[name].is_constant and roles.finished[name].present:
            why = f"{_shown(roles.finished[name])} in every finished run"
            roles.give(name, "constant", why)


def _shown(column: Column) -> str:
    return f"{column.present[0]!r:.60}"


def _outcomes(roles: Roles) -> None:
    """The objective, and what else was an outcome."""
    candidates = [c for n, c in roles.finished.items() if n in roles.free]
    outcomes = [c for c in candidates if _is_outcome(roles, c)]
    objective = roles.said.objective
    if objective is None:
        if not outcomes:
            raise MappingError(_no_outcome(roles))
        n_rows = len(outcomes[0].cells)
        chosen = max(outcomes, key=lambda c: _merit(roles, c, n_rows))
        objective = chosen.name.raw
        why = "by its name"
    else:
        why = "named by you"
    roles.direction, said_why = _direction(roles, objective)
    roles.give(
        objective, "objective", f"{why}; {said_why}" if said_why else why
    )
    for column in outcomes:
        name = column.name.raw
        if name in roles.free:
            metric = metric_of(column.name)
            spread = metric is not None and metric.is_spread
            if spread:
                roles.give(
                    name, "measured", "by its name, the spread of an outcome"
                )
            else:
                roles.give(name, "metric", _metric_reason(roles, name))


def _metric_reason(roles: Roles, name: str) -> str:
    metric = metric_of(roles.table.columns[name].name)
    if metric and metric.direction:
        better = "lower" if metric.direction == "min" else "higher"
        return f"by its name, {better} is better"
    return "an outcome; its name does not say which direction is better"


def _direction(roles: Roles, objective: str) -> tuple[str, str]:
    if roles.said.direction:
        return roles.said.direction, "direction named by you"
    told = roles.table.directions.get(objective, "")
    if told:
        return told, "its tool says so"
    metric = metric_of(roles.table.columns[objective].name)
    if metric and metric.direction:
        return metric.direction, _metric_reason(roles, objective).partition(
            ", "
        )[2]
    text = (
        f"is a lower or a higher {objective!r} better? Its name does not say, and "
        'values never tell. Fix: write direction = "min" or "max" under '
        f"[objective], or say --objective {objective}:min (or :max)."
    )
    question = Question("direction-unknown", objective, text, ("min", "max"))
    roles.book.questions.append(question)
    return "", "which direction is better must be said"


def _no_outcome(roles: Roles) -> str:
    likely = [n for n, c in roles.free.items() if _is_likely_outcome(roles, c)]
    hint = f" The likeliest is {likely[-1]!r}." if likely else ""
    example = likely[-1] if likely else "COLUMN"
    return (
        f"{roles.table.file}: no column looks like an outcome (loss, accuracy ...).{hint} "
        f"Columns that vary: {', '.join(roles.free) or 'none'}. Fix: --objective "
        f"{example}:min (or :max); where outcomes stand in another file, write "
        "[[tables]] with `join` (docs/mapping-files.md)."
    )


def _is_likely_outcome(roles: Roles, column: Column) -> bool:
    if column.kind not in ("number", "mixed") or roles.is_setting(
        column.name.raw
    ):
        return False
    known = (entry for entry, _, _ in NAMED_ROLES if column.name.is_a(entry))
    return next(known, None) is None and not column.name.is_a("rate", "knobs")


def _is_outcome(roles: Roles, column: Column) -> bool:
    name = column.name
    if not column.is_numeric or not column.finite or roles.is_setting(name.raw):
        return False
    if _is_no_outcome_by_name(roles, column):
        return False
    if roles.is_result(name.raw):
        return True
    metric = metric_of(name)
    if metric is not None:
        return True
    generic = words_of("metrics", "generic").search(name.last)
    return bool(generic) or has_split(name)


def _is_no_outcome_by_name(roles: Roles, column: Column) -> bool:
    name = column.name
    entries = (
        "seed",
        "time",
        "throughput",
        "duration",
        "memory",
        "measured",
        "path",
    )
    if any(
        name.is_a(entry)
        for entry in (*entries, "consequence", "params", "tokens")
    ):
        return True
    is_plain = not roles.is_result(name.raw) and not has_split(name)
    if is_plain and name.is_a("rate", "knobs"):
        return metric_of(name) is None or name.full == "kl"
    if name.core == "precision" and set(column.levels) <= _BITS:
        return True
    return name.is_a("flops") or (is_plain and name.is_a("size", "knobs"))


def _merit(roles: Roles, column: Column, n_rows: int) -> tuple[float, ...]:
    name = column.name
    metric = metric_of(name)
    is_known = metric is not None and bool(metric.direction)
    is_spread = metric is not None and metric.is_spread
    speaks = 0.0
    for word in (
        "speak_for_split",
        "speak_for_smooth",
        "speak_for_mean",
        "speak_for_kind",
    ):
        speaks += bool(words_of("metrics", word).search(name.full))
    against = 2 * bool(words_of("metrics", "speak_against").search(name.full))
    is_filled = len(column.finite) >= 0.5 * n_rows
    return (not is_spread, is_filled, is_known + speaks - against)


def _named(roles: Roles) -> None:
    for name, column in list(roles.free.items()):
        if name in roles.said.columns:
            continue
        if column.name.is_a("seed") and column.kind in ("integer", "number"):
            roles.give(name, "seed", "by its name")
            continue
        if column.kind == "instant":
            roles.give(
                name, "ignored", "holds moments, no choice of a researcher"
            )
            continue
        if roles.fact(name) == "cost":
            roles.give(name, "cost", "its tool says so")
            continue
        if column.name.origin == "system":
            roles.give(name, "ignored", "written by the tracker itself")
            continue
        _by_word(roles, name, column)


def _by_word(roles: Roles, name: str, column: Column) -> None:
    if _is_setting_by_name(column):
        return
    for entry, role, why in NAMED_ROLES:
        fits = (
            column.is_numeric
            or role in ("label", "ignored")
            or column.unit == "s"
        )
        if fits and column.name.is_a(entry):
            if not _is_key(column):
                roles.give(name, role, why)
            return
    if column.unit == "s" and not roles.is_setting(name):
        roles.give(name, "cost", "holds durations")
    elif column.unit in ("rate", "bytes"):
        roles.give(
            name, "measured", f"holds {column.unit}s, which are measured"
        )
    elif roles.is_result(name):
        roles.give(name, "measured", "an outcome that is no number")


def _is_setting_by_name(column: Column) -> bool:
    """Whether a name is that of a size, a count of steps or a context, whatever else its
    words say.
    """
    fidelity = (
        "params",
        "tokens",
        "steps",
        "epochs",
        "samples",
        "data_fraction",
    )
    if any(column.name.is_a(entry) for entry in fidelity) and column.is_numeric:
        return not column.name.is_a("measured") and column.unit in (
            "",
            column.unit,
        )
    contexts = (
        "optimizer",
        "schedule",
        "tokenizer",
        "parametrization",
        "evaluation",
    )
    return any(column.name.is_a(entry, "contexts") for entry in contexts)


def _is_key(column: Column) -> bool:
    """Whether a column could name runs: no value occurs twice."""
    by_name = column.name.is_a("key") or column.name.is_a("label")
    return column.is_unique and by_name and column.kind in ("text", "integer")


def _keys(roles: Roles) -> None:
    """One column that names a run, the others labels."""
    candidates = [n for n in roles.table.columns if _may_be_key(roles, n)]
    if roles.table.key in candidates:
        candidates.insert(0, roles.table.key)
    best = min(candidates, key=lambda n: _key_rank(roles, n), default=None)
    for name in dict.fromkeys(candidates):
        if name == best:
            roles.give(name, "key", "names a row: no value occurs twice")
        elif name in roles.free:
            roles.give(name, "label", "a second name of each row")
    for name in list(roles.free):
        column = roles.table.columns[name]
        is_named = column.name.is_a("key") and not column.name.is_a("params")
        if (
            is_named
            and not roles.is_setting(name)
            and name not in roles.said.columns
        ):
            roles.give(
                name, "label", "by its name, names a run, though it repeats"
            )


def _may_be_key(roles: Roles, name: str) -> bool:
    column = roles.table.columns[name]
    if not column.is_unique or name in roles.said.columns:
        return False
    if name == roles.table.key or name in roles.named("key"):
        return True
    is_open = name in roles.free or roles.of[name].role == "label"
    is_word = column.kind == "text" and not roles.is_setting(name)
    return (
        is_open
        and column.kind in ("text", "integer")
        and (is_word or _is_key(column))
    )


def _key_rank(roles: Roles, name: str) -> tuple[int, ...]:
    """Lower is better: what the reader says, a name of keys, a label, any unique text."""
    column = roles.table.columns[name]
    is_fact = name == roles.table.key
    is_named = column.name.is_a("key")
    return (
        not is_fact,
        not is_named,
        column.kind != "text",
        not column.name.is_a("label"),
    )


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: at most six of them."""
    names = list(names)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
