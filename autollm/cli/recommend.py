"""`autollm recommend` and `autollm check`: from logs to the next run.

What does not belong here: statistics (autollm.advisor). Invariant: with --json only
JSON goes to stdout, also where there is no answer.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.options import Home, Json, split

Target = Annotated[
    str,
    typer.Option("--target", help="Where to run: params=7B,tokens=1.4e11."),
]
Objective = Annotated[
    str, typer.Option("--objective", help="Column, with :min or :max (val_loss:min).")
]
Knobs = Annotated[str, typer.Option("--knobs", help="Columns that were chosen: lr,bs.")]
Fidelity = Annotated[
    str, typer.Option("--fidelity", help="Columns of scale: params=P,tokens=T.")
]
Mapping = Annotated[
    str, typer.Option("--as", help="Mapping file (TOML), or name of a known mapping.")
]
Source = Annotated[
    str, typer.Option("--source", help="Which source, where the logs hold several.")
]
Trials = Annotated[int, typer.Option("--trials", min=1, max=20, help="How many runs.")]


def recommend(
    runs: Annotated[list[Path], typer.Argument(help="Logs: files or folders.")],
    target: Target,
    objective: Objective = "",
    knobs: Knobs = "",
    fidelity: Fidelity = "",
    mapping: Mapping = "",
    source: Source = "",
    trials: Trials = 3,
    write: Annotated[
        str, typer.Option("--write", help="File for the configuration; - is stdout.")
    ] = "",
    style: Annotated[
        str,
        typer.Option(
            "--style",
            help="Of --write: yaml, dotted, sweep, overrides, json; default by name.",
        ),
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what the next expensive run should use, from runs that you already have."""
    said = (objective, knobs, fidelity, mapping, source)
    advice = advise(runs, target, said, trials, None, home, as_json)
    if write:
        _write(advice, write, style)
    _print(advice, as_json, quiet=write == "-")


def check(
    plan: Annotated[Path, typer.Argument(help="Your configuration: YAML or JSON.")],
    runs: Annotated[list[Path], typer.Argument(help="Logs: files or folders.")],
    target: Target,
    objective: Objective = "",
    knobs: Knobs = "",
    fidelity: Fidelity = "",
    mapping: Mapping = "",
    source: Source = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say whether a configuration of your own is all right, before you run it."""
    said = (objective, knobs, fidelity, mapping, source)
    advice = advise(runs, target, said, 1, plan, home, as_json)
    _print(advice, as_json)


def advise(
    runs: list[Path],
    target: str,
    said: tuple[str, str, str, str, str],
    trials: int,
    plan: Path | None,
    home: str | None,
    as_json: bool,
) -> Any:
    """The advice; ends the process with 2 or 3 where there is none. On a terminal an
    unknown direction is asked for.
    """
    from autollm.advisor.evidence import Said
    from autollm.advisor.recommend import recommend as answer
    from autollm.advisor.written import read_plan
    from autollm.core.errors import AdviceError, QuestionError, SpaceError

    objective, knobs, fidelity, mapping, source = said
    try:
        return answer(
            runs,
            target,
            trials=trials,
            said=Said(
                objective, tuple(split(knobs)), _pairs(fidelity), mapping, source
            ),
            planned=read_plan(plan) if plan else None,
            home=_home(home),
            command=_command(),
        )
    except (QuestionError, SpaceError) as error:
        _fail(2, "question", str(error), "", as_json)
    except AdviceError as error:
        if error.code == "direction" and not as_json and sys.stdin.isatty():
            better = typer.prompt(f"{error.text} min or max?", err=True).strip().lower()
            objective = f"{error.about}:{better}"
            said = (objective, knobs, fidelity, mapping, source)
            return advise(runs, target, said, trials, plan, home, as_json)
        _fail(3, error.code, error.text, error.remedy, as_json)
    except FileNotFoundError as error:
        _fail(3, "unreadable", f"{error}", "name logs that are there.", as_json)


def _fail(code: int, name: str, text: str, remedy: str, as_json: bool) -> None:
    from autollm.advisor.answer import error_json

    if as_json:
        print(json.dumps(error_json(name, text, remedy)))
    else:
        ending = f" Fix: {remedy}" if remedy else ""
        typer.echo(f"error: {text}{ending}", err=True)
    raise typer.Exit(code)


def _pairs(text: str) -> dict[str, str]:
    """`params=P,tokens=T` as an object."""
    from autollm.core.errors import QuestionError

    found = {}
    for part in split(text):
        name, sign, column = part.partition("=")
        if not sign or not column:
            raise QuestionError(f"--fidelity: {part!r}, expected NAME=COLUMN")
        found[name.strip()] = column.strip()
    return found


def _home(home: str | None) -> str:
    from autollm.core.places import resolve

    return resolve(home).home


def _command() -> str:
    return " ".join(["autollm", *map(shlex.quote, sys.argv[1:])])


def _write(advice: Any, write: str, style: str) -> None:
    from autollm.advisor.written import render, style_of

    text = render(
        [entry.configuration for entry in advice.recommendations],
        style or style_of(write),
        advice.objective["name"],
        advice.objective["direction"],
    )
    if write == "-":
        print(text, end="")
    else:
        Path(write).write_text(text, encoding="utf-8")


def _print(advice: Any, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print(json.dumps(advice.to_json()))
    elif not quiet:
        from rich.console import Console

        from autollm.advisor.screen import show

        show(advice, Console())
