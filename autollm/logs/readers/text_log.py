"""Text logs: what training scripts print, by formats (text_patterns.py) or, where none of
them fits, as pairs of names and numbers (printed_log.py).

Rules: those of curves (restarts, the last value is the result). Lines that no pattern
fits are what a script says besides: they are read and say nothing. The configuration
file beside a log (config.json, args.yaml ...) is its settings. Of processes that print
into one log (`[rank1]: step 10 ...`) the first one's lines count.

Invariant: time grows with the length of the log alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import plain_stem
from autollm.logs.readers.curves import CurveCollector, CurveLayout
from autollm.logs.readers.log_ends import LogEnd
from autollm.logs.readers.printed_log import (
    Printed,
    is_printed_log,
    step_name_of,
)
from autollm.logs.readers.rows import (
    FORKED_FROM,
    RelationBuilder,
    run_of_checkpoint,
)
from autollm.logs.readers.run_folders import CONFIG_NAME, add_settings
from autollm.logs.readers.text_patterns import (
    COLOUR,
    MAX_LINE,
    Pairs,
    TextFormat,
    compile_line,
    format_of,
    shipped_formats,
)
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_MAX_SETTINGS = 5_000
_RANK = re.compile(
    r"\s*\[?\s*(?:rank|default|worker|gpu)\s*[:=]?\s*(\d+)\s*\]?[:\s]",
    re.IGNORECASE,
)
_CLOCKS = {"wall_time_s": 1.0, "wall_time_ms": 1e-3}
_LOG_NAME = re.compile(r"[^/]+\.(log|out|txt)")
_LOG_OF_A_RUN = re.compile(
    r"(train(ing)?|run|main|job|log|logs|output|stdout|console|slurm[-_]?\d*)\.(log|out|txt)"
)
"""Names that say nothing of their run: the folder does."""
_ANY_CONFIG = re.compile(r"[^/]+\.(ya?ml|toml)")
_OTHER_LOGS = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|db|ya?ml|wandb)$|tfevents"
)


class TextLogReader:
    """One text log. `own`: formats that go before the shipped ones."""

    format = "text-log"

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        is_known = format_of(head, self._formats) is not None
        return is_known or is_printed_log(name, head)

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


class TextLogFolderReader:
    """Text logs beside one configuration file: each log is a run of its settings. One log
    that is called as in any run's folder (`log.txt`) needs none: it is the folder's run.
    """

    format = "text-log"

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        configs = _configurations(listing)
        logs = [path for path in listing if _LOG_NAME.fullmatch(path)]
        is_alone = not any(_OTHER_LOGS.search(path) for path in listing)
        is_alone = is_alone and not configs
        if len(logs) == 1 and _LOG_OF_A_RUN.fullmatch(logs[0]) and is_alone:
            return (*logs,)
        if len(configs) != 1 or not logs:
            return ()
        return (*configs, *logs)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`.

        Raises:
            RecordError: none of the logs is of a known format.
        """
        builder = RelationBuilder(self.format, "run")
        cells: dict[str, Any] = {}
        logs = []
        for path, file in sorted(opened.files.items()):
            if not _LOG_NAME.fullmatch(path):
                add_settings(builder, cells, file, "config.")
            else:
                logs.append(file)
        folder = opened.name.replace("!", "/").rstrip("/").rsplit("/", 1)[-1]
        n_read = 0
        for file in logs:
            stem = plain_stem(file.name)
            run = folder if len(logs) == 1 else f"{folder}/{stem}"
            n_read += read_text(builder, file, self._formats, run, cells)
        if not n_read:
            raise RecordError(
                f"{opened.name}: no log in it is of a known text format"
            )
        return [builder.relation()]


def _configurations(listing: Sequence[str]) -> list[str]:
    """Files of a folder that are called as configurations are, else its one file of YAML
    or TOML, whatever its name (`axolotl.yaml`).
    """
    named = [path for path in listing if CONFIG_NAME.fullmatch(path)]
    other = [path for path in listing if _ANY_CONFIG.fullmatch(path)]
    return named or (other if len(other) == 1 else [])


def read_text(
    builder: RelationBuilder,
    opened: OpenedFile,
    formats: Sequence[TextFormat],
    run: str,
    known: Mapping[str, Any],
) -> bool:
    """One text log as a run; False, and nothing is added, where it is none."""
    with opened.open() as stream:
        head = stream.read(2**16)
    chosen = format_of(head, formats)
    if chosen is not None:
        text = _Text(builder, chosen, run, opened.name)
    elif is_printed_log(opened.name, head):
        step = step_name_of(head)
        text = _PrintedText(builder, step, run, opened.name)
    else:
        builder.note(f"{opened.name}: no known text format")
        return False
    with opened.open() as stream:
        for line_number, line in enumerate(iter_lines(stream), start=1):
            builder.n_lines += 1
            text.take(line, line_number)
    return text.finish(known)


class _PrintedText:
    """The lines of a log of no known format."""

    def __init__(
        self, builder: RelationBuilder, step: str, run: str, file: str
    ) -> None:
        self._builder, self._file = builder, file
        self._collector = CurveCollector(builder, CurveLayout(step), run)
        self._printed = Printed()
        self._end = LogEnd()
        self._ranks = _FirstRank()
        self._cells: dict[str, Any] = {}
        builder.note(
            f"read as lines of names and numbers, which count by {step}"
        )

    def take(self, raw: bytes, line_number: int) -> None:
        """One line."""
        line = raw.decode("utf-8", "replace")
        if self._ranks.is_other(line):
            return
        row = self._printed.point(line)
        self._end.see(line, is_point=row is not None)
        if row is not None:
            self._collector.add(row, line_number)
        elif self._collector.is_empty and len(self._cells) < _MAX_SETTINGS:
            for name, value in self._printed.settings(line).items():
                self._cells[f"args.{name}"] = value

    def finish(self, known: Mapping[str, Any]) -> bool:
        """The run's row; False where no line was a point."""
        if self._collector.is_empty:
            return False
        for column in self._cells:
            self._builder.roles[column] = "setting"
        self._builder.roles["state"] = "status"
        self._cells["state"] = self._end.state()
        self._collector.finish(self._file, {**known, **self._cells})
        return True


