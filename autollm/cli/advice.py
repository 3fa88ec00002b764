"""`autollm advice list|show` and `autollm tell`: the ledger of saved advice.

Invariant: only what was saved can be told of.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.options import Home, Json

app = typer.Typer(help="Advice that was saved, and what it was worth.")
AdviceId = Annotated[
    str, typer.Argument(help="Id of the advice, or its beginning.")
]


@app.command("list")
def list_advice(home: Home = None, as_json: Json = False) -> None:
    """Every saved advice: target, first configuration, what came of it."""
    from autollm.advisor.kept import ledger
    from autollm.core.places import resolve

    places = resolve(home)
    rows = [ledger.summary(entry) for entry in ledger.entries(places.home)]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(_line(row))


@app.command()
def show(advice: AdviceId, home: Home = None, as_json: Json = False) -> None:
    """One saved advice as it was given, and the runs that were told of since."""
    from autollm.advisor.answering.lines import settings
    from autollm.advisor.kept import ledger
    from autollm.core.places import resolve

    home_url = resolve(home).home
    entry = ledger.load(home_url, advice)
    told = [vars(run) for run in entry.told]
    if as_json:
        print(
            json.dumps(
                {"answer": entry.answer, "told": told} | ledger.summary(entry)
            )
        )
        return
    print(_line(ledger.summary(entry)))
    for proposal in entry.answer["recommendations"]:
        print(f"  {proposal['rank']}. {settings(proposal['configuration'])}")
    for run in entry.told:
        name = f"{run.run}: " if run.run else ""
        print(f"  told: {name}{settings(run.configuration)}: {run}")
    page = ledger.page_url(home_url, entry.advice_id)
    if page:
        print(f"  page: {page}")


def tell(
    advice: AdviceId,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            help="What was run: your settings and the outcome, lr=0.001,bs=512,"
            "val_loss=1.95, or a YAML or JSON file of them. The same run told again "
            "replaces what was told.",
        ),
    ] = "",
    status: Annotated[
        str,
        typer.Option(
            help="finished, diverged, failed, killed, pruned or running, or your tool's "
            "word for it, such as crashed."
        ),
    ] = "finished",
    name: Annotated[
        str,
        typer.Option(
            "--name",
            help="Your name of the run; a repeat of the same settings needs one.",
        ),
    ] = "",
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Take back what was told of the run."),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Note what a run at the target of a saved advice gave."""
    from autollm.advisor.kept import ledger
    from autollm.advisor.kept.telling import reported
    from autollm.core.errors import QuestionError
    from autollm.core.places import resolve
    from autollm.stages.advice_runs import mirror

    home_url = resolve(home).home
    before = None
    try:
        entry = ledger.load(home_url, advice)
        if forget:
            told = _named(name) or reported(
                entry, _values(run), "running", name
            )
            entry = ledger.forget(home_url, entry.advice_id, told)
        else:
            told = reported(entry, _values(run), status, name)
            entry, before = ledger.tell(home_url, entry.advice_id, told)
        mirror(resolve(home), [entry.advice_id])
    except QuestionError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    if before is not None:
        typer.echo(f"replaced what was told of that run: {before}", err=True)
    if as_json:
        print(json.dumps(ledger.summary(entry)))
        return
    print(_line(ledger.summary(entry)))
    print(f"next: autollm recommend --continue {entry.advice_id} --trials 3")


def _named(name: str) -> Any:
    """A run by its name alone; None without one."""
    from autollm.advisor.kept import ledger

    return ledger.ReportedRun({}, None, "running", 0, name) if name else None


def _values(run: str) -> dict[str, Any]:
    """Settings and outcome, from a file or from `key=value,...`."""
    from autollm.advisor.showing.written import read_plan
    from autollm.core.errors import QuestionError
    from autollm.core.values import parse_number

    if not run:
        raise QuestionError(
            "nothing says what was run. Fix: --run lr=0.001,...,val_loss=1.95, or a "
            "YAML or JSON file."
        )
    if "=" not in run or Path(run).exists():
        return read_plan(run)
    values: dict[str, Any] = {}
    for part in run.split(","):
        key, sign, text = part.partition("=")
        if not sign:
            raise QuestionError(f"--run: {part!r}, expected KEY=VALUE")
        number = parse_number(text.strip())
        values[key.strip()] = text.strip() if number is None else number
    return values


def _line(row: dict[str, Any]) -> str:
    from autollm.advisor.words import count, several

    target = ", ".join(f"{n} {count(v)}" for n, v in row["target"].items())
    worth = f"{several(row['n_told'], 'run')} told"
    if row["best_outcome"] is not None:
        worth += f", best {row['best_outcome']:.4g}"
    if row["n_scored"]:
        worth += (
            f", {row['n_inside']} of {row['n_scored']} within their interval"
        )
    return f"{row['advice_id']}  {row['saved_at']}  {row['source']} at {target}: {worth}"
