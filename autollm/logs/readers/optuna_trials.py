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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from autollm.core.errors import RecordError
from autollm.logs.opening.found import clean_name
from autollm.logs.readers.documents import parse_json, parse_object
from autollm.logs.readers.rows import (
    RelationBuilder,
    cell,
    number,
    whole_number,
)
from autollm.logs.relation import Relation, Role

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
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    reported: list[tuple[int | None, float, int]] = field(default_factory=list)
    line: int = 0


@dataclass
class Study:
    """A study's name and what it searched for, "min" or "max" an objective."""

    name: str
    directions: dict[int, Any] = field(default_factory=dict)
    suffixes: dict[int, str] = field(default_factory=dict)
    """What tells an outcome apart from that of a study with another direction."""


class Tables(Protocol):
    """Whole tables, row by row (autollm.logs.readers.sqlite_stores.Database)."""

    def rows(self, table: str) -> Iterable[Mapping[str, Any]]: ...


def param_value(internal: Any, distribution: Any) -> Any:
    """A parameter as the objective saw it.

    Args:
        internal: What the storage holds: a number, a category's index.
        distribution: Optuna's JSON of the distribution, as text.

    Raises:
        RecordError: the two do not fit.
    """
    said = parse_object(str(distribution), "a distribution")
    name = str(said.get("name", ""))
    attributes = said.get("attributes")
    if name.startswith("Categorical"):
        choices = (
            attributes.get("choices") if isinstance(attributes, dict) else None
        )
        index = whole_number(internal)
        if not isinstance(choices, list) or index is None:
            raise RecordError(
                f"{internal!r:.40} is no index of a list of choices"
            )
        if not 0 <= index < len(choices):
            raise RecordError(f"choice {index} of {len(choices)}")
        return choices[index]
    if name.startswith("Int") and whole_number(internal) is not None:
        return whole_number(internal)
    return number(internal)


def add_trials(
    builder: RelationBuilder,
    studies: Mapping[int, Study],
    trials: Iterable[Trial],
    file: str,
    part: str = "",
) -> None:
    trials = list(trials)
    parts = parts_of(studies, trials)
    if part and part != parts[:1][0]:  # lines count once: with the first part
        builder.n_lines = 0
        builder.drop_bad("")
    studies = _of_part(studies, trials, part)
    several = len(studies) > 1
    builder.key = "trial" if several else "number"
    if several:
        builder.roles |= {"number": "label", "study": "group"}
    _tell_directions_apart(builder, studies.values())
    for trial in trials:
        study = studies.get(trial.study)
        if study is not None:
            _add_trial(builder, study, trial, several, file)


def _tell_directions_apart(
    builder: RelationBuilder, studies: Iterable[Study]
) -> None:
    """Which direction each outcome has; of studies that disagree each has a column by
    its direction, since outcomes that are better in other directions are other outcomes.
    """
    wanted: dict[str, list[Study]] = {}
    for study in studies:
        for objective, direction in study.directions.items():
            if direction in _DIRECTIONS:
                wanted.setdefault(_value_name(objective, study), []).append(
                    study
                )
    for column, found in wanted.items():
        at = int(column.rpartition("_")[2]) if "_" in column else 0
        words = {_DIRECTIONS[study.directions[at]] for study in found}
        for study in found if len(words) > 1 else ():
            study.suffixes[at] = f"_{_DIRECTIONS[study.directions[at]]}"
        for word in words:
            name = f"{column}_{word}" if len(words) > 1 else column
            builder.directions[name] = word
        if len(words) > 1:
            builder.note(
                f"the studies disagree on the direction of {column}: {column}_min and "
                f"{column}_max. Fix: land the others with --objective {column}_max into "
                "a home of their own."
            )


def parts_of(
    studies: Mapping[int, Study], trials: Iterable[Trial]
) -> tuple[str, ...]:
    """The first study of each search space, by a clean name; none where all studies
    searched the same settings. Trials of other settings are other tables.
    """
    by_space = _by_space(studies, trials)
    first = [clean_name(studies[found[0]].name) for found in by_space]
    return tuple(first) if len(first) > 1 else ()


def _by_space(
    studies: Mapping[int, Study], trials: Iterable[Trial]
) -> list[list[int]]:
    """Studies with trials, those together that searched the same settings."""
    searched: dict[int, set[str]] = {}
    for trial in trials:
        if trial.study in studies:
            searched.setdefault(trial.study, set()).update(trial.params)
    spaces: dict[frozenset[str], list[int]] = {}
    for study, names in searched.items():
        spaces.setdefault(frozenset(names), []).append(study)
    return list(spaces.values())


