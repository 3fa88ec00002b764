"""Optuna trials as a relation, and those of its RDB storage (optuna_journal.py reads its
journal file).

Columns are spelled as `study.trials_dataframe()` spells them: `number`, `value` (or
`values_0` ...), `params_lr`, `user_attrs_n_params`, `state`. With several studies in one
storage a run is named `study/number` (`trial`), else by `number`.

Rules
- A parameter is given as the objective saw it: categories by name, integers whole.
- What was reported while a trial ran is its history, the metric `intermediate_value`.
- A pruned trial's value is the last that it reported, as Optuna sets it.

Invariant: every row is applied or set aside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.opening.found import clean_name
from autollm.logs.readers.cells import Cells, Row, cell, number, whole_number
from autollm.logs.readers.documents import parse_json, parse_object
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tables import Tables
from autollm.logs.relation import Role

_DIRECTIONS = {1: "min", 2: "max", "MINIMIZE": "min", "MAXIMIZE": "max"}
_NON_FINITE = {"INF_POS": "inf", "INF_NEG": "-inf", "NAN": "nan"}
CURVE = "intermediate_value"
ROLES: dict[str, Role] = {
    "trial": "key",
    "study": "label",
    "number": "key",
    "state": "status",
    "datetime_start": "time",
    "datetime_complete": "time",
    "duration_s": "cost",
}


@dataclass
class Trial:
    """One trial, as a storage tells it."""

    study: int
    number: int
    state: str = "RUNNING"
    started: str | None = None
    completed: str | None = None
    values: dict[int, float] = field(default_factory=dict)
    params: Cells = field(default_factory=dict)
    user_attrs: Cells = field(default_factory=dict)
    reported: list[tuple[int | None, float, int]] = field(default_factory=list)
    line: int = 0

    def report(self, step: Any, value: Any, line: int = 0) -> None:
        """What it reported while it ran, if that is a number."""
        as_number = number(value)
        if as_number is not None:
            self.reported.append((whole_number(step), as_number, line))

    def give(self, objective: Any, value: Any) -> None:
        """What it gave, if that is a number."""
        as_number = number(value)
        if as_number is not None:
            self.values[whole_number(objective) or 0] = as_number


@dataclass
class Study:
    """A study's name and what it searched for, "min" or "max" an objective."""

    name: str
    directions: dict[int, Any] = field(default_factory=dict)
    suffixes: dict[int, str] = field(default_factory=dict)
    """What tells an outcome apart from that of a study with another direction."""

    def column_of(self, objective: int) -> str:
        """What an outcome is called."""
        several = len(self.directions) > 1
        name = f"values_{objective}" if several else "value"
        return name + self.suffixes.get(objective, "")


def param_value(internal: Any, distribution: Any) -> Any:
    """A parameter as the objective saw it.

    Args:
        internal: What the storage holds: a number, a category's index.
        distribution: Optuna's JSON of the distribution, as text.

    Raises:
        RecordError: the two do not fit.
    """
    said = parse_object(str(distribution), "a distribution")
    kind = str(said.get("name", ""))
    index = whole_number(internal)
    if kind.startswith("Int") and index is not None:
        return index
    if not kind.startswith("Categorical"):
        return number(internal)
    attributes = said.get("attributes")
    choices = (
        attributes.get("choices") if isinstance(attributes, dict) else None
    )
    if not isinstance(choices, list) or index is None:
        raise RecordError(f"{internal!r:.40} is no index of a list of choices")
    if not 0 <= index < len(choices):
        raise RecordError(f"choice {index} of {len(choices)}")
    return choices[index]


@dataclass
class Storage:
    """The studies and trials of a storage."""

    studies: dict[int, Study] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def parts(self) -> tuple[str, ...]:
        """The first study of each search space, by a clean name; none where all studies
        searched the same settings. Trials of other settings are other tables.
        """
        parts = tuple(self._by_part())
        return parts if len(parts) > 1 else ()

    def _by_part(self) -> dict[str, list[int]]:
        """Studies with trials, those together that searched the same settings."""
        searched: dict[int, set[str]] = {}
        for trial in self.trials:
            if trial.study in self.studies:
                searched.setdefault(trial.study, set()).update(trial.params)
        spaces: dict[frozenset[str], list[int]] = {}
        for study, names in searched.items():
            spaces.setdefault(frozenset(names), []).append(study)
        by_part: dict[str, list[int]] = {}
        for found in spaces.values():
            by_part[clean_name(self.studies[found[0]].name)] = found
        return by_part

    def add_to(self, builder: RelationBuilder, file: str, part: str) -> None:
        """The trials into a builder: all, or those of a part."""
        by_part = self._by_part()
        if part and part != next(iter(by_part), ""):
            builder.n_lines = 0  # lines count once: with the first part
            builder.drop_bad("")
        chosen = by_part.get(part)
        if chosen is None:
            chosen = [study for found in by_part.values() for study in found]
        studies = {study: self.studies[study] for study in chosen}
        several = len(studies) > 1
        builder.key = "trial" if several else "number"
        builder.roles.update(ROLES)
        if several:
            builder.roles |= {"number": "label", "study": "group"}
        _tell_directions_apart(builder, studies.values())
        for trial in self.trials:
            study = studies.get(trial.study)
            if study is not None:
                _add_trial(builder, study, trial, several, file)


