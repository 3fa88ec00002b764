"""YAML as people write configurations, read where PyYAML is not installed: mappings by
indentation, scalars, lists of scalars, comments. The base install brings no YAML.

Invariant: what is read here PyYAML reads to the same value; everything else (anchors,
tags, block text, lists of mappings ...) is `NotPlain`, and needs PyYAML.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

MOST_DEPTH = 20
"""Of nesting; people's configurations have three or four levels."""
_KEY = re.compile(
    r"(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')\s*:(?=\s|$)"
    r"|(?P<plain>[^\s\"'\[\]{},&*!|>%@`#?:=~-](?:[^:#\s]|:(?=\S)|(?<=\S)#| +(?![\s:#]))*)"
    r"\s*:(?=\s|$)"
)
_QUOTED = re.compile(
    r"\"(?:[^\"\\]|\\(?:[\"\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))*\""
    r"|'(?:[^']|'')*'"
)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|[0-9]+|\.[0-9]+)([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z_./<(].*")
"""Text without quotes. What begins as a number and is none is left to PyYAML: dates,
1_000, 0x1f and 1:30 have meanings of their own."""
_ODD = re.compile(
    r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
)
"""Tabs, controls and other ends of lines, of which YAML has rules of its own."""
_WORDS: dict[str, Any] = {"": None, "~": None}
for _value, _spellings in (
    (None, ("null",)),
    (True, ("true", "yes", "on")),
    (False, ("false", "no", "off")),
):
    for _word in _spellings:
        _WORDS |= dict.fromkeys(
            (_word, _word.upper(), _word.capitalize()), _value
        )


class NotPlain(ValueError):
    """The text is more than this module reads."""


@dataclass(frozen=True)
class _Line:
    indent: int
    text: str


def parse_plain_yaml(text: str) -> Any:
    """The document's value.

    Raises:
        NotPlain: PyYAML has to read it.
    """
    odd = _ODD.search(text)
    if odd:
        raise NotPlain(repr(odd[0]))
    lines = []
    for number, raw in enumerate(text.splitlines()):
        line = raw.rstrip()
        bare = line.lstrip(" ")
        if not bare or bare.startswith("#") or (not number and line == "---"):
            continue
        if bare.startswith(("---", "...", "%")):
            raise NotPlain(line)
        lines.append(_Line(len(line) - len(bare), bare))
    if not lines:
        return None
    value, at = _block(lines, 0, lines[0].indent, 0)
    if at < len(lines):
        raise NotPlain(lines[at].text)
    return value


def _block(
    lines: list[_Line], at: int, indent: int, depth: int
) -> tuple[Any, int]:
    """The value of the lines from `at` on that stand at `indent`, and where they end."""
    if depth > MOST_DEPTH:
        raise NotPlain("nested too deeply")
    if _is_item(lines[at]):
        return _items(lines, at, indent)
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at].indent == indent:
        key, rest = _entry(lines[at].text)
        if key in found:
            raise NotPlain(f"{key} stands twice")
        at += 1
        if rest:
            found[key] = _scalar(rest)
        elif at < len(lines) and lines[at].indent > indent:
            found[key], at = _block(lines, at, lines[at].indent, depth + 1)
        elif (
            at < len(lines)
            and lines[at].indent == indent
            and _is_item(lines[at])
        ):
            found[key], at = _items(lines, at, indent)
        else:
            found[key] = None
    if at < len(lines) and lines[at].indent > indent:
        raise NotPlain(lines[at].text)
    return found, at


def _is_item(line: _Line) -> bool:
    return line.text == "-" or line.text.startswith("- ")


def _items(lines: list[_Line], at: int, indent: int) -> tuple[list[Any], int]:
    found = []
    while (
        at < len(lines) and lines[at].indent == indent and _is_item(lines[at])
    ):
        item = lines[at].text[1:].strip()
        if _KEY.match(item) or _is_item(_Line(0, item)):
            raise NotPlain(item)
        found.append(_scalar(item))
        at += 1
    if at < len(lines) and lines[at].indent > indent:
        raise NotPlain(lines[at].text)
    return found, at


def _entry(text: str) -> tuple[str, str]:
    """Key and what follows it in its line."""
    match = _KEY.match(text)
    if match is None:
        raise NotPlain(text)
    key = _scalar(match["quoted"] or match["plain"].rstrip())
    if not isinstance(key, str):
        raise NotPlain(text)
    rest = text[match.end() :].strip()
    return key, "" if rest.startswith("#") else rest


def _scalar(text: str) -> Any:
    quoted = _QUOTED.match(text)
    if quoted:
        rest = text[quoted.end() :]
        if rest.strip() and not re.match(r"\s+#", rest):
            raise NotPlain(text)
        return _unquoted(quoted[0])
    text = re.split(r"\s+#", text, maxsplit=1)[0].strip()
    if text.startswith("["):
        return _list(text)
    return _plain(text)


def _unquoted(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    try:
        return json.loads(text)
    except ValueError:
        raise NotPlain(text) from None


def _list(text: str) -> list[Any]:
    """A list in brackets, of scalars: JSON, or words without commas and brackets."""
    if '"' in text:
        return _list_of_json(text)
    inner = text[1:-1]
    if not text.endswith("]") or re.search(r"[\[\]{}\"']|:(?=\s|$)", inner):
        raise NotPlain(text)
    parts = [part.strip() for part in inner.split(",")]
    if parts[-1] == "":
        parts.pop()
    if "" in parts:
        raise NotPlain(text)
    return list(map(_plain, parts))


def _list_of_json(text: str) -> list[Any]:
    inner = _QUOTED.sub("", text[1:-1])
    if re.search(r"[\[\]{}\"']", inner):
        raise NotPlain(text)
    try:
        found = json.loads(text)
    except ValueError:
        raise NotPlain(text) from None
    return found


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9]+", text):
        number = float(text)
        if math.isfinite(number):
            return number
    if re.search(r":(?=\s|$)| #", text) or text in ("<<", "="):
        raise NotPlain(text)
    if not _PLAIN.fullmatch(text) or re.match(r"\.(\d|inf|nan)", text, re.I):
        raise NotPlain(text)
    return text
