"""MLflow runs as a relation, wherever they stand: the tables of a SQLite store, or
entities that MLflow's own client hands out (autollm.logs.readers.mlflow_store).

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from autollm.logs.readers.rows import (
    RelationBuilder,
    cell,
    metric_role,
    number,
    whole_number,
)
from autollm.logs.relation import Relation, Role

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
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)


class Tables(Protocol):
    """Whole tables, row by row (autollm.logs.readers.sqlite_stores.Database)."""

    def rows(self, table: str) -> Iterable[Mapping[str, Any]]: ...


def new_builder(file_format: str = "mlflow") -> RelationBuilder:
    """A builder with the columns of every MLflow run."""
    builder = RelationBuilder(file_format, "run_id")
    builder.roles.update(ROLES)
    return builder


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
            add_mlflow_run(builder, run, file)
    if n_empty:
        builder.note(f"{n_empty} parent runs without a metric are left out")


def add_mlflow_run(builder: RelationBuilder, run: MlflowRun, file: str) -> None:
    """One run's row."""
    cells: dict[str, Any] = {
        "run_id": run.run_id,
        "run_name": run.name or None,
        "experiment": run.experiment or None,
        "user": run.user or None,
        "status": run.status,
        "start_time": _moment(run.start_ms),
        "end_time": _moment(run.end_ms),
    }
    if run.start_ms is not None and run.end_ms is not None:
        cells["runtime_s"] = (run.end_ms - run.start_ms) / 1000
    for name, value in run.params.items():
        _put(builder, cells, f"params.{name}", cell(value), "setting")
    for name, last in run.metrics.items():
        _put(builder, cells, f"metrics.{name}", last, metric_role(name))
    for name, value in run.tags.items():
        if name in _SHOWN_TAGS or not name.startswith("mlflow."):
            _put(builder, cells, f"tags.{name}", cell(value), "label")
    builder.add_run(cells, file)


def _put(
    builder: RelationBuilder,
    cells: dict[str, Any],
    name: str,
    value: Any,
    role: Role,
) -> None:
    cells[name] = value
    builder.roles[name] = role


def add_mlflow_point(
    builder: RelationBuilder,
    run: MlflowRun,
    metric: str,
    value: float,
    step: int | None,
    at_ms: float | None,
) -> None:
    """One logged value; the last one of a metric by step and clock is its result."""
    wall_time_s = None
    if at_ms is not None and run.start_ms is not None:
        wall_time_s = (at_ms - run.start_ms) / 1000
    builder.add_point(run.run_id, metric, value, step, None, wall_time_s)


def stored_value(value: Any, is_nan: Any = False) -> float | None:
    """A metric's value as it was logged: NaN stands beside, infinities as the largest
    float64.
    """
    as_number = math.nan if is_nan else number(value)
    if as_number is None:
        return None
    if abs(as_number) >= sys.float_info.max:
        return math.copysign(math.inf, as_number)
    return as_number


def _moment(at_ms: float | None) -> str | None:
    if at_ms is None:
        return None
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def read_mlflow_tables(
    tables: Tables, file: str, notes: Sequence[str], file_format: str
) -> Relation:
    """The tables of MLflow's SQL store.

    Raises:
        sqlite3.Error: the database is damaged.
    """
    builder = new_builder(file_format)
    builder.notes.extend(notes)
    runs = _runs(tables, builder)
    last_at: dict[tuple[str, str], tuple[float, float]] = {}
    for row in tables.rows("params"):
        _place(builder, runs, row, "params")
    for row in tables.rows("tags"):
        _place(builder, runs, row, "tags")
    for row in tables.rows("metrics"):
        builder.n_lines += 1
        run = runs.get(str(row.get("run_uuid")))
        if run is not None:
            _take_metric(builder, run, row, last_at)
    add_mlflow_runs(builder, runs.values(), file)
    return builder.relation()


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
        runs[run_id] = MlflowRun(
            run_id,
            str(row.get("name") or ""),
            names.get(row.get("experiment_id"), ""),
            str(row.get("user_id") or ""),
            str(row.get("status") or ""),
            number(row.get("start_time")),
            number(row.get("end_time")),
        )
    if n_deleted:
        builder.note(f"{n_deleted} deleted runs are left out")
    return runs


def _place(
    builder: RelationBuilder,
    runs: Mapping[str, MlflowRun],
    row: Mapping[str, Any],
    where: str,
) -> None:
    builder.n_lines += 1
    run = runs.get(str(row.get("run_uuid")))
    if run is None:
        return
    values = run.params if where == "params" else run.tags
    name = str(row.get("key"))
    values[name] = row.get("value")
    if name == "mlflow.runName":
        run.name = str(row.get("value") or "")


def _take_metric(
    builder: RelationBuilder,
    run: MlflowRun,
    row: Mapping[str, Any],
    last_at: dict[tuple[str, str], tuple[float, float]],
) -> None:
    value = stored_value(row.get("value"), row.get("is_nan"))
    name = str(row.get("key"))
    step = whole_number(row.get("step"))
    at_ms = number(row.get("timestamp"))
    if value is None:
        reason = f"the metric {name[:80]!r} has no number"
        builder.add_bad(builder.n_lines, reason, repr(row.get("value")))
        return
    add_mlflow_point(builder, run, name, value, step, at_ms)
    order = (float(step or 0), at_ms or 0.0)
    if order >= last_at.get((run.run_id, name), order):
        last_at[run.run_id, name] = order
        run.metrics[name] = value
