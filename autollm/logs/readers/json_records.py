"""A JSON or YAML document of runs: a list of objects, such a list under one key, an object
of objects by run name, or what pandas writes (`DataFrame.to_json()`, its columns or
`orient="split"`); JSON lines under the name .json too. Lists of one length under names
(`{"loss": [..], "val_loss": [..]}`) are one run's curve where all of them were measured, as
Keras keeps its history, else columns.

Invariant: an object is one run; a document that holds no two is none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row, flat_cells
from autollm.logs.readers.curves import (
    CurveCollector,
    CurveLayout,
    find_layout,
    named_layout,
)
from autollm.logs.readers.documents import parse_any_yaml, parse_json
from autollm.logs.readers.paths import plain_stem
from autollm.logs.readers.rows import RelationBuilder, count_lines, read_whole
from autollm.logs.readers.texts.wide_tables import OUTCOME
from autollm.logs.readers.words import pattern
from autollm.logs.relation import OpenedFile, Relation

LEAST_ROWS = 3
RUN = "run"
"""Names a run of an object of objects."""
_BEGINNINGS = re.compile(
    rb"\A\s*(\[\s*\{|\{\s*\"((runs|trials)\"\s*:\s*\[\s*\{|columns\"\s*:\s*\[))"
)
_YAML_BEGINNINGS = re.compile(
    rb"\A(#.*\n|---.*\n|\s*\n)*(\w+:[ \t]*\n)?\s*- ?\s*[\w.]+:"
)
_OF_EPOCHS = pattern("of_epochs")
Records = Sequence[Row]


class JsonRecordsReader:
    """A `.json` or `.yaml` file whose objects are runs."""

    format = "json"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`. A document longer than the head is taken by its
        beginning.
        """
        if not name.endswith((".json", ".yaml", ".yml")):
            return False
        is_json = name.endswith(".json")
        try:
            document = _parsed(head, name)
            return len(_found_in(document)) > 1 or _is_run(document)
        except RecordError:
            begins = _BEGINNINGS if is_json else _YAML_BEGINNINGS
            return begins.match(head) is not None

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: no document of runs.
        """
        data = read_whole(opened)
        document = _parsed(data, opened.name)
        builder = RelationBuilder(self.format, RUN)
        builder.n_lines = count_lines(data)
        history = _history_of(document)
        if history:
            layout = named_layout(list(history[0]), history)
            layout = layout or CurveLayout("epoch")
            run = plain_stem(opened.name)
            collector = CurveCollector(builder, layout, run)
            for row in history:
                collector.add(row, 0)
            collector.finish(opened.name)
            return [builder.relation()]
        records = _found_in(document)
        if len(records) < 2 and _is_run(document):
            records = [document]
        if not records:
            raise RecordError(
                f"{opened.name} holds no list of objects. Expected one object a run. "
                "Fix: write a list of objects, or JSON lines (.jsonl)."
            )
        builder.key = RUN if RUN in records[0] else ""
        for number, record in enumerate(records, start=1):
            cells = flat_cells(_unfolded(record))
            builder.add_run(cells, opened.name, number)
        return [builder.relation()]


def _parsed(data: bytes, name: str) -> Any:
    """The document of a file; of JSON lines the list of all.

    Raises:
        RecordError: it is none.
    """
    if not name.endswith(".json"):
        return parse_any_yaml(data, name)
    try:
        return parse_json(data)
    except RecordError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].startswith(b"{"):
            raise
        return [parse_json(line) for line in lines]


def _history_of(document: Any) -> list[Cells]:
    """The rows of lists under names, where they are a curve; else none."""
    rows = _of_lists(document)
    if not rows or find_layout(list(rows[0]), rows) is not None:
        return rows
    is_measured = all(map(_OF_EPOCHS.search, rows[0]))
    if not is_measured or named_layout(list(rows[0]), rows) is not None:
        return []
    return [{"epoch": at, **row} for at, row in enumerate(rows, start=1)]


def _of_lists(document: Any) -> list[Cells]:
    """Rows of lists of one length, three at least, under names; else none."""
    lists = list(document.values()) if isinstance(document, dict) else []
    if not lists or not all(isinstance(cells, list) for cells in lists):
        return []
    lengths = set(map(len, lists))
    if len(lengths) != 1 or min(lengths) < LEAST_ROWS:
        return []
    for row in zip(*lists, strict=True):
        if any(isinstance(cell, (dict, list)) for cell in row):
            return []
    rows = zip(*lists, strict=True)
    return [dict(zip(document, row, strict=True)) for row in rows]


def _found_in(document: Any) -> Records:
    """The runs of a document: the first of its shapes that holds some."""
    if _is_list_of_objects(document):
        return document
    if not isinstance(document, dict):
        return []
    values = list(document.values())
    if len(values) == 1 and isinstance(values[0], dict):
        inner = _of_object(values[0])  # `runs: {a: {...}, b: {...}}`
        if inner:
            return inner
    if {"columns", "data"} <= document.keys():
        return _of_split(document["columns"], document["data"])
    lists = list(filter(_is_list_of_objects, values))
    found = lists[0] if len(lists) == 1 else _of_object(document)
    return _of_lists(document) or found


def _is_run(document: Any) -> bool:
    """Whether a document is one run's settings and results: some of its numbers are
    called as outcomes are.
    """
    if not isinstance(document, dict) or len(document) < 2:
        return False
    try:
        cells = flat_cells(document)
    except RecordError:
        return False
    numbers = [n for n, v in cells.items() if isinstance(v, (int, float))]
    return any(OUTCOME.search(name.rpartition(".")[2]) for name in numbers)


def _of_split(names: Any, rows: Any) -> Records:
    """Rows of lists, and the names of what stands in them."""
    if not isinstance(names, list) or not isinstance(rows, list):
        return []
    n = len(names)
    if not all(isinstance(row, list) and len(row) == n for row in rows):
        return []
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _unfolded(record: Row) -> Cells:
    """An object whose lists of keys and values are objects, as MLflow's server writes
    them, within its `info` and `data`.
    """
    out = dict(record)
    is_server = out.keys() == {"info", "data"}
    if is_server and all(isinstance(part, dict) for part in out.values()):
        out = {**out["info"], **out["data"]}
    for name, value in out.items():
        if _is_list_of_objects(value) and {"key", "value"} <= value[0].keys():
            out[name] = {item.get("key"): item.get("value") for item in value}
    return out


def _is_list_of_objects(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) > 0
    return is_list and all(isinstance(item, dict) for item in value)


def _of_object(document: Cells) -> Records:
    """Runs of an object of objects that share their keys."""
    inner = list(document.values())
    if len(inner) < 2 or not all(isinstance(v, dict) and v for v in inner):
        return []
    first = inner[0].keys()
    for values in inner:
        if len(first & values.keys()) * 2 <= len(first | values.keys()):
            return []
    if not all(key.isdigit() for key in first):
        return [{RUN: name, **record} for name, record in document.items()]
    rows: dict[str, Cells] = {}
    for column, cells in document.items():
        for index, value in cells.items():
            rows.setdefault(index, {})[column] = value
    return list(rows.values())
