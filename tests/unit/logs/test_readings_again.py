"""Files that come again: grown, exported anew, cut short, with another mapping."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core.errors import RecordError, UnknownNameError
from autollm.core.records import RunEnd
from autollm.logs.landing import ingest, remove_source
from tests.unit.logs.landed import rows
from tests.unit.logs.raw_logs import csv_bytes, run_bytes, sweep_mapping, write


@pytest.fixture
def lake(tmp_path):
    text = sweep_mapping("csv", ["sweep*.csv"])
    write(tmp_path / "lake" / "mappings", "sweep.toml", text.encode())
    return str(tmp_path / "lake")


def table(**losses: float) -> bytes:
    found = []
    for index, (name, loss) in enumerate(losses.items()):
        found.append({"id": name, "lr": 1 + index, "N": 10, "loss": loss})
    return csv_bytes(found)


def newest(lake: str) -> dict[str, float]:
    found = {}
    for row in sorted(rows(lake, "runs"), key=lambda r: r["file_version"]):
        found[row["run_id"]] = row["objective_value"]
    return found


def test_ingest__table_that_grew__replaces_what_changed_and_has_seen_the_rest(
    tmp_path, lake
):
    ingest([write(tmp_path, "sweep.csv", table(a=1, b=2, c=3))], lake)
    path = write(tmp_path, "sweep.csv", table(a=1, b=2.5, c=3, d=4))
    report = ingest([path], lake)
    assert (report.n_runs, report.n_runs_seen, report.n_runs_changed) == (
        2,
        2,
        1,
    )
    assert report.n_lines_quarantined == 0 and report.n_lines == 5
    (change,) = report.changed
    assert (change.run_id, change.before, change.after) == ("b", "2.0", "2.5")
    assert newest(lake) == {"a": 1, "b": 2.5, "c": 3, "d": 4}
    versions = {(r["run_id"], r["file_version"]) for r in rows(lake, "runs")}
    assert versions == {("a", 1), ("b", 1), ("b", 2), ("c", 1), ("d", 1)}
    raw = sorted(
        p.name for p in (tmp_path / "lake" / "landing").rglob("sweep.csv")
    )
    assert len(raw) == 2


def test_ingest__same_row_from_another_path__is_seen_and_a_changed_one_set_aside(
    tmp_path, lake
):
    ingest([write(tmp_path / "one", "sweep.csv", table(a=1, b=2))], lake)
    report = ingest(
        [write(tmp_path / "two", "sweep.csv", table(a=1, b=9))], lake
    )
    assert (report.n_runs, report.n_runs_seen, report.n_lines_quarantined) == (
        0,
        1,
        1,
    )
    assert "came first from an earlier batch" in report.quarantined[0].reason


def test_ingest__log_in_flight__is_no_outcome_and_read_on_when_it_has_grown(
    tmp_path, lake
):
    path = write(tmp_path, "r.jsonl", run_bytes("r", n_steps=2, end=None))
    ingest([path], lake)
    (first,) = rows(lake, "runs")
    assert (first["status"], first["is_outcome"], first["n_points"]) == (
        "running",
        False,
        4,
    )
    ingest(
        [write(tmp_path, "r.jsonl", run_bytes("r", n_steps=5, end=None))], lake
    )
    ingest([write(tmp_path, "r.jsonl", run_bytes("r", n_steps=6))], lake)
    last = max(rows(lake, "runs"), key=lambda r: r["file_version"])
    assert (last["status"], last["n_points"], last["file_version"]) == (
        "finished",
        12,
        3,
    )
    cut = ingest(
        [write(tmp_path, "r.jsonl", run_bytes("r", n_steps=4, end=None))], lake
    )
    assert cut.n_runs == 0 and "came whole from" in cut.quarantined[0].reason


def test_ingest__whole_log_from_another_place__replaces_the_one_in_flight(
    tmp_path, lake
):
    ingest(
        [write(tmp_path / "node", "r.jsonl", run_bytes("r", end=None))], lake
    )
    assert (
        ingest(
            [write(tmp_path / "home", "r.jsonl", run_bytes("r"))], lake
        ).n_runs
        == 1
    )


def test_ingest__end_record__may_say_killed_or_pruned(tmp_path, lake):
    for status in ("killed", "pruned"):
        data = run_bytes(
            status, end=RunEnd(status, {"val_loss": 3.0}, {"flops": 1.0})
        )
        ingest([write(tmp_path, f"{status}.jsonl", data)], lake)
    found = {
        r["run_id"]: (r["status"], r["is_outcome"]) for r in rows(lake, "runs")
    }
    assert found == {"killed": ("killed", False), "pruned": ("pruned", False)}


def test_ingest__mapping_appears_after_the_file__lands_it(tmp_path):
    lake = str(tmp_path / "lake")
    path = write(tmp_path, "sweep.csv", table(a=1))
    first = ingest([path], lake)
    assert "autollm sources inspect sweep.csv" in first.quarantined[0].reason
    assert first.has_read_nothing
    text = sweep_mapping("csv", ["sweep.csv"])
    write(tmp_path / "lake" / "mappings", "sweep.toml", text.encode())
    assert ingest([path], lake).n_runs == 1
    assert ingest([path], lake).n_files_skipped == 1


def test_ingest__again__reads_the_raw_files_and_leaves_one_row_a_run(
    tmp_path, lake
):
    ingest([write(tmp_path, "sweep.csv", table(a=1))], lake)
    ingest([write(tmp_path, "sweep.csv", table(a=2))], lake)
    ingest([write(tmp_path, "r.jsonl", run_bytes("r"))], lake)
    report = ingest([], lake, again=["sweep"])
    assert report.again == ("sweep",) and newest(lake) == {"a": 2, "r": 3.5}
    with pytest.raises(UnknownNameError, match="Did you mean 'sweep'"):
        ingest([], lake, again=["sweeep"])


def test_remove_source__landed_one__is_gone_and_can_come_back(tmp_path, lake):
    path = write(tmp_path, "sweep.csv", table(a=1))
    ingest([path, write(tmp_path, "r.jsonl", run_bytes("r"))], lake)
    remove_source(lake, "sweep")
    assert newest(lake) == {"r": 3.5}
    assert {f["source"] for f in rows(lake, "files")} == {"lab-pretraining"}
    assert ingest([path], lake).n_runs == 1 and set(newest(lake)) == {"a", "r"}


def test_ingest__bronze_of_a_newer_version__is_refused(tmp_path, lake):
    ingest([write(tmp_path, "sweep.csv", table(a=1))], lake)
    (path,) = (tmp_path / "lake" / "bronze" / "batches").glob("*/files.parquet")
    found = pq.read_table(path)
    newer = found.replace_schema_metadata({"schema": "autollm.bronze/3"})
    pq.write_table(newer, path)
    with pytest.raises(
        RecordError, match=r"autollm.bronze/3.*newer autollm.*Fix:"
    ):
        ingest([tmp_path / "sweep.csv"], lake)


OLD = ("run_id", "raw_file", "raw_sha256", "family", "space_id", "ladder_id",
       "config_json", "config_id", "fidelity_json", "fidelity_label", "objective_name",
       "objective_direction", "objective_value", "secondary_json", "seed", "cost_flops",
       "device", "device_hours", "gpu_hours", "wall_time_s", "data_sha256",
       "header_json", "created_at")  # fmt: skip


def test_ingest__bronze_of_the_first_version__is_brought_to_this_one(
    tmp_path, lake
):
    ingest(
        [write(tmp_path, "r.jsonl", run_bytes("r", source="elsewhere"))], lake
    )
    ingest([write(tmp_path, "sweep.csv", table(a=1))], lake)
    for folder in (tmp_path / "lake" / "bronze" / "batches").iterdir():
        for name in ("runs", "run_metrics", "spaces", "files"):
            found = pq.read_table(folder / f"{name}.parquet")
            pq.write_table(_as_first(name, found), folder / f"{name}.parquet")
    assert ingest([], lake).again == ()
    (row,) = rows(lake, "runs")
    assert (row["source"], row["group"], row["schema"]) == (
        "other",
        "g",
        "autollm.bronze/2",
    )
    assert row["status"] == "running" and not row["is_outcome"]
    assert (
        row["experiment_id"].startswith("other/g:") and row["file_version"] == 1
    )


def _as_first(name: str, table_: pa.Table) -> pa.Table:
    plain = []
    for row in table_.to_pylist():
        if name == "runs":
            kept = {n: row[n] for n in ("batch_id", *OLD)}
            kept |= {"source": "other/g", "status": "failed"}
            row = kept | {"status_reason": "no end record: the run was killed"}
        else:
            for new in ("group", "file_version", "path_id"):
                row.pop(new, None)
            row["source"] = "other" if name == "files" else "other/g"
            row |= {"mapping_id": "old"} if name == "files" else {}
        plain.append(row)
    if plain:
        return pa.Table.from_pylist(plain)
    kept = [
        n for n in table_.schema.names if n not in ("group", "file_version")
    ]
    return pa.table({n: pa.nulls(0, table_.schema.field(n).type) for n in kept})