def _of_part(
    studies: Mapping[int, Study], trials: list[Trial], part: str
) -> Mapping[int, Study]:
    """The studies that are read: all, or those of a part."""
    by_space = _by_space(studies, trials)
    chosen = [study for found in by_space for study in found]
    for found in by_space if part else ():
        if clean_name(studies[found[0]].name) == part:
            chosen = found
    return {study: studies[study] for study in chosen}


def _value_name(objective: int, study: Study) -> str:
    name = "value" if len(study.directions) <= 1 else f"values_{objective}"
    return name + study.suffixes.get(objective, "")


def _add_trial(
    builder: RelationBuilder,
    study: Study,
    trial: Trial,
    several: bool,
    file: str,
) -> None:
    cells: dict[str, Any] = {}
    if several:
        cells["trial"] = f"{study.name}/{trial.number}"
        cells["study"] = clean_name(study.name).lstrip("-_+=,@") or "study"
    cells["number"] = trial.number
    for objective, value in sorted(trial.values.items()):
        column = _value_name(objective, study)
        cells[column] = value
        builder.roles[column] = "result"
    cells["datetime_start"] = trial.started
    cells["datetime_complete"] = trial.completed
    cells["duration_s"] = _duration_s(trial)
    for name, value in trial.params.items():
        cells[f"params_{name}"] = cell(value)
        builder.roles[f"params_{name}"] = "setting"
    for name, value in trial.user_attrs.items():
        cells[f"user_attrs_{name}"] = cell(value)
    cells["state"] = trial.state
    builder.add_run(cells, file, trial.line)
    run_key = str(cells[builder.key])
    for step, value, line in trial.reported:
        builder.add_point(run_key, CURVE, value, step, line=line)


def _duration_s(trial: Trial) -> float | None:
    if not trial.started or not trial.completed:
        return None
    try:
        started = datetime.fromisoformat(trial.started)
        return (
            datetime.fromisoformat(trial.completed) - started
        ).total_seconds()
    except (ValueError, TypeError):
        return None


def read_optuna_tables(
    tables: Tables,
    file: str,
    notes: Sequence[str],
    file_format: str,
    part: str = "",
) -> Relation:
    """The tables of Optuna's RDB storage.

    Raises:
        sqlite3.Error: the database is damaged.
    """
    builder = RelationBuilder(file_format)
    builder.roles.update(ROLES)
    builder.notes.extend(notes)
    studies = _studies(tables, builder)
    trials = _trials(tables, builder)
    for table, take in _TAKERS.items():
        for row in tables.rows(table):
            builder.n_lines += 1
            trial = trials.get(row.get("trial_id"))
            if trial is None:
                continue
            try:
                take(trial, row)
            except RecordError as error:
                builder.add_bad(builder.n_lines, f"{table}: {error}", repr(row))
    add_trials(builder, studies, trials.values(), file, part)
    return builder.relation()


def parts_of_tables(tables: Tables) -> tuple[str, ...]:
    """See `parts_of`."""
    builder = RelationBuilder("")
    studies, trials = _studies(tables, builder), _trials(tables, builder)
    for row in tables.rows("trial_params"):
        trial = trials.get(row.get("trial_id"))
        if trial is not None:
            trial.params[str(row.get("param_name"))] = None
    return parts_of(studies, trials.values())


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
        value = number(row.get("value"))  # up to Optuna 2.3
        if value is not None:
            trial.values[0] = value
        trials[row.get("trial_id")] = trial
    return trials


def text_of(value: Any) -> str | None:
    return None if value is None else str(value)


def _take_param(trial: Trial, row: Mapping[str, Any]) -> None:
    value = param_value(row.get("param_value"), row.get("distribution_json"))
    trial.params[str(row.get("param_name"))] = value


def _take_value(trial: Trial, row: Mapping[str, Any]) -> None:
    value = _value(row.get("value"), row.get("value_type"))
    if value is not None:
        trial.values[whole_number(row.get("objective")) or 0] = value


def _take_reported(trial: Trial, row: Mapping[str, Any]) -> None:
    value = _value(
        row.get("intermediate_value"), row.get("intermediate_value_type")
    )
    if value is not None:
        trial.reported.append((whole_number(row.get("step")), value, 0))


def _value(value: Any, kind: Any) -> float | None:
    return number(_NON_FINITE.get(str(kind), value))


def _take_attr(trial: Trial, row: Mapping[str, Any]) -> None:
    trial.user_attrs[str(row.get("key"))] = parse_json(
        str(row.get("value_json"))
    )


_TAKERS = {
    "trial_params": _take_param,
    "trial_values": _take_value,
    "trial_intermediate_values": _take_reported,
    "trial_user_attributes": _take_attr,
}
