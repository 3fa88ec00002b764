"""A mapping's plain values as TOML, with the comments that a person reads.

Invariant: what is written parses back to the values that were given.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

MARK = "CORRECT THIS"
"""Stands where a person must look."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
Path = tuple[str | int, ...]


@dataclass
class Draft:
    """A mapping in the making. `comments` and `doubts` by the path of what they stand
    at: `("objective", "direction")`, `("knobs", 0)`. `missing` are entries that only a
    person can write.
    """

    raw: dict[str, Any] = field(default_factory=dict)
    comments: dict[Path, str] = field(default_factory=dict)
    doubts: dict[Path, str] = field(default_factory=dict)
    missing: dict[Path, str] = field(default_factory=dict)
    head: list[str] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The TOML."""
        lines = [f"# {_one_line(line)}" for line in self.head]
        tables = []
        for key, value in self.raw.items():
            is_table = isinstance(value, dict)
            is_list = (
                isinstance(value, list) and value and isinstance(value[0], dict)
            )
            if is_table:
                tables += self._table((key,), value, f"[{key}]")
            elif is_list:
                for index, entry in enumerate(value):
                    tables += self._table((key, index), entry, f"[[{key}]]")
            else:
                lines.append(self._entry((key,), key, value))
        foot = [f"# {_one_line(line)}" for line in self.foot]
        return "\n".join([*lines, *tables, "", *foot]).rstrip("\n") + "\n"

    def _table(
        self, path: Path, entries: dict[str, Any], header: str
    ) -> list[str]:
        lines = ["", header + self._remark(path)]
        nested = []
        for key, value in entries.items():
            if isinstance(value, dict) and key in ("rows", "words"):
                nested.append((key, value))
            else:
                lines.append(self._entry((*path, key), key, value))
        for where, what in self.missing.items():
            if where[:-1] == path:
                lines.append(f"# {where[-1]} =  # {MARK}: {_one_line(what)}")
        for key, rows in nested:
            lines.append(f"[{path[0]}.{key}]")
            for name, row in rows.items():
                lines.append(self._entry((*path, key, name), name, row))
        return lines

    def _entry(self, path: Path, key: str, value: Any) -> str:
        return f"{_key(key)} = {toml_value(value)}{self._remark(path)}"

    def _remark(self, path: Path) -> str:
        parts = []
        if path in self.doubts:
            parts.append(f"{MARK}: {self.doubts[path]}")
        if self.comments.get(path):
            parts.append(self.comments[path])
        return f"  # {_one_line('; '.join(parts))}" if parts else ""


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


def with_labels(raw: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    """The labels before the first table: TOML wants plain keys first."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        is_table = isinstance(value, dict) or (
            isinstance(value, list) and value and isinstance(value[0], dict)
        )
        if is_table and "labels" not in found:
            found["labels"] = labels
        found[key] = value
    return found
