"""One choice of a researcher, and how its values become coordinates between which
Euclidean distance means the same everywhere.

| scale       | a value                        | its coordinates                          |
|-------------|--------------------------------|------------------------------------------|
| log         | positive number                | log2: one is an octave                   |
| linear      | number                         | value / step                             |
| integer     | whole number                   | value / step                             |
| ordinal     | one of the levels, in order    | its rank                                 |
| categorical | one of the levels              | one-hot / sqrt(2): two levels are 1 apart |
| list        | list of levels, one a position | rank / sqrt(positions) each: a whole list |
|             |                                | one rank up is 1                         |
| simplex     | {part: weight}, sum 1          | SIMPLEX_UNIT * sqrt(weight) each:        |
|             |                                | distances are Hellinger's                |

Lists of several lengths (layers of a small and of a large model) are compared by
relative position: a shorter one is stretched to the longest, and log2 of its length is
one coordinate more.

Invariant: `decode(encode(v)) == v` for every value of the declared window (to 9
significant digits).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from autollm.core.errors import SpaceError
from autollm.core.spaces.scales import ONE_COORDINATE, Role, Scale
from autollm.core.validation import declaration

SIMPLEX_UNIT = 7.0
"""Natural units of a Hellinger distance of 1: a part of one tenth that doubles moves a
mixture by 0.99, about an octave.
"""
SUM_SLACK = 0.01
"""Weights may sum to 1 within this: published tables round them to a few decimals. They
are renormalized.
"""


@declaration(SpaceError)
class Knob:
    """One choice.

    Attributes:
        levels: values of the declared window: ascending numbers; categories; what a
            list's entries may be; parts of a simplex.
        step: the grid on the natural scale. positions: fewest and most entries of a
            list.
        when: the knob is chosen only where another one, named before it, has one of
            these values.
        factor: values of log, linear and integer knobs are this many times what their
            coordinates say (gym/tasks/masking.py).
    """

    name: str
    scale: Scale
    levels: tuple[Any, ...]
    unit: str = ""
    step: float = 0.0
    role: Role = ""
    positions: tuple[int, int] = (0, 0)
    when: tuple[str, tuple[Any, ...]] | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        ordered = self.scale in ONE_COORDINATE and all(
            map(is_number, self.levels)
        )
        if not self.levels or (
            ordered and list(self.levels) != sorted(self.levels)
        ):
            raise SpaceError(
                f"knob {self.name!r}: levels must be ascending and not empty, got "
                f"{self.levels}"
            )
        if not all(map(is_finite, filter(is_number, self.levels))):
            raise SpaceError(
                f"knob {self.name!r}: levels must be finite, got {self.levels}"
            )
        if not 0 <= self.step < math.inf or not 0 < self.factor < math.inf:
            raise SpaceError(
                f"knob {self.name!r}: step {self.step:g} and factor "
                f"{self.factor:g}, expected a step of 0 (no grid) or more and a "
                "positive factor, both finite"
            )
        if self.scale in ("log", "linear", "integer") and not ordered:
            raise SpaceError(
                f"knob {self.name!r}: a {self.scale} knob needs numbers as levels, got "
                f"{self.levels}"
            )
        if self.scale == "log" and self.levels[0] <= 0:
            raise SpaceError(
                f"knob {self.name!r}: a log knob needs positive levels, got "
                f"{self.levels[0]}"
            )
        if len({_kind(v) for v in self.levels}) < len(self.levels):
            raise SpaceError(
                f"knob {self.name!r}: levels must be distinct, got {self.levels}"
            )
        if (self.scale == "list") != (
            self.positions[1] > 0
        ) or not 0 <= self.positions[0] <= self.positions[1]:
            raise SpaceError(
                f"knob {self.name!r}: positions {self.positions}, expected (fewest, "
                "most) for a list and nothing else"
            )

    @property
    def width(self) -> int:
        """Number of coordinates."""
        if self.scale in ONE_COORDINATE:
            return 1
        return (
            self.positions[1] + self._any_length
            if self.scale == "list"
            else len(self.levels)
        )

    @property
    def _any_length(self) -> bool:
        return self.positions[0] < self.positions[1]

    @cached_property
    def _ranks(self) -> dict[tuple[bool, Any], int]:
        return {_kind(level): rank for rank, level in enumerate(self.levels)}

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """A name a coordinate: `lr`; `optimizer.adam`; `heads.0`, `heads.1`;
        `mixture.code`.
        """
        if self.scale in ONE_COORDINATE:
            return (self.name,)
        if self.scale == "list":
            return (
                *(f"{self.name}.{i}" for i in range(self.positions[1])),
                *((f"{self.name}.length",) if self._any_length else ()),
            )
        return tuple(f"{self.name}.{part}" for part in self.levels)

    def encode(self, value: Any) -> Any:
        """Value to natural scale: a float, or float64 [width] for categorical, list and
        simplex knobs.

        Raises:
            SpaceError: not a value of this knob's kind.
        """
        return _ENCODE[self.scale](self, value)

    def decode(self, point: Any) -> Any:
        """Natural scale to the nearest value; numbers are rounded to 9 significant
        digits.

        Raises:
            SpaceError: the value is beyond float64.
        """
        try:
            return _DECODE[self.scale](self, point)
        except (
            OverflowError,
            ValueError,
        ):  # 2.0 ** 5000, round(inf), round(nan)
            raise SpaceError(
                f"{self.name}: no finite value lies at {point!r:.80}. Declared: "
                f"{self.window_text}."
            ) from None

    @cached_property
    def grid(self) -> Any:
        """Declared levels on the natural scale, float64 [n_levels], [n_levels, width]
        for categories, None for list and simplex.
        """
        return (
            None
            if self.scale in ("list", "simplex")
            else np.array([self.encode(v) for v in self.levels])
        )

    @cached_property
    def window(self) -> np.ndarray:
        """Bounds of every coordinate, float64 [2, width]."""
        if self.scale in ONE_COORDINATE:
            return np.array([[self.grid[0]], [self.grid[-1]]])
        if self.scale == "list":
            low = np.zeros(self.positions[1])
            high = np.full(
                self.positions[1],
                (len(self.levels) - 1) / math.sqrt(self.positions[1]),
            )
            lengths = [
                [_log_length(n)] if self._any_length else []
                for n in self.positions
            ]
            return np.array(
                [np.append(low, lengths[0]), np.append(high, lengths[1])]
            )
        return np.array(
            [
                np.zeros(self.width),
                np.full(
                    self.width,
                    SIMPLEX_UNIT
                    if self.scale == "simplex"
                    else 1 / math.sqrt(2),
                ),
            ]
        )

    @property
    def window_text(self) -> str:
        """The declared window, for messages."""
        unit = f" {self.unit}" if self.unit not in ("", "1") else ""
        if self.scale in ONE_COORDINATE and all(map(is_number, self.levels)):
            return f"{self.levels[0]:g} to {self.levels[-1]:g}{unit}"
        named = ", ".join(map(_spelled, self.levels))
        if self.scale == "list":
            lengths = " to ".join(str(n) for n in sorted(set(self.positions)))
            return f"a list of {lengths} of {named}{unit}"
        return (
            f"weights of {named} that sum to 1"
            if self.scale == "simplex"
            else f"{named}{unit}"
        )

    def _wrong(self, value: Any, expected: str) -> SpaceError:
        return SpaceError(
            f"{self.name}={value!r} {expected}. Declared: {self.window_text}."
        )

    def _on_grid(self, point: float) -> float:
        """The grid's own coordinate where a value differs from it by its printed
        rounding only.
        """
        on_grid = round(point / self.step) * self.step if self.step else point
        return on_grid if abs(point - on_grid) < 1e-4 else point

    def _rank(self, value: Any, whole: Any) -> int:
        """Index of a level; `whole` is the value that it is a part of."""
        rank = self._ranks.get(_kind(value))
        if rank is not None:
            return rank
        close = difflib.get_close_matches(
            str(value), list(map(str, self.levels)), n=1
        )
        raise self._wrong(
            whole,
            "is none of the declared "
            f"values{f', did you mean {close[0]!r}?' if close else ''}",
        )


def is_number(value: Any) -> bool:
    """A number in the sense of JSON: bool is none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(
        value, bool
    )


