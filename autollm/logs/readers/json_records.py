"""A JSON or YAML document of runs: a list of objects, such a list under one key, an object
of objects by run name, or what pandas writes (`DataFrame.to_json()`, its columns or
`orient="split"`); JSON lines under the name .json too. Lists of one length under names
(`{"loss": [..], "val_loss": [..]}`) are one run's curve where all of them were measured, as
Keras keeps its history, else columns.

Invariant: an object is one run; a document that holds no two is none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import plain_stem
from autollm.logs.readers.curves import (
    CurveCollector,
    CurveLayout,
    find_layout,
    named_layout,
)
from autollm.logs.readers.documents import parse_any_yaml, parse_json
from autollm.logs.readers.rows import (
    RelationBuilder,
    count_lines,
    flat_cells,
    read_whole,
)
from autollm.logs.readers.wide_tables import OUTCOME
from autollm.logs.relation import OpenedFile, Relation

LEAST_ROWS = 3
_YAML = (".yaml", ".yml")
_BEGINNINGS = (b"[{", b'{"runs":[{', b'{"trials":[{', b'{"columns":[')
_MEASURED = re.compile(
    r"(^|[/_. ])(loss|acc(uracy)?|ppl|perplexity|auc|mse|mae|f1|lr|learning_rate|error)$",
    re.IGNORECASE,
)
"""What Keras and its like keep of each epoch."""
RUN = "run"
"""Names a run of an object of objects."""


_YAML_RUN = re.compile(
    rb"\A(#.*\n|---.*\n|\s*\n)*(\w+:[ \t]*\n)?\s*- ?\s*[\w.]+:"
)


class JsonRecordsReader:
    """A `.json` or `.yaml` file whose objects are runs."""

    format = "json"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`. A document longer than the head is taken by its
        beginning.
        """
        if name.endswith(_YAML):
            try:
                document = parse_any_yaml(head, name)
                return len(_found_in(document)) > 1 or _is_run(document)
            except RecordError:
                return _YAML_RUN.match(head) is not None
        if not name.endswith(".json"):
            return False
        try:
            return len(records_of(head)) > 1 or _is_run(parse_json(head))
        except RecordError:
            start = b"".join(head[:4096].split())
            return start.startswith(_BEGINNINGS)

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: no document of runs.
        """
        data = read_whole(opened)
        is_yaml = opened.name.endswith(_YAML)
        if is_yaml:
            document = parse_any_yaml(data, opened.name)
            records = _found_in(document)
        else:
            history = _history_of(data)
            if history:
                return [_curve(history, opened.name, count_lines(data))]
            records = records_of(data)
        if len(records) < 2:  # JSON lines are more than one document
            whole = document if is_yaml else _document(data)
            records = [whole] if _is_run(whole) else records
        if not records:
            raise RecordError(
                f"{opened.name} holds no list of objects. Expected one object a run. "
                "Fix: write a list of objects, or JSON lines (.jsonl)."
            )
        builder = RelationBuilder(self.format, RUN if RUN in records[0] else "")
        builder.n_lines = count_lines(data)
        for number, record in enumerate(records, start=1):
            builder.add_run(flat_cells(record), opened.name, number)
        return [builder.relation()]


def _history_of(data: bytes) -> list[dict[str, Any]]:
    """The rows of lists under names, where they are a curve; else none."""
    try:
        rows = _of_lists(parse_json(data))
    except RecordError:
        return []
    if not rows or find_layout(list(rows[0]), rows) is not None:
        return rows
    is_measured = all(_MEASURED.search(name) for name in rows[0])
    has_step = named_layout(list(rows[0]), rows) is not None
    if not is_measured or has_step:
        return []
    return [{"epoch": at, **row} for at, row in enumerate(rows, start=1)]


def _curve(rows: list[dict[str, Any]], file: str, n_lines: int) -> Relation:
    builder = RelationBuilder("json", RUN)
    builder.n_lines = n_lines
    layout = named_layout(list(rows[0]), rows) or CurveLayout("epoch")
    collector = CurveCollector(builder, layout, plain_stem(file))
    for row in rows:
        collector.add(row, 0)
    collector.finish(file)
    return builder.relation()


def _of_lists(document: Any) -> list[dict[str, Any]]:
    """Rows of lists of one length, three at least, under names; else none."""
    if not isinstance(document, dict) or not document:
        return []
    lists = list(document.values())
    if not all(isinstance(cells, list) for cells in lists):
        return []
    lengths = set(map(len, lists))
    is_flat = not any(
        isinstance(c, (dict, list)) for cells in lists for c in cells
    )
    if len(lengths) != 1 or min(lengths) < LEAST_ROWS or not is_flat:
        return []
    rows = zip(*lists, strict=True)
    return [dict(zip(document, row, strict=True)) for row in rows]


def records_of(data: bytes) -> list[Mapping[str, Any]]:
    """The runs of a document; empty where it holds none.

    Raises:
        RecordError: it is no JSON.
    """
    try:
        document = parse_json(data)
    except RecordError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].startswith(b"{"):
            raise
        document = [parse_json(line) for line in lines]
    return _found_in(document)


def _found_in(document: Any) -> list[Mapping[str, Any]]:
    """The runs of a document that was read."""
    if isinstance(document, dict) and len(document) == 1:
        (inner,) = document.values()
        if isinstance(inner, dict) and _of_object(inner):
            return _of_object(inner)  # `runs: {a: {...}, b: {...}}`
    if isinstance(document, dict) and {"columns", "data"} <= document.keys():
        return _of_split(document["columns"], document["data"])
    if isinstance(document, dict):
        rows = _of_lists(document)
        if rows:
            return rows
        lists = [v for v in document.values() if _is_list_of_objects(v)]
        if len(lists) == 1:
            return lists[0]
        return _of_object(document)
    return document if _is_list_of_objects(document) else []


def _document(data: bytes) -> Any:
    """The document; None where it is more than one, or none."""
    try:
        return parse_json(data)
    except RecordError:
        return None


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


def _of_split(names: Any, rows: Any) -> list[Mapping[str, Any]]:
    """Rows of lists, and the names of what stands in them."""
    if not isinstance(names, list) or not isinstance(rows, list):
        return []
    n = len(names)
    if not all(isinstance(row, list) and len(row) == n for row in rows):
        return []
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _is_list_of_objects(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) > 0
    return is_list and all(isinstance(item, dict) for item in value)


def _of_object(document: dict[str, Any]) -> list[Mapping[str, Any]]:
    """Runs of an object of objects that share their keys."""
    inner = list(document.values())
    if len(inner) < 2 or not all(isinstance(v, dict) and v for v in inner):
        return []
    first = inner[0].keys()
    if not all(
        len(first & v.keys()) * 2 > len(first | v.keys()) for v in inner
    ):
        return []
    if all(key.isdigit() for key in first):
        rows: dict[str, dict[str, Any]] = {}
        for column, cells in document.items():
            for index, value in cells.items():
                rows.setdefault(index, {})[column] = value
        return list(rows.values())
    return [{RUN: name, **record} for name, record in document.items()]
