"""What was chosen: contexts, knobs, and what only looks like one.

Of the columns that no name, fact or ladder explains, these are no knobs: what follows
from the fidelity or from other settings, what was changed together with another column
(the first of them stands for all), texts that name a combination of settings, and
numbers that were measured. Invariant: each of them says what it follows from.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.ladder import Ladder
from autollm.logs.proposals.measured import (
    is_learning_rate,
    is_named_knob,
    leave_last_rates,
    leave_measured,
)
from autollm.logs.proposals.names import plain, tables, words_of
from autollm.logs.proposals.roles import Roles, listed
from autollm.logs.proposals.structure import (
    FEW_LEVELS,
    changed_together,
    determines,
    is_function_of,
    is_tied,
    joint_codes,
    looks_chosen,
    n_groups,
    switch_of,
)
from autollm.logs.relation import FILE_COLUMN

ALWAYS_CONTEXT = ("tokenizer", "data", "evaluation", "parametrization")
"""Outcomes or knobs of different ones never compare; an optimizer, a schedule or a
sequence length that is swept is a choice like others.
"""
CONTEXTS = (*ALWAYS_CONTEXT, "optimizer", "schedule", "sequence_length")
_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+-]?\w+)*")
_HASH = re.compile(r"[0-9a-f-]{6,}")
MOST_TEXTS = 20
"""Values of a text that was chosen; more are notes."""


def choose(roles: Roles, ladder: Ladder) -> None:
    """Give every column that is left its role."""
    size = ladder.levels
    _said_knobs(roles)
    _contexts(roles, size)
    _follow_from_size(roles, size)
    _file(roles, size)
    _texts(roles)
    leave_last_rates(roles)
    _tied(roles, size)
    _by_consequence(roles)
    _consequences(roles, size)
    leave_measured(roles)
    _together(roles)
    _combination_labels(roles)
    for name in list(roles.free):
        roles.give(name, "knob", _levels(roles.finished[name]))
    if not roles.named("knob", "simplex"):
        _label_as_knob(roles, size)


def _levels(column: Column) -> str:
    n = column.n_distinct
    words = f"{n} levels" if column.is_numeric else f"{n} values"
    return f"{words}, or none" if column.is_partial else words


def _said_knobs(roles: Roles) -> None:
    if not roles.said.knobs:
        return
    for name in list(roles.free):
        if name in roles.said.knobs:
            roles.give(name, "knob", "named by you")
    for name in list(roles.free):
        if context_of(roles.finished[name]) is None:
            roles.give(name, "label", "not among the knobs that you named")


def context_of(column: Column) -> str | None:
    """The context that a column is, by its name, else by its values."""
    for entry in CONTEXTS:
        if column.name.is_a(entry, "contexts"):
            fits = column.kind in ("text", "bool") or entry in (
                "sequence_length",
            )
            if fits or column.name.last in ("mup", "use_mup"):
                return entry
    if column.kind != "text" or column.n_distinct > FEW_LEVELS:
        return None
    for entry in tables()["context_values"]:
        pattern = words_of("context_values", entry)
        known = [v for v in column.levels if pattern.fullmatch(plain(v))]
        if len(known) >= max(2, 0.6 * column.n_distinct):
            return entry
    return None


def _contexts(roles: Roles, size: list[Column]) -> None:
    for name in list(roles.free):
        column = roles.finished[name]
        entry = context_of(column)
        if entry is None or column.is_unique:
            continue
        confounded = (
            bool(size)
            and column.n_distinct > 1
            and is_function_of(column, size)
        )
        if confounded and n_groups(size) > 1:
            roles.give(
                name, "context", f"{entry}: one value for each size, confounded"
            )
            roles.book.say(
                "confounded-context",
                f"{name} ({entry}) changes with the fidelity: what it does and what size "
                "does cannot be told apart (confounded).",
                name,
            )
        elif entry in ALWAYS_CONTEXT:
            roles.give(
                name, "context", f"{entry}: changes what the settings mean"
            )
            roles.book.say(
                "context",
                f"{name} ({entry}) changes what the settings mean: runs are compared "
                "within one value of it alone. If it is a choice, move it to [[knobs]].",
                name,
            )


def _file(roles: Roles, size: list[Column]) -> None:
    """The file in which a row stands: a context where several files hold the same
    settings, since something that no column says tells them apart.
    """
    if FILE_COLUMN not in roles.free:
        return
    others = [roles.finished[n] for n in roles.free if n != FILE_COLUMN]
    others = [c for c in others if not c.is_numeric or looks_chosen(c)]
    others += [*size, *(roles.finished[n] for n in roles.named("seed"))]
    column = roles.finished[FILE_COLUMN]
    n_both = n_groups([*others, column])
    if not others or n_both < 1.5 * n_groups(others):
        roles.give(FILE_COLUMN, "label", "the file in which a row stands")
        return
    roles.give(
        FILE_COLUMN, "context", "the same settings stand in several files"
    )
    roles.book.say(
        "context",
        "the same settings stand in several files, and no column says what tells the "
        f"files apart ({listed(column.levels)}): runs are compared within one file "
        "alone. Add a column that says it.",
        FILE_COLUMN,
    )


def _follow_from_size(roles: Roles, size: list[Column]) -> None:
    """What has one value for each size, or for each context: a vocabulary's size follows
    from the tokenizer.
    """
    contexts = [roles.finished[name] for name in roles.named("context")]
    for name in list(roles.free):
        column = roles.finished[name]
        causes = [size] if len(size) > 1 else []
        causes += [[part] for part in (*size, *contexts)]
        found = next((c for c in causes if determines(c, column)), None)
        if found:
            names = " and ".join(c.name.raw for c in found)
            roles.give(name, "fixed", f"one value for each {names}")


def _texts(roles: Roles) -> None:
    for name in list(roles.free):
        column = roles.finished[name]
        if column.kind != "text":
            continue
        n_rows = len(column.cells)
        if all(_VERSION.fullmatch(level) for level in column.levels):
            roles.give(name, "label", "holds versions of software")
        elif column.is_unique and n_rows > 2:
            roles.give(name, "label", "text that differs in every row")
        elif column.n_distinct > max(MOST_TEXTS, n_rows / 10):
            roles.give(name, "label", f"text of {column.n_distinct} values")


def _together(roles: Roles) -> None:
    """Of columns that were changed together, the first named one stands for all."""
    columns = [roles.finished[name] for name in roles.free]
    columns = [c for c in columns if not c.is_partial]
    for group in changed_together(columns):
        best = min(group, key=lambda c: (not is_named_knob(c), _is_derived(c)))
        others = [c.name.raw for c in group if c is not best]
        for name in others:
            roles.give(name, "fixed", f"changes together with {best.name.raw}")
        roles.book.say(
            "changed-together",
            f"{listed([best.name.raw, *others])} were changed together: they are one "
            f"knob, and {best.name.raw!r} stands for them.",
            best.name.raw,
            *others,
        )


def _tied(roles: Roles, size: list[Column]) -> None:
    """Of two numbers whose ratio or product is one for each size, one stands for both:
    a rate beside its multiple of the size's own, steps beside the batch.
    """
    columns = [roles.finished[name] for name in roles.free]
    columns = [c for c in columns if c.spans > 1 and not c.is_partial]
    columns.sort(
        key=lambda c: (
            not is_learning_rate(c.name),
            _is_derived(c),
            not _is_named_size(c),
            c.n_distinct,
        )
    )
    for kept, other in itertools.combinations(columns, 2):
        names = [kept.name.raw, other.name.raw]
        if set(names) <= roles.free.keys() and is_tied(kept, other, size):
            roles.give(names[1], "fixed", f"goes with {names[0]} at each size")
            if is_named_knob(other):
                roles.book.say(
                    "changed-together",
                    f"{names[1]} times or over {names[0]} is constant at each size: they "
                    f"are one knob, and {names[0]!r} stands for both.",
                    *names,
                )


def _is_named_size(column: Column) -> bool:
    return column.name.is_a("size", "knobs") or column.name.is_a(
        "rate", "knobs"
    )


def _is_derived(column: Column) -> bool:
    """Whether a name is that of what follows: a whole batch, the end of a schedule, its
    highest point.
    """
    is_end = column.name.last.startswith(("min_", "peak_"))
    return column.name.is_a("consequence") or is_end


def _consequences(roles: Roles, size: list[Column]) -> None:
    """Numbers that one or two other settings determine."""
    for name in list(roles.free):
        column = roles.finished[name]
        if not column.is_numeric:
            continue
        others = [roles.finished[n] for n in roles.free if n != name]
        is_named = is_named_knob(column) or context_of(column) is not None
        cause = None if is_named else _cause(size, column, others)
        if cause:
            roles.give(
                name, "fixed", f"one value for each {' and '.join(cause)}"
            )


def _by_consequence(roles: Roles) -> None:
    """Counts of parameters and whole batches, which other settings make."""
    for name in list(roles.free):
        column = roles.finished[name]
        if not column.is_numeric or not column.name.is_a("consequence"):
            continue
        others = [roles.finished[n] for n in roles.free if n != name]
        is_batch = "batch" in column.name.full
        if not is_batch or any("batch" in c.name.full for c in others):
            roles.give(
                name, "fixed", "by its name, follows from other settings"
            )


def _cause(
    size: list[Column], effect: Column, others: list[Column]
) -> list[str] | None:
    """One or two columns that determine `effect`, each with fewer values."""
    n_rows = len(effect.cells)
    few = []
    for column in [*size, *others]:
        n = column.n_distinct
        if 2 <= n <= n_rows / 4 and column.kind != "list":
            few.append(column)
    few = few[:FEW_LEVELS]
    for column in few:
        if column.n_distinct > effect.n_distinct and determines(
            [column], effect
        ):
            return [column.name.raw]
    for pair in itertools.combinations(few, 2):
        most = max(column.n_distinct for column in pair)
        if effect.n_distinct > most and determines(
            pair, effect, most_groups=0.5
        ):
            return [column.name.raw for column in pair]
    return None


def _combination_labels(roles: Roles) -> None:
    """Texts that name a combination of the other settings, or are named by them."""
    for name in list(roles.free):
        column = roles.finished[name]
        others = [roles.finished[n] for n in roles.free if n != name]
        # a setting under which others exist is a choice, and no label of them
        others = [c for c in others if switch_of(c, [column]) is None]
        if column.kind != "text" or len(others) < 2:
            continue
        is_all = all(is_function_of(other, [column]) for other in others)
        if is_all and column.n_distinct > max(c.n_distinct for c in others):
            why = f"names a combination of {listed(c.name.raw for c in others)}"
            roles.give(name, "label", why)


def _label_as_knob(roles: Roles, size: list[Column]) -> None:
    """Where only a label tells the runs of one experiment apart, it stands for what was
    changed: hand-made logs name their variants in words.
    """
    groups = joint_codes(size) if size else np.zeros(len(roles.table.lines))
    if len(np.unique(groups)) >= len(groups) / 2 and size:
        return
    best = None
    for name in (
        *roles.named("label"),
        *roles.named("ignored"),
        *roles.named("key"),
    ):
        column = roles.table.columns[name]
        rank = _variant_rank(column)
        if rank and (best is None or rank > best[0]):
            best = (rank, name)
    if best is None:
        return
    name = best[1]
    if roles.of[name].role != "key":
        roles.give(name, "knob", "the only thing that tells the runs apart")
    else:
        roles.of[name] = type(roles.of[name])(
            "knob", "the only thing that tells runs apart"
        )
    roles.book.say(
        "label-as-knob",
        f"no setting varies, and only {name!r} tells the runs apart: it stands for what "
        "was changed. Add columns that say what was changed, and correct [[knobs]].",
        name,
    )


def _variant_rank(column: Column) -> int:
    """How well a label names variants: repeated ones above unique ones, those that speak
    of variants above others; 0 for places, moments and hashes.
    """
    if column.kind != "text" or column.n_distinct < 2 or column.is_partial:
        return 0
    name = column.name.full
    if re.search(r"path|dir|host|user|url|tag|time|date", name):
        return 0
    if all(_HASH.fullmatch(level) for level in column.levels):
        return 0
    speaks = re.search(
        r"variant|config|name|commit|desc|change|method|setting", name
    )
    return 1 + 2 * bool(speaks) + (not column.is_unique)
