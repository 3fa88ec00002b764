"""MLflow runs by identity, resumed after crashes; the registry by reference and hash."""

import json
import sqlite3

import pytest

from autollm.core.errors import BusyError, CheckpointError, UnknownNameError
from autollm.core.places import resolve
from autollm.core.records import flat
from autollm.tracking import MAX_POINTS, DataUsed, Tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return Tracker(resolve(tmp_path_factory.mktemp("home")))


def _run(tracker, identity, **more):
    return tracker.run(
        "training",
        identity,
        f"run {identity}",
        {"sft": {"steps": 3}},
        {"commit": "abc"},
        **more,
    )


def _status(tracker, identity):
    return tracker.find("training", identity).info.status


def test_run__block_ends__is_finished_with_params_tags_and_data(tracker):
    with _run(
        tracker,
        "ok",
        data=[DataUsed("snapshot", "d1", "somewhere", {"rows": 2})],
    ) as run:
        run.log({"loss": 1.0}, 1)
    found = tracker.find("training", "ok")
    assert (
        found.info.status == "FINISHED"
        and found.data.params == {"sft.steps": "3"}
        and found.data.tags["commit"] == "abc"
    )
    assert [i.dataset.digest for i in found.inputs.dataset_inputs] == [
        "d1"
    ] and found.data.metrics == {"loss": 1.0}


def test_run__block_raises__is_failed_and_resumed_as_the_same_run(tracker):
    with pytest.raises(ZeroDivisionError), _run(tracker, "again") as first:
        first.log({"loss": 3.0}, 1)
        first.log({"loss": 2.0}, 2)
        _ = 1 / 0
    assert _status(tracker, "again") == "FAILED"
    with _run(tracker, "again") as second:
        second.log({"loss": 9.0}, 2)  # repeated after the last checkpoint
        second.log({"loss": 1.0}, 3)
    assert (
        second.run_id == first.run_id
        and _status(tracker, "again") == "FINISHED"
    )
    history = tracker.client.get_metric_history(second.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.0),
    ]


def test_run__interrupted_by_the_user__is_killed(tracker):
    with pytest.raises(KeyboardInterrupt), _run(tracker, "ctrl-c"):
        raise KeyboardInterrupt
    assert _status(tracker, "ctrl-c") == "KILLED"


def test_run__open_in_another_holder__busy(tracker):
    with (
        _run(tracker, "held"),
        pytest.raises(BusyError, match="run held"),
        _run(tracker, "held"),
    ):
        pass


def test_close_orphans__run_without_a_living_process__is_killed_and_a_held_one_stays(
    tracker,
):
    orphan = tracker.client.create_run(
        tracker.experiment("training"),
        tags={"autollm.lock": "mlflow-gone.lock"},
    )
    with _run(tracker, "alive"):
        assert tracker.close_orphans() == [orphan.info.run_id]
        assert _status(tracker, "alive") == "RUNNING"
    assert tracker.client.get_run(orphan.info.run_id).info.status == "KILLED"


def test_tracker__making_the_store_was_cut_off__is_made_anew(
    tmp_path, monkeypatch
):
    places = resolve(tmp_path)

    def half_made(uri):
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
            database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("autollm.tracking.store.MlflowClient", half_made)
        Tracker(places)
    assert Tracker(places).experiment("training")
    assert [p.name for p in places.mlflow.iterdir()] == ["mlflow.db"]


def test_table__logged_again_after_a_kill__replaces_the_first(tracker):
    for rows in (
        [{"k": 1, "regret": 0.5}],
        [{"k": 1, "regret": 0.5}, {"k": 3, "regret": 0.1}],
    ):
        with _run(tracker, "table") as run:
            run.table(rows, "leaderboard.json")
    logged = tracker.client.download_artifacts(run.run_id, "leaderboard.json")
    with open(logged) as file:
        assert json.load(file) == {
            "columns": ["k", "regret"],
            "data": [[1, 0.5], [3, 0.1]],
        }


