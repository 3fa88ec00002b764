"""What a researcher may choose: knobs in a fixed order, each on its natural scale
(knobs.py), and which combinations exist.

A configuration is a dict of JSON values: a number, a string or bool for categories, a
list, {part: weight} for a simplex. A point is its image, float64 [n_coordinates]: one
coordinate for a number, several for the others. A knob that depends on another's value
is part of a configuration only where it is chosen; elsewhere its coordinates are the
middle of its window.

Invariant: `decode(encode(c)) == c` for every configuration inside the space (to 9
significant digits).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from autollm.core.errors import SpaceError
from autollm.core.records import canonical_json, content_hash
from autollm.core.spaces.knobs import Knob, is_number
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.core.validation import declaration

MAX_GRID = 1_000_000
"""A declared grid of more points than this is not laid out: the recorded rows are
listed instead.
"""


@declaration(SpaceError)
class Limit:
    """What knobs may be together: the sum of weight * coordinate over the named
    one-coordinate knobs is at most `most`.

    On log knobs that bounds a product: 2 log2(width) + log2(depth) <= 24 says width^2 *
    depth <= 2^24. A knob that is not chosen adds 0.
    """

    weights: tuple[tuple[str, float], ...]
    most: float

    def __str__(self) -> str:
        terms = " + ".join(
            f"{weight:g} {name}" for name, weight in self.weights
        )
        return f"{terms} <= {self.most:g} (natural units)"


@declaration(SpaceError)
class Space:
    """Knobs in a fixed order; the same declared window at every fidelity. Its length is
    that of its points.
    """

    knobs: tuple[Knob, ...]
    space_id: str = ""
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        before: dict[str, Knob] = {}
        for knob in self.knobs:
            if knob.name in before:
                raise SpaceError(
                    f"two knobs are named {knob.name!r}: a configuration can hold "
                    "one value of a name"
                )
            if knob.when and (
                knob.when[0] not in before
                or before[knob.when[0]].scale in ("list", "simplex")
            ):
                raise SpaceError(
                    f"knob {knob.name!r} hangs on {knob.when[0]!r}, which is no number "
                    "or category named before it"
                )
            before[knob.name] = knob
        for limit in self.limits:
            for name, _ in limit.weights:
                if (
                    name not in before
                    or before[name].scale not in ONE_COORDINATE
                ):
                    raise SpaceError(
                        f"limit {limit}: {name!r} is no knob of one coordinate. Known: "
                        f"{', '.join(self.names)}."
                    )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(k.name for k in self.knobs)

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """A name a coordinate; equal to `names` where every knob is one number."""
        return tuple(c for k in self.knobs for c in k.coordinates)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where in a point each knob's coordinates are."""
        ends = np.cumsum([k.width for k in self.knobs])
        return {
            k.name: slice(int(end) - k.width, int(end))
            for k, end in zip(self.knobs, ends, strict=True)
        }

    @cached_property
    def gridded(self) -> np.ndarray:
        """Which coordinates are a number's own, bool [n_coordinates]; the others are
        parts of a category, list or mixture.
        """
        return np.array(
            [
                k.scale in ONE_COORDINATE
                for k in self.knobs
                for _ in range(k.width)
            ]
        )

    def __len__(self) -> int:
        return len(self.coordinates)

    def encode(self, configuration: Mapping[str, Any]) -> np.ndarray:
        """Configuration to point, float64 [n_coordinates], natural units.

        Raises:
            SpaceError: a knob is missing, unknown, not of its kind, not chosen here, or
                beyond a limit.
        """
        if not isinstance(configuration, Mapping):
            raise SpaceError(
                f"a configuration is an object of {', '.join(self.names)}; got "
                f"{configuration!r}"
            )
        unknown = sorted(set(map(str, configuration)) - set(self.names))
        chosen = self._chosen(configuration)
        missing = [n for n in chosen if n not in configuration]
        if unknown or missing:
            problem = (
                f"unknown knob {unknown[0]!r}"
                if unknown
                else f"missing knob {missing[0]!r}"
            )
            raise SpaceError(
                f"{problem}. Expected exactly: {', '.join(chosen)}."
            )
        parts = [
            k.encode(configuration[k.name]) if k.name in chosen else _rest(k)
            for k in self.knobs
        ]
        idle = [
            k
            for k in self.knobs
            if k.name in configuration and k.name not in chosen
        ]
        if idle:
            raise SpaceError(
                f"{idle[0].name}={configuration[idle[0].name]!r} is chosen only where "
                f"{_condition(idle[0])}."
            )
        point = np.hstack([np.asarray(p, dtype=float).ravel() for p in parts])
        for limit in self.limits:
            if not self._within(point[None], limit, chosen)[0]:
                names = ", ".join(
                    f"{n}={configuration[n]!r}"
                    for n, _ in limit.weights
                    if n in chosen
                )
                raise SpaceError(f"{names} breaks the limit {limit}.")
        return point

    def decode(self, point: np.ndarray) -> dict[str, Any]:
        """Point [n_coordinates] to the nearest configuration of its knobs' kinds;
        limits are not looked at.
        """
        if len(point) != len(self):
            raise ValueError(
                f"a point of this space has {len(self)} coordinates, got {len(point)}"
            )
        out: dict[str, Any] = {}
        for knob, where in zip(self.knobs, self.slices.values(), strict=True):
            if knob.when is None or _holds(knob, out):
                out[knob.name] = knob.decode(
                    float(point[where.start])
                    if knob.scale in ONE_COORDINATE
                    else point[where]
                )
        return out

    @cached_property
    def window(self) -> np.ndarray:
        """Bounds of the declared window, float64 [2, n_coordinates], natural units."""
        return np.hstack([k.window for k in self.knobs])

    @cached_property
    def grid(self) -> np.ndarray | None:
        """Every point of the declared grid, float64 [n_points, n_coordinates], natural
        units, first knob slowest.

        None where there is no finite one: a list or simplex knob, or more than MAX_GRID
        points.
        """
        sizes = [len(k.levels) for k in self.knobs]
        if (
            any(k.grid is None for k in self.knobs)
            or math.prod(sizes) > MAX_GRID
        ):
            return None
        index = np.indices(sizes).reshape(len(sizes), -1)
        points = np.hstack(
            [
                k.grid[i].reshape(len(i), -1)
                for k, i in zip(self.knobs, index, strict=True)
            ]
        )
        return (
            points
            if not self.limits and all(k.when is None for k in self.knobs)
            else self._existing(points, index)
        )

    def inside(self, point: np.ndarray, slack: float = 1e-9) -> bool:
        """Whether a point [n_coordinates] lies in the declared window."""
        return bool(
            np.all(point >= self.window[0] - slack)
            and np.all(point <= self.window[1] + slack)
        )

    def _chosen(self, configuration: Mapping[str, Any]) -> list[str]:
        """Names of the knobs that this configuration has to choose."""
        out: dict[str, Any] = {}
        for knob in self.knobs:
            if knob.when is None or _holds(knob, out):
                out[knob.name] = configuration.get(knob.name)
        return list(out)

    def _existing(self, points: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Grid points with knobs that are not chosen at rest, once each, those beyond a
        limit left out. `index` [n_knobs, n_points].
        """
        chosen = {k.name: np.ones(len(points), dtype=bool) for k in self.knobs}
        for knob in self.knobs:
            if knob.when:
                parent, values = knob.when
                other = self.names.index(parent)
                fits = np.array(
                    [
                        _among(level, values)
                        for level in self.knobs[other].levels
                    ]
                )
                chosen[knob.name] = chosen[parent] & fits[index[other]]
                points[~chosen[knob.name], self.slices[knob.name]] = _rest(knob)
        kept = (
            np.all(
                [self._within(points, limit, chosen) for limit in self.limits],
                axis=0,
            )
            if self.limits
            else np.ones(len(points), bool)
        )
        _, first = np.unique(points, axis=0, return_index=True)
        once = np.zeros(len(points), dtype=bool)
        once[first] = True
        return points[kept & once]

    def _within(
        self, points: np.ndarray, limit: Limit, chosen: Any
    ) -> np.ndarray:
        """Whether points [n, n_coordinates] keep a limit, bool [n]; `chosen`: names, or
        masks [n] by name.
        """
        total = np.zeros(len(points))
        for name, weight in limit.weights:
            counts = (
                chosen[name] if isinstance(chosen, dict) else name in chosen
            )
            total = total + np.where(
                counts, weight * points[:, self.slices[name].start], 0.0
            )
        return total <= limit.most + 1e-9

    def to_json(self) -> str:
        knobs = []
        for k in self.knobs:
            raw = {
                "name": k.name,
                "scale": k.scale,
                "levels": list(k.levels),
                "unit": k.unit,
                "step": k.step,
                "role": k.role,
            }
            raw |= {"positions": list(k.positions)} if k.scale == "list" else {}
            raw |= {"factor": k.factor} if k.factor != 1 else {}
            knobs.append(
                raw
                | (
                    {"when": {"knob": k.when[0], "values": list(k.when[1])}}
                    if k.when
                    else {}
                )
            )
        limits = [
            {"weights": dict(limit.weights), "most": limit.most}
            for limit in self.limits
        ]
        return canonical_json(
            {"space_id": self.space_id, "knobs": knobs}
            | ({"limits": limits} if limits else {}),
            digits=9,
        )

    @classmethod
    def from_json(cls, text: str) -> Space:
        raw = json.loads(text)
        limits = tuple(
            Limit(tuple(entry["weights"].items()), entry["most"])
            for entry in raw.get("limits", ())
        )
        return cls(
            tuple(_knob_of(k) for k in raw["knobs"]), raw["space_id"], limits
        )

    @cached_property
    def digest(self) -> str:
        return content_hash(self.to_json())


def _knob_of(raw: dict[str, Any]) -> Knob:
    when = raw.get("when")
    lists = {
        "levels": tuple(raw["levels"]),
        "positions": tuple(raw.get("positions", (0, 0))),
    }
    return Knob(
        **{
            **raw,
            **lists,
            "when": (when["knob"], tuple(when["values"])) if when else None,
        }
    )


def _among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether a value is one of `values`; numbers to the 9 digits that decode keeps,
    and True is not 1.
    """
    return any(_same(value, v) for v in values)


def _same(a: Any, b: Any) -> bool:
    if is_number(a) and is_number(b):
        return math.isclose(a, b, rel_tol=1e-8)
    return type(a) is type(b) and a == b


def _holds(knob: Knob, chosen: Mapping[str, Any]) -> bool:
    """Whether a conditional knob is chosen, given the values of the knobs before it."""
    assert knob.when is not None
    parent, values = knob.when
    return parent in chosen and _among(chosen[parent], values)


def _condition(knob: Knob) -> str:
    assert knob.when is not None
    parent, values = knob.when
    return f"{parent} is {' or '.join(map(repr, values))}"


def _rest(knob: Knob) -> np.ndarray:
    """Coordinates of a knob that is not chosen: the middle of its window, far from no
    value of it.
    """
    return knob.window.mean(axis=0)
