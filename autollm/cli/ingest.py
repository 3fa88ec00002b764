"""`autollm ingest`: raw logs and tables into the lake."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from autollm.cli.options import ChosenKnobs, Fidelity, Home, Json, Objective

if TYPE_CHECKING:
    from autollm.core.mappings.mapping import Mapping
    from autollm.logs.choosing.guesses import Guess
    from autollm.logs.ingest_report import IngestReport
    from autollm.logs.proposals import TableOptions


def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Log files, tables, archives, run folders, or folders of them; "
            "wandb:ENTITY/PROJECT; mlflow:URI."
        ),
    ] = None,
    objective: Objective = None,
    knobs: ChosenKnobs = None,
    fidelity: Fidelity = None,
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
    """Land raw logs: each file once, unreadable lines in quarantine. For a table that no
    mapping reads one is guessed, said and kept in the home. `autollm run` then builds
    tables from what landed.
    """
    from autollm.core.places import resolve
    from autollm.logs.choosing.guesses import problems_of
    from autollm.logs.landing import ingest as land
    from autollm.logs.proposals import TableOptions
    from autollm.logs.readers.tools.addresses import local_path

    said = TableOptions.parse(objective, knobs, fidelity)
    if not paths and (not again or said != TableOptions()):
        raise typer.BadParameter("a PATH, or --again SOURCE, is needed")
    if any(not path.strip() for path in paths or ()):
        raise typer.BadParameter(
            "an empty PATH. Fix: name a file or folder; . is the one you are in"
        )
    if mapping and said != TableOptions():
        raise typer.BadParameter(
            "--as says what --objective, --knobs and --fidelity would: name one or the "
            "others"
        )
    places = resolve(home).prepare()
    here = [local_path(path, places.fetched, _say) for path in paths or ()]
    named = _named(mapping, places.home) if mapping else None
    guesses: list[Guess] = []
    has_failed = False
    if named is None:
        guesses, here, has_failed = _guessed(here, places.home, said)
    reasons = problems_of(guesses)
    report = land(here, places.home, named, _say, again or [], reasons)
    if as_json:
        told = [guess.as_dict() for guess in guesses]
        print(json.dumps(report.as_dict() | {"guesses": told}))
    else:
        _tell(report, guesses)
    if report.has_read_nothing or has_failed:
        raise typer.Exit(1)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _named(name: str, home: str) -> Mapping:
    """The mapping that was named; a file of one is kept, so that later ingests agree."""
    from autollm.core.errors import MappingError
    from autollm.logs.choosing.catalog import (
        add_mapping,
        load_mapping,
        own_mappings,
    )

    mapping = load_mapping(name, home)
    if name.endswith(".toml") and mapping.source not in own_mappings(home):
        try:
            _, kept_at = add_mapping(home, name)
            _say(f"mapping kept: {kept_at}")
        except MappingError as error:
            _say(
                f"note: {error} This ingest uses the mapping, later ones do not."
            )
    return mapping


def _guessed(
    paths: list[str], home: str, said: TableOptions
) -> tuple[list[Guess], list[str], bool]:
    """Guesses for what no mapping reads; the paths of which something may land; whether
    a question is open, or a path holds nothing that can be read.
    """
    from autollm.cli.sources import ask_person
    from autollm.logs.choosing.guesses import Guesser

    guesser = Guesser(home, said, ask_person, _say)
    guesses = guesser.guess(paths)
    left, has_failed = [], False
    for path in paths:
        found = [guess for guess in guesses if path in guess.paths]
        is_asked = any(guess.is_asked for guess in found)
        if not (is_asked and os.path.isfile(path)):
            left.append(path)
        is_read = path in guesser.known or any(not g.problem for g in found)
        has_failed |= is_asked or not is_read
        if not found and not is_read:
            _say(f"{path} holds no log that a reader knows")
    return guesses, left, has_failed


def _tell(report: IngestReport, guesses: Sequence[Guess]) -> None:
    """The report for people: what landed on stdout, what a person should look at on
    stderr.
    """
    for guess in guesses:
        for line in guess.told():
            _say(line)
    again = (
        f"{report.n_files_again} read anew, " if report.n_files_again else ""
    )
    print(
        f"{report.n_files_new} new files, {again}{report.n_files_skipped} seen before, "
        f"{report.n_ignored} ignored: {report.n_runs} runs, "
        f"{report.n_lines_read} of {report.n_lines} lines of these files read, "
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
    ignored = zip(report.ignored, report.ignored_reasons, strict=True)
    for name, reason in _once(ignored):
        lines.append(f"ignored {name}: {reason}")
    notes = []
    for note in report.notes:
        name, _, text = note.partition(": ")
        notes.append((name, text))
    lines += [f"note: {name}: {text}" for name, text in _once(notes)]
    lines += [f"warning: {text}" for text in report.warnings]
    lines += [
        f"read anew from the raw files: {source}" for source in report.again
    ]
    for line in lines:
        _say(line)


def _once(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What is said of several files alike, once: by the first, and how many more."""
    names: dict[str, list[str]] = {}
    for name, text in said:
        names.setdefault(text, []).append(name)
    for text, (first, *others) in names.items():
        more = f" and {len(others)} more" if others else ""
        yield first + more, text
