"""Optuna's journal file: a JSON operation a line, applied as Optuna applies them.

Rule: trials are numbered by counting, so that after a line which cannot be read nothing
can be told for sure: the lines from there on are set aside.

Invariant: every line is applied or set aside.
"""

from __future__ import annotations

from collections.abc import Iterable

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tools.optuna_trials import (
    Storage,
    Study,
    Trial,
    param_value,
    text_of,
)
from autollm.logs.relation import OpenedFile, Relation

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
"""By the number that a journal writes."""
Operation = Row


class OptunaJournalReader:
    """Optuna's journal file."""

    format = "optuna-journal"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return head.startswith(b'{"op_code":') and b'"worker_id"' in head[:400]

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format)
        storage = _applied(builder, opened)
        storage.add_to(builder, opened.name, getattr(opened, "part", ""))
        return [builder.relation()]

    def parts(self, opened: OpenedFile) -> tuple[str, ...]:
        """See `FileReader`."""
        return _applied(RelationBuilder(self.format), opened).parts()


def _applied(builder: RelationBuilder, opened: OpenedFile) -> Storage:
    journal = _Journal()
    is_sure = True
    for line_number, line in builder.lines(opened):
        with builder.setting_aside(line_number, line):
            if not is_sure:
                raise RecordError(
                    "a line after one that cannot be read: trials are counted"
                )
            is_sure = False
            journal.apply(parse_object(line, "a line"), line_number)
            is_sure = True
    return journal.storage


class _Journal:
    """The operations so far, applied as Optuna applies them."""

    def __init__(self) -> None:
        self.storage = Storage()
        self._n_studies = 0
        self._n_trials_of: dict[int, int] = {}
        self._line = 0
        self._operations = {
            0: self._create_study,
            1: self._delete_study,
            4: self._create_trial,
        }
        self._of_trials = {
            5: _set_param,
            6: _set_state,
            7: self._report,
            8: _set_user_attr,
        }

    def apply(self, operation: Operation, line: int) -> None:
        """One line.

        Raises:
            RecordError: it is no operation.
        """
        self._line = line
        code = _whole(operation, "op_code")
        if code in self._operations:
            self._operations[code](operation)
        elif code in self._of_trials:
            index = _whole(operation, "trial_id")
            trials = (
                self.storage.trials[index : index + 1] if index >= 0 else []
            )
            for trial in trials:
                if trial.state in ("RUNNING", "WAITING"):
                    self._of_trials[code](trial, operation)

    def _create_study(self, operation: Operation) -> None:
        name = str(operation.get("study_name"))
        studies = self.storage.studies
        if name in {study.name for study in studies.values()}:
            return
        directions = operation.get("directions")
        study = Study(name)
        if isinstance(directions, list):
            study.directions = dict(enumerate(directions))
        studies[self._n_studies] = study
        self._n_studies += 1

    def _delete_study(self, operation: Operation) -> None:
        self.storage.studies.pop(_whole(operation, "study_id"), None)

    def _create_trial(self, operation: Operation) -> None:
        study = _whole(operation, "study_id")
        if study not in self.storage.studies:
            return
        number = self._n_trials_of.get(study, 0)
        trial = Trial(study, number, line=self._line)
        self._n_trials_of[study] = number + 1
        _set_state(trial, {"state": 0, **operation})
        distributions = _object(operation, "distributions")
        for name, internal in _object(operation, "params").items():
            trial.params[name] = param_value(internal, distributions.get(name))
        _set_user_attr(trial, {"user_attr": _object(operation, "user_attrs")})
        for step, value in _object(operation, "intermediate_values").items():
            at = int(step) if step.isdigit() else None
            trial.report(at, value, self._line)
        if not trial.values:
            trial.give(0, operation.get("value"))
        self.storage.trials.append(trial)

    def _report(self, trial: Trial, operation: Operation) -> None:
        value = operation.get("intermediate_value")
        trial.report(operation.get("step"), value, self._line)


def _set_param(trial: Trial, operation: Operation) -> None:
    internal = operation.get("param_value_internal")
    value = param_value(internal, operation.get("distribution"))
    trial.params[str(operation.get("param_name"))] = value


def _set_state(trial: Trial, operation: Operation) -> None:
    state = _whole(operation, "state")
    if not 0 <= state < len(STATES):
        raise RecordError(f"state {state}, expected 0 to {len(STATES) - 1}")
    trial.state = STATES[state]
    trial.started = text_of(operation.get("datetime_start")) or trial.started
    trial.completed = text_of(operation.get("datetime_complete"))
    values = operation.get("values")
    for objective, value in enumerate(
        values if isinstance(values, list) else []
    ):
        trial.give(objective, value)


def _set_user_attr(trial: Trial, operation: Operation) -> None:
    trial.user_attrs.update(_object(operation, "user_attr"))


def _whole(operation: Operation, name: str) -> int:
    value = operation.get(name)
    if not isinstance(value, int):
        raise RecordError(f"{name} {value!r:.40}, expected a number")
    return value


def _object(operation: Operation, name: str) -> Cells:
    value = operation.get(name, {})
    if not isinstance(value, dict):
        raise RecordError(f"{name} {value!r:.40}, expected an object")
    return value
