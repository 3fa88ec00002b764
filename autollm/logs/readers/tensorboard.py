"""TensorBoard event folders: scalars of every kind (PyTorch's and TensorFlow 1's simple
values, TensorFlow 2's tensors), the hparams plugin, and settings that were logged as
JSON text (Hugging Face's `args`, the lab's `params`). Neither TensorBoard nor TensorFlow
is needed: an event file is TFRecord framing around protocol buffers `Event`, whose field
numbers stand below.

Rules
- One folder is one run; its event files are read in the order of their names, which
  begin with the clock. What `add_hparams` and Keras put into folders of their own below
  (`<clock>/`, `train/`, `validation/`) belongs to the run; Keras's go before the metric.
- `wall_time_s` counts from the run's first scalar; steps stand as logged.
- A second file, and steps that go back, are a restart: all points stay, the later counts.
- How a run ended is not told: `add_hparams` writes `SUCCESS` as soon as it is called.
- Images, histograms, graphs and profiles are passed over.

Invariant: every record is read or set aside by its number; a damaged length loses the
rest of its file, since the framing has no mark to go on at.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from autollm.core.errors import RecordError
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.lightning import run_of_folder
from autollm.logs.readers.log_ends import add_plan_state
from autollm.logs.readers.protobuf import (
    Message,
    integer,
    message,
    messages,
    parse_message,
    real,
    text,
    texts,
)
from autollm.logs.readers.rows import (
    RelationBuilder,
    cell,
    flat_cells,
    metric_role,
    read_whole,
)
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_EVENTS = r"[^/]*tfevents[^/]*"
_OWN_FOLDERS = r"(?:\d{10}(?:\.\d+)?|train|validation|eval|val|test)"
_CLAIMED = re.compile(rf"(?:{_OWN_FOLDERS}/)?{_EVENTS}$")
_HPARAMS_FOLDER = re.compile(r"\d{10}(?:\.\d+)?/")
_LENGTH = struct.Struct("<QI")  # bytes of the record, checksum of that number
_CHECKSUM_BYTES = 4
_MAX_CHECKED_BYTES = (
    4_096  # scalars take some 50; images and graphs are passed over
)
_MASK_DELTA = 0xA282EAD8
_CRC32C = 0x82F63B78  # the polynomial, reversed
_TENSOR_READERS = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10)}
"""dtype of a TensorProto: its layout in tensor_content, the field of its own values."""
_DT_STRING = 7


@dataclass
class _Run:
    hparams: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    started_s: float | None = None
    last_step: dict[str, int] = field(default_factory=dict)
    ended_s: float | None = None


class TensorboardFolderReader:
    """A folder of event files."""

    format = "tensorboard"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        return tuple(path for path in listing if _CLAIMED.fullmatch(path))

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        files = [opened.files[path] for path in sorted(opened.files)]
        return [_read(files, run_of_folder(opened.name))]


class TensorboardFileReader:
    """An event file by itself."""

    format = "tensorboard"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return b"brain.Event:2" in head[:64]

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        return [_read([opened], opened.name)]


def _read(files: Sequence[OpenedFile], name: str) -> Relation:
    builder = RelationBuilder("tensorboard", "run")
    builder.roles.update({"run": "key", "runtime_s": "cost"})
    run = _Run()
    for opened in files:
        prefix = _metric_prefix(opened.name)
        for number, record, problem in _records(read_whole(opened)):
            builder.n_lines += 1
            reason = problem
            if record is not None:
                try:
                    _take(builder, run, parse_message(record), name, prefix)
                except RecordError as error:
                    reason = str(error)
            if reason:
                builder.add_bad(number, reason, record or b"", file=opened.name)
    _add_run(builder, run, name, files[0].name if files else "")
    return builder.relation()


def _metric_prefix(path: str) -> str:
    folder = path.rpartition("/")[0]
    is_own = not folder or _HPARAMS_FOLDER.fullmatch(f"{folder}/")
    return (
        "" if is_own or not re.fullmatch(_OWN_FOLDERS, folder) else f"{folder}/"
    )


def _records(data: bytes) -> Iterator[tuple[int, bytes | None, str]]:
    """Number, bytes and problem of each record."""
    spans, problem = _spans(data)
    wrong = _wrong_checksums(data, spans)
    for number, (start, end) in enumerate(spans, start=1):
        if number in wrong:
            yield number, None, "a record whose checksum is wrong"
        else:
            yield number, data[start:end], ""
    if problem:
        yield len(spans) + 1, None, problem


def _spans(data: bytes) -> tuple[list[tuple[int, int]], str]:
    """Where the records stand, and why reading ended before the file did."""
    spans = []
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            return spans, "a record without its end: the file is cut short"
        n_bytes, checksum = _LENGTH.unpack_from(data, at)
        if _masked(_crc_of(data[at : at + 8])) != checksum:
            return (
                spans,
                "a length whose checksum is wrong: the rest of the file is lost",
            )
        start = at + _LENGTH.size
        end = start + n_bytes
        if end + _CHECKSUM_BYTES > len(data):
            return spans, "a record without its end: the file is cut short"
        spans.append((start, end))
        at = end + _CHECKSUM_BYTES
    return spans, ""


@cache
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(
            table & 1, (table >> 1) ^ np.uint32(_CRC32C), table >> 1
        )
    return table


def _crc_of(data: bytes) -> int:
    return int(_crcs(np.frombuffer(data, np.uint8)[None, :])[0])


def _crcs(rows: np.ndarray) -> np.ndarray:
    """CRC-32C of each row of bytes; many rows at once, since NumPy has none."""
    table = _crc_table()
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return crc ^ np.uint32(0xFFFFFFFF)


def _masked(crc: int) -> int:
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return (rotated + _MASK_DELTA) & 0xFFFFFFFF


def _wrong_checksums(data: bytes, spans: Sequence[tuple[int, int]]) -> set[int]:
    """Numbers of short records whose bytes are not what was written; those of one
    length are checked together.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, (start, end) in enumerate(spans, start=1):
        if end - start <= _MAX_CHECKED_BYTES:
            by_length[end - start].append(number)
    wrong = set()
    for n_bytes, numbers in by_length.items():
        records = [data[slice(*spans[number - 1])] for number in numbers]
        rows = np.frombuffer(b"".join(records), np.uint8).reshape(-1, n_bytes)
        for number, crc in zip(numbers, _crcs(rows), strict=True):
            end = spans[number - 1][1]
            stored = int.from_bytes(data[end : end + _CHECKSUM_BYTES], "little")
            if _masked(int(crc)) != stored:
                wrong.add(number)
    return wrong


