"""Reader of raw run logs (`autollm.run/1`): one run per file, a header line, step
lines, an end line.

What does not belong here: the schema of a line (`autollm.core.records`), what a
configuration means (mapping files). A run without an end line was killed: it is kept as
`failed`. Steps and their numbers are kept as logged.

Invariant: a line is used, blank, or quarantined by its number; without a usable header
the whole file is quarantined.
"""

from __future__ import annotations

import re
from typing import Any

from autollm.core.errors import RecordError
from autollm.core.records import (
    Record,
    RunEnd,
    RunHeader,
    RunStep,
    canonical_json,
    parse_record,
)
from autollm.logs.retiring.canonical import build_run
from autollm.logs.retiring.catalog import MappingChoice
from autollm.logs.retiring.containers import LogBytes
from autollm.logs.retiring.mapping import Mapping
from autollm.logs.retiring.reading import (
    BadLines,
    ReadFile,
    RunRow,
    decode_line,
    looks_binary,
    quote,
    split_lines,
    whole_file,
)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_INT64 = 2**63


class AutollmRunReader:
    """JSON lines of the schema `autollm.run/1`."""

    format = "autollm.run/1"
    suffixes = (".jsonl",)
    streams = False

    def read(self, log: LogBytes, choice: MappingChoice) -> ReadFile:
        """See `reading.Reader`. A header whose source has no mapping quarantines the
        file.
        """
        if looks_binary(log.data):
            return whole_file(log.data, "binary data: a raw log is UTF-8 JSON lines")
        lines = split_lines(log.data)
        parts = _Parts()
        for number, line in enumerate(lines, start=1):
            if line.strip():
                parts.add(number, line)
        if parts.header is None:
            return whole_file(
                log.data,
                "no header line of schema autollm.run/1. First problem: "
                f"{parts.first_problem}",
            )
        mapping = choice.for_source(parts.header.source)
        if mapping is None:
            known = ", ".join(
                m.source for m in choice.candidates if m.format == self.format
            )
            return whole_file(
                log.data,
                f"no mapping for the source {parts.header.source!r}. Known: "
                f"{known or 'none'}. "
                "Fix: land it with a mapping file of that source.",
            )
        try:
            run = parts.build(mapping, n_lines=len(lines) - len(parts.bad))
        except (RecordError, OverflowError, RecursionError) as error:
            return whole_file(
                log.data,
                f"the header does not fit the mapping {mapping.source!r}: {error}",
            )
        return ReadFile(
            len(lines), [run], parts.bad, mapping.mapping_id, mapping.source
        )


def parse_line(line: bytes) -> Record:
    """One line of a log.

    Raises:
        RecordError: whatever is wrong with it.
    """
    text = decode_line(line)
    try:
        record = parse_record(text)
    except (
        ValueError,
        OverflowError,
    ) as error:  # integers that are too long for int() or float()
        raise RecordError(f"a number out of range: {error}") from None
    if _SURROGATE.search(text):
        _check_encodable(record)
    if isinstance(record, RunStep) and not 0 <= record.step < _MAX_INT64:
        raise RecordError(f"step must be within 0 .. 2^63-1, got {record.step!r:.80}")
    if isinstance(record, RunHeader) and (
        isinstance(record.seed, bool) or not isinstance(record.seed, int)
    ):
        raise RecordError(f"seed must be an integer, got {record.seed!r:.80}")
    return record


def _check_encodable(record: Record) -> None:
    try:
        canonical_json(vars(record), digits=None).encode("utf-8")
    except UnicodeEncodeError:
        raise RecordError(
            "a string holds half a surrogate pair, which is not text"
        ) from None


class _Parts:
    """The records of one file, in their order, and the lines that fit nowhere."""

    def __init__(self) -> None:
        self.header: RunHeader | None = None
        self.header_line = (0, "")
        self.steps: list[tuple[int, RunStep]] = []
        self.end: RunEnd | None = None
        self.bad: list[BadLines] = []

    @property
    def first_problem(self) -> str:
        return self.bad[0].reason if self.bad else "the file is empty"

    def add(self, number: int, line: bytes) -> None:
        try:
            self._place(number, parse_line(line), line)
        except RecordError as error:
            self.bad.append(BadLines(number, 1, str(error), quote(line)))

    def _place(self, number: int, record: Record, line: bytes) -> None:
        if isinstance(record, RunHeader):
            if self.header is not None:
                raise RecordError("a second header: a file holds one run")
            self.header, self.header_line = record, (number, quote(line))
        elif self.header is None:
            raise RecordError("a line before the header")
        elif self.end is not None:
            raise RecordError("a line after the end record")
        elif isinstance(record, RunEnd):
            self.end = record
        else:
            self.steps.append((number, record))

    def build(self, mapping: Mapping, n_lines: int) -> RunRow:
        """The canonical run.

        Raises:
            RecordError: the header or end does not fit the mapping.
        """
        header = self.header
        row = build_run(mapping, self._values())
        group = row.pop("group")
        times = [s.wall_time_s for _, s in self.steps if s.wall_time_s is not None]
        row["wall_time_s"] = (
            row["wall_time_s"]
            if row["wall_time_s"] is not None
            else max(times, default=None)
        )
        row |= {
            "source": f"{header.source}/{group}" if group else header.source,
            "run_id": header.run_id,
            "data_sha256": str(header.data.get("sha256") or ""),
            "created_at": str(header.created_at),
            "header_json": canonical_json(vars(header), digits=None),
        }
        return RunRow(
            row, list(self._points()), self.header_line[0], n_lines, self.header_line[1]
        )

    def _values(self) -> dict[str, Any]:
        """The fields by the names that mappings use."""
        header, end = (
            self.header,
            self.end
            or RunEnd(
                "failed",
                reason="no end record: the run was killed or its log cut short",
            ),
        )
        mixed = {
            name: value
            for name, value in header.config.items()
            if isinstance(value, dict)
        }
        parts = {
            f"{name}.{part}": weight
            for name, weights in mixed.items()
            for part, weight in weights.items()
        }
        groups = {
            "config": {**header.config, **parts},
            "fidelity": header.fidelity,
            "model": header.model,
            "hardware": header.hardware,
            "final": end.final,
            "cost": end.cost,
        }
        values = {
            f"{group}.{name}": value
            for group, entries in groups.items()
            for name, value in entries.items()
        }
        reason = (
            end.reason if isinstance(end.reason, str) else canonical_json(end.reason)
        )
        return {
            **values,
            "seed": header.seed,
            "run_id": header.run_id,
            "status": end.status,
            "status_reason": reason,
        }

    def _points(self) -> Any:
        for number, step in self.steps:
            for metric, value in step.metrics.items():
                yield {
                    "metric": metric,
                    "line": number,
                    "step": step.step,
                    "tokens": step.tokens,
                    "value": value,
                    "wall_time_s": step.wall_time_s,
                }
