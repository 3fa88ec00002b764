"""What one natural unit of a plain number is, where its mapping states no step.

Distances of an octave, a step and another category are about 1 everywhere (core/spaces/knobs.py),
and priors count on it: a KL coefficient between 0 and .01 is not one unit wide, nor a
warm-up of 100 to 2,000 steps 1,900.

Invariant: stated steps, windows and values stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from autollm.core.spaces.knobs import is_number

MOST_STEPS = 4
"""Steps of a window at most: many values drawn at random are no fine grid."""


def with_steps(spaces: pa.Table, outcomes: pa.Table) -> pa.Table:
    """dim_spaces with a step for every linear or whole number that has none, by what the
    outcome mart holds.
    """
    texts: dict[tuple[str, str], set[str]] = {}
    columns = ["source", "space_id", "config_json"]
    for row in outcomes.select(columns).to_pylist():
        key = row["source"], row["space_id"]
        texts.setdefault(key, set()).add(row["config_json"])
    rows = spaces.to_pylist()
    for row in rows:
        raw = json.loads(row["space_json"])
        configs = []
        for text in texts.get((row["source"], row["space_id"]), ()):
            configs.append(json.loads(text))
        for knob in raw["knobs"]:
            values = [config.get(knob["name"]) for config in configs]
            knob |= _step(knob, sorted(set(filter(is_number, values))))
        row["space_json"] = json.dumps(raw)
    return pa.Table.from_pylist(rows, schema=spaces.schema)


def _step(knob: dict[str, Any], values: Sequence[float]) -> dict[str, Any]:
    """What is to be said of one knob beside what is."""
    is_stated = knob.get("step") or knob.get("window") or knob.get("values")
    if knob["scale"] not in ("linear", "integer") or is_stated:
        return {}
    if len(values) < 2:
        return {}
    extent = values[-1] - values[0]
    return {"step": extent / min(len(values) - 1, MOST_STEPS)}
