"""MLflow runs as a relation, wherever they stand: the tables of a SQLite store, or
entities that MLflow's own client hands out (autollm.logs.readers.tools.mlflow_store).

Columns are spelled as `mlflow.search_runs` spells them: `params.lr`, `metrics.val/loss`
(the last value), `tags.team`, `status`, `start_time`.

Rules
- Steps, values and clocks stand as logged; `wall_time_s` counts from the run's start.
- MLflow keeps infinities as the largest float64: they become infinities again.
- Deleted runs are left out and counted in a note.
- A nested run says its parent in `tags.mlflow.parentRunId`: a sweep, not a lineage.

Invariant: a run's row and points come from that run's id alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autollm.logs.readers.cells import (
    Cells,
    Row,
    cell,
    moment,
    number,
    whole_number,
)
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tables import Tables
from autollm.logs.relation import Role

ROLES: dict[str, Role] = {
    "run_id": "key",
    "run_name": "label",
    "experiment": "label",
    "user": "label",
    "status": "status",
    "start_time": "time",
    "end_time": "time",
    "runtime_s": "cost",
}
PARENT = "mlflow.parentRunId"
_SHOWN_TAGS = frozenset({PARENT, "mlflow.note.content"})
"""Of MLflow's own tags; the others say where and by whom a run was started."""


@dataclass
class MlflowRun:
    """One run, as its store tells it."""

    run_id: str
    name: str = ""
    experiment: str = ""
    user: str = ""
    status: str = ""
    start_ms: float | None = None
    end_ms: float | None = None
    params: Cells = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: Cells = field(default_factory=dict)
    last_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Step and clock of each metric's last point."""


def add_mlflow_runs(
    builder: RelationBuilder, runs: Iterable[MlflowRun], file: str
) -> None:
    """The rows of all runs but those that only hold others together: a sweep's parent
    logged nothing of its own.
    """
    runs = list(runs)
    parents = {run.tags.get(PARENT) for run in runs}
    n_empty = 0
    for run in runs:
        if run.run_id in parents and not run.metrics:
            n_empty += 1
        else:
            _add_run(builder, run, file)
    if n_empty:
        builder.note(f"{n_empty} parent runs without a metric are left out")


def _add_run(builder: RelationBuilder, run: MlflowRun, file: str) -> None:
    cells: Cells = {
        "run_id": run.run_id,
        "run_name": run.name or None,
        "experiment": run.experiment or None,
        "user": run.user or None,
        "status": run.status,
        "start_time": moment(_seconds(run.start_ms, 0)),
        "end_time": moment(_seconds(run.end_ms, 0)),
    }
    took_s = _seconds(run.end_ms, run.start_ms)
    if took_s is not None:
        cells["runtime_s"] = took_s
    params = {name: cell(value) for name, value in run.params.items()}
    builder.put(cells, params, "setting", "params.")
    builder.put_results(cells, run.metrics)
    for name, value in run.tags.items():
        if name in _SHOWN_TAGS or not name.startswith("mlflow."):
            builder.put(cells, {name: cell(value)}, "label", "tags.")
    builder.add_run(cells, file)


def _seconds(at_ms: float | None, since_ms: float | None) -> float | None:
    if at_ms is None or since_ms is None:
        return None
    return (at_ms - since_ms) / 1000


def add_mlflow_point(
    builder: RelationBuilder,
    run: MlflowRun,
    metric: str,
    value: float,
    step: int | None,
    at_ms: float | None,
) -> None:
    """One logged value; the last one of a metric by step and clock is its result."""
    wall_time_s = _seconds(at_ms, run.start_ms)
    builder.add_point(run.run_id, metric, value, step, None, wall_time_s)
    order = (float(step or 0), at_ms or 0.0)
    if order >= run.last_at.get(metric, order):
        run.last_at[metric] = order
        run.metrics[metric] = value


def stored_value(value: Any, is_nan: Any = False) -> float | None:
    """A metric's value as it was logged: NaN stands beside, infinities as the largest
    float64.
    """
    as_number = math.nan if is_nan else number(value)
    if as_number is None or abs(as_number) < sys.float_info.max:
        return as_number
    return as_number if math.isnan(as_number) else as_number * math.inf


def told_run(run_id: str, experiment: str, said: Row) -> MlflowRun:
    """A run by what MLflow's table of runs, or a run's own file, says of it."""
    return MlflowRun(
        run_id,
        str(said.get("name") or said.get("run_name") or ""),
        experiment,
        str(said.get("user_id") or ""),
        str(said.get("status") or ""),
        number(said.get("start_time")),
        number(said.get("end_time")),
    )


def take_text(run: MlflowRun, kind: str, name: str, value: Any) -> None:
    """One of the `params` or `tags` of a run."""
    (run.params if kind == "params" else run.tags)[name] = value
    if (kind, name) == ("tags", "mlflow.runName"):
        run.name = str(value or "")


def note_deleted(builder: RelationBuilder, n_deleted: int) -> None:
    """Says that runs are left out, where there are any."""
    if n_deleted:
        builder.note(f"{n_deleted} deleted runs are left out")


def read_mlflow_tables(
    builder: RelationBuilder, tables: Tables, file: str
) -> None:
    """The tables of MLflow's SQL store.

    Raises:
        sqlite3.Error: the database is damaged.
    """
    builder.key = "run_id"
    builder.roles.update(ROLES)
    runs = _runs(tables, builder)
    for table in ("params", "tags", "metrics"):
        for row in tables.rows(table):
            builder.n_lines += 1
            run = runs.get(str(row.get("run_uuid")))
            name = str(row.get("key"))
            if run is not None and table == "metrics":
                _take_metric(builder, run, name, row)
            elif run is not None:
                take_text(run, table, name, row.get("value"))
    add_mlflow_runs(builder, runs.values(), file)


def _runs(tables: Tables, builder: RelationBuilder) -> dict[str, MlflowRun]:
    names = {}
    for row in tables.rows("experiments"):
        names[row.get("experiment_id")] = str(row.get("name"))
    runs: dict[str, MlflowRun] = {}
    n_deleted = 0
    for row in tables.rows("runs"):
        builder.n_lines += 1
        if row.get("lifecycle_stage") == "deleted":
            n_deleted += 1
            continue
        run_id = str(row.get("run_uuid"))
        experiment = names.get(row.get("experiment_id"), "")
        runs[run_id] = told_run(run_id, experiment, row)
    note_deleted(builder, n_deleted)
    return runs


def _take_metric(
    builder: RelationBuilder, run: MlflowRun, name: str, row: Row
) -> None:
    value = stored_value(row.get("value"), row.get("is_nan"))
    step = whole_number(row.get("step"))
    if value is None:
        reason = f"the metric {name[:80]!r} has no number"
        builder.add_bad(builder.n_lines, reason, repr(row.get("value")))
        return
    at_ms = number(row.get("timestamp"))
    add_mlflow_point(builder, run, name, value, step, at_ms)
