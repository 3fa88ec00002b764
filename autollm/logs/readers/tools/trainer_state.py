"""Run folders of Hugging Face's Trainer and of TRL: `trainer_state.json` at the top or in
`checkpoint-<step>/`, and the configuration files beside it. Pickles
(`training_args.bin`, `optimizer.pt`) are never opened.

    config.json -> config.*      args.yaml ... -> args.*      log_history -> points
    README.md, the card's list of hyperparameters -> args.*

Rules
- Of several states the one that got furthest counts; the earlier ones are its beginning.
- Rows keep the step that the Trainer logged; several rows of one step are one another's
  complement (training, evaluation).
- The last value of each metric is the run's result, `metrics.<name>`.
- The state is `finished` where the Trainer's closing row or the planned steps are there
  (but for the last few: checkpoints come seldom), else `running`: a killed run looks like
  one in flight.
- A run that began from another one's checkpoint (`resume_from_checkpoint`) was forked
  from it; from its own it was resumed.
- The Trainer logs no clock: wall time is that of its closing row.

Invariant: one folder, one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import (
    Cells,
    Row,
    cell,
    flat_cells,
    number,
    whole_number,
)
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.paths import last_part, plain_stem, run_of_checkpoint
from autollm.logs.readers.rows import (
    FORKED_FROM,
    RelationBuilder,
    count_lines,
    read_whole,
)
from autollm.logs.readers.run_folders import (
    CONFIG_NAME,
    add_results,
    add_settings,
    read_config,
)
from autollm.logs.readers.texts.log_ends import is_short
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation, Role

_STATE = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-\d+/trainer_state\.json$")
_EVENTS = re.compile(r"runs/.+tfevents.+")
_CONFIGS = {
    "config.json": "config.",
    "training_args.json": "args.",
    "training_args.yaml": "args.",
    "training_args.yml": "args.",
    "adapter_config.json": "adapter.",
    "README.md": "args.",
}
_RESULTS = "all_results.json"
PEAK_RATE = "peak_learning_rate"
"""Column of the highest logged rate; metrics.learning_rate is the last one."""
_CLOSING = frozenset({"train_runtime", "train_loss", "total_flos"})
_COSTS = frozenset({"train_runtime", "total_flos"})
ROLES: dict[str, Role] = {
    "state": "status",
    "last_step": "measured",
    "planned_steps": "measured",
    "total_flos": "cost",
    "train_batch_size": "setting",
    PEAK_RATE: "setting",
}


class TrainerFolderReader:
    """A Trainer's output folder."""

    format = "trainer-state"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        states = [p for p in listing if p == _STATE or _CHECKPOINT.fullmatch(p)]
        if not states:
            return ()
        beside = []
        for path in listing:
            is_settings = _prefix_of(path) or path == _RESULTS
            if is_settings or _EVENTS.fullmatch(path):
                beside.append(path)
        last = max(states, key=_checkpoint_step).rpartition("/")[0]
        for path in listing:
            folder, _, name = path.rpartition("/")
            if folder == last != "" and _prefix_of(name) and name not in beside:
                beside.append(path)
        return tuple(states + beside)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`.

        Raises:
            RecordError: no state can be read.
        """
        builder = RelationBuilder(self.format, "run", ROLES)
        states = {}
        cells: Cells = {}
        said: Cells = {}
        for path, file in sorted(opened.files.items()):
            name = last_part(path)
            if name == _STATE:
                state = read_config(builder, file)
                if isinstance(state.get("log_history"), list):
                    states[path] = state
            elif name == _RESULTS:
                add_results(builder, said, file)
            elif not _EVENTS.fullmatch(path):
                # what TensorBoard was told is the state's history again
                add_settings(builder, cells, file, _prefix_of(name))
        if not states:
            raise RecordError(
                f"{opened.name}: no trainer_state.json can be read"
            )
        path = max(states, key=lambda p: (_reached(states[p]), "/" not in p))
        run = last_part(opened.name)
        add_state(builder, states[path], cells | said, run, path)
        return [builder.relation()]


class TrainerStateReader:
    """A `trainer_state.json` by itself."""

    format = "trainer-state"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        is_named = name.endswith(_STATE)
        return is_named or (
            head.lstrip()[:1] == b"{" and b'"log_history"' in head
        )

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run", ROLES)
        data = read_whole(opened)
        state = parse_object(data, opened.name)
        builder.n_lines = count_lines(data)
        if not isinstance(state.get("log_history"), list):
            raise RecordError(f"{opened.name} has no list log_history")
        add_state(builder, state, {}, plain_stem(opened.name), opened.name)
        return [builder.relation()]


def _prefix_of(name: str) -> str:
    """What its settings are called, empty for no configuration file: the model's own
    apart from the training's, whatever the script that wrote them called them.
    """
    is_config = name in _CONFIGS or CONFIG_NAME.fullmatch(name)
    return _CONFIGS.get(name, "args.") if is_config else ""


def _checkpoint_step(path: str) -> int:
    found = re.match(r"checkpoint-(\d+)/", path)
    return int(found[1]) if found else -1


def _reached(state: Row) -> tuple[int, int]:
    return whole_number(state.get("global_step")) or 0, len(
        state["log_history"]
    )


def add_state(
    builder: RelationBuilder,
    state: Row,
    known: Row,
    run: str,
    file: str,
) -> None:
    """One state as a run's row and history.

    Args:
        known: Cells that other files gave.
        run: Names the run where the state does not (`trial_name`).
    """
    name = state.get("trial_name")
    run = str(cell(name)) if isinstance(name, str) and name else run
    cells: Cells = {"run": run, **known}
    resumed = known.get("args.resume_from_checkpoint")
    if isinstance(resumed, str) and run_of_checkpoint(resumed) not in ("", run):
        cells[FORKED_FROM] = run_of_checkpoint(resumed)
    trial = state.get("trial_params")
    if isinstance(trial, dict):
        builder.put(cells, flat_cells(trial), "setting", "trial.")
    rows = _rows_of(builder, state["log_history"], file)
    results: dict[str, float] = {}
    rates = []
    for line, row in rows:
        numbers = {name: number(value) for name, value in row.items()}
        metrics = {n: v for n, v in numbers.items() if v is not None}
        metrics.pop("step", None)
        results |= metrics
        rates.append(metrics.get("learning_rate", 0.0))
        step = whole_number(row.get("step"))
        builder.add_row(run, metrics, step, line=line)
    peak = max(rates, default=0.0)
    if peak > 0 and not any(c.endswith("learning_rate") for c in cells):
        cells[PEAK_RATE] = peak
        builder.note(
            f"{PEAK_RATE} is the highest learning rate that was logged: the arguments "
            "themselves are not there"
        )
    builder.put_results(cells, results)
    for metric in _COSTS & results.keys():
        builder.roles[f"metrics.{metric}"] = "cost"
    is_closed = any(row.keys() >= _CLOSING for _, row in rows)
    last_step = whole_number(state.get("global_step"))
    planned = whole_number(state.get("max_steps"))
    is_cut = not planned or is_short(last_step or 0, 0, planned)
    cells["state"] = "running" if is_cut and not is_closed else "finished"
    cells["last_step"] = last_step
    cells["planned_steps"] = planned
    cells["total_flos"] = number(state.get("total_flos"))
    cells["train_batch_size"] = whole_number(state.get("train_batch_size"))
    _note_direction(builder, known)
    builder.add_run(cells, file)


def _rows_of(
    builder: RelationBuilder, history: Sequence[Any], file: str
) -> list[tuple[int, Cells]]:
    """The rows with their numbers."""
    rows = []
    for line, row in enumerate(history, start=1):
        if isinstance(row, dict):
            rows.append((line, row))
        else:
            builder.note(
                f"{file}: row {line} of log_history is no object: left out"
            )
    return rows


def _note_direction(builder: RelationBuilder, known: Row) -> None:
    """What the arguments say of their best model's metric."""
    metric = known.get("args.metric_for_best_model")
    greater = known.get("args.greater_is_better")
    if not isinstance(metric, str) or greater not in ("true", "false"):
        return
    name = f"metrics.eval_{metric.removeprefix('eval_')}"
    builder.directions[name] = "max" if greater == "true" else "min"
