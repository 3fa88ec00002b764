"""Raw run logs (`autollm.run/1`): one run a file, a header line, step lines, an end line.

    a log without an end line is of a run in flight (or of a killed one: nobody can tell
    them apart from the file alone): `running`, no outcome
    steps and their numbers stay as logged; a line that fits nowhere is set aside
    without a usable header the whole file is set aside

Large logs are read in blocks: step lines as columns by Arrow, odd ones by
`autollm.core.records`, which says what a line may hold.

Invariant: a line is used, blank, or set aside by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import RecordError
from autollm.core.mappings.mapping import RUN_LOG
from autollm.core.records import (
    Record,
    RunEnd,
    RunHeader,
    RunStep,
    canonical_json,
    parse_record,
)
from autollm.logs.reading import decode_line, split_lines, too_long
from autollm.logs.relation import (
    CODED_POINTS,
    FILE_COLUMN,
    LINE_COLUMN,
    BadLines,
    OpenedFile,
    Relation,
)
from autollm.logs.tables.blocks import (
    LEAF_BYTES,
    Account,
    Block,
    ahead,
    binary_problem,
    blocks_of,
    parsed,
)
from autollm.logs.tables.columns import column_of, constant
from autollm.logs.tables.json_table import (
    check_depth,
    check_objects,
    read_objects,
)

RAW_COLUMN = "_raw"
"""The header as it was logged, kept beside what the mapping reads of it."""
N_LINES_COLUMN = "_n_lines"
"""Physical lines that a row stands on, where that is not one."""
NO_END = (
    "no end record: the run is in flight, was killed, or its log was cut short"
)
_NO_HEADER = "no header line of schema autollm.run/1."
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NULL_METRIC = re.compile(rb'"metrics":\s*\{[^{}]*:\s*null')
_MAX_INT64 = 2**63
Parts = list[tuple[Block, pa.Table | None]]
_STEP_FIELDS = [
    ("kind", pa.string()),
    ("step", pa.int64()),
    ("tokens", pa.float64()),
    ("wall_time_s", pa.float64()),
]
_NO_RUNS = pa.table({FILE_COLUMN: pa.nulls(0), LINE_COLUMN: pa.nulls(0)})
_TAKEN = ("step", "tokens", "wall_time_s")


class RunLog:
    """JSON lines of the schema `autollm.run/1`."""

    format = RUN_LOG

    def matches(self, name: str, head: bytes) -> bool:
        """A .jsonl file of which an early line says its kind, or which holds no JSON."""
        if not name.endswith(".jsonl"):
            return False
        lines = head.split(b"\n")[:5]
        return b'"kind"' in b"".join(lines) or not head.lstrip().startswith(
            b"{"
        )

    def read(self, opened: OpenedFile) -> Iterator[Relation]:
        """See `FileReader.read`: points of a long log come in chunks, its run last."""
        with opened.open() as stream:
            log = _Log(opened.name)
            for block, parts in ahead(blocks_of(stream), _parts):
                waiting = log.take(block, parts)
                if waiting is not None:
                    yield waiting
            yield log.finish()


class _Log:
    """One log as its blocks come."""

    def __init__(self, name: str):
        self._name = name
        self._header: RunHeader | None = None
        self._header_line = 0
        self._end: RunEnd | None = None
        self._account = Account()
        self._n_lines = self._n_bad = 0
        self._points: list[pa.Table] = []

    def take(self, block: Block, parts: Parts) -> Relation | None:
        """Read a block; a relation of what came before, where it is worth a chunk.
        `parts` are its steps as tables, and what is to be cut line by line.

        Raises:
            RecordError: the first block holds no header.
        """
        chunk = self._chunk() if self._points else None
        self._account.n_lines += block.n_lines
        if not self._n_lines:
            problem = binary_problem(block.data, "a raw log")
            if problem:
                raise RecordError(problem)
        self._n_lines += block.n_lines
        for part, steps in parts:
            is_open = self._header is not None and self._end is None
            if steps is None or not is_open:
                self._cut(part)
            else:
                key = constant(self._header.run_id, steps.num_rows)
                self._points.append(steps.add_column(0, "run_key", key))
        if self._header is None:
            first = (
                self._account.bad[0].reason
                if self._account.bad
                else "blank lines"
            )
            raise RecordError(f"{_NO_HEADER} First problem: {first}")
        return chunk

    def _chunk(self) -> Relation:
        points = pa.concat_tables(self._points)
        self._points = []
        account, self._account = self._account, Account()
        self._n_bad += len(account.bad)
        return Relation(
            RUN_LOG,
            _NO_RUNS,
            points,
            "run_id",
            bad=tuple(account.bad),
            n_lines=account.n_lines,
        )

    def finish(self) -> Relation:
        """What is left, with the run.

        Raises:
            RecordError: there is no header.
        """
        if self._header is None:
            raise RecordError(f"{_NO_HEADER} First problem: the file is empty")
        points = pa.concat_tables([*self._points, CODED_POINTS.empty_table()])
        bad: tuple[BadLines, ...] = tuple(self._account.bad)
        row = self._row()
        row[FILE_COLUMN] = self._name
        row[LINE_COLUMN] = self._header_line
        row[N_LINES_COLUMN] = self._n_lines - self._n_bad - len(bad)
        columns = {name: column_of([value]) for name, value in row.items()}
        return Relation(
            RUN_LOG,
            pa.table(columns),
            points,
            "run_id",
            {"status": "status", "run_id": "key", "seed": "seed"},
            bad,
            self._account.n_lines,
        )

    def _cut(self, block: Block) -> None:
        """The lines of a block one by one."""
        if block.is_cut:
            self._account.set_aside(block.line, too_long(), block.data)
            return
        rows: list[tuple[Any, ...]] = []
        for number, line in enumerate(
            split_lines(block.data), start=block.line
        ):
            if not line.strip():
                continue
            try:
                step = self._place(number, parse_line(line))
            except RecordError as error:
                self._account.set_aside(number, str(error), line)
                continue
            if step is not None:
                for metric, value in step.metrics.items():
                    point = (
                        metric,
                        step.step,
                        step.tokens,
                        step.wall_time_s,
                        value,
                    )
                    rows.append((*point, number))
        if rows:
            key = pa.array([self._header.run_id] * len(rows), pa.string())
            columns = [key, *map(list, zip(*rows, strict=True))]
            self._points.append(
                pa.table(columns, names=CODED_POINTS.names).cast(CODED_POINTS)
            )

    def _place(self, number: int, record: Record) -> RunStep | None:
        if isinstance(record, RunHeader):
            if self._header is not None:
                raise RecordError("a second header: a file holds one run")
            self._header, self._header_line = record, number
        elif self._header is None:
            raise RecordError("a line before the header")
        elif self._end is not None:
            raise RecordError("a line after the end record")
        elif isinstance(record, RunEnd):
            self._end = record
        else:
            return record
        return None

    def _row(self) -> dict[str, Any]:
        """The fields by the names that mappings use."""
        header = self._header
        end = self._end or RunEnd("running", reason=NO_END)
        config = dict(header.config)
        for name, value in header.config.items():
            if isinstance(value, dict):
                for part, weight in value.items():
                    config[f"{name}.{part}"] = weight
                del config[name]
        groups = {
            "config": config,
            "fidelity": header.fidelity,
            "model": header.model,
            "hardware": header.hardware,
            "final": end.final,
            "cost": end.cost,
        }
        row: dict[str, Any] = {}
        for group, entries in groups.items():
            for name, value in entries.items():
                row[f"{group}.{name}"] = value
        reason = end.reason
        if not isinstance(reason, str):
            reason = canonical_json(reason)
        return row | {
            "seed": header.seed,
            "run_id": header.run_id,
            "source": header.source,
            "status": end.status,
            "status_reason": reason,
            "data.sha256": str(header.data.get("sha256") or ""),
            "created_at": str(header.created_at),
            RAW_COLUMN: canonical_json(vars(header), digits=None),
        }


def _parts(block: Block) -> Parts:
    if len(block.data) <= LEAF_BYTES:
        return [(block, None)]
    return list(parsed(block, steps_of))


def steps_of(block: Block) -> pa.Table | None:
    """The points of a block that holds steps alone, without their run's key; None where
    a line may be anything else.
    """
    if not _are_flat(block.data):
        return None
    found = _read_steps(block)
    if found is None:  # what is not finite may stand there as a text
        numbers = _with_numbers(block.data)
        if numbers != block.data:
            found = _read_steps(Block(block.line, numbers))
    return None if found is None else melted(found, block.line)


def _are_flat(data: bytes) -> bool:
    """Whether each line is one object with one object in it, and no list."""
    try:
        starts, ends = check_objects(data)
    except (RecordError, UnicodeDecodeError):
        return False
    codes = np.frombuffer(data, np.uint8)
    opened = np.flatnonzero(codes == ord("{"))
    if len(opened) != 2 * len(starts):
        return False
    is_first = np.all(opened[0::2] == starts)
    return bool(is_first and np.all(opened[1::2] < ends))


def _read_steps(block: Block) -> pa.Table | None:
    try:
        table = read_objects(block.data, pa.schema(_STEP_FIELDS))
    except pa.ArrowException:
        return None
    if table.num_rows != block.n_lines or not _are_steps(table):
        return None
    # a metric that is null is wrong, one that is not there is not
    metrics = table["metrics"].combine_chunks().flatten()
    has_gaps = any(metric.null_count for metric in metrics)
    is_null = has_gaps and _NULL_METRIC.search(block.data)
    return None if is_null else table


def _with_numbers(data: bytes) -> bytes:
    """Non-finite numbers as JSON libraries spell them, instead of as texts."""
    for text, number in (
        (b"nan", b"NaN"),
        (b"inf", b"Infinity"),
        (b"-inf", b"-Inf"),
    ):
        data = data.replace(b':"' + text + b'"', b":" + number)
    return data


def _are_steps(table: pa.Table) -> bool:
    """Whether a block of JSON lines holds steps and nothing else."""
    expected = {name for name, _ in _STEP_FIELDS} | {"metrics"}
    if set(table.column_names) != expected:
        return False
    metrics = table.schema.field("metrics").type
    if not pa.types.is_struct(metrics):
        return False
    for field in metrics:
        if not (
            pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        ):
            return False
    needed = (table["kind"], table["step"], table["metrics"])
    if any(column.null_count for column in needed):
        return False
    is_step = pc.all(pc.equal(table["kind"], "step")).as_py()
    return is_step and pc.min(table["step"]).as_py() >= 0


def melted(table: pa.Table, line: int) -> pa.Table:
    """A table of steps as points, one a metric, in the order of their lines, of which
    the first is `line`.
    """
    metrics = table["metrics"].combine_chunks()
    n_rows = table.num_rows
    names = pa.array([field.name for field in metrics.type], pa.string())
    values = np.full((n_rows, len(names)), np.nan)
    is_there = np.zeros((n_rows, len(names)), bool)
    for index, column in enumerate(metrics.flatten()):
        floats = column.cast(pa.float64(), safe=False)
        is_there[:, index] = floats.is_valid().to_numpy(zero_copy_only=False)
        values[:, index] = floats.fill_null(np.nan).to_numpy(
            zero_copy_only=False
        )
    rows, columns = np.nonzero(is_there)
    at = pa.array(rows)
    points = [pa.DictionaryArray.from_arrays(columns.astype(np.int32), names)]
    points += [table[name].combine_chunks().take(at) for name in _TAKEN]
    points += [pa.array(values[is_there]), pa.array(rows + line)]
    return pa.table(points, names=CODED_POINTS.names[1:])


def parse_line(line: bytes) -> Record:
    """One line of a log.

    Raises:
        RecordError: whatever is wrong with it.
    """
    text = decode_line(line)
    check_depth(line)
    record = parse_record(text)
    if _SURROGATE.search(text):
        _check_encodable(record)
    if isinstance(record, RunStep) and not 0 <= record.step < _MAX_INT64:
        raise RecordError(
            f"step must be within 0 .. 2^63-1, got {record.step!r:.80}"
        )
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
