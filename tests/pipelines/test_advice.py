"""The asset `recommendations`, and the sensor of a tracking server."""

from __future__ import annotations

import dagster as dg
import pytest

from autollm.core.places import Places, resolve
from autollm.stages.landing import land
from autollm.stages.settings import load_settings
from pipelines import jobs
from pipelines.assets.advice import recommendations
from pipelines.resources import resources
from pipelines.sensors import mlflow_sensor
from tests.unit.stages.test_questions import answered, ask, places  # noqa: F401

VARIABLE = "AUTOLLM_MLFLOW_SOURCE"


def test_recommendations__home_with_questions__shows_answers_and_pages(
    places,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setenv("AUTOLLM_HOME", places.home)
    monkeypatch.setenv("AUTOLLM_LOCAL_HOME", str(places.local))
    done = dg.materialize(
        [recommendations], resources={"settings": resources()["settings"]}
    )
    (made,) = done.asset_materializations_for_node("recommendations")
    told = {name: value.value for name, value in made.metadata.items()}
    assert told["questions"] == 3 and "lr 0.0" in told["advice"]
    assert "no-such: unknown source 'other'" in told["unanswered"]
    assert "typo: " in told["unanswered"]
    assert told["page next"].endswith("/page.html")
    assert told["dagster/row_count"] == 1


def test_recommendations__jobs__are_in_the_rebuild():
    from pipelines.definitions import defs

    job = defs.resolve_job_def(jobs.REBUILD)
    keys = job.asset_layer.executable_asset_keys
    assert dg.AssetKey("recommendations") in keys
    assert defs.resolve_sensor_def("mlflow_sensor").job_name == jobs.REBUILD


@pytest.fixture
def store(tmp_path):
    """A real store with an experiment, and a function that makes a run end in it."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/store.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("sweep")

    def run(end_ms: int, status: str = "FINISHED") -> str:
        made = client.create_run(experiment, start_time=1000)
        for name, value in {"lr": 0.001 * end_ms, "size": 1e7}.items():
            client.log_param(made.info.run_id, name, value)
        client.log_metric(made.info.run_id, "val_loss", 2.0)
        if status != "RUNNING":
            client.set_terminated(made.info.run_id, status, end_ms)
        return made.info.run_id

    return uri, run


def tick(cursor: str | None = None):
    context = dg.build_sensor_context(cursor=cursor)
    return mlflow_sensor(context), context.cursor


def test_mlflow_sensor__no_server_named__skips(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    answer, _ = tick()
    assert isinstance(answer, dg.SkipReason)
    assert VARIABLE in answer.skip_message


def test_mlflow_sensor__ended_runs__start_one_rebuild_each_time(
    store, monkeypatch
):
    uri, run = store
    monkeypatch.setenv(VARIABLE, f"{uri}#sweep")
    run(5_000)
    run(0, "RUNNING")
    first, cursor = tick()
    assert isinstance(first, dg.RunRequest)
    assert first.tags["autollm/reason"] == "1 runs ended on the server"
    again, cursor = tick(cursor)
    assert isinstance(again, dg.SkipReason)
    run(4_000, "FAILED")  # ended before, was brought later
    late, cursor = tick(cursor)
    assert isinstance(late, dg.RunRequest) and late.run_key != first.run_key
    assert isinstance(tick(cursor)[0], dg.SkipReason)


def test_mlflow_sensor__server_gone_or_no_such_experiment__says_so(
    store, monkeypatch
):
    uri, _ = store
    monkeypatch.setenv(VARIABLE, f"{uri}#other")
    assert "no experiment 'other'" in tick()[0].skip_message
    monkeypatch.setenv(VARIABLE, "http://user:word@127.0.0.1:9")
    said = tick()[0].skip_message
    assert "does not answer" in said and "word" not in said


def test_land__store_of_a_server__lands_with_the_rest(
    store, tmp_path, monkeypatch
):
    uri, run = store
    for end_ms in (5_000, 6_000):
        run(end_ms)
    (tmp_path / "settings.toml").write_text(
        "embedded = false\npublic = false\n"
    )
    monkeypatch.setenv("AUTOLLM_SETTINGS", str(tmp_path / "settings.toml"))
    monkeypatch.setenv(VARIABLE, uri)
    home: Places = resolve(str(tmp_path / "home")).prepare()
    mapping = tmp_path / "home" / "mappings"
    mapping.mkdir()
    (mapping / "sweep.toml").write_text(MAPPING)
    report = land(home, load_settings())
    assert report.n_runs == 2
    assert VARIABLE not in " ".join(report.warnings)


MAPPING = """
schema = "autollm.mapping/1"
source = "sweep"
family = "pretraining"
format = "sqlite"
files = ["store.db"]
[run_key]
columns = ["run_id"]
[[knobs]]
name = "lr"
column = "params.lr"
scale = "log"
[[fidelity]]
name = "size"
column = "params.size"
[objective]
name = "val_loss"
column = "metrics.val_loss"
direction = "min"
[state]
column = "status"
[cost]
flops = "6 * size"
"""
