"""Which sources the gym can play: marts without the spaces that it cannot represent
yet.

Invariant: where every space can be represented, the marts are used as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autollm.core.spaces.scales import SCALES
from autollm.snapshots.building import MARTS


def left_out(marts: Path) -> dict[str, str]:
    """Sources whose space the gym cannot represent, with the reason."""
    path = marts / "dim_spaces.parquet"
    reasons = {}
    for entry in pq.read_table(path).to_pylist() if path.exists() else []:
        unknown = []
        for knob in json.loads(entry["space_json"])["knobs"]:
            if knob["scale"] not in SCALES:
                unknown.append(f"{knob['name']} ({knob['scale']})")
        if unknown:
            reasons[entry["source"]] = (
                f"the gym has no knobs like {', '.join(unknown)}. Known scales: "
                f"{', '.join(SCALES)}"
            )
    return dict(sorted(reasons.items()))


def playable_marts(marts: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """A folder with marts of playable sources only, and what was left out. Nothing left
    out: `marts` itself.
    """
    reasons = left_out(marts)
    if not reasons:
        return marts, {}
    folder.mkdir(parents=True, exist_ok=True)
    sources = pa.array(list(reasons))
    experiments = _values(marts, "dim_experiments", "experiment_id", sources)
    spaces = _values(marts, "dim_spaces", "space_id", sources)
    for name in MARTS:
        table = pq.read_table(marts / f"{name}.parquet")
        if "source" in table.column_names:
            leaves = pc.is_in(table["source"], sources)
        elif "experiment_id" in table.column_names:
            leaves = pc.is_in(table["experiment_id"], experiments)
        else:
            leaves = pc.is_in(table["space_id"], spaces)
        kept = table.filter(pc.invert(leaves))
        pq.write_table(kept, folder / f"{name}.parquet", compression="zstd")
    return folder, reasons


def _values(marts: Path, mart: str, column: str, sources: pa.Array) -> pa.Array:
    """Values of a column where the source is one of these, and nowhere else."""
    table = pq.read_table(marts / f"{mart}.parquet", columns=[column, "source"])
    theirs = pc.is_in(table["source"], sources)
    values = pc.unique(table.filter(theirs)[column])
    others = pc.unique(table.filter(pc.invert(theirs))[column])
    return values.filter(pc.invert(pc.is_in(values, others)))
