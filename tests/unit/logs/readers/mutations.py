"""Damage to files, for fuzzing readers: cuts, flipped bytes, pieces put elsewhere.

    python -m tests.unit.logs.readers.mutations --inputs 100000 [--only wandb]

runs the campaign (`make campaign`); the tests run 500 inputs a reader. Tables and raw run
logs are among them, with blocks so small that every way of reading is taken.
"""

import argparse
import io
import itertools
import json
import random
import sqlite3
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from autollm.core.errors import AutoLLMError
from autollm.logs.opening.archive_units import units_of_archive
from autollm.logs.opening.found import Found
from autollm.logs.opening.opened import RawFile
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.readers import file_readers, folder_readers
from autollm.logs.readers.tools.mlflow_runs import MlflowRun
from autollm.logs.reading import split_lines
from autollm.logs.relation import OpenedFolder
from autollm.logs.tables import blocks, run_log
from autollm.logs.tables.dialect import encoding_of
from tests.unit.logs.mapped_rows import TABLES
from tests.unit.logs.raw_logs import (
    csv_bytes,
    json_lines,
    parquet_bytes,
    run_bytes,
    tar_bytes,
)
from tests.unit.logs.readers.opened import (
    FIXTURES,
    Opened,
    listing_of,
    opened_file,
)
from tests.unit.logs.readers.wandb_stub import node


def mutated(data, rng):
    """One damaged copy of some bytes."""
    out = bytearray(data)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(out[: rng.randrange(len(out) + 1)])
    if kind == 1:
        for _ in range(rng.randrange(1, 20)):
            if out:
                out[rng.randrange(len(out))] = rng.randrange(256)
        return bytes(out)
    start = rng.randrange(len(out) + 1)
    end = min(len(out), start + rng.randrange(1, 200))
    piece = bytes(out[start:end])
    if kind == 2:
        del out[start:end]
    elif kind == 3:
        at = rng.randrange(len(out) + 1)
        out[at:at] = piece * rng.randrange(1, 4)
    else:
        out[start:end] = rng.choice(ODD)
    return bytes(out)


ODD = (
    b"\x00",
    b"\xff\xfe",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 2000,
    b"\n\n\n",
    b'"',
    b"\\ud800",
    b"null",
    b"-",
    b"*a",
    b"&a",
    b"!!python/object/apply:os.system [x]",
    b"true",
    b"{}",
    b"[]",
    b"''",
)


@dataclass(frozen=True)
class Subject:
    """One reader and one input of its own."""

    name: str
    reader: object
    opened: object

    def read(self, rng):
        """Reads a damaged input; checks that everything is accounted for.

        Errors of the house are what should happen; any other is the caller's to see.
        """
        damaged = self._damaged(rng)
        n_lines = n_bad = 0
        try:
            if hasattr(self.reader, "parts"):
                self.reader.parts(damaged)
            for relation in self.reader.read(damaged):
                check(relation)
                assert relation.format == self.reader.format
                n_lines += relation.n_lines
                n_bad += relation.n_lines_bad
        except AutoLLMError:
            return False
        # a quote that is not closed is told of after the block in which it stands
        assert n_lines >= n_bad
        if self.reader.format in LINES:
            is_wide = encoding_of(damaged.data).startswith("utf-16")
            assert is_wide or n_lines == len(split_lines(damaged.data))
        return True

    def _damaged(self, rng):
        if isinstance(self.opened, Opened):
            return Opened(self.opened.name, mutated(self.opened.data, rng))
        files = dict(self.opened.files)
        for path in rng.sample(
            sorted(files), min(len(files), rng.randrange(1, 3))
        ):
            files[path] = Opened(path, mutated(files[path].data, rng))
        return OpenedFolder(self.opened.name, files)


