"""`autollm ingest`: raw logs and tables into the lake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autollm.cli.options import Home, Json

if TYPE_CHECKING:
    from autollm.logs.ingest_report import IngestReport


def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Log files, tables, archives, run folders, or folders of them; "
            "wandb:ENTITY/PROJECT; mlflow:URI."
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Mapping file (TOML), or name of a built-in or added mapping.",
        ),
    ] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(
            "--again", help="Read a landed source anew from its raw files."
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
    if not paths and not again:
        raise typer.BadParameter("a PATH, or --again SOURCE, is needed")
    here = [local_path(path, places.fetched, say) for path in paths or ()]
    report = land(
        here,
        places.home,
        load_mapping(mapping, places.home) if mapping else None,
        say=say,
        again=again or [],
    )
    if as_json:
        print(json.dumps(report.as_dict()))
        if report.has_read_nothing:
            raise typer.Exit(1)
        return
    _tell(report)
    if report.has_read_nothing:
        raise typer.Exit(1)


def _tell(report: IngestReport) -> None:
    """The report for people: what landed on stdout, what a person should look at on
    stderr.
    """
    print(
        f"{report.n_files_new} new files, {report.n_files_skipped} seen before, "
        f"{report.n_ignored} ignored: {report.n_runs} runs, "
        f"{report.n_lines_read} of {report.n_lines} lines read, "
        f"{report.n_lines_quarantined} quarantined"
    )
    if report.n_runs_seen or report.n_runs_changed:
        print(
            f"{report.n_runs_seen} runs as known, {report.n_runs_changed} changed"
        )
    lines = []
    for entry in report.changed:
        lines.append(
            f"changed {entry.file}:{entry.line} run {entry.run_id}: {entry.what} was "
            f"{entry.before}, is {entry.after}"
        )
    for entry in report.quarantined:
        lines.append(
            f"quarantined {entry.file}:{entry.line} ({entry.n_lines} lines): "
            f"{entry.reason}"
        )
    for name, reason in zip(
        report.ignored, report.ignored_reasons, strict=True
    ):
        lines.append(f"ignored {name}: {reason}")
    lines += [f"note: {text}" for text in report.notes]
    lines += [f"warning: {text}" for text in report.warnings]
    lines += [
        f"read anew from the raw files: {source}" for source in report.again
    ]
    for line in lines:
        typer.echo(line, err=True)
