"""TensorBoard event folders: scalars of every kind (PyTorch's and TensorFlow 1's simple
values, TensorFlow 2's tensors), the hparams plugin, and settings that were logged as
JSON text (Hugging Face's `args`, the lab's `params`). Neither TensorBoard nor TensorFlow
is needed: an event file is TFRecord framing around protocol buffers `Event`, whose field
numbers stand below.

Rules
- One folder is one run; its event files are read in the order of their names, which
  begin with the clock. What `add_hparams` and Keras put into folders of their own below
  (`<clock>/`, `train/`, `validation/`) belongs to the run; Keras's go before the metric.
- Beside a configuration the files are the run's that it is of (run_folders.py).
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
from functools import cache
from typing import Any

import numpy as np

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row, cell, flat_cells
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.paths import run_of_folder
from autollm.logs.readers.rows import RelationBuilder, read_whole
from autollm.logs.readers.texts.log_ends import add_plan_state
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
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_PARTS = r"train|validation|eval|val|test"
_EVENTS = re.compile(
    rf"(?P<run>(?:[^/]+/)*?)(?:\d{{10}}(?:\.\d+)?/|(?P<part>(?:{_PARTS})/))?"
    r"[^/]*tfevents[^/]*"
)
_LENGTH = struct.Struct("<Q4x")  # bytes of the record, checksum of that number
_CHECKSUM_BYTES = 4
_MAX_CHECKED_BYTES = 4_096
"""Scalars take some 50; images and graphs are passed over."""
_MASK_DELTA = 0xA282EAD8
_CRC32C = 0x82F63B78  # the polynomial, reversed
_TENSOR_READERS = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10)}
"""dtype of a TensorProto: its layout in tensor_content, the field of its own values."""
_DT_STRING = 7


class TensorboardFolderReader:
    """A folder of event files."""

    format = "tensorboard"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        found = [(path, _EVENTS.fullmatch(path)) for path in listing]
        return tuple(
            path for path, match in found if match and not match["run"]
        )

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        files = [opened.files[path] for path in sorted(opened.files)]
        read_events(builder, files, run_of_folder(opened.name), {})
        return [builder.relation()]


class TensorboardFileReader:
    """An event file by itself."""

    format = "tensorboard"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return b"brain.Event:2" in head[:64]

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`."""
        builder = RelationBuilder(self.format, "run")
        read_events(builder, [opened], opened.name, {})
        return [builder.relation()]


def events_of(listing: Sequence[str]) -> list[str]:
    """The event files below a folder, where all of them are one run's; else none."""
    found = [match for path in listing if (match := _EVENTS.fullmatch(path))]
    runs = {match["run"] for match in found}
    return sorted(match[0] for match in found) if len(runs) == 1 else []


def read_events(
    builder: RelationBuilder,
    files: Sequence[OpenedFile],
    run: str,
    settings: Row,
) -> None:
    """The event files of one run into a builder. `settings`: cells of its row."""
    events = _Events(builder, run)
    for opened in files:
        events.read(opened)
    events.add_run(settings, files[0].name)


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
        start = at + _LENGTH.size
        end = len(data)
        if start <= end:
            if not _are_sound([data[at:start]])[0]:
                lost = "a length whose checksum is wrong: the rest of the file is lost"
                return spans, lost
            end = start + _LENGTH.unpack_from(data, at)[0]
        at = end + _CHECKSUM_BYTES
        if at > len(data):
            return spans, "a record without its end: the file is cut short"
        spans.append((start, end))
    return spans, ""


