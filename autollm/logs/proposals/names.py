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

from autollm.core.value_words import POWERS

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
    rf"[_\s(\[-](?:in[_\s])?(?P<word>{'|'.join(POWERS)})s?\.?[)\]]?$",
    re.IGNORECASE,
)


@cache
def tables(file: str = "names") -> dict[str, Any]:
    """The content of a TOML file that lies here."""
    path = Path(__file__).with_name(f"{file}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


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
            del words[0]
        while len(words) > 1 and splits.fullmatch(words[-1]):
            del words[-1]
        return "_".join(words)

    def is_a(self, *entries: str) -> bool:
        """Whether the whole name or its last segment is among the words of an entry of
        `[columns]`.
        """
        for entry in entries:
            pattern = words_of("columns", entry)
            if pattern.search(self.last) or pattern.search(self.full):
                return True
        return False

    def says(self, entry: str) -> bool:
        """Whether words of an entry of `[metrics]` stand anywhere in the name."""
        return bool(words_of("metrics", entry).search(self.full))

    @cached_property
    def factor(self) -> float:
        """What a unit in the name multiplies by: `params_M`, `tokens (B)`."""
        match = _FACTOR.search(self.raw)
        return POWERS[match["word"].lower()] if match else 1.0


@cache
def read_name(raw: str, is_optuna: bool = False) -> Name:
    """A name without its tracker's prefix. `is_optuna`: whether `params_` is one here
    (elsewhere `params_total` is a count of parameters).
    """
    prefixes = tables()["prefixes"]
    origins: dict[Origin, list[str]] = {
        "setting": prefixes["optuna"] * is_optuna + prefixes["setting"],
        "result": prefixes["result"],
        "system": prefixes["system"],
    }
    for origin, heads in origins.items():
        for head in heads:
            if raw.lower().startswith(head) and len(raw) > len(head):
                return Name(raw, origin, raw[len(head) :])
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
    heads = tables()["metrics"]["setting_heads"]  # `loss_weight` is a setting
    if before.startswith("target") or set(heads) & set(after.split("_")):
        return None
    if words_of("metrics", "negations").search(before):
        direction = "max" if direction == "min" else "min"
    return Metric(direction)


def _last_metric(text: str) -> tuple[str, str, str] | None:
    """(direction, words before, words after) of the metric that ends last, the longest
    of those.
    """
    best = (0, 0)
    found = None
    for direction in ("min", "max"):
        for word in _loose_words(direction):
            for match in word.finditer(text):
                rank = (match.end(), match.end() - match.start())
                if rank > best:
                    best = rank
                    before, after = text[: match.start()], text[match.end() :]
                    found = (direction, before.strip("_"), after.strip("_"))
    return found


@cache
def _loose_words(direction: str) -> tuple[re.Pattern[str], ...]:
    """A pattern for each phrase; `^...$` phrases are matched by `_whole_metric`."""
    words = (w for w in tables()["metrics"][direction] if not w.startswith("^"))
    return tuple(re.compile(rf"(?<![^\W_])(?:{w})(?![^\W_])") for w in words)


def _whole_metric(name: Name) -> tuple[str, str, str] | None:
    """A metric whose word is too short to be looked for inside a name (`ce`, `em`): it is
    the core, without words such as `final` and `best` before it.
    """
    words = name.core.split("_")
    modifiers = words_of("metrics", "modifiers")
    while len(words) > 1 and modifiers.fullmatch(words[0]):
        del words[0]
    for direction in ("min", "max"):
        for word in tables()["metrics"][direction]:
            if word.startswith("^") and re.fullmatch(word, "_".join(words)):
                return direction, "", ""
    return None


def direction_of(raw: str) -> str:
    """`min` or `max` where the name of a metric tells it, else empty."""
    metric = metric_of(read_name(raw))
    return metric.direction if metric else ""
