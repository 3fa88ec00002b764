"""Configurations in the user's own column names and units, and back.

A knob that the mapping derived from a column (tokens from sequences) is told in that
column's unit where the two are proportional in every run. Parts of a mixture are told
by their columns.

Invariant: `read(show(c)) == c` for every configuration of the space, to the rounding of
whole numbers.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autollm.advisor.words import last_part
from autollm.core.errors import QuestionError
from autollm.core.spaces.knobs import Knob, is_number
from autollm.core.spaces.space import Space
from autollm.core.values import is_nothing, parse_number

SAME = 1e-3
"""Relative spread of a ratio that is one unit: canonical values keep six digits, and
published tables print rates with four."""
ROUNDED = 0.01
"""Of a mixture's sum, that rounding its parts to whole percents may change."""
ALIKE = 0.4
"""Ratio of letters from which two names may mean one thing: global_batch is to
batch_size as .45."""
MOST_RUNS = 400
TRUTH = {True: ("yes", "on", "true", "y"), False: ("no", "off", "false", "n")}
NUMERIC = ("log", "linear", "integer")


@dataclass(frozen=True)
class Spelling:
    """A knob in the user's words: column, and canonical value per native unit."""

    column: str
    factor: float = 1.0
    whole: bool = False


@dataclass(frozen=True)
class Names:
    """Spellings by knob, of parts of mixtures by `knob.part`."""

    space: Space
    spellings: dict[str, Spelling]

    def show(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration by the user's columns."""
        shown: dict[str, Any] = {}
        for name, value in configuration.items():
            if isinstance(value, Mapping):
                for part, weight in value.items():
                    spelling = self.spelling(f"{name}.{part}")
                    shown[spelling.column] = _round(weight / spelling.factor)
            else:
                shown[self.spelling(name).column] = self.value(name, value)
        return shown

    def value(self, knob: str, value: Any) -> Any:
        """One canonical value in the user's unit; levels of a list that was declared
        stay what they are.
        """
        for known in self.space.knobs:
            if known.name == knob and known.scale not in NUMERIC:
                return value
        return _native(value, self.spelling(knob))

    def read(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration that a flat object of the user's columns (or canonical
        names) says; other keys are ignored, those of knobs that are not chosen beside
        the others' values among them.

        Raises:
            QuestionError: a knob is missing, or its value is of another kind.
        """
        found: dict[str, Any] = {}
        for knob in self.space.knobs:
            parent, values = knob.when or ("", ())
            if not parent or found.get(parent) in values:
                found[knob.name] = self._read(knob, written)
        return found

    def _read(self, knob: Knob, written: Mapping[str, Any]) -> Any:
        if knob.scale == "simplex":
            weights = self._weights(knob, written)
            total = sum(weights.values())
            if not 0 < total < math.inf:
                raise QuestionError(
                    f"the weights of {knob.name} sum to {total:g}"
                )
            return {p: w / total for p, w in weights.items()}
        raw, is_native = self._found(knob.name, knob.name, written)
        if knob.scale not in NUMERIC:
            return _level(knob, raw)
        number = parse_number(raw)
        if number is None:
            raise QuestionError(
                f"{knob.name}={raw!r} is no number. Fix: write one."
            )
        factor = self.spelling(knob.name).factor if is_native else 1.0
        return float(number) * factor

    def _weights(
        self, knob: Knob, written: Mapping[str, Any]
    ) -> dict[str, float]:
        """Of a mixture, by part, as they were written."""
        weights = {}
        for part in knob.levels:
            name = f"{knob.name}.{part}"
            raw, _ = self._found(name, part, written)
            weights[part] = _weight(name, raw)
        return weights

    def sums_of(self, written: Mapping[str, Any]) -> dict[str, list[float]]:
        """By mixture that does not sum to what the user's columns sum to: both sums."""
        found = {}
        for knob in self.space.knobs:
            if knob.scale != "simplex" or knob.when:
                continue
            total = sum(self._weights(knob, written).values())
            usual = 1 / self.spelling(f"{knob.name}.{knob.levels[0]}").factor
            if not math.isclose(total, usual, rel_tol=ROUNDED):
                found[knob.name] = [total, usual]
        return found

    def _found(
        self, name: str, canonical: str, written: Mapping[str, Any]
    ) -> tuple[Any, bool]:
        """The value, and whether it is told in the unit of the user's column: under its
        canonical name it is in the canonical one.
        """
        column = self.spelling(name).column
        key = key_of(column, canonical, written)
        if key:
            return written[key], last_part(key) != canonical or (
                column == canonical
            )
        taken = {spelling.column for spelling in self.spellings.values()}
        near = _near(column, [key for key in written if key not in taken])
        remedy = f"add {column}"
        if near:
            remedy += f", or rename {near} to it"
        raise QuestionError(
            f"the configuration lacks {column}. It has: "
            f"{', '.join(map(str, written))}. Fix: {remedy}."
        )

    def spelling(self, name: str) -> Spelling:
        return self.spellings.get(name) or Spelling(name)


def key_of(column: str, canonical: str, written: Mapping[str, Any]) -> str:
    """The key under which a flat object says what a column says; empty where none does:
    the column, its canonical name, the column without a tracker's beginning (optim.lr for
    config.optim.lr), else the one key that ends in it (optimizer.lr for lr); spaces, case
    and underscores aside.
    """
    for key in (column, canonical):
        if key in written:
            return key
    whole = _dotted(column)
    ends = [key for key in written if whole.endswith(_dotted(key))]
    if ends:
        return max(ends, key=len)
    names = (whole, _dotted(canonical))
    tails = [key for key in written if _dotted(last_part(key)) in names]
    return tails[0] if len(tails) == 1 else ""


def _level(knob: Knob, raw: Any) -> Any:
    """A value of a category. YAML 1.1 reads the words yes and no as truth values: the
    level that is such a word is meant, where no level is a truth value.
    """
    if not isinstance(raw, bool) or raw in (knob.levels or ()):
        return raw
    for level in knob.levels or ():
        if str(level).lower() in TRUTH[raw]:
            return level
    return raw


def _near(column: str, written: Iterable[str]) -> str:
    """The key that is most like a column: its initials (lr, learning_rate), or in its
    letters; empty where none is.
    """
    keys = list(map(str, written))
    for key in keys:
        if column in (key, _initials(key)) or key == _initials(column):
            return key
    close = difflib.get_close_matches(column, keys, n=1, cutoff=ALIKE)
    return close[0] if close else ""


def _initials(name: str) -> str:
    words = last_part(name).replace("-", "_").split("_")
    return "".join(word[:1] for word in words)


def _dotted(name: str) -> str:
    """`.train_examples` of "Train examples": as names are compared."""
    return "." + re.sub(r"[\s_-]+", "_", name.lower()).replace("/", ".")


def names_of(
    space: Space, columns: Mapping[str, str], runs: Iterable[Mapping[str, Any]]
) -> Names:
    """Spellings from the mapping's columns, and from runs (config_json, cells)."""
    runs = list(runs)[:MOST_RUNS]
    configs = [json.loads(run["config_json"]) for run in runs]
    cells = [run.get("cells", {}) for run in runs]
    spellings: dict[str, Spelling] = {}
    for knob in space.knobs:
        if knob.scale == "simplex":
            named = {}
            for part in knob.levels:
                key = f"{knob.name}.{part}"
                pattern = columns.get(f"{knob.name}.*", "*")
                column = columns.get(key) or pattern.replace("*", str(part), 1)
                named[key] = column
            factor = 0.01 if _are_percent(list(named.values()), cells) else 1.0
            spellings |= {k: Spelling(c, factor) for k, c in named.items()}
        elif knob.scale in NUMERIC:
            values = [c.get(knob.name) for c in configs]
            spellings[knob.name] = _measured(
                columns.get(knob.name), values, cells, knob
            )
        else:
            spellings[knob.name] = Spelling(columns.get(knob.name, knob.name))
    return Names(space, spellings)


def _are_percent(columns: list[str], cells: list[Mapping[str, Any]]) -> bool:
    """Whether the parts of a mixture sum to 100 rather than to 1."""
    for row in cells:
        weights = [parse_number(row.get(name)) for name in columns]
        known = [weight for weight in weights if weight is not None]
        if known and all(math.isfinite(weight) for weight in known):
            return sum(known) > 10
    return False


def _measured(
    column: str | None,
    values: list[Any],
    cells: list[Mapping[str, Any]],
    knob: Knob,
) -> Spelling:
    """The column that is proportional to the knob in every run, the mapping's first."""
    candidates = list(cells[0]) if cells else []
    if column:
        candidates = [column]
    for name in candidates:
        native = [parse_number(row.get(name)) for row in cells]
        pairs = zip(values, native, strict=True)
        known = [(v, n) for v, n in pairs if is_number(v) and n]
        ratios = [v / n for v, n in known]
        several = len({n for _, n in known}) > 1 or column
        if len(known) < len(cells) or not ratios or not several:
            continue
        steady = max(ratios) - min(ratios) <= SAME * max(map(abs, ratios))
        snapped = column and knob.step and max(ratios) < 1.5 * min(ratios)
        if steady or snapped:
            middle = sorted(ratios)[len(ratios) // 2]
            whole = all(float(n).is_integer() for _, n in known)
            return Spelling(
                name, 1.0 if snapped and not steady else _neat(middle), whole
            )
    told = [value for value in values if is_number(value)]
    whole = bool(told) and all(float(value).is_integer() for value in told)
    return Spelling(column or knob.name, whole=whole)


def _weight(name: str, written: Any) -> float:
    """Of a part of a mixture; what is left empty is not in it.

    Raises:
        QuestionError: it is no number, or below nothing.
    """
    if is_nothing(written):
        return 0.0
    number = parse_number(written)
    if number is None or not number >= 0:
        raise QuestionError(f"{name}={written!r} is no weight")
    return float(number)


def _neat(ratio: float) -> float:
    """A ratio that is nearly a whole number, or one over it, is that."""
    for candidate in (
        round(ratio),
        1 / round(1 / ratio) if 0 < ratio < 1 else 0,
    ):
        if candidate and math.isclose(candidate, ratio, rel_tol=SAME):
            return float(candidate)
    return ratio


def _native(value: Any, spelling: Spelling) -> Any:
    if not is_number(value):
        return value
    native = value / spelling.factor
    return round(native) if spelling.whole else _round(native)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
