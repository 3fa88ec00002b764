"""Landing: files, folders and archives into the lake, once, all or nothing, on disk and
in memory.
"""

import io
import subprocess
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core.errors import BusyError, RecordError
from autollm.logs.choosing.catalog import builtin_mappings, load_mapping
from autollm.logs.lake.bronze import Bronze
from autollm.logs.lake.bronze_tables import TableFile
from autollm.logs.landing import ingest, require_bronze
from tests.unit.logs.raw_logs import (
    run_bytes,
    steplaw_bytes,
    steplaw_row,
    tar_bytes,
    write,
)


@pytest.fixture(params=["disk", "memory"])
def lake(request, tmp_path):
    if request.param == "disk":
        yield str(tmp_path / "lake")
        return
    yield "memory://lake"
    fsspec.filesystem("memory").rm("/lake", recursive=True)


def rows(lake: str, table: str) -> list[dict]:
    fs, root = fsspec.core.url_to_fs(lake)
    pattern = (
        f"{root}/quarantine/*.parquet"
        if table == "quarantine"
        else f"{root}/bronze/batches/*/{table}.parquet"
    )
    return [
        row
        for path in sorted(fs.glob(pattern))
        for row in pq.read_table(io.BytesIO(fs.cat_file(path))).to_pylist()
    ]


