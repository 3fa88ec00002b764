"""Declared spaces of a snapshot: as the mappings say them, completed by the values that
occur.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from autollm.core.knobs import Knob
from autollm.core.records import canonical_json
from autollm.core.space import Limit, Space


def build_spaces(
    spaces: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> dict[str, Space]:
    """Declared spaces by `<source>/<space_id>`. A knob's levels are those declared, the
    stated window in steps, else all that occur.
    """
    texts: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        texts.setdefault((row["source"], row["space_id"]), set()).add(
            row["config_json"]
        )
    out = {}
    for entry in spaces:
        key = entry["source"], entry["space_id"]
        configs = [json.loads(text) for text in sorted(texts.get(key, ()))]
        raw = json.loads(entry["space_json"])
        knobs = []
        for declared in raw["knobs"]:
            name = declared["name"]
            values = [config[name] for config in configs if name in config]
            knobs.append(_knob(declared, values))
        limits = tuple(
            Limit(tuple(entry["weights"].items()), entry["most"])
            for entry in raw.get("limits") or ()
        )
        if configs:
            out["/".join(key)] = Space(
                tuple(k for k in knobs if k), entry["space_id"], limits
            )
    return out


def _knob(raw: dict[str, Any], values: list[Any]) -> Knob | None:
    """A knob as its mapping declares it, completed by the values that occur; None where
    it has neither.
    """
    scale = raw["scale"]
    step = float(raw.get("step") or 0)
    window = raw.get("window")
    declared = raw.get("values")
    items = (
        [item for value in values for item in value]
        if scale in ("list", "simplex")
        else values
    )
    if window and scale == "log" and step:
        low, high = np.log2(window)
        levels = [
            float(f"{2.0 ** (low + step * i):.9g}")
            for i in range(round((high - low) / step) + 1)
        ]
    elif window and scale in ("linear", "integer") and step:
        levels = [
            float(f"{window[0] + step * i:.9g}")
            for i in range(round((window[1] - window[0]) / step) + 1)
        ]
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


def _distinct(items: list[Any]) -> list[Any]:
    """Distinct values, ascending where all are numbers, else by their JSON text."""
    by_text = {canonical_json(item): item for item in items}
    if all(
        isinstance(v, (int, float)) and not isinstance(v, bool)
        for v in by_text.values()
    ):
        return sorted(by_text.values())
    return [by_text[text] for text in sorted(by_text)]
