"""Weights & Biases run files (`run-<id>.wandb`), offline or synced, one run or the whole
`wandb/` folder.

The file is LevelDB's log format: blocks of 32 KiB hold pieces (checksum, length, kind),
one or several pieces a record, and each record is one protocol buffer `Record` of
wandb_internal.proto. Field numbers below are that schema's; wandb itself is not needed.

Rules
- `_step`, `_runtime` and every value stand as logged, record after record; the line of a
  point is its record's number. History is the full one, never sampled.
- The state follows the exit record: 0 is `finished`, anything else `failed`, none
  `running` (the run is in flight, or its file was cut short).
- Files of one run id in one folder are one run that was resumed: their records follow
  one another by start time, and the last exit counts. Where a step comes again, both
  points stay; the later line counts.
- A run forked from another says from which (`forked_from`, `forked_at_step`).
- Where a run's file is gone, `files/config.yaml` and `files/wandb-summary.json` of its
  folder are the run; nothing says how it ended. Beside the file they and the console
  (`files/output.log`) say nothing more.

Invariant: every record of a file is read or set aside by its number.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import (
    Cells,
    Row,
    cell,
    flat_cells,
    moment,
    number,
    whole_number,
)
from autollm.logs.readers.documents import parse_config, parse_json
from autollm.logs.readers.rows import FORKED_FROM, RelationBuilder, read_whole
from autollm.logs.readers.tools.protobuf import (
    Message,
    integer,
    message,
    messages,
    parse_message,
    real,
    text,
    texts,
)
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation, Role

_FILE_HEADER = b":W&B"
_FILE_HEADER_BYTES = 7  # ":W&B", a magic number, a version
_BLOCK_BYTES = 32_768
_PIECE_HEADER = struct.Struct("<IHB")  # crc32, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = range(1, 5)
_CUT = "a record without its end: the file is cut short"
_RUN_FILE = re.compile(r"(?:^|/)(?:offline-)?run-[^/]+/run-[^/]+\.wandb$")
_BESIDE = re.compile(
    r"(?:^|/)(?:offline-)?run-(?:[^/]*-)?(?P<id>[^/-]+)/files/"
    r"(?P<part>config|wandb-summary|output)\.(?:yaml|json|log)$"
)
"""What W&B writes beside a run's file: the same once more, and the console."""
_STAMP = re.compile(r"run-(\d{8}_\d{6})-")
_INTERNAL = ("_wandb", "wandb_version")
_OWN = ("_runtime", "_step", "_timestamp")
"""What W&B logs beside metrics."""

ROLES: dict[str, Role] = {
    "run_id": "key",
    "run_name": "label",
    "project": "label",
    "group": "label",
    "job_type": "label",
    "tags": "label",
    "notes": "label",
    "sweep_id": "label",
    "created": "time",
    "state": "status",
    "runtime_s": "cost",
    "last_step": "measured",
    "forked_at_step": "measured",
}


_LABELS = {
    "run_name": 8,
    "project": 3,
    "group": 6,
    "job_type": 7,
    "notes": 9,
    "sweep_id": 12,
}
"""Columns, and their fields in a record of a run."""


def frame_records(data: bytes) -> Iterator[tuple[bytes | None, str]]:
    """The records of a LevelDB log after the file's header: each as its bytes, or as
    None with what is wrong with it. A damaged piece costs its record; where not even
    its length can be trusted, reading goes on at the next block.
    """
    at = _FILE_HEADER_BYTES
    parts: list[bytes] | None = None
    while at < len(data):
        n_left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if n_left < _PIECE_HEADER.size:
            at += n_left
            continue
        piece, kind, at, problem = _piece(data, at, n_left)
        begins = kind in (_WHOLE, _FIRST)
        if problem:
            yield None, problem
            parts = None
        elif begins and parts is not None:
            yield None, "a record without its end"
        elif kind == _LAST and parts is None:
            yield None, "a record without its beginning"
        if begins:
            parts = []
        if parts is not None:
            parts.append(piece)
        if parts is not None and kind in (_WHOLE, _LAST):
            yield b"".join(parts), ""
            parts = None
    if parts is not None:
        yield None, _CUT


