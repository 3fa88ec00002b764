"""What holds for every registered reader: lines accounted, nothing twice, nothing lost
when killed.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping, parse_mapping
from autollm.logs.choosing.catalog import load_mapping
from autollm.logs.landing import ingest
from autollm.logs.reading import split_lines
from autollm.logs.relation import BadLines
from autollm.testing import readers as contract
from tests.unit.logs.mapped_rows import TABLES as READERS
from tests.unit.logs.mapped_rows import read
from tests.unit.logs.raw_logs import (
    json_lines,
    parquet_bytes,
    run_bytes,
    steplaw_bytes,
    steplaw_row,
    sweep_mapping,
    write,
)

TABLE = [
    {"id": f"r{i}", "lr": 2.0**-i, "N": 1e6, "loss": 3.0 + i, "note": "x" * 40}
    for i in range(5)
]
SAMPLES = {
    "autollm.run/1": (
        "r1.jsonl",
        run_bytes("r1", n_steps=5),
        "lab-pretraining",
    ),
    "csv": (
        "dense_lr_bs_loss.csv",
        steplaw_bytes(*(steplaw_row(f"r{i}") for i in range(5))),
        "steplaw",
    ),
    "jsonl": ("sweep.ndjson", json_lines(TABLE), "sweep"),
    "parquet": ("sweep.parquet", parquet_bytes(TABLE), "sweep"),
}
"""One good file per format, and the mapping that reads it: a built-in one, or `sweep`,
which is added to the lake.
"""
DAMAGES = contract.DAMAGES | {
    "whole": lambda data: data,
    "no last newline": lambda data: data[:-1],
}

pytestmark = pytest.mark.parametrize("file_format", sorted(READERS))


def mapping_text(file_format: str) -> str:
    """The mapping `sweep` for files of this format."""
    return sweep_mapping(file_format, [SAMPLES[file_format][0]])


def mapping_of(file_format: str) -> Mapping:
    if SAMPLES[file_format][2] == "sweep":
        return parse_mapping(mapping_text(file_format), "sweep.toml")
    return load_mapping(SAMPLES[file_format][2])


def prepare(lake, file_format: str) -> None:
    """Add the mapping of the sample to a lake, where it is no built-in one."""
    if SAMPLES[file_format][2] == "sweep":
        write(
            lake / "mappings", "sweep.toml", mapping_text(file_format).encode()
        )


@pytest.fixture
def sample(file_format):
    assert file_format in SAMPLES, (
        f"add a sample of the new format {file_format!r} to SAMPLES"
    )
    return SAMPLES[file_format]


def test_reader__its_own_file__is_what_it_matches(file_format, sample):
    name, data, _ = sample
    assert READERS[file_format].format == file_format
    assert READERS[file_format].matches(name, data[:4096])


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_reader__good_or_damaged_file__accounts_for_every_line(
    file_format, sample, damage
):
    name, data, _ = sample
    data = DAMAGES[damage](data)
    found = read_sample(file_format, name, data)
    bad_lines = [
        n for b in found.bad for n in range(b.line, b.line + b.n_lines)
    ]
    if (
        file_format == "parquet"
    ):  # rows are counted, and none where the file cannot be opened
        assert found.n_lines in (0, len(TABLE)) and (found.runs or found.bad)
        assert len(found.runs) + found.n_bad == found.n_lines
    else:
        assert found.n_lines == len(split_lines(data))
    assert len(set(bad_lines)) == len(bad_lines) == found.n_bad <= found.n_lines
    assert all(1 <= n <= found.n_lines for n in bad_lines)
    assert all(b.reason and len(b.text) <= 500 for b in found.bad)


def read_sample(file_format, name, data):
    """Reader and mapping over bytes; a refused header makes all lines bad."""
    try:
        return read(file_format, data, mapping_of(file_format), name)
    except MappingError as error:
        found = read(file_format, data, None, name)
        bad = BadLines(min(1, found.n_lines), found.n_lines, str(error), "")
        found.runs, found.bad = [], [bad]
        return found


def test_reader__same_bytes__gives_equal_runs(file_format, sample):
    name, data, _ = sample
    one, two = (read_sample(file_format, name, data) for _ in range(2))
    assert repr(one.runs) == repr(two.runs) and one.runs


def test_reader__second_landing__changes_no_byte(file_format, sample, tmp_path):
    name, data, mapping = sample
    path, lake = write(tmp_path / "raw", name, data), tmp_path / "lake"
    prepare(lake, file_format)
    assert ingest([path], str(lake)).n_runs > 0
    before = {
        p: p.read_bytes()
        for p in lake.rglob("*")
        if p.is_file() and p.name != ".lock"
    }
    for named in (None, load_mapping(mapping, str(lake))):
        again = ingest([path, tmp_path / "raw"], str(lake), named)
        assert (again.batch_id, again.n_runs, again.n_files_skipped) == (
            None,
            0,
            2,
        )
    assert {
        p: p.read_bytes()
        for p in lake.rglob("*")
        if p.is_file() and p.name != ".lock"
    } == before


def test_reader__another_formats_bytes__never_become_runs(file_format, sample):
    for other, (_, data, _) in SAMPLES.items():
        if other != file_format:
            found = read_sample(file_format, sample[0], data)
            # the first line of any text may be a header
            n_read = found.n_lines - found.n_bad
            assert not found.runs and n_read <= (file_format == "csv")


KILLED = """
import os, signal, sys
from autollm.logs import landing, readings
from autollm.logs.lake import bronze, bronze_tables
from autollm.logs.opening import opened
n_left = int(sys.argv[3])
def die_at(function):
    def wrapped(*args, **kwargs):
        global n_left
        n_left -= 1
        if n_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return wrapped
bronze_tables.TableFile.finish = die_at(bronze_tables.TableFile.finish)
bronze.Bronze._commit = die_at(bronze.Bronze._commit)
opened.RawFile.keep = die_at(opened.RawFile.keep)
readings.Landing.add = die_at(readings.Landing.add)
os.rename = die_at(os.rename)
landing.ingest([sys.argv[1]], sys.argv[2])
"""


@pytest.mark.parametrize("n_writes_before", [0, 1, 2, 5, 7, 8])
def test_reader__killed_between_two_writes__then_landed_again__equals_never_killed(
    file_format, sample, tmp_path, n_writes_before
):
    name, data, _ = sample
    path = write(tmp_path / "raw", name, DAMAGES["junk in the middle"](data))
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for lake in (calm, killed):
        prepare(lake, file_format)
    report = ingest([path], str(calm))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path, str(killed), str(n_writes_before)],
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert list((killed / "bronze").glob("batches/*")) == []
    assert ingest([path], str(killed)) == report
    assert tables(killed) == tables(calm)


def tables(lake) -> dict[str, list[dict]]:
    paths = [p for p in lake.rglob("*") if p.is_file() and p.name != ".lock"]
    return {
        str(p.relative_to(lake)): repr(
            pq.read_table(io.BytesIO(p.read_bytes())).to_pylist()
        )
        if p.suffix == ".parquet" and "landing" not in p.parts
        else p.read_bytes()
        for p in paths
    }
