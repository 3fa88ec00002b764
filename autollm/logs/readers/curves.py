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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autollm.logs.readers.cells import Cells, Row, cell, number, whole_number
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.texts.log_ends import add_plan_state, counts_epochs
from autollm.logs.readers.words import STEP_NAMES, names, pattern

_CLOCKS = names("clocks")
_RUNS = names("runs")
_PHASES = names("phases")
_METRIC_NAMES = names("metrics")
_PASSED_OVER = names("passed_over")
_SETTING_PREFIXES = names("setting_prefixes")
_SETTING = pattern("setting")
_MAX_TURNS = 0.25
"""Share of the rows at which a setting may change its direction: a schedule rises and
falls once or twice, a search jumps at every run.
"""
_MAX_RESTARTS_TOLD = 3
_MIN_ROWS = 3
"""Of a curve; and through which a value that stood still is a setting."""
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
    metric: str = ""
    """Where each row is one value: the column of its metric's name."""
    shared: frozenset[str] = frozenset()
    """Metrics of one name in several phases: they are told apart by them."""

    def is_metric(self, name: str) -> bool:
        """Whether the column may hold values of a metric."""
        taken = (self.step, self.run, self.time, self.phase, self.metric)
        if name in taken or name.startswith(_SETTING_PREFIXES):
            return False
        return name.lower() not in _PASSED_OVER

    def may_be_setting(self, name: str) -> bool:
        """Whether a column that stands still may be a setting."""
        lowered = name.strip().lower()
        counts = lowered in STEP_NAMES or lowered in _PHASES
        return self.is_metric(name) and not counts


def named_layout(
    columns: Sequence[str], rows: Sequence[Row]
) -> CurveLayout | None:
    """The layout by the columns' names; None where none counts.

    Args:
        columns: Their names.
        rows: The first rows, numbers as numbers: they tell whether a column names runs.
    """
    by_name = {name.strip().lower(): name for name in reversed(columns)}
    by_end = {n.rpartition("/")[2]: name for n, name in by_name.items()}
    by_name = by_end | by_name  # `time/iterations` counts, too

    def first(wanted: Sequence[str]) -> str:
        return next((by_name[n] for n in wanted if n in by_name), "")

    step = first(STEP_NAMES)
    if not step:
        return None
    phase = first(_PHASES)
    if len({str(row.get(phase)) for row in rows if row.get(phase)}) < 2:
        phase = ""
    shared = _shared(phase, rows) - {step} if phase else frozenset()
    runs = [by_name[name] for name in _RUNS if name in by_name]
    run = next((name for name in runs if _comes_again(name, rows)), "")
    metric = first(_METRIC_NAMES) if "value" in by_name else ""
    return CurveLayout(step, run, first(_CLOCKS), phase, metric, shared)


def _shared(phase: str, rows: Sequence[Row]) -> frozenset[str]:
    """Metrics that stand in rows of several phases."""
    phases: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            if number(value) is not None:
                phases.setdefault(name, set()).add(str(row.get(phase)))
    return frozenset(name for name, found in phases.items() if len(found) > 1)


def _comes_again(name: str, rows: Sequence[Row]) -> bool:
    """Whether a column's values stand in two rows each, as those of runs do; Ray Tune's
    name nothing else.
    """
    values = {str(row.get(name)) for row in rows}
    return name == "trial_id" or len(values) * 2 <= len(rows)


def find_layout(
    columns: Sequence[str], rows: Sequence[Row]
) -> CurveLayout | None:
    """The layout of a curve; None when the rows are no curve. See `named_layout`."""
    layout = named_layout(columns, rows)
    if layout is None or len(rows) < _MIN_ROWS or not _grows(layout, rows):
        return None
    metrics = []
    for name in columns:
        if layout.is_metric(name) and not _spells_count(name, layout, rows):
            metrics.append([row.get(name) for row in rows])
    if not _are_measured(metrics):
        return None
    settings = [name for name in columns if _SETTING.search(name)]
    if not layout.run and any(_jumps(name, rows) for name in settings):
        return None
    return layout


def _spells_count(name: str, layout: CurveLayout, rows: Sequence[Row]) -> bool:
    """Whether texts only spell the step, `checkpoint-2000`, or a clock, `0:01:02`."""
    n_texts = 0
    for row in rows:
        text = row.get(name)
        if isinstance(text, str) and text:
            n_texts += 1
            step = row.get(layout.step)
            if not re.search(rf"(?<!\d){step}(?!\d)|^\d+:\d\d", text):
                return False
    return n_texts > 0


def _jumps(name: str, rows: Sequence[Row]) -> bool:
    """Whether a setting goes up and down as a search makes it, not as a schedule does."""
    values = [number(row.get(name)) for row in rows]
    filled = [value for value in values if value is not None]
    n_turns = 0
    was_rise = None
    for before, after in itertools.pairwise(filled):
        if before != after:
            n_turns += was_rise not in (None, after > before)
            was_rise = after > before
    return n_turns > _MAX_TURNS * len(filled)


def _grows(layout: CurveLayout, rows: Sequence[Row]) -> bool:
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


