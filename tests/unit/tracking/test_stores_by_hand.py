"""Stores of MLflow: addresses, damage, homes that moved, runs of other people."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from autollm.core.errors import SetupError, SourceError
from autollm.core.places import resolve
from autollm.tracking import RunWriter, Tracker, ended_since, store_uri
from autollm.tracking.store import check_store, follow_home, made_store


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store of two experiments with one finished and one failed run."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    runs = {}
    for name, experiment, failed, ended in (
        ("good", "sweep", False, 100.0),
        ("bad", "other", True, 200.0),
    ):
        runs[name] = RunWriter(database, experiment).write(
            name,
            {"lr": 0.1, "mix.a": 0.5},
            {"source": "x"},
            [(1, 60.0, {"loss": 2.0}), (3, 90.0, {"loss": 1.5, "acc": 0.5})],
            50.0,
            ended,
            failed=failed,
        )
    return database, runs


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("plain/mlflow.db", "sqlite:///plain/mlflow.db"),
        ("a b/mlflow.db", "sqlite:///a%20b/mlflow.db"),
        ("a?b#c/mlflow.db", "sqlite:///a%3Fb%23c/mlflow.db"),
        ("100%/mlflow.db", "sqlite:///100%25/mlflow.db"),
    ],
)
def test_store_uri__any_path__is_one_address(name, address):
    assert store_uri(name) == address


def test_run_writer__points__are_kept_with_step_and_time(written):
    database, runs = written
    client = RunWriter(database, "sweep").client
    run = client.get_run(runs["good"])
    assert run.info.status == "FINISHED" and run.info.run_name == "good"
    assert (run.info.start_time, run.info.end_time) == (50_000, 100_000)
    assert run.data.params == {"lr": "0.1", "mix.a": "0.5"}
    history = client.get_metric_history(runs["good"], "loss")
    kept = sorted((m.step, m.value, m.timestamp) for m in history)
    assert kept == [(1, 2.0, 60_000), (3, 1.5, 90_000)]
    assert client.get_run(runs["bad"]).info.status == "FAILED"


def test_run_writer__experiment_that_is_there__is_written_on(written):
    database, _ = written
    writers = [RunWriter(database, "sweep") for _ in range(2)]
    assert writers[0].experiment_id == writers[1].experiment_id


@pytest.mark.parametrize(
    ("since_ms", "experiment", "names"),
    [
        (0, "", {"good", "bad"}),
        (0, "sweep", {"good"}),
        (100_000, "", {"good", "bad"}),
        (100_001, "", {"bad"}),
        (200_001, "", set()),
        (100_001, "sweep", set()),
    ],
)
def test_ended_since__moment_and_experiment__are_kept(
    written, since_ms, experiment, names
):
    database, runs = written
    found = ended_since(store_uri(database), since_ms, experiment)
    assert set(found) == {runs[name] for name in names}


def test_ended_since__no_such_experiment__names_those_there_are(written):
    with pytest.raises(SourceError, match="'swep'") as caught:
        ended_since(store_uri(written[0]), 0, "swep")
    assert "other" in str(caught.value) and "sweep" in str(caught.value)


@pytest.mark.parametrize("uri", ["nonsense://x", "ftp://h/x"])
def test_ended_since__address_of_no_store__is_the_houses_error(uri):
    with pytest.raises(SourceError, match="does not answer"):
        ended_since(uri, 0)


def test_check_store__whole_one__is_silent(written):
    check_store(written[0])


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no tables"])
def test_check_store__damaged__names_it_and_what_to_do(
    written, tmp_path, damage
):
    path = tmp_path / "mlflow.db"
    if damage == "no tables":
        with closing(sqlite3.connect(path)) as store:
            store.execute("create table x (y)")
    else:
        whole = written[0].read_bytes()
        content = {"empty": b"", "text": b"hello" * 999, "cut": whole[:9000]}
        path.write_bytes(content[damage])
    with pytest.raises(SetupError, match="is damaged") as caught:
        check_store(path)
    assert str(path) in str(caught.value) and "move it away" in str(
        caught.value
    )


def addresses(database):
    with closing(sqlite3.connect(database)) as store:
        rows = store.execute("select artifact_location from experiments")
        return sorted(row[0] for row in rows)


def plain_store(path, *locations):
    """Tables of the shape that follow_home turns, without MLflow."""
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("create table experiments (artifact_location text)")
        store.execute("create table runs (artifact_uri text)")
        for location in locations:
            store.execute("insert into experiments values (?)", (location,))
            store.execute("insert into runs values (?)", (f"{location}/r",))
    return path


@pytest.mark.parametrize("home", ["/new/home", "/it's [v2]", "/a%20b", "/日本"])
def test_follow_home__moved__addresses_are_those_of_the_home_now(
    tmp_path, home
):
    path = plain_store(
        tmp_path / "x.db", "/old/mlflow/artifacts/1", "s3://bucket/runs"
    )
    now = f"{home}/mlflow/artifacts"
    for _ in range(2):
        follow_home(path, now)
        assert addresses(path) == sorted([f"{now}/1", "s3://bucket/runs"])


def test_follow_home__home_inside_a_folder_of_that_name__is_turned_once(
    tmp_path,
):
    path = plain_store(tmp_path / "x.db", "/a/mlflow/artifacts/1")
    now = "/b/mlflow/artifacts"
    follow_home(path, now)
    follow_home(path, now)
    assert addresses(path) == [f"{now}/1"]


def test_made_store__empty_file_of_a_full_disk__is_made_anew(tmp_path):
    places = resolve(str(tmp_path)).prepare()
    path = places.mlflow / "mlflow.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    (path.parent / "mlflow.db.new-journal").write_bytes(b"left")
    assert made_store(places) == path
    check_store(path)
    assert not list(path.parent.glob("mlflow.db.new*"))
    before = path.stat().st_mtime_ns
    assert made_store(places) == path
    assert path.stat().st_mtime_ns == before


def test_tracker__final_numbers__are_set_once(tmp_path):
    tracker = Tracker(resolve(str(tmp_path)))
    for number in (1.0, 2.0):
        with tracker.run("evaluation", "id", "name", {}, {}) as run:
            run.final({"score": number})
            run.table([{"a": number, "b": "x"}], "rows.json")
    found = tracker.find("evaluation", "id")
    assert found.data.metrics == {"score": 1.0}
