"""Values as people write them: `1.3B`, `50,000,000`, `0,001`, `12.5 %`, `1h 20m`,
`None`.

One parser for everybody who meets written numbers: the proposal (to recognize them), the
landing (to store them), the command line (`--target params=7B`). A cell alone does not
always tell what it means (`32,768` or `1,234`; `5m`), its column mostly does: so a
`Style` is decided once a column, by `styles_of`, and then applied to each cell, however
many files and chunks the column has.

The rules:
    K, M, B (or G), T, P are decimal: `32K` is 32000. `Ki`, `Mi`, `Gi` are 1024-based. A
    column that writes plain numbers beside its `K`s, all of them multiples of 1024, reads
    K as 1024.
    `12.5 %` is 0.125. Durations become seconds. `m` alone is a million, or a minute where
    the column's name or its other cells speak of time.
    A comma is decimal or groups digits; each cell that can only be one of them votes, in
    its column first, then in the other columns; with no vote it groups digits.
    A whole number stays a Python int of any size: a seed of 64 bits keeps all digits.

Invariant: a cell is read whole or not at all; nothing of it is dropped silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.value_words import (
    BINARY_POWERS,
    NOT_FINITE,
    NOTHING,
    NOUNS,
    POWERS,
    SECONDS,
)

_TIME_WORDS = re.compile(
    r"time|duration|elapsed|runtime|wall|latency|(^|[^a-z])(took|eta)([^a-z]|$)",
    re.I,
)
_DIGITS = r"(?:\d[\d.,'’_ ]*|[.,]\d+)"
_NUMBER = re.compile(
    rf"(?P<digits>{_DIGITS})(?P<power>(?:[eE]|\s?[x×·*]\s?10(?:\^|\*\*))[+-]?\d+)?"
    r"\s*(?P<tail>[^\d\s].*)?"
)
_POWER_OF = re.compile(r"(\d+)\s*(?:\^|\*\*)\s*([+-]?\d+)")
_SPREAD = re.compile(
    r"\s*(?:±|\+/-|\+-)\s*[\d.,]+(?:[eE][+-]?\d+)?|\s*\(\s*[\d.,]+\s*%?\s*\)$"
)
_EMPHASIS = re.compile(
    r"^(?:\*\*|__|\*|`)(?=\S)|(?<=[\d%a-zA-Z.*_`)])\s*"
    r"(?:[*_`†‡§¶★☆✓✔✅←⭐\ufe0f\U0001f300-\U0001faff]"
    r"\s*)+(?:best)?$|(?<=\d)\s*\(best\)$"
)
"""Marks around a number: the best is bold or starred, a footnote hangs on another."""
_CLOCK = re.compile(
    r"(?:(?P<days>\d+)\s*(?:days?|d)?[,\s]\s*)?(?P<h>\d+):(?P<m>[0-5]?\d):(?P<s>[0-5]?\d(?:\.\d+)?)"
)
_DURATION = re.compile(r"(\d+(?:[.,]\d+)?)\s*([a-zµ]+)", re.I)
_INSTANT = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T _]\d{1,2}[:-]\d{2}.*)?|"
    r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([T _]\d{1,2}:\d{2}.*)?|"
    r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? .*\d{4}.*|\d{8}[-_]\d{6}",
    re.I,
)
_GROUPS = {
    mark: re.compile(rf"\d{{1,3}}(?:{mark}\d{{3}})+") for mark in (",", r"\.")
}
_MINUS = str.maketrans({"−": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " "})
_SUPERSCRIPT = re.compile(r"(?<=10)[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_RAISED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")
_PLAIN = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_MOST_DIGITS = 400
"""Longer runs of digits are no number that anybody wrote; Python refuses 4,300."""
_MOST_EXPONENT = 1_000
"""With at most _MOST_DIGITS digits all beyond is zero or not finite; Decimal stays quick."""


@dataclass(frozen=True)
class Value:
    """A number and what it counts: "", `share` (it was written in percent), `s`,
    `bytes`, `tokens`, `params`, `steps`, `epochs`, `flops`, `samples` or `rate` (per
    second).
    """

    number: int | float
    unit: str = ""


@dataclass(frozen=True)
class Style:
    """How the numbers of one column are written.

    `decimal`: `.` or `,`, the mark that `1,234` and `1.234` mean; empty where cells of
    the column contradict each other, and such a cell is then unreadable. `kilo`: 1000 or
    1024. `m_is_minute`: whether a lone `m` is a minute and no million. `decided`: who
    decided `decimal`: the `column`, the `table`, or `nobody`.
    """

    decimal: str = "."
    kilo: int = 1000
    m_is_minute: bool = False
    decided: str = field(default="nobody", compare=False)


PLAIN = Style()


def is_nothing(cell: Any) -> bool:
    """Whether a cell says that there is no value: empty, None, null, NA, a dash."""
    if isinstance(cell, str):
        return cell.strip().lower() in NOTHING
    return cell is None


def is_instant(cell: Any) -> bool:
    """Whether a cell is a date, with or without a time of day."""
    return (
        isinstance(cell, str) and _INSTANT.fullmatch(cell.strip()) is not None
    )


def parse_value(cell: Any, style: Style = PLAIN) -> Value | None:
    """The number that a cell holds, None where it holds none (true and false, dates and
    names are none; `nan` and `inf` are).
    """
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int):
        return Value(cell) if abs(cell) < 2**1023 else None
    if isinstance(cell, float):
        return Value(cell)
    if not isinstance(cell, str) or not 0 < len(cell) <= _MOST_DIGITS:
        return None
    text = cell.translate(_MINUS).strip()
    text = _SUPERSCRIPT.sub(lambda m: "^" + m[0].translate(_RAISED), text)
    return _parse_text(_EMPHASIS.sub("", text).strip(), style)


def parse_number(cell: Any, style: Style = PLAIN) -> int | float | None:
    """As `parse_value`, without the unit."""
    value = parse_value(cell, style)
    return None if value is None else value.number


def _parse_text(text: str, style: Style) -> Value | None:
    sign = -1 if text.startswith("-") else 1
    body = text[1:].lstrip() if text[:1] in ("-", "+") else text
    if body.lower() in NOT_FINITE:
        return Value(sign * NOT_FINITE[body.lower()])
    if not body[:1].isascii() or not (
        body[:1].isdigit() or body[:1] in "~.,$€"
    ):
        return None
    duration = _clock(body)
    if duration is None:
        duration = _duration(body, style)
    if duration is not None:
        return Value(sign * duration, "s")
    value = _with_unit(body.lstrip("~$€ "), style)
    # there is one zero: a whole -0 cannot keep its sign, so that -0.0 must not
    return value and replace(value, number=sign * value.number + 0)


def _clock(text: str) -> float | None:
    """`01:20:00`, `0 days 00:01:54.8` in seconds."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours = 24 * int(match["days"] or 0) + int(match["h"])
    return 3600.0 * hours + 60.0 * int(match["m"]) + float(match["s"])


