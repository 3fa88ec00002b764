"""The roles that a person, names, facts and outcomes decide: everything but fidelity,
context and knobs.

How a column varies is judged on runs that finished: a broken run's last step is no
setting.
"""

from __future__ import annotations

import numpy as np

from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.names import metric_of
from autollm.logs.proposals.notes import Notebook
from autollm.logs.proposals.options import TableOptions
from autollm.logs.proposals.outcomes import find_outcomes, take_said_objective
from autollm.logs.proposals.roles import NAMED_ROLES, Roles, is_setting_by_name
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


def first_roles(table: Table, said: TableOptions, book: Notebook) -> Roles:
    """All roles that are decided before fidelity, contexts and knobs.

    Raises:
        MappingError: nothing looks like an outcome, or what was said fits no column.
    """
    roles = Roles(table, said, book)
    _said(roles)
    _empty_and_index(roles)
    _ends(roles)
    _facts(roles)
    _weights(roles)
    if len(table.lines) > 1:
        _constants(roles)
    find_outcomes(roles)  # which are constant, too, in a table of one run
    _constants(roles)
    _named(roles)
    _keys(roles)
    return roles


def _said(roles: Roles) -> None:
    """What a person said is never guessed over."""
    said = roles.said
    said.check(roles.table.columns)
    for name in said.fidelity.values():
        roles.give(name, "fidelity", "named by you")
    for name in said.knobs:
        roles.give(name, "knob", "named by you")
    if said.objective:
        take_said_objective(roles, said.objective)


def _empty_and_index(roles: Roles) -> None:
    for column in roles.open():
        name = column.raw
        is_index = name == "_index" or name.startswith("Unnamed:")
        is_counted = column.is_unique and column.kind == "integer"
        is_index = is_index or (is_counted and name in ("", "index", "idx"))
        if column.kind == "empty":
            roles.give(name, "ignored", "every cell is empty")
        elif is_index and roles.table.key != name:
            roles.give(name, "label", "numbers the rows")


def _ends(roles: Roles) -> None:
    """How runs ended; from here on, columns are looked at in those that finished."""
    roles.states = read_states(roles.table, roles.open())
    for name in roles.states.columns:
        roles.give(name, "status", roles.states.why(name))
    n_rows = len(roles.table.lines)
    is_finished = roles.states.is_finished(n_rows) & ~_hollow(roles.table)
    if is_finished.sum() >= max(LEAST_FINISHED, LEAST_SHARE * n_rows):
        roles.finished = roles.table.at(np.flatnonzero(is_finished))


def _hollow(table: Table) -> np.ndarray:
    """Of each row, whether it lacks most of what nearly all others have: a line of
    averages or notes below a table, and no run.
    """
    filled = [c.codes >= 0 for c in table.columns.values() if c.present]
    usual = [is_there for is_there in filled if is_there.mean() >= USUALLY]
    if len(usual) < 3:
        return np.zeros(len(table.lines), dtype=bool)
    return np.mean(usual, axis=0) < 0.5


def _facts(roles: Roles) -> None:
    for column in roles.open():
        role = READER_ROLES.get(roles.fact(column))
        if role:
            roles.give(column.raw, role, "its tool says so")


def _weights(roles: Roles) -> None:
    """Weights that sum to 1, also where a person said that each is a knob: no weight
    can be chosen alone. A name that speaks of a metric may be that of a data set
    (`ratio_code_score`), where all of one prefix make the sum.
    """
    candidates = {}
    metrics = {}
    said = roles.named("knob")
    for column in roles.finished.values():
        is_open = column.raw in said or column.raw not in roles.of
        is_named = roles.is_result(column) or column.is_a(*NO_WEIGHTS)
        if is_open and not is_named:
            is_metric = metric_of(column.name) is not None
            (metrics if is_metric else candidates)[column.raw] = column
    roles.groups = simplex_groups(candidates)
    used = {c.raw for group in roles.groups for c in group.columns}
    left = {n: c for n, c in (candidates | metrics).items() if n not in used}
    for group in simplex_groups(left):
        n_metrics = sum(c.raw in metrics for c in group.columns)
        if group.prefix and n_metrics < len(group.columns) / 2:
            roles.groups.append(group)
    for group in roles.groups:
        n = len(group.columns)
        why = f"{n} columns {group.prefix}* sum to {group.total:g} within "
        why += f"{group.worst * group.total:.2g}"
        for column in group.columns:
            roles.give(column.raw, "simplex", why)


