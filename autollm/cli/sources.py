"""`autollm sources`: public tables and tables of your own: what there is, fetch it,
look at it, keep its mapping.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autollm.cli.options import ChosenKnobs, Fidelity, Home, Json, Objective

if TYPE_CHECKING:
    from autollm.core.progress import Progress
    from autollm.logs.proposals import Proposal, Question

app = typer.Typer(
    help="Public tables, and mappings for tables of your own.",
    no_args_is_help=True,
)


@app.command("list")
def list_sources(home: Home = None, as_json: Json = False) -> None:
    """The catalogue of public tables, which of them are at hand, and the mappings that
    were added to this home.
    """
    rows, own = source_rows(home), own_rows(home)
    if as_json:
        print(json.dumps({"sources": rows, "mappings": own}))
        return
    lines = [("source", "family", "rows", "where", "licence")]
    for row in rows:
        cells = ("name", "family", "rows", "state", "licence")
        lines.append(tuple(row[name] for name in cells))
    for row in own:
        lines.append((row["name"], row["family"], "own", _landed(row), ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    told = ["", *(f"    {row['about']} ({row['citation']})" for row in rows)]
    told += [f"    reads {', '.join(row['files'])}" for row in own]
    for line, more in zip(lines, told, strict=True):
        cells = [c.ljust(width) for c, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip(), *([more] if more else []), sep="\n")


def _landed(row: dict[str, Any]) -> str:
    return f"{row['n_runs']} runs landed" if row["n_runs"] else "nothing landed"


def source_rows(home: str | None) -> list[dict[str, Any]]:
    """One dict a source of the catalogue: its entry and `state`, where its files are."""
    from autollm.core.places import mirror, resolve
    from autollm.logs.sources import catalogue, tables_below

    places, root = resolve(home), mirror()
    rows = []
    for source in catalogue().values():
        n_all, state = len(source.files), "not here"
        for word, folder in (
            ("fetched", places.sources),
            ("AUTOLLM_DATA_DIR", root),
        ):
            n_here = len(tables_below(folder, [source])) if folder else 0
            if n_here:
                state = (
                    word
                    if n_here == n_all
                    else f"{word}: {n_here} of {n_all} files"
                )
                break
        rows.append({**source.as_dict(), "state": state})
    return rows


def own_rows(home: str | None) -> list[dict[str, Any]]:
    """One dict a mapping that was added to the home."""
    from autollm.core.places import resolve
    from autollm.logs.choosing.catalog import own_mappings
    from autollm.logs.lake.bronze import Bronze

    lake = resolve(home).home
    landed = Counter(name for (name,) in Bronze(lake).read("runs", ["source"]))
    rows = []
    for mapping in own_mappings(lake).values():
        row = {"name": mapping.source, "family": mapping.family}
        row |= {"format": mapping.format, "files": list(mapping.files)}
        rows.append(row | {"n_runs": landed[mapping.source]})
    return rows


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Source of the catalogue.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring a public table into the home, checked by sha256; from AUTOLLM_DATA_DIR
    where it is there, else from the network.
    """
    from autollm.core.locks import hold
    from autollm.core.places import mirror, resolve
    from autollm.logs.fetch import fetch as bring
    from autollm.logs.sources import find_source

    source, places = find_source(name), resolve(home).prepare()
    with hold(
        places.locks / f"fetch-{source.name}.lock", f"the table {source.name}"
    ):
        found = bring(source, places.sources, mirror(), Bar())
    if as_json:
        print(
            json.dumps(
                [{"file": str(path), "from": origin} for path, origin in found]
            )
        )
        return
    for path, origin in found:
        whence = (
            "was here already" if origin == "here" else f"from the {origin}"
        )
        print(f"{path}  ({whence}, sha256 as in the catalogue)")
    typer.echo(
        f"licence: {source.licence}. Cite: {source.citation}. "
        f"`autollm run` lands it, or: autollm ingest {places.sources / source.folder}",
        err=True,
    )


class Bar:
    """Progress of downloads, a line or a bar a file."""

    def __init__(self) -> None:
        self._files: dict[str, Progress] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        from autollm.core.progress import Progress

        progress = self._files.setdefault(name, Progress(name, total))
        of = f" of {total:,}" if total else ""
        progress.reach(done, f"{done:,}{of} bytes")


@app.command()
def inspect(
    path: Annotated[
        str,
        typer.Argument(
            help="A log, a table, or a folder of them, of any tool; "
            "wandb:ENTITY/PROJECT; mlflow:URI."
        ),
    ],
    objective: Objective = None,
    knobs: ChosenKnobs = None,
    fidelity: Fidelity = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--as", help="Mapping (file or name) to try instead of a guess."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Propose a mapping from the data: a commented TOML file on stdout, for you to
    correct; what is doubtful, and a summary, on stderr.
    """
    from autollm.core.places import resolve
    from autollm.logs.choosing.catalog import load_mapping
    from autollm.logs.proposals import TableOptions, propose
    from autollm.logs.readers.tools.addresses import local_path

    def say(text: str) -> None:
        typer.echo(text, err=True)

    folder = str(resolve(home).home)
    here = local_path(path, resolve(home).fetched, say)
    named = load_mapping(mapping, folder) if mapping else None
    said = TableOptions.parse(objective, knobs, fidelity, named)
    found = propose(here, said, folder)
    answers = ask_person(found.questions)
    if answers:
        column = found.questions[0].column
        answered = TableOptions.parse(
            f"{column}:{answers[0]}", knobs, fidelity, named
        )
        found = propose(here, answered, folder)
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        _show(found)
    if found.problem:
        typer.echo(f"error: {found.problem}", err=True)
        raise typer.Exit(1)


def ask_person(questions: Sequence[Question]) -> list[str]:
    """Answers to what nobody can guess, from a terminal; none where there is none."""
    if not is_terminal():
        return []
    answers = []
    for question in questions:
        choice = f"{question.text} ({', '.join(question.answers)})"
        answer = ""
        while answer not in question.answers:
            answer = typer.prompt(choice, err=True).strip()
        answers.append(answer)
    return answers


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _show(found: Proposal) -> None:
    print(found.toml, end="")
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    for question in found.questions:
        typer.echo(f"question: {question.text} [{question.code}]", err=True)
    if found.summary:
        typer.echo(found.summary.text, err=True)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="Mapping file (TOML).")],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace this home's mapping of the same source."
        ),
    ] = False,
    home: Home = None,
) -> None:
    """Keep a mapping in the home, so that `autollm ingest` finds it by file name."""
    from autollm.core.places import resolve
    from autollm.logs.choosing.catalog import add_mapping

    mapping, path = add_mapping(resolve(home).prepare().home, file, replace)
    print(
        f"{path}: source {mapping.source}, reads {', '.join(mapping.files)}. Next: "
        "autollm ingest PATH"
    )


@app.command()
def remove(
    source: Annotated[str, typer.Argument(help="A source that has landed.")],
    home: Home = None,
) -> None:
    """Take a source out of the lake; its raw files and its mapping stay. The next
    `autollm run` builds tables without it.
    """
    from autollm.core.places import resolve
    from autollm.logs.landing import remove_source

    remove_source(resolve(home).prepare().home, source)
    print(
        f"removed {source}: its raw files stay, `autollm ingest PATH` brings it back"
    )
