"""The arrays of a snapshot, memory-mapped when it is opened.

    experiments.json    what the dense experiment ids stand for, and the declared spaces
    arrays/*.npy        offsets, points, the columns of outcome_table.COLUMNS, metrics and
                        curves, rows of one experiment side by side

snapshots/arrays.py makes and writes them.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from autollm.core import files as storage
from autollm.core.metrics import Metric
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable

SCHEMA = 4
"""2: secondary metrics as arrays; lists of several lengths by relative position. 3:
learning curves. 4: a source's group is a field; spaces are numbered.
"""


def is_opened(name: str) -> bool:
    """Whether `load_table` reads this file of a snapshot."""
    return name == "experiments.json" or name.startswith("arrays/")


def load_table(folder: str, table_id: str) -> OutcomeTable:
    """The table of a snapshot's folder (URL); arrays of local ones are memory-mapped,
    read-only.
    """
    raw = json.loads(
        storage.read_bytes(storage.join(folder, "experiments.json"))
    )
    spaces = [Space.from_json(text) for text in raw["spaces"]]
    experiments = tuple(
        _experiment(entry, spaces) for entry in raw["experiments"]
    )
    offsets = _load(folder, "offsets")
    flat = _load(folder, "points")
    widths = np.array([len(e.space) for e in experiments])
    first_values = np.concatenate([[0], np.cumsum(np.diff(offsets) * widths)])
    points = tuple(
        flat[first_values[i] : first_values[i + 1]].reshape(-1, w)
        for i, w in enumerate(widths)
    )
    columns = {name: _load(folder, name) for name in COLUMNS}
    return OutcomeTable(
        table_id,
        experiments,
        offsets,
        columns,
        points,
        _load(folder, "metric_values"),
        _load(folder, "metric_latents"),
        _load(folder, "curve_offsets"),
        _load(folder, "curve_points"),
    )


def _experiment(entry: dict[str, Any], spaces: list[Space]) -> Experiment:
    signal = entry["signal"]
    read = {
        "space": spaces[entry["space"]],
        "metrics": tuple(_metric(stored) for stored in entry["metrics"]),
        "signal": _metric(signal) if signal else None,
    }
    return Experiment(**(entry | read))


def _metric(stored: list[Any]) -> Metric:
    name, direction = stored
    return Metric(name, direction=direction)


def _load(folder: str, name: str) -> np.ndarray:
    url = storage.join(folder, "arrays", f"{name}.npy")
    if storage.is_local(url):
        return np.load(
            storage.local_path(url), mmap_mode="r", allow_pickle=False
        )
    array = np.load(io.BytesIO(storage.read_bytes(url)), allow_pickle=False)
    array.setflags(write=False)
    return array