def _kind(value: Any) -> tuple[bool, Any]:
    """A value such that True and 1 differ, and 1 and 1.0 do not."""
    return isinstance(value, bool), value if isinstance(
        value, (str, int, float, np.number)
    ) else repr(value)


def _spelled(value: Any) -> str:
    return f"{value:g}" if is_number(value) else str(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number, and finite in float64."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # a whole number of any size
        return False


def _finite(knob: Knob, value: Any) -> Any:
    if not is_finite(value):
        raise knob._wrong(value, "is not a finite number")
    return value


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")


def _encode_log(knob: Knob, value: Any) -> float:
    if _finite(knob, value) <= 0:
        raise knob._wrong(value, "must be positive")
    return knob._on_grid(math.log2(value / knob.factor))


def _encode_integer(knob: Knob, value: Any) -> float:
    if _finite(knob, value) != round(value):
        raise knob._wrong(value, "is not a whole number")
    return _encode_linear(knob, value)


def _encode_linear(knob: Knob, value: Any) -> float:
    point = float(_finite(knob, value)) / knob.factor / (knob.step or 1.0)
    if not math.isfinite(point):
        raise knob._wrong(value, "is too large for this knob's step")
    return point


def _encode_ordinal(knob: Knob, value: Any) -> float:
    if not all(map(is_number, knob.levels)):
        return float(knob._rank(value, value))
    levels = np.asarray(knob.levels, dtype=float)
    # beyond the ends all levels may look equally far in float64
    inside = np.clip(float(_finite(knob, value)), levels[0], levels[-1])
    return float(np.argmin(np.abs(levels - inside)))


def _encode_categorical(knob: Knob, value: Any) -> np.ndarray:
    point = np.zeros(knob.width)
    point[knob._rank(value, value)] = 1 / math.sqrt(2)
    return point


def _encode_list(knob: Knob, value: Any) -> np.ndarray:
    fewest, most = knob.positions
    if not isinstance(value, (list, tuple)) or not fewest <= len(value) <= most:
        raise knob._wrong(value, "is not a list of the declared length")
    ranks = np.array([knob._rank(item, value) for item in value], dtype=float)
    stretched = (
        ranks[_stretched(len(value), most)] if len(value) else np.zeros(most)
    )
    return np.append(
        stretched / math.sqrt(most),
        [_log_length(len(value))] if knob._any_length else [],
    )


def _stretched(length: int, positions: int) -> np.ndarray:
    """Which entry of a list of that length stands at each position, int64 [positions]."""
    return np.arange(positions) * length // positions


def _log_length(length: int) -> float:
    return math.log2(max(length, 0.5))


def _encode_simplex(knob: Knob, value: Any) -> np.ndarray:
    if not isinstance(value, Mapping) or set(value) != set(knob.levels):
        wrong = (
            sorted(set(map(str, value)) ^ set(map(str, knob.levels)))
            if isinstance(value, Mapping)
            else []
        )
        raise knob._wrong(
            value,
            f"needs exactly the declared parts{f' (see {wrong[0]!r})' if wrong else ''}",
        )
    weights = np.array(
        [_finite(knob, value[part]) for part in knob.levels], dtype=float
    )
    if weights.min() < 0 or abs(weights.sum() - 1) > SUM_SLACK:
        raise knob._wrong(
            value,
            f"has weights from {weights.min():g} that sum to {weights.sum():g}",
        )
    return SIMPLEX_UNIT * np.sqrt(weights / weights.sum())


def _decode_ordinal(knob: Knob, point: Any) -> Any:
    level = knob.levels[
        int(np.clip(round(float(point)), 0, len(knob.levels) - 1))
    ]
    return _rounded(level) if is_number(level) else level


def _decode_list(knob: Knob, point: Sequence[float] | np.ndarray) -> list[Any]:
    fewest, most = knob.positions
    length = (
        int(np.clip(np.rint(2.0 ** point[-1]), fewest, most))
        if knob._any_length
        else most
    )
    which = _stretched(length, most)
    ranks = np.asarray(point[:most]) * math.sqrt(most)
    means = [ranks[which == i].mean() for i in range(length)]
    return [
        knob.levels[int(r)]
        for r in np.clip(np.rint(means), 0, len(knob.levels) - 1)
    ]


def _decode_simplex(
    knob: Knob, point: Sequence[float] | np.ndarray
) -> dict[str, float]:
    weights = np.square(np.maximum(point, 0.0))
    weights = (
        weights / weights.sum()
        if weights.sum() > 0
        else np.full(knob.width, 1 / knob.width)
    )
    return {
        part: _rounded(w) for part, w in zip(knob.levels, weights, strict=True)
    }


_ENCODE: dict[str, Callable[[Knob, Any], Any]] = {
    "log": _encode_log,
    "linear": _encode_linear,
    "integer": _encode_integer,
    "ordinal": _encode_ordinal,
    "categorical": _encode_categorical,
    "list": _encode_list,
    "simplex": _encode_simplex,
}
_DECODE: dict[str, Callable[[Knob, Any], Any]] = {
    "log": lambda knob, point: _rounded(2.0**point * knob.factor),
    "linear": lambda knob, point: _rounded(
        point * (knob.step or 1.0) * knob.factor
    ),
    "integer": lambda knob, point: round(
        round(float(point) * (knob.step or 1.0)) * knob.factor
    ),
    "ordinal": _decode_ordinal,
    "categorical": lambda knob, point: knob.levels[int(np.argmax(point))],
    "list": _decode_list,
    "simplex": _decode_simplex,
}
