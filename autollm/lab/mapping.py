"""The mapping of a family's logs, made from its declaration: what is declared once lands
as it is declared.
"""

from __future__ import annotations

from typing import Any

from autollm.core.mappings.mapping import RUN_LOG, Mapping, build_mapping
from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.lab.families import FAMILIES
from autollm.lab.spec import Family

FILES = ("*.jsonl", "*.jsonl.zst", "*.jsonl.gz")
UNITS = {
    "params": "parameters",
    "param_budget": "parameters",
    "tokens": "tokens",
    "completions": "completions",
    "flop_budget": "FLOPs",
}
"""Units of fidelity coordinates."""
TOLERANCE = {"log": 0.02, "linear": 0.001, "integer": 0.001, "simplex": 0.001}
"""How far a logged value may lie from the declared grid, in the knob's natural units:
what the six digits of a log leave open, and no more."""


def lab_mappings() -> list[Mapping]:
    """The mappings of all families, see `mapping_of`."""
    return [mapping_of(family) for family in FAMILIES.values()]


def mapping_of(family: Family) -> Mapping:
    """How the run logs of a family land: the source `lab-<family>`."""
    coordinates = family.fidelity(family.levels[0])
    fidelity = [{"name": name, "unit": UNITS[name]} for name in coordinates]
    raw: dict[str, Any] = {
        "source": family.source,
        "family": family.decides or family.name,
        "format": RUN_LOG,
        "files": FILES,
        "knobs": list(map(_knob, family.space.knobs)),
        "fidelity": fidelity,
        "objective": _metric(family.objective),
        "secondary": list(map(_metric, family.secondary)),
        "cost": {
            "flops": family.cost_flops,
            "device_hours": "cost.device_hours",
        },
    }
    if family.signal:
        signal = family.signal
        raw["signal"] = {"name": signal.name, "direction": signal.direction}
    if family.group:
        raw["group"] = {"column": family.group}
    return build_mapping(raw, f"lab family {family.name}")


def _knob(knob: Knob) -> dict[str, Any]:
    """A knob's entry: numbers on a grid by their window, others by their values."""
    entry: dict[str, Any] = {"name": knob.name, "scale": knob.scale}
    if knob.unit:
        entry["unit"] = knob.unit
    if knob.role:
        entry["role"] = knob.role
    if knob.scale in TOLERANCE:
        entry["tolerance"] = TOLERANCE[knob.scale]
    if knob.scale == "simplex":
        columns = f"config.{knob.name}."
        return entry | {"columns": [f"{columns}*"], "prefix": columns}
    if knob.step:
        window = (float(knob.levels[0]), float(knob.levels[-1]))
        return entry | {"step": knob.step, "window": window}
    return entry | {"values": knob.levels}


def _metric(metric: Metric) -> dict[str, str]:
    entry = {"name": metric.name, "unit": metric.unit}
    if metric.direction:
        entry["direction"] = metric.direction
    return entry
