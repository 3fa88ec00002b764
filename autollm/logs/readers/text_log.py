"""Text logs: what training scripts print, by small files of patterns.

A format is a TOML file, shipped (`text_formats/`) or a user's own
(`<home>/readers/*.toml`), of `autollm.text_log/1`:

    schema = "autollm.text_log/1"
    format = "nanogpt"
    recognize = ["step {step}: train loss {x}, val loss {x}"]   # one of them in the head

    [[settings]]                      # lines that give one setting each
    line = "Overriding: {name:word} = {value:text}"
    between = ["- arguments -", "- end of arguments -"]         # optional marks

    [[points]]                        # lines that give values at a step
    line = "step {step}: train loss {train/loss}, val loss {val/loss}"
    pairs = { separator = "|", assign = ":" }                   # optional: `name: value` after
    prefix = "validation "                                      # optional, before each name

    [[results]]                       # lines that give a result of the run
    line = "peak memory: {peak_mib}MiB"

A line is text with places in braces, searched for anywhere in a log's line; a space
stands for any number of them. `{name}` is a number and becomes the metric of that name,
`{step}` the step, `{tokens}` the tokens, `{wall_time_s}` or `{wall_time_ms}` the clock;
`{_}` is a number that is passed over; `{name:word}` is a word, `{name:text}` the rest of
the line. It is no regular expression: each place is matched in one way only, so that no
line can take long, and lines beyond MAX_LINE characters are not searched.

Rules: those of curves (restarts, the last value is the result). Lines that no pattern
fits are what a script says besides: they are read and say nothing. The configuration
file beside a log (config.json, args.yaml ...) is its settings.

Invariant: time grows with the length of the log alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import plain_stem
from autollm.logs.readers.curves import CurveCollector, CurveLayout
from autollm.logs.readers.rows import (
    FORKED_FROM,
    RelationBuilder,
    run_of_checkpoint,
)
from autollm.logs.readers.run_folders import CONFIG_NAME, add_settings
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

MAX_LINE = 8_192
"""Characters of a line that are searched; Megatron's take some 500."""
_MAX_SETTINGS = 5_000
_HEAD_LINES = 2_000  # of the first 64 KiB, searched for what tells the format
_NUMBER = (
    r"[-+]?+(?:(?:\d++(?:,\d{3})*+(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?+\d++)?+"
    r"|[nN]a[nN]|[iI]nf(?:inity)?+)"
)
_PLACES = {"": _NUMBER, "word": r"[^\s=:,|]++", "text": r".*+"}
_PLACE = re.compile(r"\{([^{}:]+)(?::(word|text))?\}")
_CLOCKS = {"wall_time_s": 1.0, "wall_time_ms": 1e-3}
_LOG_NAME = re.compile(r"[^/]+\.(log|out|txt)")
_LOG_OF_A_RUN = re.compile(
    r"(train(ing)?|run|main|job|log|logs|output|stdout|console|slurm[-_]?\d*)\.(log|out|txt)"
)
"""Names that say nothing of their run: the folder does."""
_OTHER_LOGS = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|db|ya?ml|wandb)$|tfevents"
)


class Pairs(BaseModel):
    """`name: value` pairs after what the line's pattern found."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    separator: str = Field(min_length=1, max_length=8)
    assign: str = Field(min_length=1, max_length=8)


class SettingLine(BaseModel):
    """A line that gives one setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    line: str = Field(max_length=500)
    between: tuple[str, str] | None = None


class PointLine(BaseModel):
    """A line that gives values at a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    line: str = Field(max_length=500)
    pairs: Pairs | None = None
    prefix: str = ""


class ResultLine(BaseModel):
    """A line that gives results of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    line: str = Field(max_length=500)


