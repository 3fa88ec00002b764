"""Curves: what a run logged over its steps, as rows of cells, one run or several.

A table is a curve, and no table of runs, when a column that counts (`step`, `epoch`,
`iteration` ...) grows from row to row while what stands beside it is numbers. A column
that names runs and stays the same while the count grows makes several curves.

Rules
- Every filled cell of a row is a point at that row's step; empty cells are none.
- Where the count goes back, the run was restarted: all points stay, with their lines,
  and the later line counts where a step comes again. Where a setting that stood still
  changes with it, another run begins, named by that setting.
- The last value of each metric is the run's result, `metrics.<name>`. What stood still
  in each of several runs, and is another value in some, is a setting.

Invariant: a row becomes points, or is set aside by its line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autollm.logs.readers.log_ends import add_plan_state, counts_epochs
from autollm.logs.readers.rows import (
    RelationBuilder,
    cell,
    metric_role,
    number,
    whole_number,
)

STEP_NAMES = (
    "step",
    "_step",
    "global_step",
    "global step",
    "trainer/global_step",
    "train/global_step",
    "train_step",
    "train/step",
    "optimizer_step",
    "current_step",
    "num_updates",
    "training_iteration",
    "iteration",
    "iterations",
    "iter",
    "iters",
    "n_iter",
    "update",
    "timestep",
    "total_timesteps",
    "episode",
    "batch",
    "epoch",
)
"""Columns that count, the finest first: the first one that is there is the step."""
_TIME_NAMES = frozenset(
    {
        "_runtime",
        "time_total_s",
        "wall_time_s",
        "wall_time",
        "elapsed_s",
        "elapsed",
    }
)
_RUN_NAMES = frozenset(
    {"run", "run_id", "run_name", "trial_id", "trial", "name", "exp"}
)
_PASSED_OVER = frozenset(
    {
        "_timestamp",
        "timestamp",
        "date",
        "datetime",
        "time",
        "pid",
        "hostname",
        "node_ip",
        "done",
        "checkpoint_dir_name",
        "should_checkpoint",
        "time_this_iter_s",
        "time_since_restore",
        "iterations_since_restore",
        "timesteps_since_restore",
        "warmup_time",
        "experiment_tag",
        "experiment_id",
        "episodes_total",
        "timesteps_total",
    }
)
"""Bookkeeping of Ray Tune, W&B and others: moments, hosts, processes."""
_SETTING_PREFIXES = (
    "config/",
    "config.",
    "params.",
    "params/",
    "hparams.",
    "hparams/",
)
_SETTING = re.compile(
    r"(^|[/_. ])(lr|learning_rate|rate|batch(_?size)?|width|depth|n?_?layers?|heads?|dim"
    r"|d_model|hidden(_size)?|dropout|weight_decay|wd|momentum|beta\d?|warmup\w*|seed"
    r"|n_?params|optimizer)$",
    re.IGNORECASE,
)
"""Columns that a table of runs has, and a curve at most as what a schedule made of them."""
_MAX_TURNS = 0.25
"""Share of the rows at which a setting may change its direction: a schedule rises and
falls once or twice, a search jumps at every run.
"""
_MAX_RESTARTS_TOLD = 3
_LEAST_STILL = 3
"""Rows through which a value that stood still is a setting."""
_PHASES = frozenset(
    {"split", "phase", "mode", "stage", "subset", "event", "event_type", "type"}
)
"""Columns of text that say of which data a row speaks."""
_MIN_ROWS = 3
_MIN_GROWING = 0.8
"""Of neighbouring rows; the others are restarts, or rows of one step."""


@dataclass(frozen=True)
class CurveLayout:
    """Which column is what. `run`, `time` and `phase` (of which data a row speaks) are ""
    where there is none.
    """

    step: str
    run: str = ""
    time: str = ""
    phase: str = ""
    shared: frozenset[str] = frozenset()
    """Metrics of one name in several phases: they are told apart by them."""

    def is_metric(self, name: str) -> bool:
        """Whether the column may hold values of a metric."""
        taken = (self.step, self.run, self.time, self.phase)
        if name in taken or name.startswith(_SETTING_PREFIXES):
            return False
        return name.lower() not in _PASSED_OVER


def named_layout(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> CurveLayout | None:
    """The layout by the columns' names; None where none counts.

    Args:
        names: The columns.
        rows: The first rows, numbers as numbers: they tell whether a column names runs.
    """
    by_name = {name.strip().lower(): name for name in reversed(names)}
    by_end = {n.rpartition("/")[2]: name for n, name in by_name.items()}
    by_name = by_end | by_name  # `time/iterations` counts, too
    step = next((by_name[n] for n in STEP_NAMES if n in by_name), None)
    if step is None:
        return None
    time = next((by_name[n] for n in sorted(_TIME_NAMES) if n in by_name), "")
    phase = next((by_name[n] for n in sorted(_PHASES & by_name.keys())), "")
    phases: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            if number(value) is not None:
                phases.setdefault(name, set()).add(str(row.get(phase)))
    shared = frozenset(n for n, found in phases.items() if len(found) > 1)
    if len({str(row.get(phase)) for row in rows if row.get(phase)}) < 2:
        phase, shared = "", frozenset()
    run = _run_column(by_name, rows)
    return CurveLayout(step, run, time, phase, shared - {step})


def find_layout(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> CurveLayout | None:
    """The layout of a curve; None when the rows are no curve. See `named_layout`."""
    layout = named_layout(names, rows)
    if layout is None or len(rows) < _MIN_ROWS:
        return None
    metrics = [name for name in names if layout.is_metric(name)]
    metrics = [name for name in metrics if not _names_step(name, layout, rows)]
    if not _grows(layout, rows) or not _are_measured(metrics, rows):
        return None
    settings = [name for name in names if _SETTING.search(name)]
    if not layout.run and any(_jumps(name, rows) for name in settings):
        return None
    return layout


def _names_step(
    name: str, layout: CurveLayout, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether texts only spell the step: `checkpoint-2000`."""
    pairs = [(row.get(layout.step), row.get(name)) for row in rows]
    filled = [
        (at, text) for at, text in pairs if isinstance(text, str) and text
    ]
    return len(filled) > 0 and all(
        re.search(rf"(?<!\d){at}(?!\d)", text) for at, text in filled
    )


