"""Dagster's instance under the home, and putting right what killed processes left in it.

What does not belong here: runs. Invariant: a run is declared dead only when its process is gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg

from autollm.places import PROJECT, Places

UNFINISHED = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
MARGIN_S = 5.0


def open_instance(places: Places) -> dg.DagsterInstance:
    """The instance whose history the UI shows; its settings are those of dagster.yaml."""
    install(places)
    return dg.DagsterInstance.from_config(str(places.dagster))


def install(places: Places) -> None:
    """Put dagster.yaml into DAGSTER_HOME; settings that a user changed there are left alone."""
    target = places.dagster / "dagster.yaml"
    places.dagster.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(PROJECT / "dagster.yaml", target)


def reconcile(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process was killed as failed, and free their pool slots; returns their ids."""
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))) if not _lives(instance, run.run_id)]
    for run in dead:
        instance.report_run_failed(run, "The process of this run was killed; what it had finished is kept. Run it again to go on.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def _lives(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that the run's events name is there, and is not a later one with the same number."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for event in events:
        pid = event.dagster_event.engine_event_data.metadata.get("pid") if event.dagster_event else None
        if pid is not None and _process_lives(int(str(pid.value)), event.timestamp):
            return True
    return False


def _process_lives(pid: int, started_before: float) -> bool:
    stat = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        return stat.exists() and not _is_zombie(pid) and stat.stat().st_mtime <= started_before + MARGIN_S
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
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