def _tell_directions_apart(
    builder: RelationBuilder, studies: Iterable[Study]
) -> None:
    """Which direction each outcome has; of studies that disagree each has a column by
    its direction, since outcomes that are better in other directions are other outcomes.
    """
    wanted: dict[str, set[str]] = {}
    said = []
    for study in studies:
        for objective, direction in study.directions.items():
            if direction in _DIRECTIONS:
                column = study.column_of(objective)
                said.append((study, objective, column, _DIRECTIONS[direction]))
                wanted.setdefault(column, set()).add(_DIRECTIONS[direction])
    for study, objective, column, word in said:
        if len(wanted[column]) > 1:
            study.suffixes[objective] = f"_{word}"
            builder.note(
                f"the studies disagree on the direction of {column}: {column}_min and "
                f"{column}_max. Fix: land the others with --objective {column}_max into "
                "a home of their own."
            )
        builder.directions[study.column_of(objective)] = word


def _add_trial(
    builder: RelationBuilder,
    study: Study,
    trial: Trial,
    several: bool,
    file: str,
) -> None:
    cells: Cells = {}
    if several:
        cells["trial"] = f"{study.name}/{trial.number}"
        cells["study"] = clean_name(study.name).lstrip("-_+=,@") or "study"
    cells["number"] = trial.number
    for objective, value in sorted(trial.values.items()):
        builder.put(cells, {study.column_of(objective): value}, "result")
    cells["datetime_start"] = trial.started
    cells["datetime_complete"] = trial.completed
    cells["duration_s"] = _duration_s(trial)
    for name, value in trial.params.items():
        builder.put(cells, {name: cell(value)}, "setting", "params_")
    for name, value in trial.user_attrs.items():
        cells[f"user_attrs_{name}"] = cell(value)
    cells["state"] = trial.state
    builder.add_run(cells, file, trial.line)
    run_key = str(cells[builder.key])
    for step, value, line in trial.reported:
        builder.add_point(run_key, CURVE, value, step, line=line)


def _duration_s(trial: Trial) -> float | None:
    try:
        started, completed = map(
            datetime.fromisoformat, (trial.started or "", trial.completed or "")
        )
        return (completed - started).total_seconds()
    except (ValueError, TypeError):
        return None


def storage_of_tables(builder: RelationBuilder, tables: Tables) -> Storage:
    """The tables of Optuna's RDB storage; what cannot be read goes to the builder.

    Raises:
        sqlite3.Error: the database is damaged.
    """
    studies = _studies(tables, builder)
    trials = _trials(tables, builder)
    for table, take in _TAKERS.items():
        for row in tables.rows(table):
            builder.n_lines += 1
            trial = trials.get(row.get("trial_id"))
            try:
                if trial is not None:
                    take(trial, row)
            except RecordError as error:
                builder.add_bad(builder.n_lines, f"{table}: {error}", repr(row))
    return Storage(studies, list(trials.values()))


def _studies(tables: Tables, builder: RelationBuilder) -> dict[int, Study]:
    studies = {}
    for row in tables.rows("studies"):
        builder.n_lines += 1
        study = Study(str(row.get("study_name")))
        if "direction" in row:  # one objective a study, up to Optuna 2.3
            study.directions[0] = row["direction"]
        studies[row.get("study_id")] = study
    for row in tables.rows("study_directions"):
        study = studies.get(row.get("study_id"))
        objective = whole_number(row.get("objective"))
        if study is not None and objective is not None:
            study.directions[objective] = row.get("direction")
    return studies


def _trials(tables: Tables, builder: RelationBuilder) -> dict[Any, Trial]:
    trials: dict[Any, Trial] = {}
    counted: dict[Any, int] = {}
    for row in tables.rows("trials"):
        builder.n_lines += 1
        study = row.get("study_id")
        counted[study] = counted.get(study, -1) + 1
        trial = Trial(study, whole_number(row.get("number")) or counted[study])
        trial.state = str(row.get("state"))
        trial.started = text_of(row.get("datetime_start"))
        trial.completed = text_of(row.get("datetime_complete"))
        trial.give(0, row.get("value"))  # up to Optuna 2.3
        trials[row.get("trial_id")] = trial
    return trials


def text_of(value: Any) -> str | None:
    """A moment as it is spelt."""
    return None if value is None else str(value)


def _take_param(trial: Trial, row: Row) -> None:
    value = param_value(row.get("param_value"), row.get("distribution_json"))
    trial.params[str(row.get("param_name"))] = value


def _take_value(trial: Trial, row: Row) -> None:
    word = _NON_FINITE.get(str(row.get("value_type")))
    trial.give(row.get("objective"), word or row.get("value"))


def _take_reported(trial: Trial, row: Row) -> None:
    word = _NON_FINITE.get(str(row.get("intermediate_value_type")))
    trial.report(row.get("step"), word or row.get("intermediate_value"))


def _take_attr(trial: Trial, row: Row) -> None:
    value = parse_json(str(row.get("value_json")))
    trial.user_attrs[str(row.get("key"))] = value


_TAKERS = {
    "trial_params": _take_param,
    "trial_values": _take_value,
    "trial_intermediate_values": _take_reported,
    "trial_user_attributes": _take_attr,
}
