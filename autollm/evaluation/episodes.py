"""Judged episodes on disk: Parquet parts, one folder a snapshot, each part written once
and whole.

    <out_url>/<table_id>/part-<hash of its keys>.parquet

What does not belong here: playing, means. Invariant: a key stands in the answer at most
once, whatever was killed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core import files as storage
from autollm.core.records import content_hash
from autollm.evaluation.protocol import EpisodeResult

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list[float]": pa.list_(pa.float64()),
    "list[int]": pa.list_(pa.int64()),
}
SCHEMA = pa.schema(
    [(f.name, _TYPES[f.type]) for f in fields(EpisodeResult)],
    metadata={"schema": "autollm.episodes/1"},
)


def write_part(out_url: str, table_id: str, results: Sequence[EpisodeResult]) -> str:
    """Write results of one snapshot as a new part; returns its URL."""
    name = content_hash("\n".join(sorted(repr(r.key) for r in results)))
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist([r.as_row() for r in results], schema=SCHEMA),
        buffer,
        compression="zstd",
    )
    url = storage.join(out_url, table_id, f"part-{name}.parquet")
    storage.write_atomic(url, buffer.getvalue())
    return url


def load_results(out_url: str, table_id: str) -> dict[tuple[Any, ...], EpisodeResult]:
    """All judged episodes of a snapshot by key. Parts of another schema (an older
    version's) are left aside.
    """
    folder = storage.join(out_url, table_id)
    out: dict[tuple[Any, ...], EpisodeResult] = {}
    for name in storage.list_names(folder):
        if not (name.startswith("part-") and name.endswith(".parquet")):
            continue
        part = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(folder, name))))
        if part.schema.equals(SCHEMA):
            out.update(_by_key(part.to_pylist()))
    return out


def _by_key(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], EpisodeResult]:
    results = (EpisodeResult(**row) for row in rows)
    return {r.key: r for r in results}