def _piece(data: bytes, at: int, n_left: int) -> tuple[bytes, int, int, str]:
    """The piece at `at`: its bytes, kind (0 for a damaged one), where the next one
    begins, what is wrong.
    """
    start = end = at + _PIECE_HEADER.size
    if start <= len(data):
        checksum, n_bytes, kind = _PIECE_HEADER.unpack_from(data, at)
        if not _WHOLE <= kind <= _LAST or n_bytes > n_left:
            lost = "no record begins here: the rest of the block is lost"
            return b"", 0, at + n_left, lost
        end = start + n_bytes
        if end <= len(data):
            if zlib.crc32(data[at + 6 : end]) == checksum:
                return data[start:end], kind, end, ""
            return b"", 0, end, "a record whose checksum is wrong"
    return b"", 0, len(data), _CUT


@dataclass
class _Segment:
    """What one file says of its run."""

    file: str
    run_id: str = ""
    labels: Cells = field(default_factory=dict)
    config: Cells = field(default_factory=dict)
    summary: Cells = field(default_factory=dict)
    started_s: float = 0.0
    exit_code: int | None = None
    trunk: tuple[str, float | None] = ("", None)
    is_resumed: bool = False
    is_left: bool = False
    """Whether it is what is left beside a run's file that is gone."""


class WandbOfflineReader:
    """One `.wandb` file."""

    format = "wandb-offline"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return head.startswith(_FILE_HEADER)

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        return [_read([opened])]


class WandbFolderReader:
    """A folder of run folders, so that resumed runs are one."""

    format = "wandb-offline"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        runs = list(filter(_RUN_FILE.search, listing))
        beside = list(filter(_BESIDE.search, listing))
        is_told = runs or not all(path.endswith(".log") for path in beside)
        return (*runs, *beside) if is_told else ()

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        paths = sorted(opened.files, key=_begun)
        return [_read([opened.files[path] for path in paths])]


def _begun(path: str) -> tuple[str, str]:
    """When the run of a folder began, by the folder's name, which says it to the second."""
    found = _STAMP.search(path)
    return (found[1] if found else "", path)


def _read(files: Sequence[OpenedFile]) -> Relation:
    builder = RelationBuilder("wandb-offline", "run_id", ROLES)
    segments: dict[str, list[_Segment]] = {}
    runs = [opened for opened in files if not _BESIDE.search(opened.name)]
    begun = {opened.name.rpartition("/")[0] for opened in runs}
    for opened in files:
        found = _BESIDE.search(opened.name)
        if found is None:
            segment = _segment(opened, builder)
        elif (
            opened.name.split("/files/")[0] in begun
            or found["part"] == "output"
        ):
            continue
        else:
            segment = _left(opened, builder, found)
        if segment.run_id:
            segments.setdefault(segment.run_id, []).append(segment)
    for parts in segments.values():
        parts.sort(key=lambda part: part.started_s)
        _add_segments(builder, parts)
    return builder.relation()


def _left(
    opened: OpenedFile, builder: RelationBuilder, found: re.Match[str]
) -> _Segment:
    """What a file says of a run whose own file is gone."""
    segment = _Segment(opened.name, found["id"], is_left=True)
    values = builder.document(opened, parse_config)
    if found["part"] == "config":
        segment.config = {name: unwrapped(v) for name, v in values.items()}
    else:
        segment.summary = values
    return segment


def _segment(opened: OpenedFile, builder: RelationBuilder) -> _Segment:
    """One file's records, each read or set aside; without a run's id where no run record
    is among them.
    """
    segment = _Segment(opened.name)
    first = builder.n_lines + 1
    n_read = 0
    for record, problem in frame_records(read_whole(opened)):
        builder.n_lines += 1
        line = builder.n_lines
        with builder.setting_aside(line, record or b"", opened.name):
            if record is None:
                raise RecordError(problem)
            _take(builder, segment, parse_message(record))
            n_read += 1
    if not segment.run_id:
        reason = "no record says which run this is: the file is cut short at its beginning"
        if n_read:
            builder.add_bad(first, reason, b"", n_read, opened.name)
        builder.note(f"{opened.name}: {reason}")
    return segment


