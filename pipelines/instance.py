"""Dagster's instance under the home, and putting right what killed processes left in
it.

Invariant: a run is declared dead only when its process is gone.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from autollm.core.places import PROJECT, Places

UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
MARGIN_S = 5.0
START_TIMEOUT_S = 180.0
"""As in dagster.yaml: how long the daemon may take from launching a run to its first
event.
"""
STARTED_BY = "autollm/started_by"
"""Tag of runs that execute in the process that holds the home's run lock."""


def open_instance(places: Places) -> dg.DagsterInstance:
    """The instance whose history the UI shows; its settings are those of dagster.yaml."""
    install(places)
    return dg.DagsterInstance.from_config(str(places.dagster))


def install(places: Places) -> None:
    """Put dagster.yaml into DAGSTER_HOME; settings that a user changed there are left
    alone.
    """
    target = places.dagster / "dagster.yaml"
    places.dagster.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(PROJECT / "dagster.yaml", target)


def reconcile(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process was killed as failed, and free their pool slots; returns
    their ids. The caller holds the home's run lock.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=list(UNFINISHED)))
    dead = [
        record.dagster_run for record in records if not _lives(instance, record)
    ]
    for run in dead:
        instance.report_run_failed(
            run,
            "The process of this run was killed; what it had finished is kept. Run it "
            "again to go on.",
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def _lives(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether the process that the run's events name is there, and is not a later one
    with the same number.

    A run of ours that names none was killed as it began. One that the daemon launched
    names its process some seconds later.
    """
    events = instance.all_logs(
        record.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT
    )
    named = [
        (e.dagster_event.engine_event_data.metadata.get("pid"), e.timestamp)
        for e in events
        if e.dagster_event
    ]
    pids = [
        (int(str(pid.value)), timestamp)
        for pid, timestamp in named
        if pid is not None
    ]
    if not pids and STARTED_BY not in record.dagster_run.tags:
        return (
            datetime.now(UTC) - record.update_timestamp
        ).total_seconds() < START_TIMEOUT_S
    return any(_process_lives(pid, timestamp) for pid, timestamp in pids)


def _process_lives(pid: int, started_before: float) -> bool:
    stat = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        return (
            stat.exists()
            and not _is_zombie(pid)
            and stat.stat().st_mtime <= started_before + MARGIN_S
        )
    import os

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_zombie(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            == "Z"
        )
    except OSError:
        return True