class _FirstRank:
    """Which of several processes' lines count: those of the first that printed."""

    def __init__(self) -> None:
        self._first: str | None = None

    def is_other(self, line: str) -> bool:
        """Whether a line is another process's."""
        found = _RANK.match(line)
        if found is None:
            return False
        if self._first is None:
            self._first = found[1]
        return found[1] != self._first


class _Text:
    """The lines of one log."""

    def __init__(
        self, builder: RelationBuilder, chosen: TextFormat, run: str, file: str
    ) -> None:
        self._builder = builder
        self._file = file
        self._run = run
        self._collector = CurveCollector(
            builder, CurveLayout("step", time="wall_time_s"), run
        )
        self._settings = [
            (compile_line(s.line), s.between) for s in chosen.settings
        ]
        self._points = [(compile_line(p.line), p) for p in chosen.points]
        self._results = [compile_line(result.line) for result in chosen.results]
        self._inside: set[tuple[str, str]] = set()
        self._printed = None if chosen.settings else Printed()
        self._end = LogEnd()
        self._step: Any = None
        self._ranks = _FirstRank()
        self._cells: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        builder.note(f"read as what {chosen.format} prints")

    def take(self, raw: bytes, line_number: int) -> None:
        """One line."""
        if len(raw) > MAX_LINE:
            return  # longer than any line that a pattern means
        line = COLOUR.sub("", raw.decode("utf-8", "replace"))
        if self._ranks.is_other(line):
            return
        is_point = self._take_point(line, line_number)
        self._end.see(line, is_point)
        if not is_point:
            self._take_setting(line)
            self._take_result(line)

    def _take_point(self, line: str, line_number: int) -> bool:
        for pattern, said in self._points:
            found = pattern.find(line)
            if found is None:
                continue
            texts, rest = found
            row: dict[str, Any] = {}
            for name, text in texts.items():
                row[name] = as_number(text)
            if said.pairs is not None:
                row |= _pairs(rest, said.pairs)
            row = _prefixed(row, said.prefix)
            if self._step is not None:
                row.setdefault("step", self._step)
            self._step = row.get("step")
            if len(row) > 1 and "step" in row:
                self._collector.add(row, line_number)
                return True
        return False

    def _take_setting(self, line: str) -> None:
        if self._printed is not None and self._collector.is_empty:
            self._add_settings(self._printed.settings(line))
        for pattern, between in self._settings:
            if between is not None and not self._is_inside(line, between):
                continue
            found = pattern.find(line)
            if found is None or len(self._cells) >= _MAX_SETTINGS:
                continue
            texts = found[0]
            name = texts.pop("name", "")
            value = texts.pop("value", "")
            if name:
                plain = value.split(" #", 1)[0].strip()  # a comment
                self._cells[f"args.{name}"] = plain.strip("'\"")
            for other, text in texts.items():
                self._cells[f"args.{other}"] = as_number(text)

    def _add_settings(self, found: Mapping[str, Any]) -> None:
        if len(self._cells) < _MAX_SETTINGS:
            for name, value in found.items():
                self._cells[f"args.{name}"] = value

    def _is_inside(self, line: str, marks: tuple[str, str]) -> bool:
        begin, end = marks
        if marks in self._inside:
            if end in line:
                self._inside.discard(marks)
            return end not in line
        if begin in line and end not in line:
            self._inside.add(marks)
        return False

    def _take_result(self, line: str) -> None:
        for pattern in self._results:
            found = pattern.find(line)
            for name, text in (found[0] if found else {}).items():
                self._found[f"metrics.{name}"] = as_number(text)

    def finish(self, known: Mapping[str, Any]) -> bool:
        """The run's row; False where no line was a point."""
        if self._collector.is_empty:
            return False
        for column in self._cells:
            self._builder.roles[column] = "setting"
        loaded = str(self._cells.get("args.load", "None"))
        if loaded not in ("None", str(self._cells.get("args.save"))):
            self._cells[FORKED_FROM] = run_of_checkpoint(
                loaded
            )  # Megatron's --load
        for column in self._found:
            self._builder.roles[column] = "result"
        self._builder.roles["state"] = "status"
        self._found["state"] = self._end.state()
        self._collector.finish(
            self._file, {**known, **self._cells, **self._found}
        )
        return True


def as_number(text: str) -> Any:
    """A place's text as a number, thousands' commas taken out; else as it stands."""
    plain = text.strip().replace(",", "")
    try:
        return int(plain) if plain.lstrip("+-").isdecimal() else float(plain)
    except ValueError:
        return text.strip()


def _pairs(text: str, pairs: Pairs) -> dict[str, Any]:
    """Pairs of a name and a number; others are passed over."""
    row = {}
    for part in text.split(pairs.separator):
        name, mark, value = part.partition(pairs.assign)
        number = as_number(value.split()[0]) if mark and value.split() else None
        if isinstance(number, (int, float)):
            row[name.strip()] = number
    return row


def _prefixed(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The row by its metrics' names, its clock in seconds."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if name in _CLOCKS:
            out["wall_time_s"] = value * _CLOCKS[name]
        elif name in ("step", "tokens"):
            out[name] = value
        else:
            out[prefix + name] = value
    return out
