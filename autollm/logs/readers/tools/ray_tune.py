"""Ray Tune folders: a whole sweep, or one trial of it, from `result.json` (a JSON object a
line) or `progress.csv`, and `params.json`. Pickles (`params.pkl`, `error.pkl`, what
`experiment_state-*.json` holds of them) are never opened.

Rules
- The step is `training_iteration`, the wall time `time_total_s`, both as logged.
- `result.json` is read where both are there: after a resume `progress.csv` may have no
  header.
- How a trial ended stands in the sweep's newest `experiment_state-*.json`, in Tune's own
  words. Without it a trial with an error file is `ERROR`, one whose last row says `done`
  is `TERMINATED`, any other `RUNNING`: function trainables leave no mark of their end.

Invariant: one trial folder, one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.paths import last_part
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.run_folders import (
    add_curve,
    add_settings,
    read_config,
)
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation, Role

_SETTINGS = "params.json"
_HISTORIES = ("result.json", "progress.csv")
_ERRORS = ("error.txt", "error.pkl")
_STATE = re.compile(r"experiment_state-[^/]+\.json")
_TRIAL_FILES = frozenset({_SETTINGS, *_HISTORIES, *_ERRORS})


class RayTuneReader:
    """A sweep's folder, or a trial's."""

    format = "ray-tune"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        states = [path for path in listing if _STATE.fullmatch(path)]
        if not states:
            here = _TRIAL_FILES & set(listing)
            is_trial = _SETTINGS in here and bool(here & set(_HISTORIES))
            return tuple(sorted(here)) if is_trial else ()
        claimed = [max(states)]
        for path in listing:
            folder, _, name = path.rpartition("/")
            if folder and "/" not in folder and name in _TRIAL_FILES:
                claimed.append(path)
        return tuple(claimed)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`.

        Raises:
            RecordError: no trial has a history that is a curve.
        """
        roles: dict[str, Role] = {"trial_id": "label", "state": "status"}
        builder = RelationBuilder(self.format, "run", roles)
        trials: dict[str, dict[str, OpenedFile]] = {}
        statuses: dict[str, str] = {}
        for path, file in sorted(opened.files.items()):
            folder, _, name = path.rpartition("/")
            if folder or name in _TRIAL_FILES:
                trials.setdefault(folder, {})[name] = file
            else:
                statuses = _statuses(builder, read_config(builder, file))
        n_read = 0
        reason = "neither result.json nor progress.csv is a curve"
        for folder, files in trials.items():
            run = folder or last_part(opened.name)
            status = _status_of(folder, statuses)
            if _add_trial(builder, files, run, status):
                n_read += 1
            else:
                builder.note(f"{run}: {reason}")
        if not n_read:
            raise RecordError(f"{opened.name}: {reason}")
        return [builder.relation()]


def _add_trial(
    builder: RelationBuilder,
    files: Mapping[str, OpenedFile],
    run: str,
    status: str,
) -> bool:
    """One trial; whether one of its histories is a curve."""
    cells: Cells = {}
    if _SETTINGS in files:
        add_settings(builder, cells, files[_SETTINGS], "config.")
    if not status and any(name in files for name in _ERRORS):
        status = "ERROR"
    for name in _HISTORIES:
        last = name in files and add_curve(builder, files[name], run, cells)
        if last:
            is_done = last.get("done") in (True, "True", "true")
            ended = "TERMINATED" if is_done else "RUNNING"
            builder.amend_run({"state": status or ended})
            return True
    return False


def _statuses(builder: RelationBuilder, state: Row) -> dict[str, str]:
    """Status by trial id and by trial folder: each trial is a pair of JSON texts."""
    out: dict[str, str] = {}
    trials = state.get("trial_data")
    for entry in trials if isinstance(trials, list) else []:
        text = entry[0] if isinstance(entry, list) and entry else entry
        try:
            trial = (
                parse_object(text, "a trial") if isinstance(text, str) else {}
            )
        except RecordError as error:
            builder.note(f"the experiment's state: {error}")
            continue
        for name in ("relative_logdir", "trial_id"):
            if isinstance(trial.get(name), str):
                out[trial[name]] = str(trial.get("status"))
    return out


def _status_of(folder: str, statuses: Mapping[str, str]) -> str:
    """By the folder's name, which is the trial's, or holds its id; "" for neither."""
    if folder in statuses:
        return statuses[folder]
    for name, status in statuses.items():
        if f"_{name}_" in f"_{folder}_":
            return status
    return ""