def _constants(roles: Roles) -> None:
    for whole in roles.whole():
        finished = roles.finished[whole.raw]
        for column, where in ((whole, "row"), (finished, "finished run")):
            if column.is_constant and column.present:
                why = f"{column.present[0]!r:.60} in every {where}"
                roles.give(whole.raw, "constant", why)
                break


def _named(roles: Roles) -> None:
    for column in roles.whole():
        role = None
        if column.raw == FILE_COLUMN:
            continue
        if column.is_a("seed") and _are_whole(column):
            role = ("seed", "by its name")
        elif column.kind == "instant":
            role = ("ignored", "holds moments, no choice of a researcher")
        elif roles.fact(column) == "cost":
            role = ("cost", "its tool says so")
        elif column.name.origin == "system" and not _is_key(column):
            role = ("ignored", "written by the tracker itself")
        elif not is_setting_by_name(column):
            role = _by_word(roles, column)
        if role:
            roles.give(column.raw, *role)


def _are_whole(column: Column) -> bool:
    return column.is_numeric and all(x.is_integer() for x in column.finite)


def _by_word(roles: Roles, column: Column) -> tuple[str, str] | None:
    """(role, why) by words of its name, or by the unit of its cells."""
    for entry, role, why in NAMED_ROLES:
        fits = column.is_numeric or column.unit == "s"
        fits = fits or role in ("label", "ignored") or entry == "measured"
        if fits and column.is_a(entry):
            return None if _is_key(column) else (role, why)
    if column.unit == "s" and not roles.is_setting(column):
        return "cost", "holds durations"
    if column.unit in ("rate", "bytes"):
        return "measured", f"holds {column.unit}s, which are measured"
    if roles.is_result(column):
        return "measured", "an outcome that is no number"
    return None


def _is_key(column: Column) -> bool:
    """Whether a column could name runs: no value occurs twice."""
    by_name = column.is_a("key", "label")
    return column.is_unique and by_name and column.kind in ("text", "integer")


def _keys(roles: Roles) -> None:
    """One column that names a run, the others labels."""
    columns = roles.table.columns.values()
    candidates = [c for c in columns if _may_be_key(roles, c)]
    best = min(candidates, key=lambda c: _key_rank(roles, c), default=None)
    for column in candidates:
        if column is best:
            roles.give(column.raw, "key", "names a row: no value occurs twice")
        elif column.raw not in roles.of:
            roles.give(column.raw, "label", "a second name of each row")
    for column in roles.whole():
        is_named = column.is_a("key") and not column.is_a("params")
        if is_named and not roles.is_setting(column):
            why = "by its name, names a run, though it repeats"
            roles.give(column.raw, "label", why)


def _may_be_key(roles: Roles, column: Column) -> bool:
    name = column.raw
    if not column.is_unique or name in roles.said.columns:
        return False
    if name == roles.table.key or name in roles.named("key"):
        return True
    is_open = name not in roles.of or roles.of[name].role == "label"
    is_word = column.kind == "text" and not roles.is_setting(column)
    is_kind = column.kind in ("text", "integer")
    return is_open and is_kind and (is_word or _is_key(column))


def _key_rank(roles: Roles, column: Column) -> tuple[bool, ...]:
    """Lower is better: what the reader says, a name of keys, a label, any unique text."""
    return (
        column.raw != roles.table.key,
        not column.is_a("key"),
        column.kind != "text",
        not column.is_a("label"),
    )
