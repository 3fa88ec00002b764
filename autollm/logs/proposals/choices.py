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
MOSTLY_KNOWN = 0.6
"""Share of a text's values that must be words of a context."""
_VERSION = re.compile(r"v?\d+\.\d+\.\d+([.+-]?\w+)*")
_HASH = re.compile(r"[0-9a-f-]{6,}")
_NO_VARIANT = re.compile(r"path|dir|host|user|url|tag|time|date")
_VARIANT = re.compile(r"variant|config|name|commit|desc|change|method|setting")
"""In names of labels: whether they may tell what was changed."""
MOST_TEXTS = 20
"""Values of a text that was chosen; more are notes."""


def choose(roles: Roles, ladder: Ladder) -> None:
    """Give every column that is left its role."""
    size = ladder.levels
    _leave_unsaid(roles)
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
    for column in roles.open():
        roles.give(column.raw, "knob", _levels(column))
    if not roles.named("knob", "simplex"):
        _label_as_knob(roles, size)


def _levels(column: Column) -> str:
    unit = "levels" if column.is_numeric else "values"
    none = ", or none" if column.is_partial else ""
    return f"{column.n_distinct} {unit}{none}"


def _leave_unsaid(roles: Roles) -> None:
    """Where a person named the knobs, nothing else is one."""
    for column in roles.open() if roles.said.knobs else ():
        if context_of(column) is None:
            why = "not among the knobs that you named"
            roles.give(column.raw, "label", why)


def context_of(column: Column) -> str | None:
    """The context that a column is, by its name, else by its values."""
    is_word = column.kind in ("text", "bool")
    is_word = is_word or column.name.last in ("mup", "use_mup")
    for entry in CONTEXTS:
        if (is_word or entry == "sequence_length") and column.is_a(entry):
            return entry
    if column.kind != "text" or column.n_distinct > FEW_LEVELS:
        return None
    for entry in tables()["context_values"]:
        pattern = words_of("context_values", entry)
        known = [v for v in column.levels if pattern.fullmatch(plain(v))]
        if len(known) >= max(2, MOSTLY_KNOWN * column.n_distinct):
            return entry
    return None


def _contexts(roles: Roles, size: list[Column]) -> None:
    for column in roles.open():
        name, entry = column.raw, context_of(column)
        if entry is None or column.is_unique:
            continue
        varies = column.n_distinct > 1 and n_groups(size) > 1
        if varies and is_function_of(column, size):
            # a length that grows with the size parts no sizes from each other
            role = "fixed" if entry == "sequence_length" else "context"
            why = f"{entry}: one value for each size, confounded"
            roles.give(name, role, why)
            roles.say(
                "confounded-context",
                f"{name} ({entry}) changes with the fidelity: what it does and what size "
                "does cannot be told apart (confounded).",
                name,
            )
        elif entry in ALWAYS_CONTEXT:
            roles.give(
                name, "context", f"{entry}: changes what the settings mean"
            )
            roles.say(
                "context",
                f"{name} ({entry}) changes what the settings mean: runs are compared "
                "within one value of it alone. If it is a choice, move it to [[knobs]].",
                name,
            )