def _duration(text: str, style: Style) -> float | None:
    """`7.6s`, `1h 20m`, `2 d 3 h` in seconds."""
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip(" ,:"):
        return None
    total = 0.0
    for digits, word in parts:
        unit = word if word in ("M", "D") else word.lower()
        is_minute = unit == "m" and (len(parts) > 1 or style.m_is_minute)
        seconds = 60.0 if is_minute else SECONDS.get(unit)
        plain = _digits(digits, style)
        if seconds is None or plain is None:
            return None
        total += float(Decimal(plain) * Decimal(repr(seconds)))
    return total


def _with_unit(text: str, style: Style) -> Value | None:
    power_of = _POWER_OF.fullmatch(text)
    if power_of:
        return _power(int(power_of[1]), int(power_of[2]))
    match = _NUMBER.fullmatch(_SPREAD.sub("", text))
    plain = _digits(match["digits"].strip(), style) if match else None
    if match is None or plain is None:
        return None
    exponent = re.sub(r".*?([+-]?\d+)$", r"\1", match["power"] or "")
    factor, unit = _tail((match["tail"] or "").strip(), style)
    if factor is None:
        return None
    if not exponent and factor == 1 and plain.isdigit():
        return Value(int(plain), unit)
    return _scaled(plain, factor, int(exponent or 0), unit)


