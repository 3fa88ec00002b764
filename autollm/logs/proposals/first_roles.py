"""The roles that names, facts and outcomes decide: everything but fidelity, context and
knobs.

How a column varies is judged on runs that finished: a broken run's last step is no
setting.
"""

from __future__ import annotations

import numpy as np

from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.names import metric_of
from autollm.logs.proposals.notes import Notebook
from autollm.logs.proposals.outcomes import find_outcomes
from autollm.logs.proposals.roles import NAMED_ROLES, Roles, is_setting_by_name
from autollm.logs.proposals.said import Said
from autollm.logs.proposals.states import read_states
from autollm.logs.proposals.structure import simplex_groups
from autollm.logs.relation import FILE_COLUMN

READER_ROLES = {
    "key": "key",
    "label": "label",
    "time": "ignored",
    "seed": "seed",
    "measured": "measured",
    "trunk": "trunk",
    "group": "group",
    "status": "status",
}
"""Facts that a reader knows of its tool's columns; `setting`, `result` and `cost` need a
closer look.
"""


NO_WEIGHTS = ("key", "label", "seed", "steps", "epochs", "duration")
"""Of names: a number of a run between 0 and 100 is no share of a mixture."""
USUALLY = 0.9
"""Share of the rows in which a column is filled that every run has."""
LEAST_FINISHED = 4


LEAST_SHARE = 0.3
"""Runs that finished, and their share, from which on they alone say how columns vary."""


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
    is_finished = roles.states.is_finished(len(table.lines)) & ~_hollow(table)
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
    is_one_run = len(table.lines) == 1  # whose outcome is constant, too
    if not is_one_run:
        _constants(roles)
    find_outcomes(roles)
    if is_one_run:
        _constants(roles)
    _named(roles)
    _keys(roles)
    return roles


def _hollow(table: Table) -> np.ndarray:
    """Of each row, whether it lacks most of what nearly all others have: a line of
    averages or notes below a table, and no run.
    """
    n_rows = len(table.lines)
    filled = np.array(
        [c.codes >= 0 for c in table.columns.values() if c.present]
    )
    if not len(filled):
        return np.zeros(n_rows, dtype=bool)
    usual = filled[filled.mean(axis=1) >= USUALLY]
    if len(usual) < 3:
        return np.zeros(n_rows, dtype=bool)
    return usual.mean(axis=0) < 0.5


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
    """Weights that sum to 1, also where a person said that each is a knob: no weight
    can be chosen alone. A name that speaks of a metric may be that of a data set
    (`ratio_code_score`), where all of one prefix make the sum.
    """
    candidates = {}
    metrics = {}
    other = {roles.said.objective, *roles.said.fidelity.values()}
    for name in roles.free:
        if roles.is_result(name) or name in other:
            continue
        column = roles.finished[name]
        if any(column.name.is_a(entry) for entry in NO_WEIGHTS):
            continue
        (metrics if metric_of(column.name) else candidates)[name] = column
    roles.groups = simplex_groups(candidates)
    used = {c.name.raw for group in roles.groups for c in group.columns}
    left = {n: c for n, c in {**candidates, **metrics}.items() if n not in used}
    for group in simplex_groups(left):
        n_metrics = sum(c.name.raw in metrics for c in group.columns)
        if group.prefix and n_metrics < len(group.columns) / 2:
            roles.groups.append(group)
    for group in roles.groups:
        n = len(group.columns)
        why = f"{n} columns {group.prefix}* sum to {group.total:g} within "
        why += f"{group.worst * group.total:.2g}"
        for column in group.columns:
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


def _named(roles: Roles) -> None:
    for name, column in list(roles.free.items()):
        if name in roles.said.columns or name == FILE_COLUMN:
            continue
        if column.name.is_a("seed") and _are_whole(column):
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
        if column.name.origin == "system" and not _is_key(column):
            roles.give(name, "ignored", "written by the tracker itself")
            continue
        _by_word(roles, name, column)


def _are_whole(column: Column) -> bool:
    return column.is_numeric and all(x.is_integer() for x in column.finite)


def _by_word(roles: Roles, name: str, column: Column) -> None:
    if is_setting_by_name(column):
        return
    for entry, role, why in NAMED_ROLES:
        fits = (
            column.is_numeric
            or role in ("label", "ignored")
            or entry == "measured"
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
