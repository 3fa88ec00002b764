"""`autollm ingest`: raw logs and tables into the lake."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autollm.cli.options import Home, Json


def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Log files, tables, archives, run folders, or folders of them; "
            "wandb:ENTITY/PROJECT; mlflow:URI."
        ),
    ],
    mapping: Annotated[
        str | None,
        typer.Option(
            "--as", help="Mapping file (TOML), or name of a built-in or added mapping."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Land raw logs: each file once, unreadable lines in quarantine. `autollm run` then
    builds tables from them.
    """
    from autollm.core.places import resolve
    from autollm.logs.catalog import load_mapping
    from autollm.logs.landing import ingest as land
    from autollm.logs.readers.addresses import local_path

    def say(text: str) -> None:
        typer.echo(text, err=True)

    places = resolve(home).prepare()
    here = [local_path(path, places.fetched, say) for path in paths]
    report = land(
        here,
        places.home,
        load_mapping(mapping, places.home) if mapping else None,
        say=say,
    )
    if as_json:
        print(json.dumps(report.as_dict()))
        return
    print(
        f"{report.n_files_new} new files, {report.n_files_skipped} seen before, "
        f"{report.n_ignored} ignored: {report.n_runs} runs, "
        f"{report.n_lines_read} of {report.n_lines} lines read, "
        f"{report.n_lines_quarantined} quarantined"
    )
    for entry in report.quarantined:
        typer.echo(
            f"quarantined {entry.file}:{entry.line} ({entry.n_lines} lines): "
            f"{entry.reason}",
            err=True,
        )
    for name in report.ignored:
        typer.echo(f"ignored {name}: no mapping reads it", err=True)
    for text in report.warnings:
        typer.echo(f"warning: {text}", err=True)
    for source in report.stale_sources:
        typer.echo(
            f"source {source} landed under another version of its mapping: remove "
            "bronze/batches and quarantine, "
            "then ingest the landing folder again",
            err=True,
        )
