"""Dagster's runs whose process was killed, and those that only look like it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.utils import make_new_run_id

from autollm.core.places import resolve
from pipelines import instance as own
from pipelines.instance import STARTED_BY, open_instance, reconcile

STARTING, STARTED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def home_instance(tmp_path_factory):
    with open_instance(resolve(tmp_path_factory.mktemp("home"))) as opened:
        yield opened


@pytest.fixture
def instance(home_instance):
    """The instance without the runs of other tests."""
    for run in home_instance.get_runs():
        home_instance.delete_run(run.run_id)
    return home_instance


def add_run(instance, status, pid=None, **tags):
    """A run in a state; `pid`: the process that its events name."""
    run = instance.add_run(
        dg.DagsterRun(
            job_name="main", run_id=make_new_run_id(), status=status, tags=tags
        )
    )
    if pid is not None:
        instance.report_engine_event(
            f"Executing steps in process (pid: {pid})",
            run,
            EngineEventData.in_process(pid),
        )
    return run.run_id


def status(instance, run_id):
    return instance.get_run_by_id(run_id).status


def test_reconcile__process_is_gone__run_is_failed(instance):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run_id = add_run(instance, STARTED, ended.pid)
    assert (
        reconcile(instance) == [run_id]
        and status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    )


def test_reconcile__process_lives__run_stays(instance):
    run_id = add_run(instance, STARTED, os.getpid())
    assert reconcile(instance) == [] and status(instance, run_id) == STARTED


def test_reconcile__later_process_with_the_same_number__run_is_failed(
    instance, monkeypatch
):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 7 * 24 * 3600.0)
    run_id = add_run(instance, STARTED, os.getpid())
    monkeypatch.undo()
    assert reconcile(instance) == [run_id]


def test_reconcile__own_run_killed_before_its_first_event__is_failed(instance):
    run_id = add_run(
        instance, dg.DagsterRunStatus.NOT_STARTED, **{STARTED_BY: "autollm run"}
    )
    assert (
        reconcile(instance) == [run_id]
        and status(instance, run_id) == dg.DagsterRunStatus.FAILURE
    )


def test_reconcile__run_that_the_daemon_is_launching__stays_until_the_daemon_would_give_up(
    instance, monkeypatch
):
    run_id = add_run(instance, STARTING)
    assert reconcile(instance) == [] and status(instance, run_id) == STARTING
    monkeypatch.setattr(own, "START_TIMEOUT_S", 0.0)
    assert reconcile(instance) == [run_id]


def test_settings__dagster_yaml__names_the_same_start_timeout(home_instance):
    assert (
        home_instance.run_monitoring_start_timeout_seconds
        == own.START_TIMEOUT_S
    )