def _wrong_checksums(data: bytes, spans: Sequence[tuple[int, int]]) -> set[int]:
    """Numbers of short records whose bytes are not what was written; those of one
    length are checked together.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, (start, end) in enumerate(spans, start=1):
        if end - start <= _MAX_CHECKED_BYTES:
            by_length[end - start].append(number)
    wrong = set()
    for numbers in by_length.values():
        records = []
        for number in numbers:
            start, end = spans[number - 1]
            records.append(data[start : end + _CHECKSUM_BYTES])
        are_wrong = ~_are_sound(records)
        wrong |= {numbers[at] for at in np.flatnonzero(are_wrong)}
    return wrong


@cache
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(
            table & 1, (table >> 1) ^ np.uint32(_CRC32C), table >> 1
        )
    return table


def _are_sound(records: Sequence[bytes]) -> np.ndarray:
    """Whether records of one length end in the masked CRC-32C of what stands before it;
    many at once, since NumPy has none.
    """
    rows = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)
    table = _crc_table()
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T[:-_CHECKSUM_BYTES]:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(_MASK_DELTA)
    stored = np.ascontiguousarray(rows[:, -_CHECKSUM_BYTES:]).view("<u4")
    return masked == stored[:, 0]


class _Events:
    """Events of one run, in the order written."""

    def __init__(self, builder: RelationBuilder, run: str) -> None:
        self._builder = builder
        self._run = run
        self._prefix = ""
        self._settings: Cells = {}
        self._hparams: Cells = {}
        self._results: dict[str, float] = {}
        self._last_step: dict[str, int] = {}
        self._started_s: float | None = None
        self._ended_s: float | None = None

    def read(self, opened: OpenedFile) -> None:
        """One file."""
        builder = self._builder
        found = _EVENTS.fullmatch(opened.name)
        self._prefix = (found["part"] if found else None) or ""
        for number, record, problem in _records(read_whole(opened)):
            builder.n_lines += 1
            with builder.setting_aside(number, record or b"", opened.name):
                if record is None:
                    raise RecordError(problem)
                self._take(parse_message(record))

    def _take(self, event: Message) -> None:
        """One Event: wall_time 1, step 2, summary 5."""
        at_s = real(event, 1)
        step = integer(event, 2)
        for summary in messages(event, 5):
            for value in messages(summary, 1):
                self._take_value(value, step, at_s)

    def _take_value(
        self, value: Message, step: int, at_s: float | None
    ) -> None:
        """One Summary.Value: tag 1, simple_value 2, tensor 8, metadata 9."""
        tag = text(value, 1)
        plugin = message(message(value, 9), 1)
        plugin_name = text(plugin, 1)  # plugin_data: plugin_name 1, content 2
        if plugin_name == "hparams":
            self._take_hparams(message(plugin, 2))
            return
        found = real(value, 2)
        tensor = message(value, 8)
        if found is None and integer(tensor, 1) == _DT_STRING:
            self._take_text(tag, texts(tensor, 8))
        elif found is None and plugin_name in ("scalars", ""):
            found = _scalar(tensor)
        if found is not None:
            self._add_point(self._prefix + tag, found, step, at_s)

    def _add_point(
        self, metric: str, value: float, step: int, at_s: float | None
    ) -> None:
        builder = self._builder
        last = self._last_step.get(metric, step)
        if step < last:
            builder.note(
                f"{self._run}: {metric} goes back from step {last} to {step}: the run "
                "was restarted; the later record of a step counts"
            )
        self._last_step[metric] = step
        wall_time_s = None
        if at_s is not None:
            if self._started_s is None:
                self._started_s = at_s
            self._ended_s = at_s
            wall_time_s = at_s - self._started_s
        line = builder.n_lines
        builder.add_point(
            self._run, metric, value, step, None, wall_time_s, line
        )
        self._results[metric] = value

    def _take_text(self, tag: str, said: Sequence[str]) -> None:
        """A text summary: settings, where it is a JSON object."""
        whole = said[-1].strip() if said else ""
        if not whole.startswith("{"):
            return
        try:
            values = parse_object(whole, tag)
        except RecordError:
            return  # text that only begins like JSON is text
        prefix = tag.removesuffix("/text_summary")
        self._settings.update(flat_cells(values, f"{prefix}."))

    def _take_hparams(self, data: Message) -> None:
        """HParamsPluginData: session_start_info 3 (hparams 1: a map)."""
        for start in messages(data, 3):
            for entry in messages(start, 1):
                value = _plain(message(entry, 2))
                self._hparams[f"hparams.{text(entry, 1)}"] = cell(value)

    def add_run(self, settings: Row, file: str) -> None:
        """The run's row."""
        builder = self._builder
        cells: Cells = {"run": self._run, **settings}
        builder.put(cells, self._settings | self._hparams, "setting")
        builder.put_results(cells, self._results)
        if self._last_step:
            last = max(self._last_step.values())
            builder.put(cells, {"last_step": last}, "measured")
            add_plan_state(builder, cells, "step", last)
        if self._started_s is not None and self._ended_s is not None:
            took_s = self._ended_s - self._started_s
            builder.put(cells, {"runtime_s": took_s}, "cost")
        builder.add_run(cells, file)


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


def _plain(value: Message) -> Any:
    """google.protobuf.Value: null 1, number 2, string 3, bool 4."""
    if 2 in value:
        return real(value, 2)
    if 3 in value:
        return text(value, 3)
    return bool(integer(value, 4)) if 4 in value else None
