"""Declared spaces of a snapshot: as the mappings say them, completed by the values that
occur.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import numpy as np

from autollm.core.ids import Origin
from autollm.core.records import canonical_json
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Limit, Space


def origin_of(row: dict[str, Any]) -> Origin:
    """What a row of a mart may be compared within."""
    return Origin(row["source"], row["source_group"])


def build_spaces(
    spaces: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> dict[tuple[Origin, str], Space]:
    """Declared spaces by origin and space_id. A knob's levels are those declared, the
    stated window in steps, else all that occur.
    """
    texts: dict[tuple[Origin, str], set[str]] = {}
    for row in rows:
        key = origin_of(row), row["space_id"]
        texts.setdefault(key, set()).add(row["config_json"])
    out = {}
    for entry in spaces:
        key = origin_of(entry), entry["space_id"]
        configs = [json.loads(text) for text in sorted(texts.get(key, ()))]
        raw = json.loads(entry["space_json"])
        knobs = []
        for declared in raw["knobs"]:
            name = declared["name"]
            values = [config[name] for config in configs if name in config]
            knobs.append(_knob(declared, values))
        limits = []
        for limit in raw.get("limits") or ():
            limits.append(Limit(tuple(limit["weights"].items()), limit["most"]))
        if configs:
            known = tuple(filter(None, knobs))
            out[key] = Space(known, entry["space_id"], tuple(limits))
    return out


def _knob(raw: dict[str, Any], values: list[Any]) -> Knob | None:
    """A knob as its mapping declares it, completed by the values that occur; None where
    it has neither.
    """
    scale = raw["scale"]
    step = float(raw.get("step") or 0)
    window = raw.get("window")
    declared = raw.get("values")
    items = values
    if scale in ("list", "simplex"):
        items = list(chain.from_iterable(values))
    if window and scale == "log" and step:
        exponents = _steps(*np.log2(window), step)
        levels = [float(f"{2.0**exponent:.9g}") for exponent in exponents]
    elif window and scale in ("linear", "integer") and step:
        levels = [float(f"{level:.9g}") for level in _steps(*window, step)]
    elif declared and scale != "simplex":
        levels = list(declared)
    else:
        levels = _distinct(items)
    if not levels:
        return None
    when = raw.get("when")
    return Knob(
        raw["name"],
        scale,
        tuple(levels),
        raw.get("unit") or "",
        step,
        raw.get("role") or "",
        (min(map(len, values)), max(map(len, values)))
        if scale == "list"
        else (0, 0),
        (when["knob"], tuple(when["values"])) if when else None,
    )


def _steps(low: float, high: float, step: float) -> list[float]:
    """From `low` to about `high`, both included."""
    return [low + step * i for i in range(round((high - low) / step) + 1)]


def _distinct(items: list[Any]) -> list[Any]:
    """Distinct values, ascending where all are numbers, else by their JSON text."""
    by_text = {canonical_json(item): item for item in items}
    kinds = set(map(type, by_text.values()))
    if kinds <= {int, float}:
        return sorted(by_text.values())
    return [by_text[text] for text in sorted(by_text)]