def _power(base: int, exponent: int) -> Value | None:
    """`2^20`, `10**-4`; None beyond float64."""
    try:
        return Value(float(base) ** exponent)
    except (OverflowError, ZeroDivisionError):
        return None


def _scaled(
    digits: str, factor: float, exponent: int, unit: str
) -> Value | None:
    """digits * factor * 10 ** exponent, rounded once: 24.7 % is 0.247 and no more. None
    beyond float64.
    """
    exponent = max(-_MOST_EXPONENT, min(_MOST_EXPONENT, exponent))
    exact = Decimal(digits) * Decimal(repr(factor))
    result = float(exact.scaleb(exponent))
    return Value(result, unit) if math.isfinite(result) else None


def _tail(tail: str, style: Style) -> tuple[float | None, str]:
    """(factor, unit) of what stands behind the digits; factor None: no unit at all."""
    if not tail:
        return 1.0, ""
    if tail in ("%", "percent", "pct"):
        return 0.01, "share"
    if tail.lower() in NOUNS:  # before rates: `flops` ends in `ps`
        return 1.0, NOUNS[tail.lower()]
    rate = re.fullmatch(r"(.*\S)\s*(?:/\s?s(?:ec)?|per second|ps)", tail)
    if rate:
        factor, _ = _tail(rate[1], style)
        known = factor is not None or rate[1] in ("it", "its", "seq", "sample")
        return (factor or 1.0 if known else None), "rate"
    scale, _, noun = tail.partition(" ")
    for head, rest in ((scale, noun), *_splits(tail)):
        factor = _scale(head, style)
        unit = _noun(rest.strip())
        if factor is not None and unit is not None:
            return factor, unit
    unit = _noun(tail)
    return (1.0, unit) if unit else (None, "")


def _splits(tail: str) -> list[tuple[str, str]]:
    """`GFLOPs` as (`G`, `FLOPs`), `KiB` as (`Ki`, `B`)."""
    return [(tail[:n], tail[n:]) for n in (1, 2) if len(tail) > n]


def _scale(head: str, style: Style) -> float | None:
    word = head.lower()
    if word == "k":
        return float(style.kilo)
    return BINARY_POWERS.get(word) or POWERS.get(word)


def _noun(text: str) -> str | None:
    """The unit that a noun stands for; empty for no noun, None for an unknown one."""
    if text == "B":  # of KB, GiB; a lone B is a billion and does not come here
        return "bytes"
    return NOUNS.get(text.lower()) if text else ""


def _digits(text: str, style: Style) -> str | None:
    """Digits as Python writes them: `50,000,000`, `1.234,5`, `50 000`, `0,001` become
    `50000000`, `1234.5`, `50000`, `0.001`.
    """
    found = re.search(r"[ '’_]", text)
    if found and re.search(r"\d[ '’_]\d", text):
        mark = found[0]
        whole, *rest = re.split(r"[.,]", text)
        if len(rest) > 1 or not re.fullmatch(
            rf"\d{{1,3}}(?:{mark}\d{{3}})+", whole
        ):
            return None
        text = re.sub(r"[ '’_]", "", whole) + "".join(
            f".{part}" for part in rest
        )
    decimal = decimal_of(text)
    if decimal == "either":
        decimal = style.decimal
    if not decimal:
        return None
    grouping = "," if decimal == "." else "."
    whole, _, rest = text.partition(decimal)
    if grouping in whole and not _GROUPS[re.escape(grouping)].fullmatch(whole):
        return None
    plain = whole.replace(grouping, "") + (
        f".{rest}" if decimal in text else ""
    )
    return plain if re.fullmatch(r"\d+\.?\d*|\.\d+", plain, re.ASCII) else None


def decimal_of(text: str) -> str:
    """Which mark of a number's digits is the decimal one: `.` or `,` where they can only
    mean one thing, `either` (`1,234`, `1.234`), `.` where there is no mark at all, and
    empty where they mean nothing.
    """
    commas, dots = text.count(","), text.count(".")
    if commas and dots:
        last = max(text.rfind(","), text.rfind("."))
        if text.count(text[last]) > 1:
            return ""
        return text[last]
    if commas + dots == 0:
        return "."
    mark, other = (",", ".") if commas else (".", ",")
    is_grouped = (
        bool(_GROUPS[re.escape(mark)].fullmatch(text)) and text[0] != "0"
    )
    if commas + dots > 1:
        return other if is_grouped else ""
    return "either" if is_grouped else mark