def _jumps(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a setting goes up and down as a search makes it, not as a schedule does."""
    values = [number(row.get(name)) for row in rows]
    filled = [value for value in values if value is not None]
    rises: list[bool] = []
    for before, after in itertools.pairwise(filled):
        if before != after:
            rises.append(after > before)
    n_turns = 0
    for before, after in itertools.pairwise(rises):
        n_turns += before != after
    return n_turns > _MAX_TURNS * len(filled)


def _run_column(
    by_name: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> str:
    """A column that names runs and comes again from row to row."""
    for lower in sorted(_RUN_NAMES & by_name.keys()):
        values = {str(row.get(by_name[lower])) for row in rows}
        if len(values) * 2 <= len(rows):
            return by_name[lower]
    return ""


def _grows(layout: CurveLayout, rows: Sequence[Mapping[str, Any]]) -> bool:
    last: dict[str, float] = {}
    n_pairs = 0
    n_growing = 0
    for row in rows:
        step = number(row.get(layout.step))
        if step is None:
            continue
        run = str(row.get(layout.run, ""))
        if run in last and step != last[run]:
            n_pairs += 1
            n_growing += step > last[run]
        last[run] = step
    return n_pairs >= _MIN_ROWS - 1 and n_growing >= _MIN_GROWING * n_pairs


def _are_measured(
    metrics: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether there are metrics, and text stands only where it does not change."""
    n_measured = 0
    for name in metrics:
        filled = [row[name] for row in rows if row.get(name) not in (None, "")]
        n_numbers = sum(number(value) is not None for value in filled)
        if filled and n_numbers == len(filled):
            n_measured += len({str(value) for value in filled}) > 1
        elif (
            n_numbers < len(filled)
            and len({str(value) for value in filled}) > 1
        ):
            return False
    return n_measured > 0


@dataclass
class _Curve:
    line: int
    cells: dict[str, Any] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    last_step: float | None = None
    widest: float = 0.0
    n_restarts: int = 0
    wall_time_s: float | None = None
    n_rows: int = 0
    still: dict[str, Any] = field(default_factory=dict)

    def see(self, row: Mapping[str, Any]) -> None:
        """Take a row in: `still` are the cells that have stood still so far."""
        if not self.n_rows:
            self.still = {n: v for n, v in row.items() if v not in (None, "")}
        self.n_rows += 1
        for name in [n for n, v in self.still.items() if row.get(n, v) != v]:
            del self.still[name]


class CurveCollector:
    """Rows of a curve, in order, into a builder.

    Args:
        builder: Where runs and points go; its key is set to `run`.
        layout: Which column is what.
        name: Names the run where no column does.
        is_one_run: Whether all rows are of one run for sure, as in a run's own folder.
    """

    def __init__(
        self,
        builder: RelationBuilder,
        layout: CurveLayout,
        name: str,
        is_one_run: bool = True,
    ) -> None:
        self._builder = builder
        self._layout = layout
        self._name = name
        self._is_one_run = is_one_run
        self._curves: dict[str, _Curve] = {}
        builder.key = "run"
        builder.roles["run"] = "key"

    def add(self, row: Mapping[str, Any], line: int) -> None:
        """One row: cells by column, numbers as numbers."""
        layout = self._layout
        step = number(row.get(layout.step))
        if layout.run:
            run = str(cell(row.get(layout.run)) or self._name)
        else:
            run = self._run_at(row, step)
        curve = self._curves.setdefault(run, _Curve(line))
        curve.see(row)
        before = curve.last_step
        if step is not None and before is not None:
            curve.widest = max(curve.widest, step - before)
            if step < before:
                curve.n_restarts += 1
                self._note_restart(run, curve, line, step)
        curve.last_step = before if step is None else step
        metrics = self._metrics(curve, row)
        wall_time_s = number(row.get(layout.time)) if layout.time else None
        if wall_time_s is not None:
            curve.wall_time_s = wall_time_s
        whole_step = whole_number(row.get(layout.step))
        self._builder.add_row(run, metrics, whole_step, wall_time_s, line)

    def _run_at(self, row: Mapping[str, Any], step: float | None) -> str:
        """The run of a row where no column names runs."""
        current = next(reversed(self._curves), self._name)
        curve = self._curves.get(current)
        if self._is_one_run or curve is None or step is None:
            return current
        is_back = curve.last_step is not None and step < curve.last_step
        if not is_back or curve.n_rows < _LEAST_STILL:
            return current
        changed = []
        for name, value in curve.still.items():
            is_setting = self._layout.is_metric(name) and not _counts(name)
            if is_setting and row.get(name) not in (None, "", value):
                changed.append(f"{name}={row[name]}")
        if not changed:
            return current
        n_before = len(self._curves)
        if n_before == 1:
            self._builder.note(
                f"{self._layout.step} begins anew where settings change "
                f"({', '.join(changed)[:80]}): each time another run begins"
            )
        return f"{self._name}#{n_before + 1} {','.join(changed)}"

    def _note_restart(
        self, run: str, curve: _Curve, line: int, step: float
    ) -> None:
        if curve.n_restarts <= _MAX_RESTARTS_TOLD:
            self._builder.note(
                f"{run}: at line {line} {self._layout.step} goes back from "
                f"{curve.last_step:g} to {step:g}: the run was restarted; the later "
                "line of a step counts"
            )

    def _metrics(
        self, curve: _Curve, row: Mapping[str, Any]
    ) -> dict[str, float]:
        metrics = {}
        for name, value in row.items():
            if value is None or value == "":
                continue
            if name.startswith(_SETTING_PREFIXES):
                curve.cells[name] = cell(value)
                self._builder.roles[name] = "setting"
            if not self._layout.is_metric(name):
                continue
            as_number = number(value)
            if as_number is None:
                curve.cells[name] = cell(value)
            elif name in self._layout.shared and row.get(self._layout.phase):
                metrics[f"{row[self._layout.phase]}/{name}"] = as_number
            else:
                metrics[name] = as_number
        curve.results.update(metrics)
        return metrics

    def finish(
        self, file: str, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Adds the runs' rows, with `settings` (cells by column) in each; gives them."""
        rows = []
        builder = self._builder
        step = self._layout.step
        chosen = self._settings()
        for run, curve in self._curves.items():
            for name in chosen:
                curve.cells[name] = cell(curve.still[name])
                curve.results.pop(name, None)
                builder.roles[name] = "setting"
            if curve.n_restarts > _MAX_RESTARTS_TOLD:
                builder.note(
                    f"{run}: {step} goes back {curve.n_restarts} times"
                )
            cells = {"run": run, **(settings or {}), **curve.cells}
            for name, value in curve.results.items():
                cells[f"metrics.{name}"] = value
                builder.roles[f"metrics.{name}"] = metric_role(name)
            last = whole_number(curve.last_step)
            reached = "last_epoch" if counts_epochs(step) else "last_step"
            cells[reached] = curve.last_step if last is None else last
            builder.roles[reached] = "measured"
            add_plan_state(builder, cells, step, curve.last_step, curve.widest)
            if curve.wall_time_s is not None:
                cells["runtime_s"] = curve.wall_time_s
                builder.roles["runtime_s"] = "cost"
            builder.add_run(cells, file, curve.line)
            rows.append(cells)
        return rows

    def _settings(self) -> list[str]:
        """Columns that stood still in each run, and differ between runs."""
        curves = list(self._curves.values())
        is_short = any(curve.n_rows < 2 for curve in curves)
        if len(curves) < 2 or is_short:
            return []
        found = []
        for name in curves[0].still:
            cells = {str(c.still.get(name, "")) for c in curves}
            is_setting = self._layout.is_metric(name) and not _counts(name)
            if is_setting and "" not in cells and len(cells) > 1:
                found.append(name)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether no row was added."""
        return not self._curves


def _counts(name: str) -> bool:
    lowered = name.strip().lower()
    return lowered in STEP_NAMES or lowered in _PHASES
