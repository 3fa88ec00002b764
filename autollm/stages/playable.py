"""Which sources the gym can play: marts without the spaces that it cannot represent
yet.

What does not belong here: building the snapshot. Invariant: where every space can be
represented, the marts are used as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autollm.core.scales import SCALES
from autollm.snapshots.building import MARTS


def left_out(marts: Path) -> dict[str, str]:
    """Sources whose space the gym cannot represent, with the reason."""
    path = marts / "dim_spaces.parquet"
    found = {}
    for entry in pq.read_table(path).to_pylist() if path.exists() else []:
        odd = [
            f"{k['name']} ({k['scale']})"
            for k in json.loads(entry["space_json"])["knobs"]
            if k["scale"] not in SCALES
        ]
        if odd:
            found[entry["source"]] = (
                f"the gym has no knobs like {', '.join(odd)}. Known scales: "
                f"{', '.join(SCALES)}"
            )
    return dict(sorted(found.items()))


def playable_marts(marts: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """A folder with marts of playable sources only, and what was left out. Nothing left
    out: `marts` itself.
    """
    out = left_out(marts)
    if not out:
        return marts, {}
    folder.mkdir(parents=True, exist_ok=True)
    gone = pa.array(list(out))
    experiments = pq.read_table(
        marts / "dim_experiments.parquet", columns=["experiment_id", "source"]
    )
    lost = experiments.filter(pc.is_in(experiments["source"], gone))[
        "experiment_id"
    ].combine_chunks()
    spaces = pq.read_table(
        marts / "dim_spaces.parquet", columns=["source", "space_id"]
    )
    kept = spaces.filter(pc.invert(pc.is_in(spaces["source"], gone)))[
        "space_id"
    ].combine_chunks()
    for name in MARTS:
        table = pq.read_table(marts / f"{name}.parquet")
        if "source" in table.column_names:
            table = table.filter(pc.invert(pc.is_in(table["source"], gone)))
        elif "experiment_id" in table.column_names:
            table = table.filter(
                pc.invert(pc.is_in(table["experiment_id"], lost))
            )
        else:
            table = table.filter(pc.is_in(table["space_id"], kept))
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    return folder, out