class PackedRuns:
    """Reads an archive of run folders, which come out whole or not at all."""

    format = "packed"

    def read(self, opened):
        found = Found(f"/x/{opened.name}", opened.name, opened.name)
        raw = RawFile(replace(found, data=opened.data))
        readers = {reader.format: reader for reader in folder_readers()}
        for unit in units_of_archive(raw, tuple(readers.values())):
            if not isinstance(unit, RunFolder):
                continue
            files = {}
            for inside, file in unit.files.items():
                files[inside] = Opened(inside, file.data)
            folder = OpenedFolder(unit.name, files)
            for relation in readers[unit.format].read(folder):
                yield replace(relation, format=self.format)


def packed_runs():
    """Run folders in a tar and a zip."""
    members = {}
    for i in range(4):
        members[f"sweep/{i}/.hydra/config.yaml"] = b"lr: 0.%d\n" % (i + 1)
        members[f"sweep/{i}/metrics.csv"] = b"step,loss\n1,3\n2,2\n3,1\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    yield Subject("runs.zip", PackedRuns(), Opened("a.zip", packed.getvalue()))
    data = tar_bytes(members, "w")
    yield Subject("runs.tar", PackedRuns(), Opened("a.tar", data))


def studies():
    """A journal of two studies that searched other settings."""
    lines = []
    real = {"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}
    for study, setting in enumerate(("lr", "wd")):
        study_line = {"op_code": 0, "worker_id": "w", "study_name": setting}
        lines.append(study_line | {"directions": [study + 1]})
        for i in range(4):
            trial = {"op_code": 4, "worker_id": "w", "study_id": study}
            trial |= {"state": 1, "values": [i / 9], "params": {setting: i / 5}}
            text = json.dumps(real)
            lines.append(trial | {"distributions": {setting: text}})
    data = b"".join(
        json.dumps(line, separators=(",", ":")).encode() + b"\n"
        for line in lines
    )
    opened = Opened("studies.log", data)
    reader = next(r for r in file_readers() if r.matches(opened.name, data))
    return Subject("optuna/studies.log", reader, opened)


LINES = ("csv", "jsonl", "autollm.run/1")
"""Formats whose physical lines are all told of."""


def check(relation):
    """What every relation must hold."""
    assert relation.n_lines >= 0 and relation.n_lines_bad >= 0
    assert set(relation.roles) <= set(relation.runs.column_names)
    if relation.runs.num_rows:
        assert {"_file", "_line"} <= set(relation.runs.column_names)
        assert not relation.key or relation.key in relation.runs.column_names
    if relation.points is not None:
        relation.points.validate(full=True)
    relation.runs.validate(full=True)


FOLDERS = (
    "wandb",
    "transformers/resumed",
    "ray/sweep",
    "hydra/multirun/0",
    "lightning/sweep/version_0",
    "tensorboard/lr-0.01",
    "tensorboard/keras",
    "text_logs/nanogpt-run",
    "mlflow/mlruns",
)
FILES = (
    "mlflow/mlflow.db.gz",
    "optuna/optuna.db.gz",
    "optuna/journal.log",
    "text_logs/megatron.log",
    "text_logs/nanochat.log",
    "transformers/finished/trainer_state.json",
    "lightning/sweep/version_0/metrics.csv",
)


def fetched():
    """Folders as fetching from servers leaves them."""
    rows = [
        {"_step": i, "_runtime": 0.5 * i, "loss": 3 - i / 9} for i in range(9)
    ]
    run = vars(MlflowRun("r1", "name", "exp", "me", "FINISHED", 1e12, 2e12))
    run = {**run, "params": {"lr": "0.1"}, "metrics": {"loss": 2.5}}
    points = [{"metric": "loss", "step": 1, "value": 2.5, "at_ms": 1.5e12}]
    for tool, runs, history in (
        ("wandb", [node("r1", n_rows=9, lr=0.1, m={"d": 2})], rows),
        ("mlflow", [run], points),
    ):
        files = {
            "histories/r1.jsonl": lines_of(history),
            "runs.jsonl": lines_of(runs),
        }
        listing = sorted([*files, f"{tool}.fetched"])
        reader = next(r for r in folder_readers() if r.matches_folder(listing))
        opened = {path: Opened(path, data) for path, data in files.items()}
        yield Subject(f"{tool}.fetched", reader, OpenedFolder("sweep", opened))


def plain_folder():
    """A hand-made run folder."""
    files = {
        "config.yaml": b"lr: 1e-3\nmodel: {width: 64}\n",
        "metrics.csv": b"step,loss\n0,3.0\n10,2.9\n20,2.8\n",
        "results.json": b'{"val_loss": 2.9}\n',
    }
    opened = {path: Opened(path, data) for path, data in files.items()}
    reader = next(
        r for r in folder_readers() if r.matches_folder(sorted(files))
    )
    return Subject("run-folder", reader, OpenedFolder("sweep/a", opened))


def bare_folder():
    """A folder of one metrics file."""
    listing = ["metrics.csv"]
    data = b"step,loss\n" + b"".join(b"%d,3.%d\n" % (i, i) for i in range(9))
    reader = next(r for r in folder_readers() if r.matches_folder(listing))
    files = {"metrics.csv": Opened("metrics.csv", data)}
    return Subject("bare-curve", reader, OpenedFolder("sweep/b", files))


def text_files():
    """Files that people write by hand, or scripts print: by name."""
    rows = "".join(
        f"| r{i} | {i / 9:.3f} | **{3 - i / 9:.3f}** |\n" for i in range(9)
    )
    latex = "".join(
        f"{i} & $10^{{-{i}}}$ & \\textbf{{3.{i}}} \\\\\n" for i in range(1, 9)
    )
    aligned = "".join(f"{i}M      {i}e-3  3.{i}\n" for i in range(1, 9))
    listed = "".join(f"- lr: {i}e-3\n  loss: 3.{i}\n" for i in range(1, 9))
    lines = "".join(
        f"step={i} loss={3 - i / 9:.3f} lr=1e-3\n" for i in range(9)
    )
    history = {"loss": [3, 2.5, 2.25], "val_loss": [3.1, 2.6, 2.4]}
    return {
        "results.md": f"# T\n\n| run | lr | loss |\n|---|---|---|\n{rows}",
        "table.tex": f"a & lr & loss \\\\ \\hline\n{latex}",
        "aligned.txt": f"params  lr  loss\n{aligned}",
        "runs.yaml": f"runs:\n{listed}",
        "printed.log": f"Namespace(lr=0.001, bs=8)\n{lines}",
        "history.json": json.dumps(history),
    }


def written_by_hand():
    """The reader of each of them."""
    for name, text in text_files().items():
        opened = Opened(name, text.encode())
        readers = (r for r in file_readers() if r.matches(name, opened.data))
        yield Subject(name, next(readers), opened)


def lines_of(records):
    head = {"schema": "autollm.fetched/1"}
    return b"".join(json.dumps(r).encode() + b"\n" for r in (head, *records))


def json_document():
    """Runs as a list of objects."""
    runs = [{"run": f"r{i}", "lr": 0.1 / i, "loss": 2 + i} for i in range(1, 9)]
    text = json.dumps({"runs": runs}, indent=1)
    opened = Opened("runs.json", text.encode())
    reader = next(
        r for r in file_readers() if r.matches(opened.name, opened.data)
    )
    return Subject("runs.json", reader, opened)


def tables():
    """The project's own tables and raw run logs."""
    rows = []
    for i in range(12):
        row = {
            "run": f"r{i}",
            "lr": 0.1 / (i + 1),
            "note": "a b",
            "loss": 2 + i,
        }
        rows.append(row)
    nested = [{"config": {"lr": row["lr"]}, **row} for row in rows]
    quoted = [{**row, "note": '"a, b"'} for row in rows]
    inputs = {
        "csv": csv_bytes(rows) + csv_bytes(quoted).split(b"\n", 1)[1],
        "jsonl": json_lines(nested),
        "parquet": parquet_bytes(rows, row_group_size=5),
        "autollm.run/1": run_bytes("r", n_steps=12),
    }
    for name, data in inputs.items():
        yield Subject(f"table {name}", TABLES[name], Opened(f"t.{name}", data))


def small_blocks():
    """Blocks of a few lines, so that damage stands in some of them and not in others."""
    blocks.BLOCK_BYTES = 300
    blocks.LEAF_BYTES = run_log.LEAF_BYTES = 100


def small_store():
    """The tracking store of the fixture with what holds nothing left out: damage hits
    what is read.
    """
    data = opened_file(FIXTURES / "mlflow/mlflow.db.gz").data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        path.write_bytes(data)
        store = sqlite3.connect(path, isolation_level=None)
        listed = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in store.execute(listed).fetchall():
            (n_rows,) = store.execute(
                f'SELECT count(*) FROM "{name}"'
            ).fetchone()
            if not n_rows and name not in KEPT:
                store.execute(f'DROP TABLE "{name}"')
        store.execute("PRAGMA page_size = 512")
        store.execute("VACUUM")
        store.close()
        return Opened("mlflow.db", path.read_bytes())


KEPT = ("datasets", "inputs", "input_tags")
"""Tables without a row that the reader may ask for."""


def subjects():
    """A reader and an input each: every folder and file reader is among them."""
    found = [*fetched(), plain_folder(), bare_folder(), *written_by_hand()]
    for place in FOLDERS:
        listing = listing_of(FIXTURES / place)
        reader = next(r for r in folder_readers() if r.matches_folder(listing))
        files = {}
        for path in reader.matches_folder(listing):
            files[path] = opened_file(FIXTURES / place / path, path)
        found.append(Subject(place, reader, OpenedFolder(place, files)))
    for place in FILES:
        opened = opened_file(FIXTURES / place)
        head = opened.data[: 2**16]
        reader = next(r for r in file_readers() if r.matches(opened.name, head))
        found.append(Subject(place, reader, opened))
    for path in sorted((FIXTURES / "wandb").glob("*finished1/*.wandb")):
        opened = opened_file(path)
        found.append(Subject("wandb-file", file_readers()[0], opened))
    found.append(json_document())
    result = next((FIXTURES / "ray").glob("sweep/*/result.json"))
    opened = opened_file(result)
    reader = next(
        r for r in file_readers() if r.matches("result.json", opened.data)
    )
    found.append(Subject("ray/result.json", reader, opened))
    found += [*tables(), *packed_runs(), studies()]
    store = small_store()
    events = sorted((FIXTURES / "tensorboard/lr-0.01").glob("events.*"))
    for opened in (store, *map(opened_file, events)):
        reader = next(
            r for r in file_readers() if r.matches(opened.name, opened.data)
        )
        name = "events" if opened is not store else "small mlflow.db"
        found.append(Subject(f"{name} {opened.name[-15:]}", reader, opened))
    return found


def campaign(n_inputs, only=""):
    """Reads `n_inputs` damaged inputs a file reader, a tenth of them a folder reader;
    prints what came out, raises what is not the house's.
    """
    for subject in subjects():
        if only not in subject.name:
            continue
        is_folder = isinstance(subject.opened, OpenedFolder)
        n_here = n_inputs // 10 if is_folder else n_inputs
        n_read = 0
        slowest = 0.0
        for seed in range(n_here):
            started = time.perf_counter()
            try:
                n_read += subject.read(random.Random(seed))
            except Exception:
                print(f"{subject.name}: seed {seed}", file=sys.stderr)
                raise
            slowest = max(slowest, time.perf_counter() - started)
        print(
            f"{subject.name}: {n_here} inputs, {n_read} read, {n_here - n_read} set "
            f"aside whole, the slowest {slowest:.2f} s",
            flush=True,
        )


def first_bytes_match(n_inputs):
    """Asks every reader whether damaged heads are its own; none may raise."""
    readers = file_readers()
    heads = []
    for place in FILES:
        heads.append(opened_file(FIXTURES / place))
    for seed, opened in zip(
        range(n_inputs), itertools.cycle(heads), strict=False
    ):
        head = mutated(opened.data[: 2**16], random.Random(seed))
        for reader in readers:
            assert reader.matches(opened.name, head) in (True, False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=Path(__file__).name)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    small_blocks()
    campaign(options.inputs, options.only)
