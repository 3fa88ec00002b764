"""Formats of text logs: what training scripts print, by small files of patterns.

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

    [[points]]                        # without {step}: at the step of the line before
    line = "val loss {val_loss}"

    [[results]]                       # lines that give a result of the run
    line = "peak memory: {peak_mib}MiB"

A line is text with places in braces, searched for anywhere in a log's line; a space
stands for any number of them. `{name}` is a number and becomes the metric of that name,
`{step}` the step, `{tokens}` the tokens, `{wall_time_s}` or `{wall_time_ms}` the clock;
`{_}` is a number that is passed over; `{name:word}` is a word, `{name:text}` the rest of
the line. It is no regular expression: each place is matched in one way only, so that no
line can take long, and lines beyond MAX_LINE characters are not searched.

Invariant: time grows with the length of the log alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, Row, as_number

MAX_LINE = 8_192
"""Characters of a line that are searched; Megatron's take some 500."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEAD_LINES = 2_000  # of the first 64 KiB, searched for what tells the format
_CLOCKS = {"wall_time_s": 1.0, "wall_time_ms": 1e-3}
_NUMBER = (
    r"[-+]?+(?:(?:\d++(?:,\d{3})*+(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?+\d++)?+"
    r"|[nN]a[nN]|[iI]nf(?:inity)?+)"
)
_PLACES = {"": _NUMBER, "word": r"[^\s=:,|]++", "text": r".*+"}
_PLACE = re.compile(r"\{([^{}:]+)(?::(word|text))?\}")


def shown(line: str) -> str:
    """A line without colours; of a progress bar what it showed last."""
    last = line.rstrip("\r\n").rpartition("\r")[2]
    return COLOUR.sub("", last)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pairs(_Strict):
    """`name: value` pairs after what the line's pattern found."""

    separator: str = Field(min_length=1, max_length=8)
    assign: str = Field(min_length=1, max_length=8)

    def numbers(self, text: str) -> Cells:
        """Those whose value is a number; others are passed over."""
        row = {}
        for part in text.split(self.separator):
            name, _, value = part.partition(self.assign)
            number = as_number((value.split() or [""])[0], ",")
            if isinstance(number, (int, float)):
                row[name.strip()] = number
        return row


class ResultLine(_Strict):
    """A line that gives results of the run."""

    line: str = Field(max_length=500)


class SettingLine(ResultLine):
    """A line that gives one setting."""

    between: tuple[str, str] | None = None


class PointLine(ResultLine):
    """A line that gives values at a step."""

    pairs: Pairs | None = None
    prefix: str = ""


class TextFormat(_Strict):
    """A format of text logs: see the module."""

    model_config = ConfigDict(populate_by_name=True)
    schema_name: str = Field(alias="schema", pattern=r"^autollm\.text_log/1$")
    format: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,40}$")
    recognize: tuple[str, ...] = Field(min_length=1, max_length=20)
    settings: tuple[SettingLine, ...] = ()
    points: tuple[PointLine, ...] = Field(min_length=1, max_length=50)
    results: tuple[ResultLine, ...] = ()


@dataclass(frozen=True)
class Pattern:
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
def compile_line(line: str) -> Pattern:
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
    return Pattern(re.compile("".join(parts)), tuple(names))


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
    return own_formats(Path(__file__).with_name("text_formats"))


def own_formats(folder: Path) -> tuple[TextFormat, ...]:
    """The formats of a folder, a user's `<home>/readers/*.toml` say, by name.

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
    text = COLOUR.sub("", head.decode("utf-8", "replace"))
    lines = [line[:MAX_LINE] for line in text.splitlines()[:_HEAD_LINES]]
    for candidate in formats:
        patterns = [compile_line(mark) for mark in candidate.recognize]
        for line in lines:
            if any(pattern.regex.search(line) for pattern in patterns):
                return candidate
    return None


class Patterned:
    """The lines of a log of a known format."""

    step = "step"

    def __init__(self, chosen: TextFormat) -> None:
        self._format = chosen
        self._inside: set[tuple[str, str]] = set()
        self._step: Any = None
        self.told = f"what {chosen.format} prints"

    def point(self, line: str) -> Cells | None:
        """The values of a line, its step among them; None where it is no point."""
        for said in self._format.points:
            found = _found(said, line)
            if found is None:
                continue
            texts, rest = found
            row = {name: as_number(text, ",") for name, text in texts.items()}
            if said.pairs is not None:
                row |= said.pairs.numbers(rest)
            row = _prefixed(row, said.prefix)
            if self._step is not None:
                row.setdefault("step", self._step)
            self._step = row.get("step")
            if self._step is not None and len(row) > 1:
                return row
        return None

    def settings(self, line: str) -> Cells:
        """Settings that a line says."""
        settings: Cells = {}
        for said in self._format.settings:
            if said.between and not self._is_inside(line, said.between):
                continue
            texts = (_found(said, line) or ({}, ""))[0]
            name = texts.pop("name", "")
            value = texts.pop("value", "")
            if name:
                plain = value.split(" #", 1)[0].strip()  # a comment
                settings[name] = plain.strip("'\"")
            for other, text in texts.items():
                settings[other] = as_number(text, ",")
        return settings

    def _is_inside(self, line: str, marks: tuple[str, str]) -> bool:
        begin, end = marks
        is_inside = marks in self._inside
        if is_inside and end in line:
            self._inside.discard(marks)
        elif begin in line and end not in line:
            self._inside.add(marks)
        return is_inside and end not in line

    def results(self, line: str) -> Cells:
        """Results of the run that a line says."""
        results: Cells = {}
        for said in self._format.results:
            for name, text in (_found(said, line) or ({}, ""))[0].items():
                results[name] = as_number(text, ",")
        return results


def _found(said: ResultLine, line: str) -> tuple[dict[str, str], str] | None:
    if len(line) > MAX_LINE:
        return None  # longer than any line that a pattern means
    return compile_line(said.line).find(line)


def _prefixed(row: Row, prefix: str) -> Cells:
    """The row by its metrics' names, its clock in seconds."""
    out: Cells = {}
    for name, value in row.items():
        if name in _CLOCKS:
            out["wall_time_s"] = value * _CLOCKS[name]
        else:
            is_own = name in ("step", "tokens")
            out[name if is_own else prefix + name] = value
    return out