def _file(roles: Roles, size: list[Column]) -> None:
    """The file in which a row stands: a context where several files hold the same
    settings, since something that no column says tells them apart.
    """
    if FILE_COLUMN in roles.of or FILE_COLUMN not in roles.finished:
        return
    column = roles.finished[FILE_COLUMN]
    others = roles.open(but=FILE_COLUMN)
    others = [c for c in others if not c.is_numeric or looks_chosen(c)]
    others += [*size, *roles.columns("seed")]
    n_both = n_groups([*others, column])
    if not others or n_both < 1.5 * n_groups(others):
        roles.give(FILE_COLUMN, "label", "the file in which a row stands")
        return
    roles.give(
        FILE_COLUMN, "context", "the same settings stand in several files"
    )
    roles.say(
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
    causes = [size] if len(size) > 1 else []
    causes += [[part] for part in (*size, *roles.columns("context"))]
    for column in roles.open():
        found = next((c for c in causes if determines(c, column)), None)
        if found:
            names = " and ".join(c.raw for c in found)
            roles.give(column.raw, "fixed", f"one value for each {names}")


def _texts(roles: Roles) -> None:
    for column in roles.open():
        n_rows, why = len(column.cells), ""
        if column.kind != "text":
            continue
        if all(map(_VERSION.fullmatch, column.levels)):
            why = "holds versions of software"
        elif column.is_unique and n_rows > 2:
            why = "text that differs in every row"
        elif column.n_distinct > max(MOST_TEXTS, n_rows / 10):
            why = f"text of {column.n_distinct} values"
        if why:
            roles.give(column.raw, "label", why)


def _together(roles: Roles) -> None:
    """Of columns that were changed together, the first named one stands for all."""
    columns = [c for c in roles.open() if not c.is_partial]
    for group in changed_together(columns):
        best = min(group, key=_stands_for)
        others = [c.raw for c in group if c is not best]
        for name in others:
            roles.give(name, "fixed", f"changes together with {best.raw}")
        roles.say(
            "changed-together",
            f"{listed([best.raw, *others])} were changed together: they are one "
            f"knob, and {best.raw!r} stands for them.",
            best.raw,
            *others,
        )


def _stands_for(column: Column) -> tuple[bool, ...]:
    """Lower is better: an optimizer or another word that a context is, since nobody takes
    the middle of two of them; then the names of settings.
    """
    is_word = column.kind == "text" and context_of(column) is not None
    return not is_word, not is_named_knob(column), _is_derived(column)


def _tied(roles: Roles, size: list[Column]) -> None:
    """Of two numbers whose ratio or product is one for each size, one stands for both:
    a rate beside its multiple of the size's own, steps beside the batch.
    """
    columns = [c for c in roles.open() if c.spans > 1 and not c.is_partial]
    columns.sort(
        key=lambda c: (
            not is_learning_rate(c.name),
            _is_derived(c),
            not c.is_a("rate", "size"),
            c.n_distinct,
        )
    )
    for kept, other in itertools.combinations(columns, 2):
        names = [kept.raw, other.raw]
        how = "" if roles.of.keys() & names else is_tied(kept, other, size)
        if not how:
            continue
        roles.give(other.raw, "fixed", f"goes with {kept.raw} at each size")
        is_same = kept.name.full == other.name.full  # `config/lr`, `config.lr`
        if is_named_knob(other) and not (
            is_same and kept.finite == other.finite
        ):
            roles.say(
                "changed-together",
                f"{names[1]} {how} {names[0]} is the same number at each size: they are "
                f"one knob, and {names[0]!r} stands for both.",
                *names,
            )


def _is_derived(column: Column) -> bool:
    """Whether a name is that of what follows: a whole batch, the end of a schedule, its
    highest point.
    """
    is_end = column.name.last.startswith(("min_", "peak_"))
    return is_end or column.is_a("consequence")


def _consequences(roles: Roles, size: list[Column]) -> None:
    """Numbers that one or two other settings determine."""
    for column in roles.open():
        is_named = is_named_knob(column) or context_of(column) is not None
        if column.is_numeric and not is_named:
            cause = _cause(column, [*size, *roles.open(but=column.raw)])
            if cause:
                why = f"one value for each {' and '.join(c.raw for c in cause)}"
                roles.give(column.raw, "fixed", why)


def _by_consequence(roles: Roles) -> None:
    """Counts of parameters and whole batches, which other settings make."""
    for column in roles.open():
        others = [c.name.full for c in roles.open(but=column.raw)]
        has_cause = "batch" not in column.name.full
        has_cause = has_cause or any("batch" in name for name in others)
        if has_cause and column.is_numeric and column.is_a("consequence"):
            why = "by its name, follows from other settings"
            roles.give(column.raw, "fixed", why)


def _cause(effect: Column, others: list[Column]) -> tuple[Column, ...]:
    """One or two columns that determine `effect`, each with fewer values."""
    most = len(effect.cells) / 4
    few = [c for c in others if c.kind != "list" and 2 <= c.n_distinct <= most]
    few = few[:FEW_LEVELS]
    n = effect.n_distinct
    for column in few:
        if column.n_distinct > n and determines([column], effect):
            return (column,)
    for pair in itertools.combinations(few, 2):
        is_finer = n > max(column.n_distinct for column in pair)
        if is_finer and determines(pair, effect, most_groups=0.5):
            return pair
    return ()


def _combination_labels(roles: Roles) -> None:
    """Texts that name a combination of the other settings, or are named by them."""
    for column in roles.open():
        if column.kind != "text":
            continue
        # a setting under which others exist is a choice, and no label of them
        others = roles.open(but=column.raw)
        others = [c for c in others if switch_of(c, [column]) is None]
        if len(others) < 2:
            continue
        is_all = all(is_function_of(other, [column]) for other in others)
        if is_all and column.n_distinct > max(c.n_distinct for c in others):
            why = f"names a combination of {listed(c.raw for c in others)}"
            roles.give(column.raw, "label", why)


def _label_as_knob(roles: Roles, size: list[Column]) -> None:
    """Where only a label tells the runs of one experiment apart, it stands for what was
    changed: hand-made logs name their variants in words.
    """
    n_rows = len(roles.table.lines)
    if size and len(np.unique(joint_codes(size))) >= n_rows / 2:
        return
    names = [n for r in ("label", "ignored", "key") for n in roles.named(r)]
    ranks = {name: _variant_rank(roles.table.columns[name]) for name in names}
    name = max(names, key=lambda name: ranks[name], default=None)
    if name is None or not ranks[name]:
        return
    roles.give(name, "knob", "the only thing that tells the runs apart")
    roles.say(
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
    is_hash = all(map(_HASH.fullmatch, column.levels))
    if is_hash or _NO_VARIANT.search(column.name.full):
        return 0
    speaks = bool(_VARIANT.search(column.name.full))
    return 1 + 2 * speaks + (not column.is_unique)
