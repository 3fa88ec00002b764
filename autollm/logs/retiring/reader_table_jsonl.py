"""JSON lines as a table: one object per line and run; nested objects become dotted
columns (`config.lr`).

What does not belong here: raw run logs (`reader_autollm_run.py`), what columns mean.
Lines may name different keys: the columns are those of the first HEAD_ROWS objects.

Invariant: one TableRow a line.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.retiring.containers import LogBytes, LogFile
from autollm.logs.retiring.reading import (
    binary_problem,
    count_lines,
    decode_line,
    head_of,
    iter_lines,
    quote,
    whole_lines,
)
from autollm.logs.retiring.table import OpenTable, TableReader, TableRow

HEAD_ROWS = 100


class TableJsonlReader(TableReader):
    """One JSON object per line, UTF-8. Files called *.jsonl need a mapping that names
    them: run logs end so too.
    """

    format = "jsonl"
    suffixes = (".ndjson",)

    @contextmanager
    def open(self, log: LogBytes | LogFile) -> Iterator[OpenTable]:
        """See `TableReader.open`."""
        problem = binary_problem(head_of(log), "a table of JSON lines")
        if problem:
            yield OpenTable(
                unusable=whole_lines(count_lines(log), head_of(log), problem)
            )
            return
        with log.open() as stream:
            rows = _rows(iter_lines(stream))
            head = list(itertools.islice(rows, HEAD_ROWS))
            columns = list(
                dict.fromkeys(c for row in head if row.values for c in row.values)
            )
            yield OpenTable(columns, itertools.chain(head, rows), is_empty=not head)


def _rows(lines: Iterator[bytes]) -> Iterator[TableRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            yield TableRow(number)
            continue
        try:
            yield TableRow(number, parse_object(decode_line(line)), "", quote(line))
        except RecordError as error:
            yield TableRow(number, None, str(error), quote(line))


def parse_object(text: str) -> dict[str, Any]:
    """The values of one line by dotted name.

    Raises:
        RecordError: not a JSON object, a key twice, or text that UTF-8 cannot hold.
    """
    try:
        raw = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_object)
        values = flatten(raw) if isinstance(raw, dict) else None
        json.dumps(values, ensure_ascii=False).encode()
    except (
        ValueError,
        RecursionError,
    ) as error:  # JSONDecodeError, integers too long, half surrogate pairs
        raise RecordError(f"not a JSON line: {error}") from None
    if values is None:
        raise RecordError(f"expected a JSON object, got {type(raw).__name__}")
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise RecordError(
            f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in "
            "one object"
        )
    return found


def flatten(raw: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as dotted names; lists stay.

    Raises:
        RecordError: two spellings of one name.
    """
    found: dict[str, Any] = {}
    for key, value in raw.items():
        inner = (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
        twice = next((name for name in inner if name in found), None)
        if twice is not None:
            raise RecordError(
                f"the name {twice!r} stands twice, once nested and once dotted"
            )
        found |= inner
    return found
