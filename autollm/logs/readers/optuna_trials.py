"""Optuna trials as a relation: from the tables of its RDB storage, or from its journal
file (a JSON operation a line).

Columns are spelled as `study.trials_dataframe()` spells them: `number`, `value` (or
`values_0` ...), `params_lr`, `user_attrs_n_params`, `state`. With several studies in one
storage a run is named `study/number` (`trial`), else by `number`.

Rules
- A parameter is given as the objective saw it: categories by name, integers whole.
- What was reported while a trial ran is its history, the metric `intermediate_value`.
- A pruned trial's value is the last that it reported, as Optuna sets it.
- Trials of a journal are numbered by counting: after a line that cannot be read nothing
  can be told for sure, so the lines from there on are set aside.

Invariant: every line (or row) is applied or set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from autollm.core.errors import RecordError
from autollm.logs.readers.documents import parse_json, parse_object
from autollm.logs.readers.rows import (
    RelationBuilder,
    cell,
    number,
    whole_number,
)
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, Relation, Role

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
"""By the number that a journal writes."""
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


def _add_trials(
    builder: RelationBuilder,
    studies: Mapping[int, Study],
    trials: Iterable[Trial],
    file: str,
) -> None:
    several = len(studies) > 1
    builder.key = "trial" if several else "number"
    if several:
        builder.roles["number"] = "label"
    for study in studies.values():
        _note_directions(builder, study)
    for trial in trials:
        study = studies.get(trial.study)
        if study is not None:
            _add_trial(builder, study, trial, several, file)


def _note_directions(builder: RelationBuilder, study: Study) -> None:
    for objective, direction in study.directions.items():
        word = _DIRECTIONS.get(direction)
        if word is None:
            continue
        column = _value_name(objective, study)
        if builder.directions.setdefault(column, word) != word:
            builder.note(f"the studies disagree on the direction of {column}")


def _value_name(objective: int, study: Study) -> str:
    return "value" if len(study.directions) <= 1 else f"values_{objective}"


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
        cells["study"] = study.name
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
    tables: Tables, file: str, notes: Sequence[str], file_format: str
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
    _add_trials(builder, studies, trials.values(), file)
    return builder.relation()


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
        trial.started = _text(row.get("datetime_start"))
        trial.completed = _text(row.get("datetime_complete"))
        value = number(row.get("value"))  # up to Optuna 2.3
        if value is not None:
            trial.values[0] = value
        trials[row.get("trial_id")] = trial
    return trials


def _text(value: Any) -> str | None:
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


class OptunaJournalReader:
    """Optuna's journal file."""

    format = "optuna-journal"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return head.startswith(b'{"op_code":') and b'"worker_id"' in head[:400]

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format)
        builder.roles.update(ROLES)
        journal = _Journal()
        is_sure = True
        with opened.open() as stream:
            for line in iter_lines(stream):
                builder.n_lines += 1
                if not is_sure:
                    reason = "a line after one that cannot be read: trials are counted"
                    builder.add_bad(builder.n_lines, reason, line)
                    continue
                try:
                    journal.apply(parse_object(line, "a line"), builder.n_lines)
                except RecordError as error:
                    builder.add_bad(builder.n_lines, str(error), line)
                    is_sure = False
        _add_trials(builder, journal.studies, journal.trials, opened.name)
        return [builder.relation()]


