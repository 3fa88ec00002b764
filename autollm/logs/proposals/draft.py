"""Roles, ladder and costs as one mapping, section by section.

Invariant: the draft is what `core.mapping` reads; only a direction that nobody knows is
left out, and then nothing lands.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any

from autollm.core.mapping import SCHEMA
from autollm.logs.proposals.columns import Column, Table
from autollm.logs.proposals.costs import Costs, find_costs
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.knobs import Knobs, say_missing
from autollm.logs.proposals.ladder import Coordinate, Ladder
from autollm.logs.proposals.names import metric_of, plain
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.sentinels import sentinel_rules
from autollm.logs.proposals.states import StateReading, rule_of
from autollm.logs.proposals.summary import RECIPE
from autollm.logs.proposals.toml_text import (
    MARK,
    Draft,
    toml_value,
    with_labels,
)
from autollm.logs.readers.log_ends import WHOLE

FAMILIES = {
    "rl_tuning": r"(^|_)(kl|grpo|ppo|dpo|reward|rollouts?|group_size|generations)($|_)",
    "finetuning": r"lora|(^|_)rank($|_)|adapter|qlora|peft|finetun",
    "architecture": r"(^|_)(heads?|layers?|n_layer|width|depth|embed|n_embd|d_model|mlp|"
    r"ratio|bias|hidden|activation\w*)($|_)",
}
REACHED = re.compile(
    r"^(global_)?(step|iter|iteration|epoch)s?$|training_iteration"
)
"""Columns that count how far a run came."""
_USED = ("knob", "simplex", "context", "seed", "fidelity", "cost")
_LEFT_OUT = ("constant", "fixed", "label", "measured", "ignored")


def write_draft(roles: Roles, ladder: Ladder, naming: Naming) -> Draft:
    """The mapping of one table."""
    table = roles.table
    draft = Draft(raw={"schema": SCHEMA})
    draft.head.append(
        f"Proposed from {table.file}: correct what is wrong, then `autollm sources add` "
        "this file."
    )
    knobs = Knobs(roles, naming)
    entries = knobs.entries()
    objective = roles.named("objective")[0]
    objective_name = naming.reserve(objective)
    costs = find_costs(roles, ladder, naming)
    _head(draft, table, roles)
    _run_key(draft, roles, entries, ladder)
    if roles.named("seed"):
        draft.raw["replica"] = {"column": roles.named("seed")[0]}
    if roles.named("trunk"):
        draft.raw["trunk"] = {"column": roles.named("trunk")[0]}
    _group(draft, roles, ladder)
    draft.raw["columns"] = {}
    _name_parts(draft, roles)
    _computed(draft, ladder, naming)
    if not entries:
        entries.append(_one_recipe(draft, roles, naming))
    draft.raw["knobs"] = entries
    for index, comments in knobs.comments.items():
        for key, text in comments.items():
            draft.comments[
                ("knobs", index, key) if key else ("knobs", index)
            ] = text
    _contexts(draft, roles, naming)
    _fidelity(draft, roles, ladder)
    _objective(draft, roles, objective, objective_name)
    _secondary(draft, roles, naming)
    _states(draft, roles, naming, objective, objective_name)
    _cost(draft, costs)
    _left_out(draft, roles)
    draft.raw["columns"] = dict(naming.aliases)
    for section in (
        "knobs",
        "columns",
        "derived",
        "lookup",
        "name_parts",
        "context",
        "secondary",
        "status",
    ):
        if not draft.raw.get(section):
            draft.raw.pop(section, None)
    return draft


def _group(draft: Draft, roles: Roles, ladder: Ladder) -> None:
    """Searches that stand in one log are sources of their own, unless each of them was
    run at one size of the ladder.
    """
    for raw in roles.named("group"):
        column = roles.finished[raw]
        n_groups = column.n_distinct
        if any(_is_one_each(c.levels, column) for c in ladder.coordinates):
            told = "each is one size: they are one ladder. If that is wrong, write "
            fix = f"[group] column = {toml_value(raw)}."
        else:
            draft.raw["group"] = {"column": raw}
            told = f"each is a source of its own, SOURCE/{column.levels[0]} ... with a "
            fix = "ladder of its own. Delete [group] if their outcomes may be compared."
        roles.book.say(
            "groups", f"{raw}: {n_groups} of them in one log; {told}{fix}", raw
        )


def _is_one_each(size: Column | None, group: Column) -> bool:
    """Whether a size that varies has one value in each group."""
    if (
        size is None
        or size.n_distinct < 2
        or len(size.cells) != len(group.cells)
    ):
        return False
    pairs = set(zip(size.codes, group.codes, strict=True))
    return len(pairs) == group.n_distinct


def _head(draft: Draft, table: Table, roles: Roles) -> None:
    draft.raw["source"] = "table"
    draft.raw["family"] = _family(roles)
    draft.comments[("family",)] = (
        "architecture, pretraining, finetuning, rl_tuning, data_mixture, or your own"
    )
    draft.raw["format"] = table.format
    draft.raw["files"] = [table.file]


def _family(roles: Roles) -> str:
    if roles.groups:
        return "data_mixture"
    words = " ".join(plain(n) for n in roles.named("knob", "simplex"))
    for family, pattern in FAMILIES.items():
        if re.search(pattern, words):
            return family
    return "pretraining"


def _run_key(
    draft: Draft, roles: Roles, entries: list[dict[str, Any]], ladder: Ladder
) -> None:
    keys = roles.named("key")
    if not keys and roles.table.key:
        keys = [roles.table.key]
    if keys:
        draft.raw["run_key"] = {"columns": keys[:1], "repeated": "quarantine"}
        draft.comments[("run_key",)] = "names a run"
        return
    names = {
        *roles.named("knob", "simplex", "context", "seed"),
        *ladder.columns,
    }
    sources = {k: p.column for p in roles.table.name_parts for k in p.words}
    names = {sources.get(name, name) for name in names}
    columns = [c for n, c in roles.table.columns.items() if n in names]
    columns = [c for c in columns if not c.is_partial]  # a key names every row
    if not columns:
        columns = [roles.table.columns[n] for n in roles.named("objective")]
    rows = zip(*(c.codes for c in columns), strict=True)
    counted = Counter(rows)
    is_numbered = any(n > 1 for n in counted.values())
    repeated = "number" if is_numbered else "quarantine"
    columns_of_key = [c.name.raw for c in columns]
    draft.raw["run_key"] = {"columns": columns_of_key, "repeated": repeated}
    draft.comments[("run_key",)] = (
        "no column names a run: all that was chosen does"
    )
    if is_numbered:
        draft.comments[("run_key", "repeated")] = "rows of one key are replicas"


def _computed(draft: Draft, ladder: Ladder, naming: Naming) -> None:
    """Columns that the mapping makes: sizes of texts, formulas."""
    lookups: list[dict[str, Any]] = []
    derived: list[dict[str, Any]] = []
    for coordinate in ladder.coordinates:
        if coordinate.texts is not None:
            _lookup(draft, coordinate, lookups)
        elif coordinate.formula:
            name = naming.free(f"{coordinate.name}_of_run")
            comment = (
                coordinate.comment or f"{coordinate.column} in its own unit"
            )
            draft.comments[("derived", len(derived))] = comment
            derived.append({"name": name, "value": coordinate.formula})
            coordinate.comment = name
    if not ladder.coordinates:
        comment = "no column looks like a fidelity: name one instead"
        draft.comments[("derived", len(derived))] = comment
        derived.append({"name": "one", "value": "1"})
    draft.raw["lookup"] = lookups
    draft.raw["derived"] = derived


def _lookup(
    draft: Draft, coordinate: Coordinate, lookups: list[dict[str, Any]]
) -> None:
    name = f"{coordinate.name}_of"
    texts = coordinate.texts
    index = len(lookups)
    rows = {level: {name: size} for level, size in texts.sizes.items()}
    lookups.append({"columns": [coordinate.column], "rows": rows})
    draft.comments[("lookup", index)] = "sizes as the names say"
    for level in texts.guessed:
        if level in texts.sizes:
            draft.doubts[("lookup", index, "rows", level)] = (
                "no size in the name"
            )
        else:
            draft.foot.append(f"{MARK}: {level!r} has no row in [lookup.rows]")
    coordinate.comment = name


def _name_parts(draft: Draft, roles: Roles) -> None:
    """What is read out of names, where anything of it is used."""
    used = set(roles.named(*_USED))
    entries = []
    for parts in roles.table.name_parts:
        if used & set(parts.words):
            draft.comments[("name_parts", len(entries))] = (
                "settings that stand in names alone; add words that are missing"
            )
            entries.append(parts.model_dump())
    draft.raw["name_parts"] = entries


def _one_recipe(draft: Draft, roles: Roles, naming: Naming) -> dict[str, Any]:
    """The knob that stands for all settings where none varies: a space has a knob."""
    is_taken = "recipe" in roles.table.columns
    name = naming.free("one_recipe" if is_taken else "recipe")
    draft.raw["derived"].append({"name": name, "value": str(RECIPE)})
    draft.comments[("knobs", 0)] = "no setting varies: one recipe for all runs"
    return {"name": name, "column": name, "scale": "integer"}


def _contexts(draft: Draft, roles: Roles, naming: Naming) -> None:
    entries = []
    for name in roles.named("context"):
        column = roles.table.columns[name]
        entry = {"name": naming.reserve(name), "column": name}
        if column.is_partial:
            entry["missing"] = "none"
        draft.comments[("context", len(entries))] = roles.of[name].why
        entries.append(entry)
    draft.raw["context"] = entries


def _fidelity(draft: Draft, roles: Roles, ladder: Ladder) -> None:
    entries = []
    for coordinate in ladder.coordinates:
        is_made = bool(coordinate.formula) or coordinate.texts is not None
        column = coordinate.comment if is_made else coordinate.column
        draft.comments[("fidelity", len(entries))] = (
            f"{coordinate.n_levels} levels"
        )
        entries.append({"name": coordinate.name, "column": column})
    if not entries:
        entries.append({"name": "one", "column": "one"})
        draft.doubts[("fidelity", 0)] = (
            "how large a run was; all are one size here"
        )
    draft.raw["fidelity"] = entries
    say_missing(roles, ladder.columns, "size")


def _objective(draft: Draft, roles: Roles, raw: str, name: str) -> None:
    entry = {"name": name, "column": raw}
    draft.raw["objective"] = entry
    draft.comments[("objective",)] = roles.of[raw].why
    column = roles.finished[raw]
    n_empty = len(column.cells) - len(column.present)
    if n_empty:
        roles.book.say(
            "missing-values",
            f"{raw} is empty in {n_empty} runs that finished: they land as failed.",
            raw,
        )
    if roles.direction:
        entry["direction"] = roles.direction
    else:
        path = ("objective", "direction")
        draft.missing[path] = (
            f'"min" or "max": is a lower {raw!r} better, or a higher?'
        )


def _secondary(draft: Draft, roles: Roles, naming: Naming) -> None:
    entries = []
    for raw in roles.named("metric"):
        entry = {"name": naming.reserve(raw), "column": raw}
        metric = metric_of(roles.table.columns[raw].name)
        if metric is not None and metric.direction:
            entry["direction"] = metric.direction
        entries.append(entry)
    draft.raw["secondary"] = entries


def _states(
    draft: Draft,
    roles: Roles,
    naming: Naming,
    objective: str,
    objective_name: str,
) -> None:
    states = _with_divergences(roles, objective)
    rules = []
    if states.column:
        draft.raw["state"] = {"column": states.column}
        counted = Counter(states.statuses)
        shown = ", ".join(
            f"{n} {status}" for status, n in counted.most_common()
        )
        draft.comments[("state",)] = shown
        if _ended_silently(roles, objective):
            draft.raw["state"]["words"] = {"": "failed"}
            draft.comments[("state", "words")] = "no word, and no outcome"
        if states.unknown:
            _unknown_words(draft, roles)
    for name, flag in states.flags.items():
        column = roles.table.columns[name]
        condition = rule_of(flag, naming.alias(name), column)
        rules.append(
            {"status": flag[0], "when": condition, "reason": f"{name}"}
        )
    near, far = states.reached
    if near:
        condition = f"{naming.alias(near)} < {WHOLE} * {naming.alias(far)}"
        rule = {
            "status": "killed",
            "when": condition,
            "reason": f"{near} < {far}",
        }
        rules.append(rule)
    n_unfinished = sum(
        s not in ("finished", "unknown") for s in states.statuses
    )
    if n_unfinished:
        counted = Counter(
            s for s in states.statuses if s not in ("finished", "unknown")
        )
        shown = ", ".join(
            f"{n} {status}" for status, n in counted.most_common()
        )
        told = "they have no outcome"
        if counted["diverged"]:
            told = "those that diverged count as the worst outcome"
        if 0 < counted["diverged"] < n_unfinished:
            told += ", the others have none"
        roles.book.say(
            "not-finished",
            f"{n_unfinished} runs did not finish ({shown}): they land with that status; "
            f"{told}.",
            *states.columns,
        )
    rules += sentinel_rules(draft, roles, objective, objective_name, len(rules))
    draft.raw["status"] = rules
    _schedule(draft, roles, naming)


def _with_divergences(roles: Roles, objective: str) -> StateReading:
    """How runs ended, as the landing will say: whatever ended with an objective that is
    not finite diverged.
    """
    statuses = list(roles.states.statuses)
    for row, number in enumerate(roles.table.columns[objective].numbers):
        is_blown_up = number is not None and not math.isfinite(number)
        if statuses and is_blown_up:
            statuses[row] = "diverged"
    return replace(roles.states, statuses=tuple(statuses))


def _ended_silently(roles: Roles, objective: str) -> bool:
    """Whether some runs have no word for their end, and none of them an outcome."""
    words = roles.table.columns[roles.states.column]
    outcome = roles.table.columns[objective]
    is_silent = words.codes < 0
    return bool(
        is_silent.any() and not (is_silent & (outcome.codes >= 0)).any()
    )


def _schedule(draft: Draft, roles: Roles, naming: Naming) -> None:
    """Which share of its schedule a run went through, where the steps that it reached are
    logged: every run that finished reached the same.
    """
    if not any(s not in ("finished", "unknown") for s in roles.states.statuses):
        return
    for raw in roles.named("measured", "constant"):
        column = roles.table.columns[raw]
        finished = roles.finished[raw]
        is_count = column.name.is_a("steps") or REACHED.search(column.name.last)
        if not is_count or not column.is_numeric or len(finished.levels) != 1:
            continue
        whole = finished.levels[0]
        if whole > 0 and not column.is_constant and max(column.finite) <= whole:
            draft.raw["schedule"] = {
                "share": f"{naming.alias(raw)} / {whole:.10g}"
            }
            draft.comments[("schedule",)] = (
                f"{raw} of {whole:g} in every finished run"
            )
            return


def _unknown_words(draft: Draft, roles: Roles) -> None:
    states = roles.states
    words = ", ".join(repr(word) for word in states.unknown[:6])
    path = ("state", "words")
    draft.missing[path] = f'{{ WORD = "finished" ... }} for {words}'
    n_rows = sum(status == "unknown" for status in states.statuses)
    roles.book.say(
        "status-words",
        f"{states.column} holds words that say no status: {words}. Their {n_rows} rows "
        "are set aside until `words` of [state] says what they mean.",
        states.column,
    )


def _cost(draft: Draft, costs: Costs) -> None:
    draft.raw["cost"] = dict(costs.formulas)
    if costs.guessed:
        draft.raw["cost"]["guessed"] = True
    for key, doubt in costs.doubts.items():
        draft.doubts[("cost", key)] = doubt


def _left_out(draft: Draft, roles: Roles) -> None:
    used = set(draft.raw.get("run_key", {}).get("columns", ()))
    for name in roles.named(*_LEFT_OUT):
        if name not in used:
            draft.foot.append(f"left out: {name!r}, {roles.of[name].why}")
    labels = [n for n in roles.named("label") if n not in used]
    if labels:
        draft.raw = with_labels(draft.raw, labels)