def _are_measured(metrics: Sequence[Sequence[Any]]) -> bool:
    """Whether cells of some column are numbers that change, and text stands still."""
    n_measured = 0
    for cells in metrics:
        filled = [value for value in cells if value not in (None, "")]
        if len({str(value) for value in filled}) < 2:
            continue
        if any(number(value) is None for value in filled):
            return False
        n_measured += 1
    return n_measured > 0


@dataclass
class _Curve:
    line: int
    cells: Cells = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    last_step: float | None = None
    widest: float = 0.0
    n_restarts: int = 0
    wall_time_s: float | None = None
    n_rows: int = 0
    still: Cells = field(default_factory=dict)

    def see(self, row: Row) -> None:
        """Take a row in: `still` are the cells that have stood still so far."""
        if not self.n_rows:
            self.still = {n: v for n, v in row.items() if v not in (None, "")}
        self.n_rows += 1
        for name in [n for n, v in self.still.items() if row.get(n, v) != v]:
            del self.still[name]


class CurveCollector:
    """Rows of a curve, in order, into a builder whose key is `run`.

    Args:
        builder: Where runs and points go.
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

    @property
    def is_empty(self) -> bool:
        """Whether no row was added."""
        return not self._curves

    def add(self, row: Row, line: int) -> None:
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
        if step is not None:
            curve.last_step = step
            if before is not None:
                curve.widest = max(curve.widest, step - before)
                self._see_restart(run, curve, line, before)
        wall_time_s = number(row.get(layout.time)) if layout.time else None
        if wall_time_s is not None:
            curve.wall_time_s = wall_time_s
        metrics = self._metrics(curve, row)
        whole_step = whole_number(row.get(layout.step))
        self._builder.add_row(run, metrics, whole_step, wall_time_s, line)

    def _run_at(self, row: Row, step: float | None) -> str:
        """The run of a row where no column names runs."""
        current = next(reversed(self._curves), self._name)
        curve = self._curves.get(current)
        if self._is_one_run or curve is None or curve.n_rows < _MIN_ROWS:
            return current
        if step is None or step >= (curve.last_step or 0):
            return current
        changed = []
        for name, value in curve.still.items():
            is_other = row.get(name) not in (None, "", value)
            if is_other and self._layout.may_be_setting(name):
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

    def _see_restart(
        self, run: str, curve: _Curve, line: int, before: float
    ) -> None:
        step = curve.last_step
        if step is None or step >= before:
            return
        curve.n_restarts += 1
        if curve.n_restarts <= _MAX_RESTARTS_TOLD:
            self._builder.note(
                f"{run}: at line {line} {self._layout.step} goes back from "
                f"{before:g} to {step:g}: the run was restarted; the later "
                "line of a step counts"
            )

    def _metrics(self, curve: _Curve, row: Row) -> dict[str, float]:
        layout = self._layout
        metrics = {}
        for name, value in row.items():
            if value is None or value == "":
                continue
            if name.startswith(_SETTING_PREFIXES):
                self._builder.put(curve.cells, {name: cell(value)}, "setting")
            if not layout.is_metric(name):
                continue
            as_number = number(value)
            if as_number is None:
                curve.cells[name] = cell(value)
            elif layout.metric and name.lower() == "value":
                metrics[str(row[layout.metric])] = as_number
            elif name in layout.shared and row.get(layout.phase):
                metrics[f"{row[layout.phase]}/{name}"] = as_number
            else:
                metrics[name] = as_number
        curve.results.update(metrics)
        return metrics

    def finish(self, file: str, settings: Row | None = None) -> None:
        """Adds the runs' rows, with `settings` (cells by column) in each."""
        builder = self._builder
        step = self._layout.step
        chosen = self._settings()
        for run, curve in self._curves.items():
            cells = {"run": run, **(settings or {}), **curve.cells}
            for name in chosen:
                builder.put(cells, {name: cell(curve.still[name])}, "setting")
                curve.results.pop(name, None)
            if curve.n_restarts > _MAX_RESTARTS_TOLD:
                builder.note(
                    f"{run}: {step} goes back {curve.n_restarts} times"
                )
            builder.put_results(cells, curve.results)
            if curve.last_step is not None:
                last = whole_number(curve.last_step)
                reached = "last_epoch" if counts_epochs(step) else "last_step"
                value = curve.last_step if last is None else last
                builder.put(cells, {reached: value}, "measured")
                add_plan_state(
                    builder, cells, step, curve.last_step, curve.widest
                )
            if curve.wall_time_s is not None:
                builder.put(cells, {"runtime_s": curve.wall_time_s}, "cost")
            builder.add_run(cells, file, curve.line)

    def _settings(self) -> list[str]:
        """Columns that stood still in each run, and differ between runs."""
        curves = list(self._curves.values())
        if len(curves) < 2 or any(curve.n_rows < 2 for curve in curves):
            return []
        found = []
        for name in filter(self._layout.may_be_setting, curves[0].still):
            cells = {str(curve.still.get(name, "")) for curve in curves}
            if "" not in cells and len(cells) > 1:
                found.append(name)
        return found
