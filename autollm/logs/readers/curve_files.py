"""Files that are curves: CSV with a column that counts, chart downloads
of W&B (`RUN - METRIC`, `__MIN`, `__MAX`), scalar downloads of TensorBoard (`Wall time,
Step,Value`), Ray Tune's `progress.csv`.

Rules
- A second header in mid-file (a logger that was restarted, or that learnt a new metric)
  holds from its line on, and is named in a note.
- A line with another number of fields than the header above it is set aside.
- Columns called by one setting (`step,lr=1e-4,lr=3e-4`) are runs beside each other.
- A chart's `__MIN` and `__MAX` columns are the spread of what W&B averaged: they are left
  out, and a note says that the values are averages.

Invariant: every line is a header, points, blank, or set aside by its number.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.curves import (
    STEP_NAMES,
    CurveCollector,
    CurveLayout,
    find_layout,
    named_layout,
)
from autollm.logs.readers.rows import (
    RelationBuilder,
    as_numbers,
    metric_role,
    number,
    whole_number,
)
from autollm.logs.readers.wide_tables import OUTCOME, one_setting
from autollm.logs.reading import decode_line, iter_lines
from autollm.logs.relation import OpenedFile, Relation

_DELIMITERS = (",", "\t", ";", "|")
MAX_SNIFFED = 200  # rows that decide whether a file is a curve
_SPREADS = ("__MIN", "__MAX")
_BOARD_HEADER = ["wall time", "step", "value"]
_BOARD_NAME = re.compile(r"(?:run-)?(?P<run>.+?)-tag-(?P<tag>.+)\.csv$")
_AVERAGED = (
    "a chart's download: W&B averages it to at most some hundred points a run; the full "
    "history is in the run files and behind wandb:ENTITY/PROJECT"
)
_BOM = b"\xef\xbb\xbf"


def plain_stem(name: str) -> str:
    """A file's name without folders and suffixes: what a curve's run is called when
    nothing else names it.
    """
    base = name.replace("!", "/").rsplit("/", 1)[-1]
    return re.sub(r"(\.[A-Za-z]{1,6}){1,2}$", "", base) or base


def cells_of(line: bytes, delimiter: str) -> list[str]:
    """The cells of one physical line.

    Raises:
        RecordError: it is no whole record.
    """
    try:
        rows = csv.reader([decode_line(line)], delimiter=delimiter, strict=True)
        return [text.strip() for text in next(rows, [])]
    except csv.Error as error:
        raise RecordError(f"not a record on one line: {error}") from None


def _delimiter(header: bytes) -> str:
    counts = [header.count(mark.encode()) for mark in _DELIMITERS]
    return _DELIMITERS[counts.index(max(counts))]


def whole_lines(head: bytes) -> list[bytes]:
    """The lines of a head that are there to their end."""
    lines = head.removeprefix(_BOM).split(b"\n")
    return [line.removesuffix(b"\r") for line in lines[:-1] if line.strip()]


class CurveCsvReader:
    """Delimited text whose rows are steps."""

    format = "curve-csv"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        if b"\x00" in head:
            return False
        lines = whole_lines(head if head.endswith(b"\n") else head + b"\n")
        if len(lines) < 2:
            return False
        delimiter = _delimiter(lines[0])
        try:
            header = cells_of(lines[0], delimiter)
        except RecordError:
            return False
        if is_chart(header) or is_board(header) or _holds_numbers(header):
            return True
        rows = _sniffed_rows(header, delimiter, lines[1 : MAX_SNIFFED + 1])
        return find_layout(header, rows) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run")
        with opened.open() as stream:
            read_csv_curve(builder, iter_lines(stream), opened.name)
        return [builder.relation()]


def _sniffed_rows(
    header: Sequence[str], delimiter: str, lines: Sequence[bytes]
) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        try:
            cells = cells_of(line, delimiter)
        except RecordError:
            continue
        if len(cells) == len(header):
            rows.append(dict(zip(header, as_numbers(cells), strict=True)))
    return rows


def is_chart(header: Sequence[str]) -> bool:
    """Whether the columns are those of a W&B chart download."""
    if header[0].lower() in STEP_NAMES and _are_runs(header[1:]):
        return True
    n_named = sum(" - " in name for name in header[1:])
    n_spread = sum(name.endswith(_SPREADS) for name in header[1:])
    if n_named == 0 or n_named < len(header) - 1:
        return False
    axis = header[0].lower()
    return n_spread * 3 == 2 * n_named or axis in STEP_NAMES or "time" in axis


def _are_runs(names: Sequence[str]) -> bool:
    """Whether columns are called by a setting of their runs: `lr=1e-4`, `lr=3e-4`."""
    found = one_setting(names)
    return found is not None and bool(found[0]) and not OUTCOME.search(found[0])


def is_board(header: Sequence[str]) -> bool:
    """Whether the columns are those of a TensorBoard scalar download."""
    return [name.lower() for name in header] == _BOARD_HEADER


def read_csv_curve(
    builder: RelationBuilder,
    lines: Iterator[bytes],
    name: str,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    file: str = "",
) -> Mapping[str, Any]:
    """The lines of a delimited curve into a builder; gives the last row read.

    Args:
        name: The file's name.
        run: Names the run where no column does; the file's name otherwise.
        settings: Cells of the run's row.
        file: The path inside a run folder; "" for a file of its own.

    Raises:
        RecordError: the first line is no header, or the rows are no curve.
    """
    first = next(lines, None)
    if first is None:
        raise RecordError("an empty file")
    builder.n_lines += 1
    delimiter = _delimiter(first)
    header = cells_of(first.removeprefix(_BOM), delimiter)
    if not any(header):
        raise RecordError("the first line is blank: expected a header")
    _check_header(header)
    table = _Rows(builder, header, delimiter, file)
    if is_chart(header):
        _read_chart(builder, table, lines, name)
    elif is_board(header):
        _read_board(builder, table, lines, name)
    else:
        rows = table.rows(lines)
        first_rows = list(itertools.islice(rows, MAX_SNIFFED))
        layout = layout_of(header, [row for _, row in first_rows])
        collector = CurveCollector(
            builder, layout, run or plain_stem(name), is_one_run=bool(run)
        )
        for line, row in itertools.chain(first_rows, rows):
            collector.add(row, line)
        if collector.is_empty:
            raise RecordError("no row under the header can be used")
        collector.finish(file or name, settings)
    return table.last_row


def layout_of(
    header: Sequence[str], first_rows: Sequence[Mapping[str, Any]]
) -> CurveLayout:
    """The layout by names.

    Raises:
        RecordError: no column counts steps.
    """
    layout = named_layout(header, first_rows)
    if layout is None:
        raise RecordError(
            f"no column counts steps among {', '.join(header)[:200]}. Expected step, "
            "epoch, iteration or the like. Fix: name the column that counts `step`."
        )
    return layout


def _check_header(header: Sequence[str]) -> None:
    if _holds_numbers(header):
        raise RecordError(
            "the first line holds numbers, so the file has no header (a logger that was "
            "resumed wrote none). Fix: put the header line back, or land the folder "
            "with its result.json."
        )


def _holds_numbers(header: Sequence[str]) -> bool:
    filled = [text for text in header if text]
    return len(filled) > 1 and all(number_text(text) for text in filled)


def number_text(text: str) -> bool:
    """Whether a cell is a number, a truth value or a hexadecimal id, as rows hold and
    headers do not.
    """
    if text in ("True", "False", "true", "false"):
        return True
    return bool(re.fullmatch(r"[-+\d.eE_:]+|nan|[0-9a-f]{5,}_\d+", text))


class _Rows:
    """Lines of a table under its header of the moment."""

    def __init__(
        self,
        builder: RelationBuilder,
        header: list[str],
        delimiter: str,
        file: str,
    ) -> None:
        self._builder = builder
        self.header = header
        self.last_row: Mapping[str, Any] = {}
        self._delimiter = delimiter
        self._file = file

    def rows(
        self, lines: Iterable[bytes]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and cells by column of each row that can be used."""
        for line_number, line in enumerate(lines, start=2):
            self._builder.n_lines += 1
            row = self._row(line_number, line)
            if row is not None:
                self.last_row = row
                yield line_number, row

    def _row(self, line_number: int, line: bytes) -> dict[str, Any] | None:
        if not line.strip():
            return None
        try:
            cells = cells_of(line, self._delimiter)
        except RecordError as error:
            self._builder.add_bad(
                line_number, str(error), line, file=self._file
            )
            return None
        if self._is_header(cells):
            self._builder.note(
                f"line {line_number} is a second header: it holds from there"
            )
            self.header = cells
            return None
        if len(cells) != len(self.header):
            reason = f"{len(cells)} fields, the header has {len(self.header)}"
            self._builder.add_bad(line_number, reason, line, file=self._file)
            return None
        return dict(zip(self.header, as_numbers(cells), strict=True))

    def _is_header(self, cells: Sequence[str]) -> bool:
        if not cells or cells[0] != self.header[0] or not cells[0]:
            return False
        return not any(number_text(text) for text in cells if text)


