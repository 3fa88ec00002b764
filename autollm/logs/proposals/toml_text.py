"""A mapping's plain values as TOML, with the comments that a person reads.

Invariant: what is written parses back to the values that were given.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MARK = "CORRECT THIS"
"""Stands where a person must look."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NESTED = ("rows", "words")
"""Entries that are written as tables of their own."""


@dataclass(frozen=True)
class Noted:
    """A value with what is said of it. A `doubt` is marked; of a value that only a person
    can write (None) it says what is asked.
    """

    value: Any
    comment: str = ""
    doubt: str = ""

    @property
    def remark(self) -> str:
        """Both as a comment."""
        doubt = f"{MARK}: {self.doubt}" if self.doubt else ""
        said = "; ".join(part for part in (doubt, self.comment) if part)
        return f"  # {_one_line(said)}" if said else ""


@dataclass
class Draft:
    """A mapping in the making: any value of it may be Noted, and empty sections are not
    written.
    """

    raw: dict[str, Any] = field(default_factory=dict)
    head: list[str] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The TOML: plain entries before tables, as it wants them."""
        lines = [f"# {_one_line(line)}" for line in self.head]
        tables = []
        for key, found in self.raw.items():
            entry = _noted(found)
            is_list = isinstance(entry.value, list)
            parts = [_noted(e) for e in entry.value] if is_list else [entry]
            header = f"[[{key}]]" if is_list else f"[{key}]"
            if not all(isinstance(part.value, dict) for part in parts):
                lines.append(_line(key, entry))
                continue
            for part in parts:
                if part.value:
                    tables += _table(key, header, part)
        foot = [f"# {_one_line(line)}" for line in self.foot]
        return "\n".join([*lines, *tables, "", *foot]).rstrip("\n") + "\n"


def _table(section: str, header: str, table: Noted) -> Iterator[str]:
    yield from ("", header + table.remark)
    nested = {}
    for key, found in table.value.items():
        entry = _noted(found)
        if key in _NESTED and isinstance(entry.value, dict):
            nested[key] = entry
        else:
            yield _line(key, entry)
    for key, entry in nested.items():
        yield f"[{section}.{key}]{entry.remark}"
        yield from (
            _line(name, _noted(row)) for name, row in entry.value.items()
        )


def _noted(value: Any) -> Noted:
    return value if isinstance(value, Noted) else Noted(value)


def _line(key: str, entry: Noted) -> str:
    if entry.value is None:
        return f"# {key} ={entry.remark}"
    return f"{_key(key)} = {toml_value(entry.value)}{entry.remark}"


def toml_value(value: Any) -> str:
    """One value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = (f"{_key(k)} = {toml_value(v)}" for k, v in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, float):
        return _float(value)
    return str(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    text = f"{value:.15g}"
    text = text if float(text) == value else repr(value)
    is_float = any(mark in text for mark in ".en")
    return text if is_float else f"{text}.0"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else toml_value(key)


def _one_line(text: str) -> str:
    """Text as a comment may hold it: no control characters."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)