class TextFormat(BaseModel):
    """A format of text logs: see the module."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True
    )
    schema_name: str = Field(alias="schema", pattern=r"^autollm\.text_log/1$")
    format: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,40}$")
    recognize: tuple[str, ...] = Field(min_length=1, max_length=20)
    settings: tuple[SettingLine, ...] = ()
    points: tuple[PointLine, ...] = Field(min_length=1, max_length=50)
    results: tuple[ResultLine, ...] = ()


@dataclass(frozen=True)
class _Pattern:
    """A compiled line and the names of its places, in order."""

    regex: re.Pattern[str]
    names: tuple[str, ...]

    def find(self, line: str) -> tuple[dict[str, str], str] | None:
        """The texts at the places, and what follows."""
        found = self.regex.search(line)
        if found is None:
            return None
        texts = dict(zip(self.names, found.groups(), strict=True))
        texts.pop("_", None)
        return texts, line[found.end() :]


@cache
def _compile(line: str) -> _Pattern:
    """Literal text and places; every place matches in one way (possessive)."""
    parts = []
    names = []
    at = 0
    for place in _PLACE.finditer(line):
        parts.append(_literal(line[at : place.start()]))
        parts.append(f"({_PLACES[place[2] or '']})")
        names.append(place[1])
        at = place.end()
    parts.append(_literal(line[at:]))
    return _Pattern(re.compile("".join(parts)), tuple(names))


def _literal(text: str) -> str:
    """Text as it stands; a space fits any number of them, dots of a dump any number."""
    escaped = re.escape(text).replace(r"\ ", " ")
    escaped = re.sub(r"(?:\\\.){3,}", r"\\.++", escaped)
    return re.sub(r" +", r"\\s*+", escaped)


def parse_format(data: bytes, name: str) -> TextFormat:
    """A format file.

    Raises:
        RecordError: it is no TOML, or not what the schema says.
    """
    try:
        return TextFormat.model_validate(tomllib.loads(data.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecordError(
            f"{name} is not TOML: {error}. Fix: correct it."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"{name}: {where}: {first['msg']}, got {first['input']!r:.80}. Expected a "
            "format of schema autollm.text_log/1. Fix: correct it, or take the file away."
        ) from None


@cache
def shipped_formats() -> tuple[TextFormat, ...]:
    """The formats that come with autollm, by name."""
    folder = resources.files("autollm.logs.readers") / "text_formats"
    found = []
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if path.name.endswith(".toml"):
            found.append(parse_format(path.read_bytes(), path.name))
    return tuple(found)


def own_formats(folder: Path) -> tuple[TextFormat, ...]:
    """A user's formats, `<home>/readers/*.toml`, by name.

    Raises:
        RecordError: one of them is wrong.
    """
    found = []
    for path in sorted(folder.glob("*.toml")):
        found.append(parse_format(path.read_bytes(), path.name))
    return tuple(found)


def format_of(head: bytes, formats: Sequence[TextFormat]) -> TextFormat | None:
    """The format whose marks stand in these first bytes; the first one that fits."""
    if b"\x00" in head:
        return None
    text = head.decode("utf-8", "replace")
    lines = [line[:MAX_LINE] for line in text.splitlines()[:_HEAD_LINES]]
    for candidate in formats:
        patterns = [_compile(mark) for mark in candidate.recognize]
        for line in lines:
            if any(pattern.regex.search(line) for pattern in patterns):
                return candidate
    return None


class TextLogReader:
    """One text log. `own`: formats that go before the shipped ones."""

    format = "text-log"

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`."""
        return format_of(head, self._formats) is not None

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
        configs = [path for path in listing if CONFIG_NAME.fullmatch(path)]
        logs = [path for path in listing if _LOG_NAME.fullmatch(path)]
        is_alone = not any(_OTHER_LOGS.search(path) for path in listing)
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
            if CONFIG_NAME.fullmatch(path):
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
    if chosen is None:
        builder.note(f"{opened.name}: no known text format")
        return False
    text = _Text(builder, chosen, run, opened.name)
    with opened.open() as stream:
        for line_number, line in enumerate(iter_lines(stream), start=1):
            builder.n_lines += 1
            text.take(line, line_number)
    return text.finish(known)


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
            (_compile(s.line), s.between) for s in chosen.settings
        ]
        self._points = [(_compile(p.line), p) for p in chosen.points]
        self._results = [_compile(result.line) for result in chosen.results]
        self._inside: set[tuple[str, str]] = set()
        self._cells: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        builder.note(f"{run}: read as {chosen.format}")

    def take(self, raw: bytes, line_number: int) -> None:
        """One line."""
        if len(raw) > MAX_LINE:
            return  # longer than any line that a pattern means
        line = raw.decode("utf-8", "replace")
        if not self._take_point(line, line_number):
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
            if "step" in row and len(row) > 1:
                self._collector.add(row, line_number)
                return True
        return False

    def _take_setting(self, line: str) -> None:
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