def _read_chart(
    builder: RelationBuilder, table: _Rows, lines: Iterable[bytes], name: str
) -> None:
    axis = table.header[0]
    stem = plain_stem(name)
    unnamed = stem if OUTCOME.search(stem) else "value"
    builder.roles.update({"run": "key"})
    results: dict[str, dict[str, float]] = {}
    first_line: dict[str, int] = {}
    for line, row in table.rows(lines):
        at = number(row.get(axis))
        step = whole_number(at)
        is_time = "time" in axis.lower()
        for column, raw in row.items():
            value = number(raw)
            if column == axis or column.endswith(_SPREADS) or value is None:
                continue
            run, _, metric = column.rpartition(" - ")
            run, metric = (run, metric) if run else (column, unnamed)
            first_line.setdefault(run, line)
            results.setdefault(run, {})
            if metric == "_step":
                continue
            results[run][metric] = value
            wall_time_s = at if is_time else None
            builder.add_point(
                run,
                metric,
                value,
                None if is_time else step,
                None,
                wall_time_s,
                line,
            )
    for run, values in results.items():
        _add_curve_run(builder, run, values, name, first_line[run])
    if any(" - " in column for column in table.header):
        builder.note(_AVERAGED)


def _read_board(
    builder: RelationBuilder, table: _Rows, lines: Iterable[bytes], name: str
) -> None:
    found = _BOARD_NAME.search(name.replace("!", "/").rsplit("/", 1)[-1])
    run = found["run"] if found else plain_stem(name)
    metric = found["tag"] if found else "value"
    wall_name, step_name, value_name = table.header
    started_s = None
    results: dict[str, float] = {}
    first_line = 0
    for line, row in table.rows(lines):
        value = number(row[value_name])
        at_s = number(row[wall_name])
        if value is None:
            builder.add_bad(line, "no number in the column Value", str(row))
            continue
        started_s = at_s if started_s is None else started_s
        first_line = first_line or line
        wall_time_s = (
            None if at_s is None or started_s is None else at_s - started_s
        )
        step = whole_number(row[step_name])
        builder.add_point(run, metric, value, step, None, wall_time_s, line)
        results[metric] = value
    _add_curve_run(builder, run, results, name, first_line)
    builder.note(
        "a TensorBoard download: the board thins long curves to 1,000 points"
    )


def _add_curve_run(
    builder: RelationBuilder,
    run: str,
    results: Mapping[str, float],
    file: str,
    line: int,
) -> None:
    cells: dict[str, Any] = {"run": run}
    builder.roles["run"] = "key"
    for metric, value in results.items():
        cells[f"metrics.{metric}"] = value
        builder.roles[f"metrics.{metric}"] = metric_role(metric)
    builder.add_run(cells, file, line)
