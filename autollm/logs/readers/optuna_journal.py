"""Optuna's journal file: a JSON operation a line, applied as Optuna applies them.

Rule: trials are numbered by counting, so that after a line which cannot be read nothing
can be told for sure: the lines from there on are set aside.

Invariant: every line is applied or set aside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.optuna_trials import (
    ROLES,
    Study,
    Trial,
    add_trials,
    param_value,
    parts_of,
    text_of,
)
from autollm.logs.readers.rows import RelationBuilder, number, whole_number
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, Relation

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
"""By the number that a journal writes."""


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
        journal = self._applied(builder, opened)
        part = getattr(opened, "part", "")
        add_trials(builder, journal.studies, journal.trials, opened.name, part)
        return [builder.relation()]

    def parts(self, opened: OpenedFile) -> tuple[str, ...]:
        """See `FileReader`."""
        journal = self._applied(RelationBuilder(self.format), opened)
        return parts_of(journal.studies, journal.trials)

    @staticmethod
    def _applied(builder: RelationBuilder, opened: OpenedFile) -> _Journal:
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
        return journal


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
        trial.started = text_of(operation.get("datetime_start"))
        trial.completed = text_of(operation.get("datetime_complete"))
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
        trial.started = (
            text_of(operation.get("datetime_start")) or trial.started
        )
        trial.completed = text_of(operation.get("datetime_complete"))
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
