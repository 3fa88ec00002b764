"""What a researcher may choose: knobs, each with a natural scale on which distances mean the same everywhere.

A configuration is a dict {knob: value}; a point is its image, float64 [n_knobs], on the natural scale: log2 of the value
for `log` knobs (unit: octaves), value / step for `linear` ones, the level's rank for `ordinal` ones.
What does not belong here: outcomes, fidelities, what a policy makes of a space.

Invariant: `decode(encode(c)) == c` for every configuration inside the space (to 9 significant digits).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autollm.errors import SpaceError
from autollm.records import canonical_json, content_hash

SCALES = ("log", "linear", "ordinal")


@dataclass(frozen=True)
class Knob:
    """One choice. `levels` are the values of the declared window, ascending; `step` is the grid on the natural scale."""

    name: str
    scale: str
    levels: tuple[float, ...]
    unit: str = ""
    step: float = 0.0
    role: str = ""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise SpaceError(f"knob {self.name!r}: scale {self.scale!r}, expected one of {', '.join(SCALES)}")
        if not self.levels or list(self.levels) != sorted(self.levels):
            raise SpaceError(f"knob {self.name!r}: levels must be ascending and not empty, got {self.levels}")
        if self.scale == "log" and self.levels[0] <= 0:
            raise SpaceError(f"knob {self.name!r}: a log knob needs positive levels, got {self.levels[0]}")

    def encode(self, value: Any) -> float:
        """Value to natural scale.

        Raises:
            SpaceError: not a finite number, or not positive on a log scale.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
            raise SpaceError(f"{self.name}={value!r} is not a finite number. Declared: {self.window_text}.")
        if self.scale == "log":
            if value <= 0:
                raise SpaceError(f"{self.name}={value!r} must be positive. Declared: {self.window_text}.")
            return self._on_grid(math.log2(value))
        if self.scale == "ordinal":
            return float(np.argmin(np.abs(np.asarray(self.levels) - value)))
        return float(value) / (self.step or 1.0)

    def decode(self, point: float) -> float:
        """Natural scale to value, rounded to 9 significant digits."""
        if self.scale == "log":
            value = 2.0**point
        elif self.scale == "ordinal":
            value = self.levels[int(np.clip(round(point), 0, len(self.levels) - 1))]
        else:
            value = point * (self.step or 1.0)
        return float(f"{value:.9g}")

    def _on_grid(self, point: float) -> float:
        """The grid's own coordinate where a value differs from it by its printed rounding only."""
        on_grid = round(point / self.step) * self.step if self.step else point
        return on_grid if abs(point - on_grid) < 1e-4 else point

    @cached_property
    def grid(self) -> np.ndarray:
        """Declared levels on the natural scale, float64 [n_levels]."""
        return np.array([self.encode(v) for v in self.levels])

    @property
    def window_text(self) -> str:
        return f"{self.levels[0]:g} to {self.levels[-1]:g}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True)
class Space:
    """Knobs in a fixed order; the same declared window at every fidelity."""

    knobs: tuple[Knob, ...]
    space_id: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(k.name for k in self.knobs)

    def __len__(self) -> int:
        return len(self.knobs)

    def encode(self, configuration: Mapping[str, Any]) -> np.ndarray:
        """Configuration to point, float64 [n_knobs], natural units.

        Raises:
            SpaceError: a knob is missing, unknown or not a number.
        """
        if not isinstance(configuration, Mapping):
            raise SpaceError(f"a configuration is an object of {', '.join(self.names)}; got {configuration!r}")
        unknown = sorted(set(map(str, configuration)) - set(self.names))
        missing = [n for n in self.names if n not in configuration]
        if unknown or missing:
            problem = f"unknown knob {unknown[0]!r}" if unknown else f"missing knob {missing[0]!r}"
            raise SpaceError(f"{problem}. Expected exactly: {', '.join(self.names)}.")
        return np.array([k.encode(configuration[k.name]) for k in self.knobs])

    def decode(self, point: np.ndarray) -> dict[str, float]:
        """Point [n_knobs] to configuration."""
        return {k.name: k.decode(float(p)) for k, p in zip(self.knobs, point, strict=True)}

    @cached_property
    def window(self) -> np.ndarray:
        """Bounds of the declared window, float64 [2, n_knobs], natural units."""
        return np.array([[k.grid[0] for k in self.knobs], [k.grid[-1] for k in self.knobs]])

    @cached_property
    def grid(self) -> np.ndarray:
        """Every point of the declared grid, float64 [n_points, n_knobs], natural units, first knob slowest."""
        return np.array(list(itertools.product(*(k.grid for k in self.knobs))))

    def inside(self, point: np.ndarray, slack: float = 1e-9) -> bool:
        """Whether a point [n_knobs] lies in the declared window."""
        return bool(np.all(point >= self.window[0] - slack) and np.all(point <= self.window[1] + slack))

    def to_json(self) -> str:
        knobs = [{"name": k.name, "scale": k.scale, "levels": list(k.levels), "unit": k.unit, "step": k.step, "role": k.role}
                 for k in self.knobs]
        return canonical_json({"space_id": self.space_id, "knobs": knobs}, digits=9)

    @classmethod
    def from_json(cls, text: str) -> Space:
        raw = json.loads(text)
        return cls(tuple(Knob(**{**k, "levels": tuple(k["levels"])}) for k in raw["knobs"]), raw["space_id"])

    @cached_property
    def digest(self) -> str:
        return content_hash(self.to_json())


def nearest(points: np.ndarray, query: np.ndarray) -> tuple[int, float]:
    """Index of the row of `points` [n, d] nearest to `query` [d], and its Euclidean distance in natural units.

    The lowest index wins a tie (to 1e-9), so that the answer does not hang on rounding.
    """
    squared = np.sum((points - query) ** 2, axis=1)
    index = int(np.flatnonzero(squared <= squared.min() + 1e-9)[0])
    return index, float(np.sqrt(squared[index]))
