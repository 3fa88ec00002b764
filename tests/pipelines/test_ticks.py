"""Ticks of the schedule and the sensor: what starts a rebuild, what is skipped, and
what is said then.
"""

from __future__ import annotations

import os
import time

import dagster as dg
import pytest

from autollm.core.places import Places, resolve
from autollm.stages.landing import land
from autollm.stages.settings import load_settings
from autollm.stages.snapshots import build_candidate, publish_candidate
from pipelines import jobs
from pipelines.dbt_project import project_digest
from pipelines.schedules import nightly_rebuild
from pipelines.sensors import SETTLED_S, inbox_sensor
from tests.unit.logs.raw_logs import run_bytes
from tests.unit.snapshots.test_building import write_marts


@pytest.fixture
def places(tmp_path, monkeypatch) -> Places:
    """An empty home that lands its inbox alone."""
    (tmp_path / "settings.toml").write_text(
        "embedded = false\npublic = false\n"
    )
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUTOLLM_SETTINGS", str(tmp_path / "settings.toml"))
    return resolve().prepare()


def drop(
    places: Places, name: str, data: bytes = b"{}\n", age_s: float = 60.0
) -> None:
    path = places.inbox / name
    path.write_bytes(data)
    os.utime(path, (time.time() - age_s,) * 2)


@pytest.fixture
def table_id(places) -> str:
    """A snapshot, published from all that lies in the inbox."""
    drop(places, "first.jsonl", run_bytes("first"))
    land(places, load_settings())
    write_marts(places.marts)
    build_candidate(places)
    return publish_candidate(places, project_digest())[0]


def test_ticks__definitions__are_on_from_the_start_and_ask_for_the_rebuild():
    from pipelines.definitions import defs

    schedule, sensor = (
        defs.resolve_schedule_def("nightly_rebuild"),
        defs.resolve_sensor_def("inbox_sensor"),
    )
    assert (
        schedule.job_name,
        schedule.cron_schedule,
        schedule.default_status,
    ) == (
        jobs.REBUILD,
        "0 3 * * *",
        dg.DefaultScheduleStatus.RUNNING,
    )
    assert (sensor.job_name, sensor.default_status) == (
        jobs.REBUILD,
        dg.DefaultSensorStatus.RUNNING,
    )
    rebuilt = {
        key.to_user_string()
        for key in defs.resolve_job_def(
            jobs.REBUILD
        ).asset_layer.executable_asset_keys
    }
    assert {
        "bronze/runs",
        "published_snapshot",
        "held_out_scores",
    } <= rebuilt and not {
        "agent_sft",
        "agent_rl",
        "champion",
    } & rebuilt


def test_nightly_rebuild__nothing_published__asks_for_a_run(places):
    assert isinstance(
        nightly_rebuild(dg.build_schedule_context()), dg.RunRequest
    )


def test_nightly_rebuild__nothing_changed__skips_and_says_on_what_the_snapshot_stands(
    places, table_id
):
    tick = nightly_rebuild(dg.build_schedule_context())
    assert isinstance(tick, dg.SkipReason)
    assert (
        tick.skip_message
        == f"nothing new: snapshot {table_id} stands on all sources at hand"
    )


def test_nightly_rebuild__new_log__asks_for_a_run_with_its_reason(
    places, table_id
):
    drop(places, "second.jsonl", run_bytes("second"))
    tick = nightly_rebuild(dg.build_schedule_context())
    assert (
        isinstance(tick, dg.RunRequest)
        and tick.tags["autollm/reason"] == "sources changed"
    )


def test_nightly_rebuild__dbt_project_changed__asks_for_a_run(
    places, table_id, monkeypatch
):
    monkeypatch.setattr(
        "pipelines.dbt_project.project_digest", lambda: "another"
    )
    assert isinstance(
        nightly_rebuild(dg.build_schedule_context()), dg.RunRequest
    )


def test_inbox_sensor__empty_inbox__skips(places):
    tick = inbox_sensor(dg.build_sensor_context())
    assert isinstance(tick, dg.SkipReason) and "is empty" in tick.skip_message


def test_inbox_sensor__file_that_is_being_written__waits(places):
    drop(
        places, "run.jsonl", age_s=SETTLED_S - 60
    )  # changed in the future: young for as long as this test may take
    context = dg.build_sensor_context()
    tick = inbox_sensor(context)
    assert (
        isinstance(tick, dg.SkipReason)
        and "may still be written" in tick.skip_message
    )


def test_inbox_sensor__file_dated_in_the_future__counts_once_it_rests(places):
    drop(places, "run.jsonl", age_s=-86400)
    first = dg.build_sensor_context()
    assert isinstance(inbox_sensor(first), dg.SkipReason)
    second = dg.build_sensor_context(cursor=first.cursor)
    assert isinstance(inbox_sensor(second), dg.RunRequest)
    third = dg.build_sensor_context(cursor=second.cursor)
    assert isinstance(inbox_sensor(third), dg.SkipReason)
    assert "have been seen" in inbox_sensor(third).skip_message


def test_inbox_sensor__file_from_the_future_still_growing__waits_on(places):
    drop(places, "run.jsonl", age_s=-86400)
    first = dg.build_sensor_context()
    inbox_sensor(first)
    drop(places, "run.jsonl", b"{}\n{}\n", age_s=-86400)
    second = dg.build_sensor_context(cursor=first.cursor)
    assert isinstance(inbox_sensor(second), dg.SkipReason)


def test_inbox_sensor__dropped_log_then_unchanged_folder__runs_once_then_skips(
    places,
):
    drop(places, "run.jsonl")
    first = dg.build_sensor_context()
    request = inbox_sensor(first)
    assert (
        isinstance(request, dg.RunRequest)
        and request.run_key == first.cursor
        and request.tags["autollm/reason"] == "1 files in the inbox"
    )
    again = inbox_sensor(dg.build_sensor_context(cursor=first.cursor))
    assert (
        isinstance(again, dg.SkipReason)
        and again.skip_message == "the 1 files in the inbox have been seen"
    )


@pytest.mark.parametrize(
    ("name", "data"), [("other.jsonl", b"{}\n"), ("run.jsonl", b"{}\n{}\n")]
)
def test_inbox_sensor__another_file_or_other_bytes__asks_again_under_another_key(
    places, name, data
):
    drop(places, "run.jsonl")
    first = dg.build_sensor_context()
    before = inbox_sensor(first)
    drop(places, name, data)
    after = inbox_sensor(dg.build_sensor_context(cursor=first.cursor))
    assert isinstance(after, dg.RunRequest) and after.run_key != before.run_key


def test_inbox_sensor__hidden_file__is_no_log(places):
    drop(places, ".run.jsonl.part")
    assert isinstance(inbox_sensor(dg.build_sensor_context()), dg.SkipReason)
