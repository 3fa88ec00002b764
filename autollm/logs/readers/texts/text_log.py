"""Text logs: what training scripts print, by formats (text_patterns.py) or, where none of
them fits, as pairs of names and numbers (printed_log.py).

Rules: those of curves (restarts, the last value is the result). Lines that no pattern
fits are what a script says besides: they are read and say nothing. Of processes that
print into one log (`[rank1]: step 10 ...`) the first one's lines count.

Invariant: time grows with the length of the log alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row
from autollm.logs.readers.curves import CurveCollector, CurveLayout
from autollm.logs.readers.paths import plain_stem, run_of_checkpoint
from autollm.logs.readers.rows import FORKED_FROM, RelationBuilder
from autollm.logs.readers.texts.log_ends import LogEnd
from autollm.logs.readers.texts.printed_log import Printed, is_printed_log
from autollm.logs.readers.texts.text_patterns import (
    Patterned,
    TextFormat,
    format_of,
    shipped_formats,
    shown,
)
from autollm.logs.relation import OpenedFile, Relation

_MAX_SETTINGS = 5_000
_RANK = re.compile(
    r"\s*\[?\s*(?:rank|default|worker|gpu)\s*[:=]?\s*(\d+)\s*\]?[:\s]",
    re.IGNORECASE,
)


class Lines(Protocol):
    """What the lines of a log say, in order."""

    step: str
    """What the log counts by."""
    told: str
    """How it is read, for people."""

    def point(self, line: str) -> Cells | None:
        """The values of a line, its step among them; None where it is no point."""
        ...

    def settings(self, line: str) -> Cells:
        """Settings that a line says."""
        ...

    def results(self, line: str) -> Cells:
        """Results of the run that a line says."""
        ...


class TextLogReader:
    """One text log. `own`: formats that go before the shipped ones."""

    format = "text-log"

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return _lines_of(name, head, self._formats) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: no format fits, or no line is a point.
        """
        builder = RelationBuilder(self.format, "run")
        run = plain_stem(opened.name)
        if not read_text(builder, opened, self._formats, run, {}):
            raise RecordError(
                f"{opened.name}: no line gives a metric at a step"
            )
        return [builder.relation()]


class _PatternedPoints(Patterned):
    """Of a format that knows no settings: they are told as in any log."""

    def __init__(self, chosen: TextFormat) -> None:
        super().__init__(chosen)
        self._printed = Printed()

    def point(self, line: str) -> Cells | None:
        """See `Lines`."""
        row = super().point(line)
        self._printed.is_begun |= row is not None
        return row

    def settings(self, line: str) -> Cells:
        """See `Lines`."""
        return self._printed.settings(line)


def _lines_of(
    name: str, head: bytes, formats: Sequence[TextFormat]
) -> Lines | None:
    """How the lines of a log are read, by its head; None where it is no such log."""
    chosen = format_of(head, formats)
    if chosen is not None and chosen.settings:
        return Patterned(chosen)
    if chosen is not None:
        return _PatternedPoints(chosen)
    return Printed(head) if is_printed_log(name, head) else None


def read_text(
    builder: RelationBuilder,
    opened: OpenedFile,
    formats: Sequence[TextFormat],
    run: str,
    known: Row,
) -> bool:
    """One text log as a run; False, and nothing is added, where it is none."""
    with opened.open() as stream:
        lines = _lines_of(opened.name, stream.read(2**16), formats)
    if lines is None:
        builder.note(f"{opened.name}: no known text format")
        return False
    builder.note(f"read as {lines.told}")
    layout = CurveLayout(lines.step, time="wall_time_s")
    collector = CurveCollector(builder, layout, run)
    end = LogEnd()
    first_rank = None
    cells: Cells = {}
    results: Cells = {}
    for line_number, raw in builder.lines(opened):
        line = shown(raw.decode("utf-8", "replace"))
        rank = _RANK.match(line)
        first_rank = first_rank or (rank and rank[1])
        if rank and rank[1] != first_rank:
            continue
        row = lines.point(line)
        end.see(line, is_point=row is not None)
        if row is not None:
            collector.add(row, line_number)
            continue
        results |= lines.results(line)
        if len(cells) < _MAX_SETTINGS:
            cells |= lines.settings(line)
    if collector.is_empty:
        return False
    row = dict(known)
    builder.put(row, cells, "setting", "args.")
    loaded = str(cells.get("load", "None"))  # Megatron's --load
    if loaded not in ("None", str(cells.get("save"))):
        row[FORKED_FROM] = run_of_checkpoint(loaded)
    builder.put(row, results, "result", "metrics.")
    builder.put(row, {"state": end.state()}, "status")
    collector.finish(opened.name, row)
    return True
