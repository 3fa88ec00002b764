"""Curves in JSON lines: an object a step, Ray Tune's `result.json` among them.

`config` inside the objects is the run's settings; nested metrics are joined by `/`. The
rules are those of all curves (autollm.logs.readers.curves).

Invariant: every line is a row of points, blank, or set aside by its number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import (
    MAX_SNIFFED,
    layout_of,
    plain_stem,
    whole_lines,
)
from autollm.logs.readers.curves import CurveCollector, CurveLayout, find_layout
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.rows import RelationBuilder, cell, flat_cells
from autollm.logs.reading import decode_line, iter_lines
from autollm.logs.relation import OpenedFile, Relation

_LEAST_WHOLE = 0.8
"""Share of the first lines that are objects."""


class CurveJsonlReader:
    """JSON lines whose objects are steps, Ray Tune's `result.json` among them."""

    format = "curve-jsonl"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        if not head.lstrip().startswith(b"{") or b'"kind"' in head[:200]:
            return False
        rows = []
        lines = whole_lines(head)[:MAX_SNIFFED]
        for line in lines:
            try:
                rows.append(flat_row(parse_object(line, "a line")))
            except RecordError:  # a job that was killed leaves half a line
                continue
        if len(rows) < _LEAST_WHOLE * len(lines) or not rows:
            return False
        if "training_iteration" in rows[0]:
            return True
        return find_layout(_names_of(rows), rows) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run")
        with opened.open() as stream:
            read_jsonl_curve(builder, iter_lines(stream), opened.name)
        return [builder.relation()]


def _names_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names, in the order in which they first stand."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return [*names]


def flat_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A logged object without its settings, nested metrics joined by `/`."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        if name == "config":
            continue
        if isinstance(value, dict):
            for inner, content in flat_cells(value).items():
                out[f"{name}/{inner.replace('.', '/')}"] = content
        elif not isinstance(value, list):
            out[name] = value
    return out


def read_jsonl_curve(
    builder: RelationBuilder,
    lines: Iterable[bytes],
    name: str,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    file: str = "",
) -> dict[str, Any]:
    """The lines of a curve in JSON into a builder; gives the last object read.

    See `read_csv_curve`. `config` inside the objects is settings too.

    Raises:
        RecordError: no object counts steps.
    """
    reading = _JsonRows(builder, file)
    rows = reading.rows(lines)
    first_rows = list(itertools.islice(rows, MAX_SNIFFED))
    if not first_rows:
        raise RecordError("no line is an object that counts steps")
    layout = _json_layout([row for _, row in first_rows], bool(run))
    collector = CurveCollector(
        builder, layout, run or plain_stem(name), is_one_run=bool(run)
    )
    said = dict(settings or {})
    for line, row in itertools.chain(first_rows, rows):
        if collector.is_empty and row.get(layout.step) is None:
            said |= _said_before(builder, row, layout)
        else:
            collector.add(row, line)
    collector.finish(file or name, said)
    return reading.last


def _said_before(
    builder: RelationBuilder, row: Mapping[str, Any], layout: CurveLayout
) -> dict[str, Any]:
    """The settings that a line without a step says, before the first one that has one."""
    found = {}
    for name, value in row.items():
        if layout.is_metric(name):
            column = "config." + name.replace("/", ".").removeprefix("config.")
            found[column] = cell(value)
            builder.roles[column] = "setting"
    return found


class _JsonRows:
    """Objects of a JSON-lines curve, `config` inside them as `config.*`."""

    def __init__(self, builder: RelationBuilder, file: str) -> None:
        self._builder = builder
        self._file = file
        self._config: tuple[Any, dict[str, Any]] = (None, {})
        self.last: dict[str, Any] = {}

    def rows(
        self, lines: Iterable[bytes]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and flat object of each line that can be used."""
        for line_number, line in enumerate(lines, start=1):
            self._builder.n_lines += 1
            if not line.strip():
                continue
            try:
                record = parse_object(decode_line(line), "a line")
                row = flat_row(record)
                row |= self._settings(record.get("config"))
            except RecordError as error:
                self._builder.add_bad(
                    line_number, str(error), line, file=self._file
                )
                continue
            self.last = record
            yield line_number, row

    def _settings(self, config: Any) -> dict[str, Any]:
        """A config flattened, that of the line before if it is the same."""
        if not isinstance(config, dict):
            return {}
        if config != self._config[0]:
            self._config = (config, flat_cells(config, "config."))
        return self._config[1]


def _json_layout(
    rows: Sequence[Mapping[str, Any]], is_named: bool
) -> CurveLayout:
    names = _names_of(rows)
    layout = layout_of(names, rows)
    if is_named:
        return replace(layout, run="")
    return replace(layout, run="trial_id") if "trial_id" in names else layout