def _take(
    builder: RelationBuilder, run: _Run, event: Message, name: str, prefix: str
) -> None:
    """One Event: wall_time 1, step 2, summary 5."""
    at_s = real(event, 1)
    step = integer(event, 2)
    for summary in messages(event, 5):
        for value in messages(summary, 1):
            _take_value(
                builder, run, value, name, prefix, step, at_s, builder.n_lines
            )


def _take_value(
    builder: RelationBuilder,
    run: _Run,
    value: Message,
    name: str,
    prefix: str,
    step: int,
    at_s: float | None,
    line: int,
) -> None:
    """One Summary.Value: tag 1, simple_value 2, tensor 8, metadata 9."""
    tag = text(value, 1)
    plugin = message(
        message(value, 9), 1
    )  # plugin_data: plugin_name 1, content 2
    plugin_name = text(plugin, 1)
    if plugin_name == "hparams":
        _take_hparams(run, message(plugin, 2))
        return
    found = real(value, 2)
    tensor = message(value, 8)
    if found is None and integer(tensor, 1) == _DT_STRING:
        _take_text(run, tag, texts(tensor, 8))
        return
    if found is None and tensor and plugin_name in ("scalars", ""):
        found = _scalar(tensor)
    if found is None:
        return
    metric = prefix + tag
    _note_restart(builder, run, metric, step, name)
    wall_time_s = None
    if at_s is not None:
        run.started_s = at_s if run.started_s is None else run.started_s
        run.ended_s = at_s
        wall_time_s = at_s - run.started_s
    builder.add_point(name, metric, found, step, None, wall_time_s, line)
    run.results[metric] = found


def _note_restart(
    builder: RelationBuilder, run: _Run, metric: str, step: int, name: str
) -> None:
    last = run.last_step.get(metric, step)
    if step < last:
        builder.note(
            f"{name}: {metric} goes back from step {last} to {step}: the run was "
            "restarted; the later record of a step counts"
        )
    run.last_step[metric] = step


def _scalar(tensor: Message) -> float | None:
    """A TensorProto of one number: dtype 1, shape 2, tensor_content 4, values."""
    layout, field_number = _TENSOR_READERS.get(integer(tensor, 1), ("", 0))
    if not layout or messages(message(tensor, 2), 2):  # a shape with dimensions
        return None
    raw = tensor.get(4, tensor.get(field_number, [b""]))[-1]
    if isinstance(raw, int):
        return float(raw if raw < 2**63 else raw - 2**64)
    if len(raw) != np.dtype(layout).itemsize:
        return None
    return float(np.frombuffer(raw, layout)[0])


def _take_text(run: _Run, tag: str, said: Sequence[str]) -> None:
    """A text summary: settings, where it is a JSON object."""
    whole = said[-1].strip() if said else ""
    if not whole.startswith("{"):
        return
    try:
        values = parse_object(whole, tag)
    except RecordError:
        return  # text that only begins like JSON is text
    run.texts.update(
        flat_cells(values, f"{tag.removesuffix('/text_summary')}.")
    )


def _take_hparams(run: _Run, data: Message) -> None:
    """HParamsPluginData: session_start_info 3 (hparams 1: a map)."""
    for start in messages(data, 3):
        for entry in messages(start, 1):
            run.hparams[text(entry, 1)] = _plain(message(entry, 2))


def _plain(value: Message) -> Any:
    """google.protobuf.Value: null 1, number 2, string 3, bool 4."""
    if 2 in value:
        return real(value, 2)
    if 3 in value:
        return text(value, 3)
    return bool(integer(value, 4)) if 4 in value else None


def _add_run(builder: RelationBuilder, run: _Run, name: str, file: str) -> None:
    cells: dict[str, Any] = {"run": name}
    settings = dict(run.texts)
    for setting, value in run.hparams.items():
        settings[f"hparams.{setting}"] = cell(value)
    for column, content in settings.items():
        cells[column] = content
        builder.roles[column] = "setting"
    for metric, value in run.results.items():
        cells[f"metrics.{metric}"] = value
        builder.roles[f"metrics.{metric}"] = metric_role(metric)
    if run.last_step:
        cells["last_step"] = max(run.last_step.values())
        builder.roles["last_step"] = "measured"
        add_plan_state(builder, cells, "step", cells["last_step"])
    if run.started_s is not None and run.ended_s is not None:
        cells["runtime_s"] = run.ended_s - run.started_s
    builder.add_run(cells, file)
