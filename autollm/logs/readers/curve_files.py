"""Files that are curves: CSV with a column that counts, JSON lines with an object a step
(Ray Tune's `progress.csv` and `result.json` among them), chart downloads of W&B (`RUN -
METRIC`, `__MIN`, `__MAX`), scalar downloads of TensorBoard (`Wall time,Step,Value`).

Rules, besides those of all curves (autollm.logs.readers.curves)
- A second header in mid-file (a logger that was restarted, or that learnt a new metric)
  holds from its line on, and is named in a note.
- A line with another number of fields than the header above it is set aside.
- Columns called by one setting (`step,lr=1e-4,lr=3e-4`) are runs beside each other.
- A chart's `__MIN` and `__MAX` columns are the spread of what W&B averaged: they are left
  out, and a note says that the values are averages.
- `config` inside objects is the run's settings; nested metrics are joined by `/`.

Invariant: every line is a header, points, blank, or set aside by its number.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import (
    Cells,
    as_number,
    cell,
    flat_cells,
    names_of,
    number,
)
from autollm.logs.readers.curves import (
    CurveCollector,
    CurveLayout,
    find_layout,
    named_layout,
)
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.paths import last_part, plain_stem
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.texts.wide_tables import OUTCOME, one_setting
from autollm.logs.readers.words import STEP_NAMES
from autollm.logs.reading import decode_line
from autollm.logs.relation import OpenedFile, Relation

_DELIMITERS = (",", "\t", ";", "|")
_MAX_SNIFFED = 200  # rows that decide whether a file is a curve
_LEAST_WHOLE = 0.8
"""Share of the first lines that are objects: a job that was killed leaves half a line."""
_BESIDE = " - "
"""Between run and metric in a chart's columns; so the column of runs in its rows."""
_SPREADS = ("__MIN", "__MAX")
_BOARD_HEADER = ["wall time", "step", "value"]
_BOARD_NAME = re.compile(r"(?:run-)?(?P<run>.+?)-tag-(?P<tag>.+)\.csv$")
_VALUE = re.compile(r"[Tt]rue|[Ff]alse|nan|[-+\d.eE_:]+|[0-9a-f]{5,}_\d+")
"""A number, a truth value or a hexadecimal id, as rows hold and headers do not."""
_BOM = b"\xef\xbb\xbf"

Lines = Iterable[tuple[int, bytes]]
Rows = Iterator[tuple[int, Cells]]


class CurveCsvReader:
    """Delimited text whose rows are steps."""

    format = "curve-csv"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        lines = _whole_lines(head if head.endswith(b"\n") else head + b"\n")
        if b"\x00" in head or len(lines) < 2:
            return False
        try:
            table = _CsvRows(RelationBuilder(""), lines, name)
        except RecordError:
            return False
        if table.layout or _holds_values(table.header):
            return True
        return find_layout(table.header, table.sniffed()) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run")
        _read(builder, _CsvRows(builder, builder.lines(opened), opened.name))
        return [builder.relation()]


class CurveJsonlReader:
    """JSON lines whose objects are steps."""

    format = "curve-jsonl"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        if not head.lstrip().startswith(b"{") or b'"kind"' in head[:200]:
            return False
        lines = _whole_lines(head)
        rows = _JsonRows(RelationBuilder(""), lines, name).sniffed()
        if not rows or len(rows) < _LEAST_WHOLE * len(lines):
            return False
        is_ray = "training_iteration" in rows[0]
        return is_ray or find_layout(names_of(rows), rows) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run")
        _read(builder, _JsonRows(builder, builder.lines(opened), opened.name))
        return [builder.relation()]


def read_curve(
    builder: RelationBuilder, opened: OpenedFile, run: str, settings: Cells
) -> Cells:
    """The curve of one run's own folder, CSV or JSON lines by its name, into a builder;
    gives the last row.

    Args:
        run: The folder's name, where no column names runs.
        settings: Cells of the run's row.

    Raises:
        RecordError: the first line is no header, or the rows are no curve.
    """
    is_csv = opened.name.endswith((".csv", ".tsv"))
    kind = _CsvRows if is_csv else _JsonRows
    table = kind(builder, builder.lines(opened), opened.name, is_inside=True)
    return _read(builder, table, run, settings)


def _whole_lines(head: bytes) -> list[tuple[int, bytes]]:
    """The first lines of a head that are there to their end."""
    lines = [line for line in head.split(b"\n")[:-1] if line.strip()]
    return list(enumerate(lines[: _MAX_SNIFFED + 1], start=1))


