"""Mappings and tables as nobody would write them, for `test_agreement.py`: odd names,
every kind of knob, cells of any kind, states, groups, costs that are missing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from autollm.core.mappings.mapping import RUN_LOG, Mapping, build_mapping
from autollm.core.records import RunEnd, RunHeader, RunStep, to_line

NAMES = st.one_of(
    st.sampled_from(
        [
            "lr",
            "optimizer.lr",
            "β2 / top%",
            "a'b",
            "$.x",
            "x[0]",
            "*",
            "?",
            "*b",
        ]
    ),
    st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters='"\\'),
        min_size=1,
        max_size=6,
    ),
)
NUMBERS = st.one_of(
    st.sampled_from([0.5, 1.0, 2.0, 4.0, 1e-3]),
    st.floats(allow_subnormal=False),
    st.integers(-(2**63), 2**63 - 1),
)
CELLS = st.one_of(
    NUMBERS,
    st.sampled_from(["", "None", "nan", "1.3B", "12 %", "x", "O'Brien", True]),
    st.none(),
)
GOOD = st.sampled_from([0.5, 1, 2.0, 4, "8"])
SIZES = st.sampled_from([1e6, 2e6, 4e6, "8M"])
ODD_SIZES = st.one_of(SIZES, st.floats(1e-9, 1e30), CELLS)
SEEDS = st.integers(0, 3)
WORDS = ["ok", "COMPLETED", "crashed", "killed", "pruned", "running", "odd", ""]
COSTS = ["6 * size", "cost", "cost / size", "log2(size)", "1"]


@dataclass(frozen=True)
class Source:
    """One mapping and a table that it reads, as lines of JSON."""

    mapping: Mapping
    data: bytes


@st.composite
def tables(draw: st.DrawFn, name: str) -> Source:
    """A source of one table."""
    names = draw(st.lists(NAMES, min_size=4, max_size=4, unique=True))
    columns: dict[str, st.SearchStrategy[Any]] = {
        "cost": draw(st.sampled_from([SIZES, ODD_SIZES, st.none()])),
        "loss": draw(st.sampled_from([GOOD, CELLS])),
        "seed": draw(st.sampled_from([SEEDS, CELLS])),
        "state": st.sampled_from(WORDS),
        "set": st.sampled_from(["a", "b", "a", "b", "a/b", ""]),
        "size": draw(st.sampled_from([SIZES, ODD_SIZES])),
    }
    knobs = []
    for at, knob in enumerate(names[:2]):
        scale = draw(
            st.sampled_from(["log", "linear", "integer", "ordinal", "list"])
        )
        entry: dict[str, Any] = {"name": knob, "scale": scale}
        entry["column"] = f"knob{at}"
        if scale in ("log", "linear") and draw(st.booleans()):
            entry["step"] = draw(st.sampled_from([0.5, 3.0]))
        if draw(st.booleans()):
            entry["missing"] = draw(st.sampled_from([1, 2.5]))
        knobs.append(entry)
        columns[f"knob{at}"] = draw(st.sampled_from([GOOD, GOOD, CELLS]))
    raw: dict[str, Any] = {
        "source": name,
        "family": "pretraining",
        "format": "jsonl",
        "files": [f"{name}.jsonl"],
        "run_key": {
            "columns": ["id"],
            "repeated": draw(st.sampled_from(["number", "quarantine"])),
        },
        "replica": {
            "column": draw(st.sampled_from(["", "seed"])),
            "duplicate_cells": draw(st.sampled_from(["average", "quarantine"])),
        },
        "knobs": knobs,
        "fidelity": [{"name": names[2], "column": "size"}],
        "objective": {
            "name": names[3],
            "column": "loss",
            "direction": draw(st.sampled_from(["min", "max"])),
        },
        "cost": {"flops": draw(st.sampled_from(COSTS))},
    }
    if draw(st.booleans()):
        raw["group"] = {"column": "set"}
    if draw(st.booleans()):
        raw["state"] = {"column": "state", "words": {"odd": "pruned"}}
    if draw(st.booleans()):
        raw["context"] = [{"name": "c", "column": "set", "missing": "none"}]
    if draw(st.booleans()):
        raw["secondary"] = [{"name": draw(NAMES), "column": "cost"}]
        if raw["secondary"][0]["name"] == names[3]:
            del raw["secondary"]
    if draw(st.booleans()):
        raw["status"] = [{"status": "diverged", "when": "loss > 3"}]
    rows = []
    for at in range(draw(st.integers(4, 12))):
        row = {"id": draw(st.sampled_from([f"r{at}"] * 5 + ["r0", 7, None]))}
        rows.append(row | {n: draw(cells) for n, cells in columns.items()})
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    mapping = build_mapping(raw, name)
    return Source(mapping, (lines + "\n").encode("utf-8", "replace"))


@st.composite
def run_logs(draw: st.DrawFn, name: str) -> Source:
    """A source of raw run logs, of which this is one."""
    knob, metric = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
    raw = {
        "source": name,
        "family": "pretraining",
        "format": RUN_LOG,
        "knobs": [{"name": knob, "scale": "categorical"}],
        "fidelity": [{"name": "tokens"}],
        "objective": {"name": metric, "direction": "min"},
        "cost": {"flops": draw(st.sampled_from(["cost.flops", "tokens"]))},
    }
    values = st.one_of(st.integers(-5, 5), st.floats(), st.sampled_from("ab"))
    header = RunHeader(
        "r0",
        name,
        "pretraining",
        {knob: draw(values)},
        {"tokens": draw(st.sampled_from([1e6, 2e6, -1.0, math.inf]))},
        draw(st.integers(-(2**63), 2**64 - 1)),
    )
    lines = [to_line(header)]
    for _ in range(draw(st.integers(0, 4))):
        step = RunStep(draw(st.integers(0, 9)), {metric: draw(st.floats())})
        lines.append(to_line(step))
    if draw(st.booleans()):
        status = draw(st.sampled_from(["finished", "diverged", "failed"]))
        final = {metric: draw(st.floats())} if draw(st.booleans()) else {}
        cost = {"flops": draw(ODD_SIZES)} if draw(st.booleans()) else {}
        if not isinstance(cost.get("flops"), (float, type(None))):
            cost = {}
        lines.append(to_line(RunEnd(status, final, cost)))
    data = ("\n".join(lines) + "\n").encode("utf-8", "replace")
    return Source(build_mapping(raw, name), data)
