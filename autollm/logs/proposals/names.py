"""What a column's name says: where it stood in its tracker, what it counts, whether less
of it is better.

The words themselves are data (`names.toml`); here is only how they are matched: a name
loses its tracker's prefix, is cut into segments (`optimizer.lr`, `eval/loss`) and words
(`valLoss`, `rouge-L`), and is then compared as a whole and by its last segment.

Invariant: nothing here looks at values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

Origin = Literal["setting", "result", "system", ""]
_GENERIC_LAST = re.compile(
    r"^(name|type|kind|id|value|values|size|class|cls|target|version|path|dir|len|length|"
    r"n|num|style|ratio|steps|frac|fraction|total|max|min|mean|mode|set)$"
)
"""Last segments that say nothing without the segment before them."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_RATIO = re.compile(
    r"(wall[ _]?time|time|ms|s|sec(ond)?s?|hours?|h|d|tok(en)?s?|samples?|seqs?|t?flops?"
    r"|cost|usd|gpu[ _]?h(ours?)?)/[^/]+"
)
_FACTOR = re.compile(
    r"(?:[_\s(\[-](?:in[_\s])?)(?P<letter>k|m|mm|mn|mio|b|bn|mrd|t|thousands?|millions?"
    r"|billions?|trillions?)\.?[)\]]?$",
    re.IGNORECASE,
)
_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "thousand": 1e3}
_LETTERS |= {"mio": 1e6, "mrd": 1e9}
_LETTERS |= {"mm": 1e6, "mn": 1e6, "bn": 1e9, "million": 1e6, "billion": 1e9}
_LETTERS |= {"trillion": 1e12}


@cache
def tables() -> dict[str, Any]:
    """The content of names.toml."""
    text = Path(__file__).with_name("names.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def words_of(section: str, entry: str) -> re.Pattern[str]:
    """One pattern for all words of an entry of names.toml: `^...$` is a whole name, all
    others stand at the edges of words.
    """
    parts = (f"(?:{word})" for word in tables()[section][entry])
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(parts)})(?![^\W_])")


def plain(name: str) -> str:
    """A name in lower case, its words joined by underscores: `Test NLL` is `test_nll`."""
    spelled = name.replace("@", "_at_").replace("%", "_pct_")
    split = _CAMEL.sub("_", spelled)
    return re.sub(r"[\W_]+", "_", split.lower()).strip("_") or "column"


@dataclass(frozen=True)
class Name:
    """A column's name, read. `origin`: what its tracker's prefix says it is; `path`: the
    name without that prefix.
    """

    raw: str
    origin: Origin
    path: str

    @cached_property
    def full(self) -> str:
        """All segments as words."""
        return plain(self.path)

    @cached_property
    def last(self) -> str:
        """The last segment as words; all of them where it says nothing alone, or is what
        something is counted per (`time/epoch`, `tokens/param`).
        """
        if _RATIO.fullmatch(self.path.lower()):
            return self.full
        segment = plain(re.split(r"[/.:]", self.path.rstrip("/.:"))[-1])
        return self.full if _GENERIC_LAST.match(segment) else segment

    @cached_property
    def core(self) -> str:
        """The last segment without words of splits at its ends: `val_bpb` is `bpb`."""
        words = self.last.split("_")
        splits = words_of("metrics", "splits")
        train = words_of("metrics", "train_splits")
        while len(words) > 1 and (
            splits.match(words[0]) or train.match(words[0])
        ):
            words = words[1:]
        while len(words) > 1 and splits.fullmatch(words[-1]):
            words = words[:-1]
        return "_".join(words)

    def is_a(self, entry: str, section: str = "roles") -> bool:
        """Whether the whole name or its last segment is among the words of an entry."""
        pattern = words_of(section, entry)
        return bool(pattern.search(self.last) or pattern.search(self.full))

    @cached_property
    def factor(self) -> float:
        """What a unit in the name multiplies by: `params_M`, `tokens (B)`."""
        match = _FACTOR.search(self.raw)
        if match is None:
            return 1.0
        return _LETTERS[match["letter"].lower().rstrip("s")]