class _Rows:
    """The rows of a curve's file, with their lines.

    Args:
        builder: Takes what cannot be read.
        lines: With their numbers.
        name: The file's.
        is_inside: Whether the file stands in a run folder.
    """

    layout: CurveLayout | None = None
    """Where the header alone tells it."""

    def __init__(
        self,
        builder: RelationBuilder,
        lines: Lines,
        name: str,
        is_inside: bool = False,
    ) -> None:
        self._builder = builder
        self._lines = iter(lines)
        self.name = name
        self.run = plain_stem(name)
        self._file = name if is_inside else ""

    def sniffed(self) -> list[Cells]:
        """All rows of the lines of a head."""
        return [row for _, row in self]

    def __iter__(self) -> Rows:
        for line_number, line in self._lines:
            if not line.strip():
                continue
            with self._builder.setting_aside(line_number, line, self._file):
                for row in self._rows_of(line_number, line.removesuffix(b"\r")):
                    yield line_number, row

    def _rows_of(self, line_number: int, line: bytes) -> list[Cells]:
        """The rows that a line makes: of a chart, one a run."""
        raise NotImplementedError


def _read(
    builder: RelationBuilder,
    table: _Rows,
    run: str = "",
    settings: Cells | None = None,
) -> Cells:
    rows = iter(table)
    first_rows = list(itertools.islice(rows, _MAX_SNIFFED))
    layout = table.layout or _layout_of([row for _, row in first_rows])
    if run and layout.run == "trial_id":
        layout = replace(layout, run="")  # the folder is the trial
    name = run or table.run
    collector = CurveCollector(builder, layout, name, is_one_run=bool(run))
    said = dict(settings or {})
    last: Cells = {}
    for line, last in itertools.chain(first_rows, rows):
        is_before = collector.is_empty and last.get(layout.step) is None
        if is_before and layout.step:
            _say_before(builder, said, last, layout)
        else:
            collector.add(last, line)
    if collector.is_empty:
        raise RecordError("no row can be used")
    collector.finish(table.name, said)
    return last


def _layout_of(rows: Sequence[Cells]) -> CurveLayout:
    """The layout by names.

    Raises:
        RecordError: no column counts steps.
    """
    if not rows:
        raise RecordError("no row can be used")
    columns = names_of(rows)
    if _holds_values(columns):
        raise RecordError(
            "the first line holds numbers, so the file has no header (a logger that was "
            "resumed wrote none). Fix: put the header line back, or land the folder "
            "with its result.json."
        )
    layout = named_layout(columns, rows)
    if layout is None:
        raise RecordError(
            f"no column counts steps among {', '.join(columns)[:200]}. Expected step, "
            "epoch, iteration or the like. Fix: name the column that counts `step`."
        )
    return layout


def _say_before(
    builder: RelationBuilder, said: Cells, row: Cells, layout: CurveLayout
) -> None:
    """The settings that a line without a step says, before the first one that has one."""
    for name, value in row.items():
        if layout.is_metric(name):
            column = name.replace("/", ".").removeprefix("config.")
            builder.put(said, {column: cell(value)}, "setting", "config.")


