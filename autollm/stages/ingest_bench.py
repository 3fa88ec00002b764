"""How fast landing is on this machine: ratios against bare DuckDB on the same files.

Bare DuckDB reads the same table (`read_csv_auto`) or history (`read_json_auto`) and
writes it to Parquet, without a mapping, a check or an account of lines. Ratios are told
by the clock and, since other work may share the machine, by processor time. What a process
does once (imports, reading the built-in mappings) is done before, on a small file.
Invariant: both sides of a ratio are measured in one run, on the files made here.
"""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autollm.core.files import scratch_folder
from autollm.core.mappings.mapping import Mapping, build_mapping
from autollm.core.records import RunEnd, RunHeader, RunStep, to_line
from autollm.logs.landing import ingest

MAPPING = {
    "source": "bench",
    "family": "pretraining",
    "format": "csv",
    "files": ["bench.csv"],
    "run_key": {"columns": ["run"]},
    "knobs": [
        {"name": "lr", "scale": "log", "step": 0.5, "tolerance": 0.3},
        {"name": "batch", "scale": "log"},
        {"name": "optimizer", "scale": "categorical"},
    ],
    "fidelity": [{"name": "params"}, {"name": "tokens"}],
    "objective": {"name": "loss", "direction": "min"},
    "replica": {"column": "seed"},
    "cost": {"flops": "6 * params * tokens"},
    "status": [{"status": "diverged", "when": "loss > 9"}],
}
"""A mapping as people write them: three knobs, two coordinates, a rule."""


def measure_ingest(
    n_rows: int, history_mb: int, n_logs: int
) -> dict[str, float]:
    """Ratios and seconds of landing a table of `n_rows`, a run log of `history_mb` and a
    folder of `n_logs` small run logs.
    """
    with scratch_folder("bench") as folder:
        table = _write_table(folder / "bench.csv", n_rows)
        history = _write_history(folder / "history.jsonl", history_mb)
        logs = _write_logs(folder / "logs", n_logs)
        mapping = build_mapping(MAPPING, "bench")
        for path, own in (
            (_write_table(folder / "first.csv", 10), mapping),
            (_write_history(folder / "first.jsonl", 1), None),
        ):
            ingest([path], str(folder / "lake-first"), own)
        ratios = _against_duckdb("table", table, "read_csv_auto", mapping)
        ratios |= _against_duckdb("history", history, "read_json_auto", None)
        lake = str(folder / "lake-logs")
        ratios["folder_s"] = _measured(lambda: ingest([logs], lake)).wall_s
        again = _measured(lambda: ingest([logs], lake))
        ratios["folder_again_s"] = again.wall_s
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return ratios | {"peak_mb": peak_kb / 1024}


def _against_duckdb(
    name: str, path: Path, reader: str, mapping: Mapping | None
) -> dict[str, float]:
    """Both sides on one file. The copy of the raw file into the lake is not counted: as
    much time as a plain copy of it takes here is taken off.
    """
    import duckdb

    target = path.with_suffix(".parquet")
    # the last line of a log has other keys than the many before it
    options = ", ignore_errors=true" if "json" in reader else ""
    rows = f"{reader}('{path}'{options})"
    sql = f"COPY (SELECT * FROM {rows}) TO '{target}' (FORMAT parquet)"
    bare = _measured(lambda: duckdb.connect(":memory:").execute(sql))
    copy = _measured(lambda: shutil.copyfile(path, f"{path}.copy"))
    lake = str(path.with_suffix(".lake"))
    own = _measured(lambda: ingest([path], lake, mapping))
    wall_s = own.wall_s - copy.wall_s
    processor_s = own.processor_s - copy.processor_s
    return {
        f"{name}_s": wall_s,
        f"{name}_duckdb_s": bare.wall_s,
        f"{name}_vs_duckdb": wall_s / bare.wall_s,
        f"{name}_processor_vs_duckdb": processor_s / bare.processor_s,
    }


@dataclass(frozen=True)
class Took:
    """Time of a piece of work: by the clock, and of all processors together."""

    wall_s: float
    processor_s: float


def _measured(work: Callable[[], object]) -> Took:
    wall_s = time.perf_counter()
    processor_s = time.process_time()
    work()
    wall_s = time.perf_counter() - wall_s
    return Took(wall_s, time.process_time() - processor_s)


def _write_table(path: Path, n_rows: int) -> Path:
    draw = random.Random(0)
    with path.open("w") as out:
        out.write("run,lr,batch,optimizer,params,tokens,seed,loss,note,host\n")
        for i in range(n_rows):
            rate = 2.0 ** -(6 + draw.randrange(8) / 2)
            size = 50_000_000 * (1 + i % 4)
            out.write(
                f"run-{i},{rate:.6g},{2 ** (5 + i % 6)},{'adamw' if i % 3 else 'lion'},"
                f"{size},{20 * size},{i % 5},{2 + draw.random():.6f},n{i % 97},h{i % 31}\n"
            )
    return path


def _header(run_id: str) -> str:
    header = RunHeader(
        run_id,
        "lab-pretraining",
        "pretraining",
        {"learning_rate": 2.0**-7, "batch_tokens": 512},
        {"params": 25_000, "tokens": 500_000},
        0,
    )
    return to_line(header)


def _end() -> str:
    cost = {"flops": 7.5e10, "device_hours": 0.01}
    return to_line(RunEnd("finished", {"val_loss": 3.5}, cost))


def _write_history(path: Path, megabytes: int) -> Path:
    draw, n_bytes, step = random.Random(0), 0, 0
    with path.open("w") as out:
        out.write(_header("history") + "\n")
        while n_bytes < megabytes * 2**20:
            metrics = {
                "grad_norm": draw.random(),
                "train_loss": 2 + draw.random(),
            }
            line = (
                to_line(RunStep(step, metrics, 512.0 * step, 0.25 * step))
                + "\n"
            )
            out.write(line)
            n_bytes += len(line)
            step += 1
        out.write(_end() + "\n")
    return path


def _write_logs(folder: Path, n_logs: int) -> Path:
    folder.mkdir()
    for i in range(n_logs):
        lines = [_header(f"run-{i}")]
        for step in range(5):
            lines.append(
                to_line(RunStep(step, {"train_loss": 3.0 - step / 10}))
            )
        (folder / f"{i}.jsonl").write_text("\n".join([*lines, _end()]) + "\n")
    return folder