class _Journal:
    """The operations so far, applied as Optuna applies them."""

    def __init__(self) -> None:
        self.studies: dict[int, Study] = {}
        self.trials: list[Trial] = []
        self._n_studies = 0
        self._n_trials_of: dict[int, int] = {}
        self._operations = {
            0: self._create_study,
            1: self._delete_study,
            4: self._create_trial,
            5: self._set_param,
            6: self._set_state,
            7: self._report,
            8: self._set_user_attr,
        }

    def apply(self, operation: dict[str, Any], line: int) -> None:
        """One line.

        Raises:
            RecordError: it is no operation.
        """
        code = operation.get("op_code")
        if not isinstance(code, int):
            raise RecordError(f"op_code {code!r:.40}, expected a number")
        take = self._operations.get(code)
        if take is not None:
            take(operation, line)

    def _create_study(self, operation: dict[str, Any], line: int) -> None:
        name = str(operation.get("study_name"))
        if name in {study.name for study in self.studies.values()}:
            return
        directions = operation.get("directions")
        study = Study(name)
        if isinstance(directions, list):
            study.directions = dict(enumerate(directions))
        self.studies[self._n_studies] = study
        self._n_studies += 1

    def _delete_study(self, operation: dict[str, Any], line: int) -> None:
        self.studies.pop(_index(operation, "study_id"), None)

    def _create_trial(self, operation: dict[str, Any], line: int) -> None:
        study = _index(operation, "study_id")
        if study not in self.studies:
            return
        trial = Trial(study, self._n_trials_of.get(study, 0), line=line)
        self._n_trials_of[study] = trial.number + 1
        trial.state = _state(operation.get("state", 0))
        trial.started = _text(operation.get("datetime_start"))
        trial.completed = _text(operation.get("datetime_complete"))
        distributions = _object(operation, "distributions")
        for name, internal in _object(operation, "params").items():
            trial.params[name] = param_value(internal, distributions.get(name))
        trial.user_attrs.update(_object(operation, "user_attrs"))
        for step, value in _object(operation, "intermediate_values").items():
            _report(trial, step, value, line)
        _set_values(trial, operation.get("values"))
        if not trial.values:
            _set_values(trial, [operation.get("value")])
        self.trials.append(trial)

    def _open_trial(self, operation: dict[str, Any]) -> Trial | None:
        index = _index(operation, "trial_id")
        if not 0 <= index < len(self.trials):
            return None
        trial = self.trials[index]
        return trial if trial.state in ("RUNNING", "WAITING") else None

    def _set_param(self, operation: dict[str, Any], line: int) -> None:
        trial = self._open_trial(operation)
        if trial is not None:
            internal = operation.get("param_value_internal")
            value = param_value(internal, operation.get("distribution"))
            trial.params[str(operation.get("param_name"))] = value

    def _set_state(self, operation: dict[str, Any], line: int) -> None:
        trial = self._open_trial(operation)
        if trial is None:
            return
        trial.state = _state(operation.get("state"))
        trial.started = _text(operation.get("datetime_start")) or trial.started
        trial.completed = _text(operation.get("datetime_complete"))
        _set_values(trial, operation.get("values"))

    def _report(self, operation: dict[str, Any], line: int) -> None:
        trial = self._open_trial(operation)
        if trial is not None:
            value = operation.get("intermediate_value")
            _report(trial, operation.get("step"), value, line)

    def _set_user_attr(self, operation: dict[str, Any], line: int) -> None:
        trial = self._open_trial(operation)
        if trial is not None:
            trial.user_attrs.update(_object(operation, "user_attr"))


def _index(operation: dict[str, Any], name: str) -> int:
    value = operation.get(name)
    if not isinstance(value, int):
        raise RecordError(f"{name} {value!r:.40}, expected a number")
    return value


def _object(operation: dict[str, Any], name: str) -> dict[str, Any]:
    value = operation.get(name, {})
    if not isinstance(value, dict):
        raise RecordError(f"{name} {value!r:.40}, expected an object")
    return value


def _state(value: Any) -> str:
    if not isinstance(value, int) or not 0 <= value < len(STATES):
        raise RecordError(
            f"state {value!r:.40}, expected 0 to {len(STATES) - 1}"
        )
    return STATES[value]


def _set_values(trial: Trial, values: Any) -> None:
    if not isinstance(values, list):
        return
    for objective, value in enumerate(values):
        as_number = number(value)
        if as_number is not None:
            trial.values[objective] = as_number


def _report(trial: Trial, step: Any, value: Any, line: int) -> None:
    as_number = number(value)
    at_step = int(step) if isinstance(step, str) and step.isdigit() else step
    if as_number is not None:
        trial.reported.append((whole_number(at_step), as_number, line))
