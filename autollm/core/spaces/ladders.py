"""Ladders of fidelity: what makes a run expensive, and what every rung of them reports.

Invariant: equal ladders give equal texts, and so equal ids.
"""

from __future__ import annotations

import json
from typing import Any

from autollm.core.errors import SpaceError
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json
from autollm.core.validation import declaration


@declaration(SpaceError)
class Coordinate:
    """One axis of fidelity: parameters, tokens ..."""

    name: str
    unit: str = ""


@declaration(SpaceError)
class Ladder:
    """Coordinates in their order; secondary metrics with a direction; the metric that
    runs log while they go on, where there is one.
    """

    coordinates: tuple[Coordinate, ...]
    metrics: tuple[Metric, ...] = ()
    signal: Metric | None = None

    def to_json(self) -> str:
        raw: dict[str, Any] = {
            "coordinates": [
                {"name": c.name, "unit": c.unit} for c in self.coordinates
            ]
        }
        metrics = []
        for m in self.metrics:
            metrics.append(
                {"name": m.name, "direction": m.direction, "unit": m.unit}
            )
        if metrics:
            raw["metrics"] = metrics
        if self.signal:
            signal = self.signal
            raw["signal"] = {"name": signal.name, "direction": signal.direction}
        return canonical_json(raw)

    @classmethod
    def from_json(cls, text: str) -> Ladder:
        """
        Raises:
            SpaceError: not a ladder's text.
        """
        try:
            raw = json.loads(text)
            signal = raw.get("signal")
            coordinates = tuple(Coordinate(**c) for c in raw["coordinates"])
            metrics = tuple(Metric(**entry) for entry in raw.get("metrics", ()))
            last = Metric(**signal) if signal else None
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            if isinstance(problem, SpaceError):
                raise
            raise SpaceError(
                f"{text!r:.80} is no ladder: {problem!r}"
            ) from None
        return cls(coordinates, metrics, last)