@cache
def read_name(raw: str, is_optuna: bool = False) -> Name:
    """A name without its tracker's prefix. `is_optuna`: whether `params_` is one here
    (elsewhere `params_total` is a count of parameters).
    """
    prefixes = tables()["prefixes"]
    lowered = raw.lower()
    kinds = ["setting", "result", "system"]
    if is_optuna:
        kinds = ["optuna", *kinds]
    for kind in kinds:
        for prefix in prefixes[kind]:
            if lowered.startswith(prefix) and len(raw) > len(prefix):
                origin = "setting" if kind == "optuna" else kind
                return Name(raw, origin, raw[len(prefix) :])
    return Name(raw, "", raw)


def is_optuna(names: Iterable[str]) -> bool:
    """Whether a table has Optuna's own columns beside `params_...`."""
    present = set(names)
    has_values = present & {"value", "values_0", "state", "datetime_start"}
    return len(has_values) >= 2 and any(
        n.startswith("params_") for n in present
    )


@dataclass(frozen=True)
class Metric:
    """What a name says of an outcome: `direction` is min, max, or empty where the name
    does not tell; `is_spread`: it is the spread of one, and no outcome itself.
    """

    direction: str = ""
    is_spread: bool = False


@cache
def metric_of(name: Name) -> Metric | None:
    """The metric that a name speaks of, None where it speaks of none."""
    found = _last_metric(name.full) or _whole_metric(name)
    if found is None:
        return None
    direction, before, after = found
    spread = words_of("metrics", "spread")
    if spread.search(after) or spread.search(before):
        return Metric(direction, is_spread=True)
    if _is_setting_head(after) or before.startswith("target"):
        return None
    negated = words_of("metrics", "negations").search(before)
    if negated:
        direction = "max" if direction == "min" else "min"
    return Metric(direction)


def _last_metric(text: str) -> tuple[str, str, str] | None:
    """(direction, words before, words after) of the metric that ends last, the longest
    of those.
    """
    best: tuple[int, int, str, re.Match[str]] | None = None
    for direction in ("min", "max"):
        for word in _loose_words(direction):
            for match in word.finditer(text):
                rank = (
                    match.end(),
                    match.end() - match.start(),
                    direction,
                    match,
                )
                if best is None or rank[:2] > best[:2]:
                    best = rank
    if best is None:
        return None
    match = best[3]
    return (
        best[2],
        text[: match.start()].strip("_"),
        text[match.end() :].strip("_"),
    )


@cache
def _loose_words(direction: str) -> tuple[re.Pattern[str], ...]:
    """A pattern for each phrase; `^...$` phrases are matched by `_whole_metric`."""
    words = (w for w in tables()["metrics"][direction] if not w.startswith("^"))
    return tuple(re.compile(rf"(?<![^\W_])(?:{w})(?![^\W_])") for w in words)


def _whole_metric(name: Name) -> tuple[str, str, str] | None:
    """A metric whose word is too short to be looked for inside a name: `ce`, `em`."""
    for direction in ("min", "max"):
        for word in tables()["metrics"][direction]:
            if word.startswith("^") and re.fullmatch(
                word.strip("^$"), _unmodified(name)
            ):
                return direction, "", ""
    return None


def _unmodified(name: Name) -> str:
    """The core without words such as `final` and `best` before it."""
    words = name.core.split("_")
    modifiers = words_of("metrics", "modifiers")
    while len(words) > 1 and modifiers.fullmatch(words[0]):
        words = words[1:]
    return "_".join(words)


def _is_setting_head(after: str) -> bool:
    """Whether a metric's name goes on as that of a setting: `loss_weight`."""
    heads = set(tables()["metrics"]["setting_heads"])
    return any(word in heads for word in after.split("_"))


def direction_of(raw: str) -> str:
    """`min` or `max` where the name of a metric tells it, else empty."""
    metric = metric_of(read_name(raw))
    return metric.direction if metric else ""


def has_split(name: Name) -> bool:
    """Whether a name says that it was measured on held-out data: `eval_x`, `x/val`."""
    return bool(words_of("metrics", "splits").search(name.full))
