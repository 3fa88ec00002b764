"""Judged episodes on disk: Parquet parts, one folder a task as it was posed on its
rows, each part written once and whole.

    <out_url>/<task_digest>/part-<digest of its bytes>.parquet

A part of another schema (an older version's) answers nothing, and so do folders by
snapshot, which older versions wrote. Invariant: a key stands in the answer at most
once, whatever was killed.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core import files as storage
from autollm.core.records import content_hash
from autollm.evaluation.protocol import EpisodeResult

log = logging.getLogger(__name__)
_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list[float]": pa.list_(pa.float64()),
    "list[int]": pa.list_(pa.int64()),
}
SCHEMA = pa.schema(
    [(f.name, _TYPES[str(f.type)]) for f in fields(EpisodeResult)],
    metadata={"schema": "autollm.episodes/3"},
)


def write_parts(out_url: str, results: Sequence[EpisodeResult]) -> list[str]:
    """Write results as new parts, one a task; returns their URLs."""
    by_task: dict[str, list[EpisodeResult]] = {}
    for result in results:
        by_task.setdefault(result.task_digest, []).append(result)
    return [
        _write_part(out_url, digest, own) for digest, own in by_task.items()
    ]


def load_results(
    out_url: str, task_digests: Iterable[str]
) -> dict[tuple[Any, ...], EpisodeResult]:
    """All judged episodes of tasks by key."""
    out: dict[tuple[Any, ...], EpisodeResult] = {}
    for digest in dict.fromkeys(task_digests):
        folder = storage.join(out_url, digest)
        for name in storage.list_names(folder):
            if name.startswith("part-") and name.endswith(".parquet"):
                results = _read_part(storage.join(folder, name))
                out.update((r.key, r) for r in results)
    return out


def players_in(url: str) -> set[tuple[str, str, str]]:
    """(policy_identity, policy_version, stage) of whose episodes a part holds; empty
    where this version reads none of it, or it was altered.
    """
    data = storage.read_bytes(url)
    if not url.endswith(f"part-{content_hash(data)}.parquet"):
        return set()
    part = pq.ParquetFile(io.BytesIO(data))
    if not _is_readable(part.schema_arrow):
        return set()
    columns = ["policy_identity", "policy_version", "stage"]
    columns_read = part.read(columns).to_pydict()
    return set(zip(*map(columns_read.get, columns), strict=True))


def _write_part(out_url: str, digest: str, results: list[EpisodeResult]) -> str:
    buffer = io.BytesIO()
    rows = pa.Table.from_pylist([r.as_row() for r in results], schema=SCHEMA)
    pq.write_table(rows, buffer, compression="zstd")
    data = buffer.getvalue()
    url = storage.join(out_url, digest, f"part-{content_hash(data)}.parquet")
    storage.write_atomic(url, data)
    return url


def _read_part(url: str) -> list[EpisodeResult]:
    """Results of a part; none where it is damaged: it is removed, and its episodes are
    played again.
    """
    data = storage.read_bytes(url)
    if not url.endswith(f"part-{content_hash(data)}.parquet"):
        log.warning("%s was altered: its episodes are played again.", url)
        storage.remove(url)
        return []
    part = pq.read_table(io.BytesIO(data))
    if not _is_readable(part.schema):
        return []
    return [EpisodeResult(**row) for row in part.to_pylist()]


def _is_readable(schema: pa.Schema) -> bool:
    """Whether this version wrote a part of that schema."""
    written = (schema.metadata or {}).get(b"schema")
    return written == SCHEMA.metadata[b"schema"] and schema.equals(SCHEMA)
