"""Roles, ladder and costs as one mapping, section by section.

Invariant: the draft is what `core.mapping` reads; only a direction that nobody knows is
left out, and then nothing lands.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import numpy as np

from autollm.core.mappings.mapping import SCHEMA
from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.costs import find_costs
from autollm.logs.proposals.formulas import Naming
from autollm.logs.proposals.knobs import Entry, Knobs, is_rate
from autollm.logs.proposals.ladder import Ladder
from autollm.logs.proposals.names import metric_of, plain, tables
from autollm.logs.proposals.roles import Roles
from autollm.logs.proposals.sentinels import sentinel_rules
from autollm.logs.proposals.states import counted, rule_of
from autollm.logs.proposals.structure import is_decided, n_groups
from autollm.logs.proposals.summary import RECIPE
from autollm.logs.proposals.toml_text import MARK, Draft, Noted, toml_value
from autollm.logs.readers.texts.log_ends import WHOLE

REACHED = re.compile(
    r"^(global_|last_)?(step|iter|iteration|epoch)s?$|training_iteration"
)
"""Columns that count how far a run came."""
RUNG = 2.0
"""Least factor between the lengths at which a search stops runs (halving)."""
LEAST_WHOLE = 3
"""Runs of the longest length, and of each length on average, where lengths are rungs."""
_CHOSEN = ("knob", "simplex", "context", "seed")
_LEFT_OUT = ("constant", "fixed", "label", "measured", "ignored")


def write_draft(roles: Roles, ladder: Ladder, naming: Naming) -> Draft:
    """The mapping of one table."""
    return _Writer(roles, ladder, naming).draft()


class _Writer:
    """Writes the sections of one mapping. What is derived is gathered on the way."""

    def __init__(self, roles: Roles, ladder: Ladder, naming: Naming):
        self._roles, self._ladder, self._naming = roles, ladder, naming
        self._derived: list[Noted] = []
        self._lookups: list[Noted] = []
        self._foot: list[str] = []

    def draft(self) -> Draft:
        """All sections, in the order in which people read them."""
        roles, naming = self._roles, self._naming
        table = roles.table
        knobs = Knobs(roles, naming).entries()
        goal = roles.table.columns[roles.named("objective")[0]]
        goal_name = naming.reserve(goal.raw)
        cost = find_costs(roles, self._ladder, naming)
        made = {"run_key": self._run_key(), **self._one_column_each()}
        fidelity = self._fidelity()
        knobs = knobs or [self._one_recipe()]
        contexts = self._contexts()
        objective = self._objective(goal, goal_name)
        secondary = self._secondary()
        states = self._states(goal, goal_name)
        labels = self._left_out(made["run_key"])
        raw = {
            "schema": SCHEMA,
            "source": "table",
            "family": self._family(),
            "format": table.format,
            "files": [table.file],
            "labels": labels,
            **made,
            "columns": naming.aliases,
            "name_parts": self._name_parts(),
            "lookup": self._lookups,
            "derived": self._derived,
            "knobs": knobs,
            "context": contexts,
            "fidelity": fidelity,
            "objective": objective,
            "secondary": secondary,
            **states,
            "cost": cost,
        }
        head = (
            f"Proposed from {table.file}: correct what is wrong, then `autollm sources "
            "add` this file."
        )
        return Draft(raw, [head], self._foot)

    def _family(self) -> Noted:
        columns = self._roles.columns("knob", "simplex")
        knobs = "_".join(plain(c.raw) for c in columns)
        every = "_".join(map(plain, self._roles.table.columns))
        family = "data_mixture" if self._roles.groups else ""
        for name, (of_knobs, of_any) in tables()["families"].items():
            if re.search(of_knobs, knobs) or re.search(of_any, every):
                family = family or name
        if family == "architecture" and any(map(is_rate, columns)):
            family = ""  # shapes beside a rate are a recipe
        family = family or "pretraining"
        return Noted(
            family,
            "architecture, pretraining, finetuning, rl_tuning, data_mixture, or your own",
        )

    def _run_key(self) -> Noted:
        roles = self._roles
        keys = roles.named("key") or [roles.table.key]
        if keys[0]:
            key = {"columns": keys[:1], "repeated": "quarantine"}
            return Noted(key, "names a run")
        names = {*roles.named(*_CHOSEN), *self._ladder.columns}
        parts = roles.table.name_parts
        of_part = {name: p.column for p in parts for name in p.words}
        names = {of_part.get(name, name) for name in names}
        columns = [c for n, c in roles.table.columns.items() if n in names]
        columns = [c for c in columns if not c.is_partial]  # a key names all
        if not columns:
            goals = roles.named("objective")
            columns = [roles.table.columns[n] for n in goals]
        key: Entry = {"columns": [c.raw for c in columns]}
        key["repeated"] = "quarantine"
        if n_groups(columns) < len(roles.table.lines):
            why = "rows of one key are replicas"
            key["repeated"] = Noted("number", why)
        return Noted(key, "no column names a run: all that was chosen does")

    def _one_column_each(self) -> Entry:
        """[replica], [trunk] and [group]: sections that name one column."""
        found: Entry = {}
        for section, role in (("replica", "seed"), ("trunk", "trunk")):
            for name in self._roles.named(role)[:1]:
                found[section] = {"column": name}
        for column in self._roles.columns("group"):
            found |= self._group(column)
        return found

    def _group(self, column: Column) -> Entry:
        """Searches that stand in one log are sources of their own, unless each of them
        was run at one size of the ladder.
        """
        sizes = [
            c for c in self._ladder.levels if len(c.cells) == len(column.cells)
        ]
        if any(n_groups([size, column]) == column.n_distinct for size in sizes):
            entry: Entry = {}
            told = "each is one size: they are one ladder. If that is wrong, write "
            fix = f"[group] column = {toml_value(column.raw)}."
        else:
            entry = {"group": {"column": column.raw}}
            told = f"each is a source of its own, SOURCE/{column.levels[0]} ... with a "
            fix = "ladder of its own. Delete [group] if their outcomes may be compared."
        self._roles.say(
            "groups",
            f"{column.raw}: {column.n_distinct} of them in one log; {told}{fix}",
            column.raw,
        )
        return entry

    def _fidelity(self) -> list[Noted]:
        """The coordinates; what the mapping makes for them (sizes of texts, formulas)
        goes to look-ups and derived columns.
        """
        entries = []
        for coordinate in self._ladder.coordinates:
            column = coordinate.column
            if coordinate.texts is not None:
                column = self._lookup(coordinate.name, column, coordinate.texts)
            elif coordinate.formula:
                why = coordinate.comment or f"{column} in its own unit"
                column = self._derive(
                    f"{coordinate.name}_of_run", coordinate.formula, why
                )
            entry = {"name": coordinate.name, "column": column}
            entries.append(Noted(entry, f"{coordinate.n_levels} levels"))
        if not entries:
            why = "no column looks like a fidelity: name one instead"
            one = Noted({"name": "one", "value": "1"}, why)
            self._derived.append(one)
            doubt = "how large a run was; all are one size here"
            entries.append(Noted({"name": "one", "column": "one"}, doubt=doubt))
        for name in self._ladder.columns:
            why = "rows: they are set aside, since a size is needed."
            self._say_missing(self._roles.finished[name], why)
        return entries

    def _derive(self, wanted: str, formula: str, why: str) -> str:
        """The name of a new derived column."""
        name = self._naming.free(wanted)
        self._derived.append(Noted({"name": name, "value": formula}, why))
        return name

    def _lookup(self, name: str, column: str, texts: Any) -> str:
        """The name of the column that looks sizes of texts up."""
        rows = {}
        for level, size in texts.sizes.items():
            is_guessed = level in texts.guessed
            doubt = "no size in the name" if is_guessed else ""
            rows[level] = Noted({f"{name}_of": size}, doubt=doubt)
        entry = {"columns": [column], "rows": rows}
        self._lookups.append(Noted(entry, "sizes as the names say"))
        for level in texts.guessed:
            if level not in rows:
                self._foot.append(
                    f"{MARK}: {level!r} has no row in [lookup.rows]"
                )
        return f"{name}_of"

    def _name_parts(self) -> list[Noted]:
        """What is read out of names, where anything of it is used."""
        used = set(self._roles.named(*_CHOSEN, "fidelity", "cost"))
        why = "settings that stand in names alone; add words that are missing"
        parts = self._roles.table.name_parts
        parts = [p for p in parts if not used.isdisjoint(p.words)]
        return [Noted(p.model_dump(), why) for p in parts]

    def _one_recipe(self) -> Noted:
        """The knob that stands for all settings where none varies: a space has a knob."""
        is_taken = "recipe" in self._roles.table.columns
        name = self._derive(
            "one_recipe" if is_taken else "recipe", str(RECIPE), ""
        )
        entry = {"name": name, "column": name, "scale": "integer"}
        return Noted(entry, "no setting varies: one recipe for all runs")

    def _contexts(self) -> list[Noted]:
        entries = []
        for name in self._roles.named("context"):
            entry = {"name": self._naming.reserve(name), "column": name}
            if self._roles.table.columns[name].is_partial:
                entry["missing"] = "none"
            entries.append(Noted(entry, self._roles.of[name].why))
        return entries

    def _objective(self, goal: Column, name: str) -> Noted:
        why = "runs that finished: they land as failed."
        self._say_missing(self._roles.finished[goal.raw], why)
        ask = f'"min" or "max": is a lower {goal.raw!r} better, or a higher?'
        direction = self._roles.direction or Noted(None, doubt=ask)
        entry = {"name": name, "column": goal.raw, "direction": direction}
        return Noted(entry, self._roles.of[goal.raw].why)

    def _say_missing(self, column: Column, what: str) -> None:
        """Name a column whose empty cells cost rows or outcomes."""
        n = len(column.cells) - len(column.present)
        if n:
            said = f"{column.raw} is empty in {n} {what}"
            self._roles.say("missing-values", said, column.raw)

    def _secondary(self) -> list[Entry]:
        entries = []
        for column in self._roles.columns("metric"):
            name = self._naming.reserve(column.raw)
            entry = {"name": name, "column": column.raw}
            metric = metric_of(column.name)
            if metric is not None and metric.direction:
                entry["direction"] = metric.direction
            entries.append(entry)
        return entries

    def _states(self, goal: Column, goal_name: str) -> Entry:
        """[state], [[status]] and [schedule]: how runs ended."""
        states, naming = self._roles.states, self._naming
        rules: list[Any] = []
        for name, flag in states.flags.items():
            column = self._roles.table.columns[name]
            condition = rule_of(flag, naming.alias(name), column)
            rules.append({"status": flag[0], "when": condition, "reason": name})
        near, far = states.reached
        if near:
            condition = f"{naming.alias(near)} < {WHOLE} * {naming.alias(far)}"
            reason = f"{near} < {far}"
            rules.append(
                {"status": "killed", "when": condition, "reason": reason}
            )
        statuses = self._statuses(goal)
        state = self._state(goal, statuses) if states.column else {}
        rules += self._stopped_early(statuses)
        self._say_unfinished(statuses)
        rules += sentinel_rules(self._roles, goal, goal_name)
        schedule = self._schedule() if states.unfinished else {}
        return {"state": state, "status": rules, "schedule": schedule}

    def _statuses(self, goal: Column) -> Counter[str]:
        """How runs ended, as the landing will say: whatever ended with an objective that
        is not finite diverged.
        """
        found: Counter[str] = Counter()
        for status, number in zip(
            self._roles.states.statuses, goal.numbers, strict=False
        ):
            is_blown_up = number is not None and not math.isfinite(number)
            found["diverged" if is_blown_up else status] += 1
        return found

    def _state(self, goal: Column, statuses: Counter[str]) -> Noted:
        states = self._roles.states
        entry: Entry = {"column": states.column}
        is_silent = self._roles.table.columns[states.column].codes < 0
        said, doubt = None, ""
        if is_silent.any() and not np.any(is_silent & (goal.codes >= 0)):
            said = {"": "failed"}  # no word, and no outcome
        if states.unknown:
            words = ", ".join(repr(word) for word in states.unknown[:6])
            doubt = f'{{ WORD = "finished" ... }} for {words}'
            self._roles.say(
                "status-words",
                f"{states.column} holds words that say no status: {words}. Their "
                f"{statuses['unknown']} rows are set aside until `words` of [state] "
                "says what they mean.",
                states.column,
            )
        if said or doubt:
            entry["words"] = Noted(said, doubt=doubt)
        return Noted(entry, counted(statuses))

    def _say_unfinished(self, statuses: Counter[str]) -> None:
        ended = Counter(statuses)
        del ended["finished"], ended["unknown"]
        n_ended, n_diverged = ended.total(), ended["diverged"]
        told = "they have no outcome"
        if n_diverged:
            told = "those that diverged count as the worst outcome"
        if 0 < n_diverged < n_ended:
            told += ", the others have none"
        if n_ended:
            self._roles.say(
                "not-finished",
                f"{n_ended} runs did not finish ({counted(ended)}): they land with that "
                f"status; {told}.",
                *self._roles.states.columns,
            )

    def _stopped_early(self, statuses: Counter[str]) -> list[Entry]:
        """A rule for runs that a search stopped at rungs, as only their last steps say:
        few lengths that no setting decides, the longest of several runs.
        """
        for column in self._reached():
            knobs = self._roles.columns("knob", "simplex")
            longest = max(column.finite)
            n_short = int(np.sum(column.array < WHOLE * longest))
            lengths = np.array(column.levels)
            are_rungs = np.all(lengths[1:] >= RUNG * lengths[:-1]) and n_short
            is_few = len(lengths) * LEAST_WHOLE <= len(column.cells)
            has_whole = len(column.cells) - n_short >= LEAST_WHOLE
            is_said = column.is_full and column.is_a("measured")
            if (
                is_said
                and are_rungs
                and is_few
                and has_whole
                and not is_decided(column, self._ladder.levels, knobs)
            ):
                statuses["finished"] -= n_short
                statuses["pruned"] += n_short
                condition = (
                    f"{self._naming.alias(column.raw)} < {WHOLE * longest:.10g}"
                )
                reason = f"{column.raw} < {longest:g}"
                return [
                    {"status": "pruned", "when": condition, "reason": reason}
                ]
        return []

    def _reached(self) -> list[Column]:
        """Columns that say how far runs came, where they finished."""
        found = []
        for column in self._roles.columns("measured", "constant"):
            is_count = column.is_a("steps") or REACHED.search(column.name.last)
            if is_count and column.is_numeric and column.finite:
                found.append(column)
        return found

    def _schedule(self) -> Any:
        """Which share of its schedule a run went through, where the steps that it reached
        are logged: every run that finished reached the same.
        """
        for finished in self._reached():
            column = self._roles.table.columns[finished.raw]
            whole = max(finished.finite)
            is_one = finished.n_distinct == 1 and not column.is_constant
            if is_one and whole > 0 and max(column.finite) <= whole:
                share = f"{self._naming.alias(column.raw)} / {whole:.10g}"
                why = f"{column.raw} of {whole:g} in every finished run"
                return Noted({"share": share}, why)
        return {}

    def _left_out(self, run_key: Noted) -> list[str]:
        """The labels; what else is not read stands at the foot."""
        roles = self._roles
        used = run_key.value["columns"]
        left = [n for n in roles.named(*_LEFT_OUT) if n not in used]
        self._foot += [f"left out: {n!r}, {roles.of[n].why}" for n in left]
        return [n for n in roles.named("label") if n not in used]