class _CsvRows(_Rows):
    """Delimited text under its header of the moment."""

    def __init__(
        self,
        builder: RelationBuilder,
        lines: Lines,
        name: str,
        is_inside: bool = False,
    ) -> None:
        super().__init__(builder, lines, name, is_inside)
        _, first = next(self._lines, (0, b""))
        counts = [first.count(mark.encode()) for mark in _DELIMITERS]
        self._delimiter = _DELIMITERS[counts.index(max(counts))]
        self.header = self._cells(first.removeprefix(_BOM))
        if not any(self.header):
            raise RecordError("the first line is blank: expected a header")
        if [text.lower() for text in self.header] == _BOARD_HEADER:
            self._be_board()
        elif _is_chart(self.header):
            self._be_chart()

    def _cells(self, line: bytes) -> list[str]:
        """The cells of one physical line.

        Raises:
            RecordError: it is no whole record.
        """
        text = decode_line(line)
        try:
            rows = csv.reader([text], delimiter=self._delimiter, strict=True)
            return [cell.strip() for cell in next(rows, [])]
        except csv.Error as error:
            raise RecordError(f"not a record on one line: {error}") from None

    def _rows_of(self, line_number: int, line: bytes) -> list[Cells]:
        cells = self._cells(line)
        is_new = cells[0] == self.header[0] != ""
        if is_new and not any(map(_VALUE.fullmatch, filter(None, cells))):
            self._builder.note(
                f"line {line_number} is a second header: it holds from there"
            )
            self.header = cells
            return []
        if len(cells) != len(self.header):
            raise RecordError(
                f"{len(cells)} fields, the header has {len(self.header)}"
            )
        row = dict(zip(self.header, map(as_number, cells), strict=True))
        if self.layout is None:
            return [row]
        is_chart = self.layout.run == _BESIDE
        return self._of_chart(row) if is_chart else [self._of_board(row)]

    def _be_chart(self) -> None:
        axis = self.header[0]
        is_time = "time" in axis.lower()
        step, time = ("", axis) if is_time else (axis, "")
        self.layout = CurveLayout(step, _BESIDE, time)
        if any(_BESIDE in column for column in self.header):
            self._builder.note(
                "a chart's download: W&B averages it to at most some hundred points a "
                "run; the full history is in the run files and behind "
                "wandb:ENTITY/PROJECT"
            )

    def _of_chart(self, row: Cells) -> list[Cells]:
        axis = self.header[0]
        unnamed = self.run if OUTCOME.search(self.run) else "value"
        by_run: dict[str, Cells] = {}
        for column, value in row.items():
            run, _, metric = column.rpartition(_BESIDE)
            if column == axis or column.endswith(_SPREADS) or metric == "_step":
                continue
            if number(value) is not None:
                run, metric = (run, metric) if run else (column, unnamed)
                of_run = by_run.setdefault(run, {axis: row[axis], _BESIDE: run})
                of_run[metric] = value
        return list(by_run.values())

    def _be_board(self) -> None:
        time, step, _ = self.header
        self.layout = CurveLayout(step, time=time)
        found = _BOARD_NAME.search(last_part(self.name))
        self._tag = found["tag"] if found else "value"
        self.run = found["run"] if found else self.run
        self._started_s: float | None = None
        self._builder.note(
            "a TensorBoard download: the board thins long curves to 1,000 points"
        )

    def _of_board(self, row: Cells) -> Cells:
        time, step, value_name = self.header
        value = number(row[value_name])
        if value is None:
            raise RecordError("no number in the column Value")
        at_s = number(row[time])
        if self._started_s is None:
            self._started_s = at_s
        if at_s is not None and self._started_s is not None:
            at_s -= self._started_s
        return {time: at_s, step: row[step], self._tag: value}


def _is_chart(header: Sequence[str]) -> bool:
    """Whether the columns are those of a W&B chart download, or called by a setting of
    their runs: `lr=1e-4`, `lr=3e-4`.
    """
    axis, *others = header
    counts = axis.lower() in STEP_NAMES
    setting = one_setting(others) if counts else None
    if setting and setting[0] and not OUTCOME.search(setting[0]):
        return True
    n_named = sum(_BESIDE in name for name in others)
    n_spread = sum(name.endswith(_SPREADS) for name in others)
    is_spread = n_spread * 3 == 2 * n_named
    is_axis = is_spread or counts or "time" in axis.lower()
    return 0 < n_named == len(others) and is_axis


def _holds_values(header: Sequence[str]) -> bool:
    """Whether a first line holds what rows hold: the file has no header."""
    filled = [text for text in header if text]
    return len(filled) > 1 and all(map(_VALUE.fullmatch, filled))


class _JsonRows(_Rows):
    """Objects of JSON lines; `config` inside them as `config.*`."""

    _config: tuple[Any, Cells] = (None, {})

    def _rows_of(self, line_number: int, line: bytes) -> list[Cells]:
        out: Cells = {}
        for name, value in parse_object(decode_line(line), "a line").items():
            if name == "config":
                out |= self._settings(value)
            elif isinstance(value, dict):
                for inner, content in flat_cells(value).items():
                    out[f"{name}/{inner.replace('.', '/')}"] = content
            elif not isinstance(value, list):
                out[name] = value
        return [out]

    def _settings(self, config: Any) -> Cells:
        """A config flattened, that of the line before if it is the same."""
        if not isinstance(config, dict):
            return {}
        if config != self._config[0]:
            self._config = (config, flat_cells(config, "config."))
        return self._config[1]