def test_table__half_of_it_is_there__is_written_anew(tracker):
    with _run(tracker, "half") as run:
        run.text('{"columns": ["k"', "leaderboard.json")
        run.table([{"k": 1}], "leaderboard.json")
    with open(
        tracker.client.download_artifacts(run.run_id, "leaderboard.json")
    ) as file:
        assert json.load(file) == {"columns": ["k"], "data": [[1]]}


def test_log__same_metric_and_step_twice__first_value_stays(tracker):
    with _run(tracker, "twice") as run:
        run.log({"epoch": 1.0}, 3)
        run.log({"epoch": 9.0, "train_loss": 2.0}, 3)
    history = [
        tracker.client.get_metric_history(run.run_id, name)
        for name in ("epoch", "train_loss")
    ]
    assert [[(m.step, m.value) for m in points] for points in history] == [
        [(3, 1.0)],
        [(3, 2.0)],
    ]


def test_log__long_curve__is_thinned(tracker):
    with _run(tracker, "long", total_steps=10 * MAX_POINTS) as run:
        for step in range(1, 10 * MAX_POINTS + 1):
            run.log({"loss": 1.0}, step)
    assert (
        len(tracker.client.get_metric_history(run.run_id, "loss"))
        <= MAX_POINTS + 1
    )


@pytest.fixture(scope="module")
def registered(tracker):
    folder = tracker.places.checkpoints / "sft-rl-1" / "final"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("w")
    with _run(tracker, "trained") as run:
        run.checkpoint(folder, "dig1")
    return folder, run.run_id


def test_register__twice_the_same_digest__one_version_and_candidate(
    tracker, registered
):
    folder, run_id = registered
    versions = [
        tracker.register(
            "tiny", folder, "dig1", run_id, "card", {"stage": "sft-rl"}
        )
        for _ in range(2)
    ]
    found = tracker.resolve("models:/autollm-agent-tiny@candidate")
    assert (
        len(set(versions)) == 1
        and found.folder == folder
        and found.digest == "dig1"
        and found.tags["stage"] == "sft-rl"
    )


def test_promote__champion__resolves_and_is_cited(tracker, registered):
    folder, run_id = registered
    version = tracker.register("tiny", folder, "dig1", run_id, "card", {})
    tracker.promote("tiny", version, {"validation": "beats copy-nearest"})
    assert (
        tracker.resolve("models:/autollm-agent-tiny@champion").tags[
            "validation"
        ]
        == "beats copy-nearest"
    )
    assert (
        tracker.resolve(f"models:/autollm-agent-tiny/{version}").folder
        == folder
    )
    assert tracker.cited() == {"checkpoints/sft-rl-1/final"}


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        (
            "models:/autollm-agent-tini@champion",
            UnknownNameError,
            "Did you mean 'autollm-agent-tiny'",
        ),
        ("models:/autollm-agent-tiny@champoin", UnknownNameError, "Known: "),
        ("models:/autollm-agent-tiny/99", UnknownNameError, "99"),
        ("autollm-agent-tiny", CheckpointError, "Expected models:/"),
    ],
)
def test_resolve__wrong_reference__says_what_is_known(
    tracker, registered, reference, error, words
):
    tracker.register("tiny", registered[0], "dig1", registered[1], "card", {})
    with pytest.raises(error, match=words):
        tracker.resolve(reference)


def test_resolve__checkpoint_deleted__says_so(tracker, registered):
    folder = tracker.places.checkpoints / "sft-rl-2" / "final"
    folder.mkdir(parents=True)
    version = tracker.register(
        "gone", folder, "dig2", registered[1], "card", {}
    )
    folder.rmdir()
    with pytest.raises(CheckpointError, match="is gone"):
        tracker.resolve(f"models:/autollm-agent-gone/{version}")


def test_flat__nested_settings__dotted_names():
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
