import csv
import math
import sqlite3

import pytest

from autollm.core.errors import RecordError
from autollm.core.statuses import status_of
from autollm.logs.readers.tools.optuna_journal import OptunaJournalReader
from autollm.logs.readers.tools.sqlite_stores import SqliteStoreReader
from tests.unit.logs.readers.opened import (
    FIXTURES,
    Opened,
    curve_of,
    opened_file,
    read_file,
    runs_of,
)

OPTUNA = FIXTURES / "optuna"


@pytest.fixture(scope="module")
def tracked():
    return read_file(SqliteStoreReader(), FIXTURES / "mlflow" / "mlflow.db.gz")


def database(*statements):
    """A SQLite file made by statements."""
    with sqlite3.connect(":memory:") as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return bytes(connection.serialize())


def test_mlflow_store__five_runs__have_settings_results_and_states(tracked):
    runs = {row["run_name"]: row for row in tracked.runs.to_pylist()}
    states = {name: status_of(row["status"]) for name, row in runs.items()}
    assert states == {
        "run-0": "finished",
        "run-1": "finished",
        "run-2": "failed",
        "run-3": "killed",
        "run-4": "running",
    }
    row = runs["run-1"]
    assert (row["params.lr"], row["params.model.width"]) == ("0.002", "64")
    assert (row["metrics.val/loss"], row["metrics.tokens"]) == (2.6, 2e6)
    assert (row["tags.team"], row["runtime_s"]) == ("core", 60.0)
    assert math.isnan(runs["run-2"]["metrics.val/loss"])
    assert "tags.mlflow.runName" not in row


def test_mlflow_store__histories__keep_steps_and_clocks(tracked):
    row = next(r for r in tracked.runs.to_pylist() if r["run_name"] == "run-0")
    assert curve_of(tracked, row["run_id"], "val/loss") == [
        (0, 3.0),
        (100, 2.8),
        (200, 2.7),
    ]
    assert tracked.points["wall_time_s"][0].as_py() == 10.0


def test_mlflow_store__infinities_and_deleted_runs__are_what_they_were():
    data = database(
        "create table runs (run_uuid, status, lifecycle_stage)",
        "create table params (key, value, run_uuid)",
        "create table tags (key, value, run_uuid)",
        "create table metrics (key, value, timestamp, run_uuid, step, is_nan)",
        "insert into runs values ('a', 'FINISHED', 'active')",
        "insert into runs values ('b', 'FINISHED', 'deleted')",
        "insert into metrics values ('loss', 1.7976931348623157e308, 1, 'a', 0, 0)",
        "insert into metrics values ('loss', 0.5, 0, 'a', 0, 0)",
    )
    (relation,) = SqliteStoreReader().read(Opened("mlflow.db", data))
    (row,) = relation.runs.to_pylist()
    assert (row["run_id"], row["metrics.loss"]) == ("a", math.inf)
    assert "1 deleted runs are left out" in relation.notes


def test_sqlite_store__foreign_tables__are_named_in_the_error():
    data = database("create table sales (price)")
    with pytest.raises(RecordError, match="tables sales"):
        list(SqliteStoreReader().read(Opened("shop.db", data)))


def test_sqlite_store__write_ahead_mode__is_read_with_a_note(tmp_path):
    path = tmp_path / "optuna.db"
    path.write_bytes(opened_file(OPTUNA / "optuna.db.gz").data)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode = wal")
    connection.close()
    relation = read_file(SqliteStoreReader(), path)
    assert relation.runs.num_rows == 9
    assert any("optuna.db-wal" in note for note in relation.notes)


@pytest.fixture(params=["database", "journal"])
def study(request):
    if request.param == "database":
        return read_file(SqliteStoreReader(), OPTUNA / "optuna.db.gz")
    return read_file(OptunaJournalReader(), OPTUNA / "journal.log")


def test_optuna__both_storages__give_the_same_trials(study):
    runs = runs_of(study)
    assert study.key == "number"
    with (OPTUNA / "trials.csv").open() as table:
        told = {int(row["number"]): row for row in csv.DictReader(table)}
    assert {n: row["state"] for n, row in told.items()} == {
        n: row["state"] for n, row in runs.items()
    }
    assert set(map(status_of, (row["state"] for row in runs.values()))) == {
        "finished",
        "pruned",
        "failed",
        "running",
    }
    for n, row in told.items():
        assert float(row["value"] or "nan") == pytest.approx(
            runs[n]["value"] or float("nan"), nan_ok=True
        )
    row = runs[1]
    assert row["params_lr"] == 0.0024857511510709878
    assert (row["params_depth"], row["params_optimizer"]) == (2, "adamw")
    assert row["value"] == 2.8048575115107095
    assert row["user_attrs_n_params"] == 2_000_000
    assert study.directions == {"value": "min"}
    assert curve_of(study, "0", "intermediate_value") == [
        (0, 3.085913156987335),
        (1, 2.9859131569873347),
    ]


def test_optuna__two_studies__are_told_apart_by_name():
    lines = [
        b'{"op_code":0,"worker_id":"w","study_name":"a","directions":[1]}',
        b'{"op_code":0,"worker_id":"w","study_name":"b","directions":[2]}',
        b'{"op_code":4,"worker_id":"w","study_id":1,"datetime_start":null}',
        b'{"op_code":6,"worker_id":"w","trial_id":0,"state":1,"values":[0.5]}',
        b'{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null}',
        b'{"op_code":6,"worker_id":"w","trial_id":1,"state":1,"values":[2.5]}',
    ]
    (study,) = OptunaJournalReader().read(Opened("j.log", b"\n".join(lines)))
    runs = runs_of(study)
    assert list(runs) == ["b/0", "a/0"]
    assert (runs["b/0"]["value_max"], runs["a/0"]["value_min"]) == (0.5, 2.5)
    assert any("disagree on the direction" in note for note in study.notes)


def test_optuna_journal__a_damaged_line__sets_aside_all_that_is_counted_after_it():
    whole = (OPTUNA / "journal.log").read_bytes()
    lines = whole.splitlines(keepends=True)
    lines[9] = b"{broken\n"
    (study,) = OptunaJournalReader().read(Opened("j.log", b"".join(lines)))
    assert study.n_lines == len(lines)
    assert study.n_lines_bad == len(lines) - 9
    assert list(runs_of(study)) == [0]