def _take(builder: RelationBuilder, segment: _Segment, record: Message) -> None:
    """One record into its segment. Kinds that say nothing of settings or results
    (files, telemetry, console output, system statistics) are passed over.
    """
    if 2 in record:  # history
        row = _items(message(record, 2))
        if not segment.run_id:
            raise RecordError("a row of history before the record of its run")
        add_history(builder, segment.run_id, builder.n_lines, row)
    elif 3 in record:  # summary
        _update(segment.summary, message(record, 3))
    elif 5 in record:  # config
        _update(segment.config, message(record, 5))
    elif 17 in record:
        _take_run(segment, message(record, 17))
    elif 18 in record:
        segment.exit_code = integer(message(record, 18), 1)


def _take_run(segment: _Segment, run: Message) -> None:
    segment.run_id = segment.run_id or text(run, 1)
    started = message(run, 17)
    segment.started_s = integer(started, 1)
    branch = message(run, 23)
    if branch:
        segment.trunk = (text(branch, 1), real(branch, 2))
    segment.is_resumed = bool(integer(run, 18))
    labels = {name: text(run, number) for name, number in _LABELS.items()}
    labels["tags"] = ", ".join(texts(run, 10))
    segment.labels = {name: value or None for name, value in labels.items()}
    segment.labels["created"] = moment(segment.started_s)
    _update(segment.config, message(run, 4))
    _update(segment.summary, message(run, 5))


def _update(values: Cells, record: Message) -> None:
    """ConfigRecord and SummaryRecord: updates (1) and removals (2) of keys."""
    values.update(_items(record))
    for item in messages(record, 2):
        values.pop(_name(item), None)


def _items(record: Message) -> Cells:
    out = {}
    for item in messages(record, 1):
        out[_name(item)] = parse_json(text(item, 16) or "null")
    return out


def _name(item: Message) -> str:
    return text(item, 1) or ".".join(texts(item, 2))


def _add_segments(builder: RelationBuilder, parts: Sequence[_Segment]) -> None:
    first = parts[0]
    last = parts[-1]
    if not last.is_left and (len(parts) > 1 or last.is_resumed):
        builder.note(
            f"{first.run_id}: resumed, {len(parts)} files follow one another; where a "
            "step comes again, the later point counts"
        )
    config: Cells = {}
    summary: Cells = {}
    for part in parts:
        config.update(part.config)
        summary.update(part.summary)
    ended = "failed" if last.exit_code else "finished"
    state = "running" if last.exit_code is None else ended
    cells = {"run_id": first.run_id, **first.labels}
    cells["state"] = None if last.is_left else state
    trunk, at_step = first.trunk
    if trunk:
        cells[FORKED_FROM] = trunk
        cells["forked_at_step"] = at_step
        builder.note(f"{first.run_id}: forked from {trunk} at step {at_step}")
    add_run(builder, cells, config, summary, last.file)


def add_run(
    builder: RelationBuilder,
    cells: Cells,
    config: Row,
    summary: Row,
    file: str,
    line: int = 0,
) -> None:
    """One run's row, with its settings (`config.`) and results (`summary.`)."""
    cells["runtime_s"] = number(summary.get("_runtime"))
    cells["last_step"] = whole_number(summary.get("_step"))
    builder.put(cells, _flat(config), "setting", "config.")
    results: Cells = {}
    for name, value in _flat(summary).items():
        as_number = number(value)
        results[name] = value if as_number is None else as_number
    for name in _OWN:
        results.pop(name, None)
    builder.put_results(cells, results, "summary.")
    builder.add_run(cells, file, line)


def unwrapped(value: Any) -> Any:
    """What W&B wraps a setting in is taken off."""
    is_wrapped = isinstance(value, dict) and value.keys() <= {"value", "desc"}
    return value["value"] if is_wrapped and "value" in value else value


def _flat(values: Row) -> Cells:
    """Values of W&B's as cells, without what it keeps of itself."""
    out: Cells = {}
    for name, value in values.items():
        if name in _INTERNAL or name.startswith("_wandb."):
            continue
        if isinstance(value, dict) and value:
            out |= flat_cells(value, f"{name}.")
        else:
            out[name] = cell(value)
    return out


def add_history(
    builder: RelationBuilder, run_id: str, line: int, row: Row
) -> None:
    """One logged row as points, without W&B's own columns."""
    metrics = flat_cells(row)
    step = whole_number(metrics.get("_step"))
    wall_time_s = number(metrics.get("_runtime"))
    for name in _OWN:
        metrics.pop(name, None)
    builder.add_row(run_id, metrics, step, wall_time_s, line)
