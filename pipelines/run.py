"""`python -m pipelines.run`: a job in this process, against the instance whose history
the UI shows.

Progress goes to stderr; what third parties print goes to <home>/dagster/console.log.
Invariant: one run a home at a time, and no run, of Dagster or MLflow, is left open by a
process that is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import uuid
import warnings
from typing import Any

import dagster as dg

from autollm.core.errors import AutoLLMError
from autollm.core.locks import hold
from autollm.core.places import Places, resolve, silence_telemetry
from autollm.core.processes import die_with_parent_if_asked
from autollm.core.progress import say
from autollm.core.refusals import sentence_of
from autollm.stages.settings import Settings, load_settings
from pipelines import groups
from pipelines.dbt_project import prepared_project
from pipelines.steps.child import CHATTER

WAIT_S = 30.0
QUIET = {
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",
}
"""For child processes: their own progress lines are enough."""
CONSOLE = {"console": {"config": {"log_level": "CRITICAL"}}}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and return the exit code: 0 done, 1 a step failed, 2
    not started.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.run",
        description="Raw logs in, a judged agent out.",
    )
    parser.add_argument(
        "--home", help="state folder, default AUTOLLM_HOME or ./var"
    )
    parser.add_argument("--settings", help="TOML file with settings of the job")
    parser.add_argument("--job", default="main")
    parser.add_argument(
        "--to", help="stop after this asset, such as published_snapshot"
    )
    options = parser.parse_args(arguments)
    die_with_parent_if_asked()
    try:
        settings = load_settings(options.settings)
        places = resolve(options.home).prepare()
        with hold_home(places, WAIT_S):
            return 0 if run(places, settings, options.job, options.to) else 1
    except AutoLLMError as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        say(f"error: {sentence}")
        return 2


def run(
    places: Places,
    settings: Settings,
    job_name: str = "main",
    to: str | None = None,
) -> bool:
    """Run a job (up to an asset); True when it succeeded.

    Raises:
        SetupError: the dbt project cannot be parsed. UnknownNameError: no such asset.
    """
    silence_telemetry()
    chatter = places.dagster / "console.log"
    os.environ.update(places.environment() | QUIET | {CHATTER: str(chatter)})
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)

    from pipelines.instance import open_instance

    with open_instance(places) as instance:
        reconcile_all(places, instance)
        with chatter.open("a") as log, contextlib.redirect_stdout(log):
            prepared_project(places)
            return _execute(instance, places, settings, job_name, to)


def hold_home(
    places: Places, wait_s: float = 0.0
) -> contextlib.AbstractContextManager[None]:
    """The home's run lock. Its holder may mark runs as dead that no living process
    claims.

    Raises:
        BusyError: a run is going on, also after `wait_s` seconds.
    """
    return hold(places.locks / "run.lock", f"the home {places.home}", wait_s)


def reconcile_all(places: Places, instance: dg.DagsterInstance) -> None:
    """Close what killed processes left open, and delete what they left unfinished. The
    caller holds the home's run lock.
    """
    from autollm.stages.cleaning import remove_litter
    from pipelines.instance import reconcile

    for run_id in reconcile(instance):
        say(
            f"Dagster run {run_id[:8]} was left by a killed process: marked as failed"
        )
    if (places.mlflow / "mlflow.db").exists():
        from autollm.tracking import Tracker

        for run_id in Tracker(places).close_orphans():
            say(
                f"MLflow run {run_id[:8]} was left by a killed process: marked as "
                "killed"
            )
    for path in remove_litter(places):
        say(f"{path} was left unfinished by a killed process: deleted")


def until(asset: str, graph: Any) -> set[dg.AssetKey]:
    """An asset and all before it. The warehouse is built as a whole: its tests compare
    models of different branches.

    Raises:
        UnknownNameError: no such asset.
    """
    from autollm.core.errors import UnknownNameError

    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    if asset not in names:
        raise UnknownNameError("asset", asset, names)
    selection = dg.AssetSelection.assets(
        asset
    ).upstream() | dg.AssetSelection.groups(groups.LOGS, groups.WAREHOUSE)
    return selection.resolve(graph)


def _execute(
    instance: dg.DagsterInstance,
    places: Places,
    settings: Settings,
    job_name: str,
    to: str | None,
) -> bool:
    """The job, or the part of it up to an asset; what dbt and others print goes to this
    process's stdout.
    """
    from pipelines.definitions import defs
    from pipelines.instance import STARTED_BY
    from pipelines.progress import StepProgress, likely_done

    job = defs.resolve_job_def(job_name)
    keys = until(to, defs.resolve_asset_graph()) if to else None
    if keys:
        job = job.get_subset(asset_selection=keys)
    steps = [node.name for node in job.nodes_in_topological_order]
    run_id = str(uuid.uuid4())
    with StepProgress(instance, run_id, steps, likely_done(places, settings)):
        result = job.execute_in_process(
            run_config={
                "resources": {"settings": {"config": settings.model_dump()}},
                "loggers": CONSOLE,
            },
            instance=instance,
            run_id=run_id,
            tags={STARTED_BY: "autollm run"},
            raise_on_error=False,
        )
    return result.success


if __name__ == "__main__":
    sys.exit(main())