def all_files(lake: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(lake)
    return {
        path: fs.cat_file(path)
        for path in fs.find(root)
        if not path.endswith(".lock")
    }


def test_ingest__folder_of_everything__lands_each_kind(tmp_path, lake):
    folder = tmp_path / "raw"
    write(folder, "r1.jsonl", run_bytes("r1"))
    write(
        folder,
        "more/r2.jsonl.zst",
        pa.compress(run_bytes("r2"), codec="zstd", asbytes=True),
    )
    write(
        folder,
        "sweep.tar.xz",
        tar_bytes(
            {"v1/r3.jsonl": run_bytes("r3"), "v1/MANIFEST.txt": b"about"}
        ),
    )
    write(folder, "dense_lr_bs_loss.csv", steplaw_bytes(steplaw_row("s1")))
    write(folder, "notes.txt", b"not a log")
    report = ingest([folder], lake)
    assert (report.n_runs, report.n_files_new, report.n_lines_quarantined) == (
        4,
        4,
        0,
    )
    assert (
        set(report.ignored) == {"notes.txt", "sweep.tar.xz!v1/MANIFEST.txt"}
        and report.n_ignored == 2
    )
    runs = {r["run_id"]: r for r in rows(lake, "runs")}
    assert {r["raw_file"] for r in runs.values()} == {
        "r1.jsonl", "r2.jsonl.zst", "sweep.tar.xz!v1/r3.jsonl", "dense_lr_bs_loss.csv"}  # fmt: skip
    assert (
        len(rows(lake, "run_metrics")) == 3 * 4
        and len(rows(lake, "spaces")) == 2
    )
    assert {r["batch_id"] for r in runs.values()} == {report.batch_id}


def test_ingest__raw_bytes__are_kept_under_their_hash(tmp_path, lake):
    path = write(tmp_path, "my run.jsonl", run_bytes())
    ingest([path], lake)
    (run,) = rows(lake, "runs")
    sha = run["raw_sha256"]
    fs, root = fsspec.core.url_to_fs(lake)
    assert (
        fs.cat_file(f"{root}/landing/{sha[:2]}/{sha}/my_run.jsonl")
        == run_bytes()
    )


def test_ingest__same_content_in_any_order_and_place__is_the_same_batch(
    tmp_path,
):
    write(tmp_path / "a", "x.jsonl", run_bytes("x"))
    write(tmp_path / "a", "y.jsonl", run_bytes("y"))
    one = ingest([tmp_path / "a"], str(tmp_path / "one"))
    two = ingest(
        [tmp_path / "a" / "y.jsonl", tmp_path / "a" / "x.jsonl"],
        str(tmp_path / "two"),
    )
    assert one.batch_id == two.batch_id


def test_ingest__new_file_beside_old_ones__lands_alone(tmp_path, lake):
    folder = tmp_path / "raw"
    write(folder, "r1.jsonl", run_bytes("r1"))
    first = ingest([folder], lake)
    write(folder, "r2.jsonl", run_bytes("r2"))
    second = ingest([folder], lake)
    assert (second.n_files_skipped, second.n_files_new, second.n_runs) == (
        1,
        1,
        1,
    )
    assert second.batch_id != first.batch_id and len(rows(lake, "runs")) == 2


def test_ingest__same_run_in_two_files__keeps_the_first_and_quarantines_the_second(
    tmp_path, lake
):
    folder = tmp_path / "raw"
    write(folder, "a.jsonl", run_bytes("r1"))
    write(folder, "b.jsonl", run_bytes("r1", n_steps=3))
    report = ingest([folder], lake)
    assert (
        report.n_runs,
        report.n_lines,
        report.n_lines_read,
        report.n_lines_quarantined,
    ) == (1, 9, 4, 5)
    (entry,) = report.quarantined
    assert (entry.file, entry.line, entry.n_lines) == (
        "b.jsonl",
        1,
        5,
    ) and "came first from a.jsonl" in entry.reason
    again = ingest(
        [write(tmp_path, "c.jsonl", run_bytes("r1", n_steps=5))], lake
    )
    assert (
        again.n_runs == 0
        and "came first from an earlier batch" in again.quarantined[0].reason
    )
    assert len(rows(lake, "runs")) == 1 and len(rows(lake, "quarantine")) == 2


def test_ingest__same_run_in_two_files__keeps_lines_accounted_beside_a_bad_line(
    tmp_path, lake
):
    write(tmp_path / "raw", "a.jsonl", run_bytes("r1"))
    write(tmp_path / "raw", "b.jsonl", run_bytes("r1", n_steps=3) + b"cut{\n")
    report = ingest([tmp_path / "raw"], lake)
    assert (
        report.n_lines,
        report.n_lines_read,
        report.n_lines_quarantined,
    ) == (
        10,
        4,
        6,
    )


def test_ingest__bad_files_among_good_ones__lose_nothing(tmp_path, lake):
    folder = tmp_path / "raw"
    write(folder, "good.jsonl", run_bytes("good"))
    write(folder, "binary.jsonl", bytes(range(256)) * 10)
    write(folder, "cut.jsonl", run_bytes("cut")[:-25])
    write(folder, "broken.jsonl.gz", b"text")
    write(folder, "broken.tar.xz", b"other text")
    report = ingest([folder], lake)
    assert {r["run_id"]: r["status"] for r in rows(lake, "runs")} == {
        "good": "finished",
        "cut": "running",
    }
    assert report.n_lines_read + report.n_lines_quarantined == report.n_lines
    assert {q["file"] for q in rows(lake, "quarantine")} == {
        "binary.jsonl", "cut.jsonl", "broken.jsonl.gz", "broken.tar.xz"}  # fmt: skip
    assert ingest([folder], lake).batch_id is None


def test_ingest__known_table_with_another_header__is_set_aside_and_its_neighbours_land(
    tmp_path, lake
):
    write(tmp_path / "raw", "a.jsonl", run_bytes())
    write(tmp_path / "raw", "dense_lr_bs_loss.csv", b"lr,bs\n1,2\n")
    report = ingest([tmp_path / "raw"], lake)
    assert report.n_runs == 1 and report.n_lines_quarantined == 2
    assert "no column 'exp_name'" in report.quarantined[0].reason
    assert not report.has_read_nothing


def test_ingest__named_mapping__reads_the_named_file_whatever_it_is_called(
    tmp_path, lake
):
    path = write(tmp_path, "export.csv", steplaw_bytes(steplaw_row("s1")))
    report = ingest([path], lake)
    assert "no mapping says what the columns of export.csv mean" in (
        report.quarantined[0].reason
    )
    assert report.has_read_nothing and report.n_lines_quarantined == 2
    assert ingest([path], lake, load_mapping("steplaw")).n_runs == 1
    assert ingest([path], lake, load_mapping("steplaw")).batch_id is None


CLUSTER = """
schema = "autollm.mapping/1"
source = "cluster"
family = "pretraining"
format = "autollm.run/1"
files = ["*.jsonl"]
knobs = [
    {name = "learning_rate", scale = "log"},
    {name = "batch_tokens", scale = "log", unit = "tokens"},
]
fidelity = [{name = "params"}, {name = "tokens"}]
objective = {name = "val_loss", direction = "min"}
cost = {flops = "cost.flops"}
"""


def test_ingest__source_without_a_mapping__can_land_once_it_has_one(
    tmp_path, lake
):
    path = write(tmp_path, "r.jsonl", run_bytes(source="cluster"))
    assert ingest([path], lake).n_runs == 0
    mine = tmp_path / "cluster.toml"
    mine.write_text(CLUSTER)
    assert ingest([path], lake, load_mapping(mine)).n_runs == 1


def test_ingest__batch_of_bad_files_only__is_recorded_and_not_tried_again(
    tmp_path, lake
):
    path = write(tmp_path, "r.jsonl", b"junk\n")
    assert ingest([path], lake).n_lines_quarantined == 1
    assert ingest([path], lake).batch_id is None
    with pytest.raises(RecordError, match="no run has landed"):
        require_bronze(lake)


def test_ingest__mapping_changed_since__reads_the_source_anew_from_its_raw_files(
    tmp_path, lake, monkeypatch
):
    write(tmp_path / "raw", "a.jsonl", run_bytes("a"))
    packed = pa.compress(run_bytes("b"), codec="zstd", asbytes=True)
    write(tmp_path / "raw", "b.jsonl.zst", packed)
    write(
        tmp_path / "raw",
        "c.tar.gz",
        tar_bytes({"c.jsonl": run_bytes("c")}, "w:gz"),
    )
    write(
        tmp_path / "raw",
        "dense_lr_bs_loss.csv",
        steplaw_bytes(steplaw_row("s1")),
    )
    first = ingest([tmp_path / "raw"], lake)
    assert first.again == () and first.n_runs == 4
    lab = load_mapping("lab-pretraining")
    knob = lab.knobs[0].model_copy(update={"window": (0.001, 1.0)})
    wider = lab.model_copy(update={"knobs": (knob, *lab.knobs[1:])})
    wider.__dict__.pop("mapping_id", None)
    wider.__dict__.pop("space_json", None)
    wider.__dict__.pop("space_id", None)
    monkeypatch.setitem(builtin_mappings(), "lab-pretraining", wider)
    again = ingest([], lake)
    assert (again.again, again.n_runs) == (("lab-pretraining",), 3)
    runs = {r["run_id"]: r for r in rows(lake, "runs")}
    assert set(runs) == {"a", "b", "c", "s1"} and len(rows(lake, "runs")) == 4
    assert {runs[n]["space_id"] for n in "abc"} == {wider.space_id}
    assert ingest([tmp_path / "raw"], lake).batch_id is None


def test_require_bronze__empty_and_filled_lake__says_the_remedy_or_nothing(
    tmp_path, lake
):
    with pytest.raises(RecordError, match="autollm ingest PATH"):
        require_bronze(lake)
    ingest([write(tmp_path, "r.jsonl", run_bytes())], lake)
    require_bronze(lake)


def test_ingest__full_disk_in_the_middle__leaves_the_lake_as_it_was(
    tmp_path, lake, monkeypatch
):
    ingest([write(tmp_path, "a.jsonl", run_bytes("a"))], lake)
    before = {
        p: data for p, data in all_files(lake).items() if "/landing/" not in p
    }
    write_rows = TableFile._write

    def full(self, *args):
        if self.path.endswith("spaces.parquet"):
            raise OSError(28, "No space left on device")
        write_rows(self, *args)

    monkeypatch.setattr(TableFile, "_write", full)
    path = write(tmp_path, "b.jsonl", run_bytes("b"))
    with pytest.raises(OSError, match="No space left"):
        ingest([path], lake)
    assert {r["run_id"] for r in rows(lake, "runs")} == {"a"}
    monkeypatch.undo()
    assert ingest([path], lake).n_runs == 1
    assert before.items() <= all_files(lake).items() and not [
        p for p in all_files(lake) if "/bronze/tmp/" in p
    ]


def test_ingest__left_behind_by_a_killed_one__is_cleared(tmp_path, lake):
    ingest([write(tmp_path, "a.jsonl", run_bytes("a") + b"junk\n")], lake)
    before = all_files(lake)
    fs, root = fsspec.core.url_to_fs(lake)
    for part in (
        "bronze/tmp/dead/runs.parquet",
        "bronze/batches/dead/runs.parquet",
        "quarantine/dead.parquet",
    ):
        fs.makedirs(f"{root}/{part}".rsplit("/", 1)[0], exist_ok=True)
        fs.pipe_file(f"{root}/{part}", b"half a fi")
    ingest([tmp_path / "a.jsonl"], lake)
    assert all_files(lake) == before


def test_ingest__commit_interrupted__shows_no_part_of_a_batch(
    tmp_path, lake, monkeypatch
):
    def interrupted(*args, **kwargs):
        raise OSError("interrupted")

    path, fs = (
        write(tmp_path, "a.jsonl", run_bytes("a")),
        fsspec.core.url_to_fs(lake)[0],
    )
    move = fs.put_file
    monkeypatch.setattr("os.rename", interrupted)
    monkeypatch.setattr(
        fs,
        "put_file",
        lambda a, b: (
            interrupted() if b.endswith("spaces.parquet") else move(a, b)
        ),
    )
    with pytest.raises(OSError, match="interrupted"):
        ingest([path], lake)
    assert Bronze(lake).batch_ids() == []
    if "://" not in lake:
        assert list((tmp_path / "lake" / "bronze").glob("batches/*")) == []
    monkeypatch.undo()
    assert ingest([path], lake).n_runs == 1 and len(rows(lake, "runs")) == 1


def test_ingest__another_process_at_it__says_who(tmp_path):
    lake = str(tmp_path / "lake")
    code = f"from autollm.logs.lake.bronze import Bronze\nwith Bronze({lake!r}).writing():\n    print('in', flush=True)\n    input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match=f"process {other.pid}"):
            ingest([write(tmp_path, "a.jsonl", run_bytes())], lake)
        other.communicate("\n")
    assert ingest([tmp_path / "a.jsonl"], lake).n_runs == 1


def test_ingest__raw_copy_that_a_killed_one_left__is_taken_away(tmp_path):
    lake = tmp_path / "lake"
    left = lake / "landing" / "123.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of a table")
    report = ingest([write(tmp_path, "a.jsonl", run_bytes())], str(lake))
    assert report.n_runs == 1 and not left.exists()
