"""`autollm run`: the main job in a child process with Dagster, then the leaderboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from autollm.cli.options import Home

NEEDS = ("dagster", "dagster_dbt", "dbt", "mlflow")
TO_TRAIN = ("optuna", "torch", "transformers", "trl")
WITHOUT_TRAINING = (
    "landing",
    "dbt_build",
    "recommendations",
    "snapshot",
    "published_snapshot",
)
"""Assets before the first that trains or plays: `--to` one of them needs less."""


def run(
    home: Home = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with settings of the job (autollm/stages/settings.py)."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Stop after this asset, such as published_snapshot."),
    ] = None,
) -> None:
    """Run the main job: raw logs to a trained, judged and registered agent. Finished
    work is skipped.
    """
    from autollm.core.extras import require
    from autollm.core.places import resolve
    from autollm.core.processes import die_with_parent_if_asked
    from autollm.stages.settings import load_settings

    require(
        NEEDS if to in WITHOUT_TRAINING else NEEDS + TO_TRAIN, "`autollm run`"
    )
    load_settings(settings)  # a wrong name is said before anything starts
    die_with_parent_if_asked()
    code = run_child(
        [
            "--home",
            resolve(home).home,
            *(["--settings", str(settings)] if settings else []),
            *(["--to", to] if to else []),
        ]
    )
    _say_faults(home)
    if code:
        raise typer.Exit(code)
    if to is None:
        _say_results(home)


def run_child(arguments: list[str]) -> int:
    """`python -m pipelines.run` in a child that ends with this process; its exit code."""
    environment = os.environ | {"AUTOLLM_DIE_WITH_PARENT": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "pipelines.run", *arguments],
        env=environment,
        stdout=sys.stderr.fileno(),
    )
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        return child.wait()
    except KeyboardInterrupt:  # the terminal has told the child as well
        child.wait()
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_faults(home: str | None) -> None:
    """Which sources the tables leave out, why, and how that is mended."""
    from autollm.core.places import resolve
    from autollm.stages.warehouse import source_faults

    for source, fault in source_faults(resolve(home)).items():
        typer.echo(
            f"set aside: the source {source}: {fault}. Fix: correct its mapping, then "
            f"autollm ingest --again {source}; or autollm sources remove {source}",
            err=True,
        )


def _say_results(home: str | None) -> None:
    from autollm.cli.report import show

    show(home, None)
    print(
        "\nUIs with this history: make dev      (Dagster http://127.0.0.1:3000, MLflow "
        "http://127.0.0.1:5000, or the next free ports)"
    )
