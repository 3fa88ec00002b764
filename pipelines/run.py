"""`python -m pipelines.run`: the main job in this process, against the instance whose history the UI shows.

Progress goes to stderr; the leaderboard, at the end, to stdout. What does not belong here: work.
Invariant: one run a home at a time, and no run is left STARTED by a process that is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

import dagster as dg

from autollm.errors import AutoLLMError
from autollm.locks import hold
from autollm.places import Places, resolve, silence_telemetry
from autollm.stages.settings import Settings, load_settings
from pipelines import groups, manifest

WAIT_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and return the exit code: 0 done, 1 a step failed, 2 not started."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description="Raw logs in, a judged agent out.")
    parser.add_argument("--home", help="state folder, default AUTOLLM_HOME or ./var")
    parser.add_argument("--settings", help="TOML file with settings of the job")
    parser.add_argument("--job", default="main")
    parser.add_argument("--to", help="stop after this asset, such as published_snapshot")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.settings)
        places = resolve(options.home).prepare()
        with hold(places.locks / "run.lock", f"the home {places.home}", WAIT_S):
            return 0 if run(places, settings, options.job, options.to) else 1
    except AutoLLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(places: Places, settings: Settings, job_name: str, to: str | None) -> bool:
    """Run a job; True when it succeeded."""
    silence_telemetry()
    os.environ.update(places.environment())
    manifest.prepare()

    from pipelines.instance import open_instance, reconcile
    from pipelines.progress import StepProgress

    instance = open_instance(places)
    for run_id in reconcile(instance):
        print(f"run {run_id[:8]} was left by a killed process: marked as failed", file=sys.stderr)
    progress = StepProgress(instance)
    with (places.dagster / "console.log").open("a") as log, contextlib.redirect_stdout(log), progress:  # dbt tells every test
        for event in _events(instance, settings, job_name, to, progress):
            progress.take(event)
    return progress.succeeded


def _events(instance: Any, settings: Settings, job_name: str, to: str | None, progress: Any) -> Any:
    from dagster._core.execution.api import execute_run_iterator

    from pipelines.definitions import defs

    job = defs.resolve_job_def(job_name)
    if to:
        keys = until(to).resolve(defs.resolve_asset_graph())
        job = job.get_subset(asset_selection=keys)
    config = {"resources": {"settings": {"config": settings.model_dump()}}, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run = instance.create_run_for_job(job_def=job, run_config=config, tags={"autollm/started_by": "autollm run"},
                                      asset_selection=frozenset(keys) if to else None)
    progress.plan([step.key for step in _plan(job, config).get_all_steps_in_topo_order()], run.run_id)
    return execute_run_iterator(_in_memory(job), run, instance)


def until(asset: str) -> dg.AssetSelection:
    """An asset and all before it. The warehouse is built as a whole: its tests compare models of different branches."""
    selection = dg.AssetSelection.assets(asset).upstream()
    return selection | dg.AssetSelection.groups(groups.LOGS, groups.WAREHOUSE)


def _plan(job: Any, config: dict[str, Any]) -> Any:
    from dagster._core.execution.api import create_execution_plan

    return create_execution_plan(job, run_config=config)


def _in_memory(job: Any) -> Any:
    from dagster._core.definitions.job_base import InMemoryJob

    return InMemoryJob(job)


if __name__ == "__main__":
    sys.exit(main())