def styles_of(
    table: Mapping[str, Iterable[Any]], decimal: str = ""
) -> dict[str, Style]:
    """The style of every column of a table (column -> its cells, repeated or not).

    `decimal`: what is known of the whole file (`,` where columns are separated by
    semicolons and numbers carry commas); it counts where a column itself is silent.
    """
    texts = {}
    for name, cells in table.items():
        texts[name] = {
            c.translate(_MINUS).strip() for c in cells if isinstance(c, str)
        }
    votes = {name: _votes(found) for name, found in texts.items()}
    common = decimal or _majority(votes.values())
    styles = {}
    for name, found in texts.items():
        mark, decided = _decimal(votes[name], common)
        is_time = bool(_TIME_WORDS.search(name)) or _speaks_of_time(found)
        styles[name] = Style(mark, _kilo(found), is_time, decided)
    return styles


def _majority(votes: Iterable[set[str]]) -> str:
    """The mark that some columns speak for and none against; empty without one."""
    spoken = set().union(*votes)
    return spoken.pop() if len(spoken) == 1 else ""


def _decimal(votes: set[str], common: str) -> tuple[str, str]:
    """(decimal mark of a column, who decided it)."""
    if votes:
        return (votes.pop() if len(votes) == 1 else ""), "column"
    return (common, "table") if common else (".", "nobody")


def style_of(cells: Iterable[Any], name: str = "", decimal: str = "") -> Style:
    """The style of one column alone."""
    return styles_of({name: cells}, decimal)[name]


def _votes(texts: set[str]) -> set[str]:
    """The decimal marks for which cells speak that can mean only one thing."""
    votes = set()
    for text in texts:
        match = _NUMBER.fullmatch(text.lstrip("+-~ "))
        digits = match["digits"].strip() if match else ""
        if "," in digits or "." in digits:
            votes.add(decimal_of(digits.replace(" ", "")))
    return votes - {"either", ""}


def _speaks_of_time(texts: set[str]) -> bool:
    """Whether some cell has a unit of time that is not `m`."""
    for text in texts:
        words = {word.lower() for _, word in _DURATION.findall(text)}
        if words & (SECONDS.keys() - {"d"}) and _duration(
            text, Style(m_is_minute=True)
        ):
            return True
    return False


def _kilo(texts: set[str]) -> int:
    plain = [
        int(t)
        for t in texts
        if t.isascii() and t.isdigit() and 1000 <= int(t) < 2**63
    ]
    has_k = any(re.fullmatch(r"[\d.]+\s?[kK]", t) for t in texts)
    return (
        1024 if has_k and plain and all(n % 1024 == 0 for n in plain) else 1000
    )


def numbers_of(
    cells: pa.Array | pa.ChunkedArray, style: Style = PLAIN
) -> pa.Array:
    """A whole column as float64, null where a cell is no number.

    Columns of numbers are cast; of a text column only the distinct cells that are not
    plain are parsed one by one.
    """
    array = (
        cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    )
    if not (
        pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    ):
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            return pc.cast(array, pa.float64(), safe=False)
        return pa.array(_each(array.to_pylist(), style), pa.float64())
    plain = pc.match_substring_regex(array, _PLAIN)
    if style.decimal != ".":  # a dot may group digits: each cell is looked at
        plain = pc.and_(plain, pc.invert(pc.match_substring(array, ".")))
    casted = pc.cast(
        pc.if_else(plain, pc.utf8_trim_whitespace(array), None), pa.float64()
    )
    casted = pc.if_else(pc.is_finite(casted), pc.add(casted, 0.0), None)
    rest = pc.if_else(
        pc.fill_null(plain, False), None, array
    ).dictionary_encode()
    parsed = pa.array(_each(rest.dictionary.to_pylist(), style), pa.float64())
    return pc.coalesce(casted, parsed.take(rest.indices))


def _each(cells: Iterable[Any], style: Style) -> list[float | None]:
    numbers = (parse_number(cell, style) for cell in cells)
    return [None if n is None else float(n) for n in numbers]
