"""Small raw logs and tables for tests, written with the project's own record types."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core.records import RunEnd, RunHeader, RunStep, to_line

STEPLAW_HEADER = "h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,exp_name,D,N,D/N"


def run_lines(
    run_id: str = "r1",
    *,
    n_steps: int = 2,
    end: RunEnd | str | None = "finished",
    **changes,
) -> list[str]:
    """Lines of one lab run: a header, `n_steps` steps of two metrics, an end unless it
    is None.
    """
    header = {
        "run_id": run_id,
        "source": "lab-pretraining",
        "family": "pretraining",
        "config": {"learning_rate": 2.0**-7, "batch_tokens": 512},
        "fidelity": {"params": 25_000, "tokens": 500_000},
        "seed": 0,
        "data": {"sha256": "ab" * 32},
        "hardware": {"device": "cpu"},
        "created_at": "2026-01-01T00:00:00Z",
    } | changes
    steps = [
        RunStep(
            10 * i,
            {"train_loss": 5.0 - i, "grad_norm": 1.0},
            5120.0 * i,
            0.5 * i,
        )
        for i in range(n_steps)
    ]
    if end == "finished":
        end = RunEnd(
            "finished",
            {"val_loss": 3.5},
            {"flops": 7.5e10, "device_hours": 0.01},
        )
    records = [RunHeader(**header), *steps, *([end] if end else [])]
    return [to_line(record) for record in records]


def run_bytes(run_id: str = "r1", **changes) -> bytes:
    """The lines as a file."""
    return ("\n".join(run_lines(run_id, **changes)) + "\n").encode()


def steplaw_row(
    name: str,
    *,
    lr="0.0009766",
    bs="64",
    loss="3.0",
    n="214663680",
    d="4000000000",
) -> str:
    """One row as the published table prints it."""
    return f"960,9368,15,7,{lr},{bs},100,2.9,{loss},{name},{d},{n},18.6"


def steplaw_bytes(*rows: str, header: str = STEPLAW_HEADER) -> bytes:
    """A table of these rows."""
    return ("\n".join([header, *rows]) + "\n").encode()


def write(folder: Path, name: str, data: bytes) -> str:
    """Write a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def tar_bytes(members: dict[str, bytes], mode: str = "w:xz") -> bytes:
    """An archive of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sweep_mapping(
    file_format: str, files: Iterable[str], more: str = ""
) -> str:
    """A small mapping: columns id, lr, N, loss; `more` is appended (sections) to it."""
    return f"""
schema = "autollm.mapping/1"
source = "sweep"
family = "pretraining"
format = "{file_format}"
files = {json.dumps(list(files))}
run_key = {{columns = ["id"]}}
knobs = [{{name = "lr", scale = "log"}}]
fidelity = [{{name = "params", column = "N"}}]
objective = {{name = "loss", direction = "min"}}
cost = {{flops = "6 * params"}}
{more}"""


def csv_bytes(rows: list[dict[str, Any]]) -> bytes:
    """A CSV table of rows with equal keys."""
    lines = [
        ",".join(rows[0]),
        *(",".join(str(value) for value in row.values()) for row in rows),
    ]
    return ("\n".join(lines) + "\n").encode()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """One JSON object per line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_bytes(
    rows: list[dict[str, Any]], row_group_size: int | None = None
) -> bytes:
    """A Parquet table."""
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows), buffer, row_group_size=row_group_size
    )
    return buffer.getvalue()
