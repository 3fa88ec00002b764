"""Options that several commands share, and lists given with commas."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def _use_home(context: typer.Context, home: str | None) -> str | None:
    """Whoever asks for the home while the command runs gets this one: own suites and
    mappings lie there, and child processes read it.
    """
    if home:
        before = os.environ.get("AUTOLLM_HOME")
        os.environ["AUTOLLM_HOME"] = home
        context.call_on_close(lambda: _restore(before))
    return home


def _restore(home: str | None) -> None:
    if home is None:
        os.environ.pop("AUTOLLM_HOME", None)
    else:
        os.environ["AUTOLLM_HOME"] = home


Home = Annotated[
    str | None,
    typer.Option(
        "--home",
        callback=_use_home,
        help="State folder; default AUTOLLM_HOME, else ./var.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        help="Column of the objective, with :min or :max where its name does not say.",
    ),
]
ChosenKnobs = Annotated[
    str | None,
    typer.Option(
        "--knobs", help="Columns that were chosen: A,B. No others are."
    ),
]
Fidelity = Annotated[
    str | None,
    typer.Option(
        "--fidelity",
        help="Columns of sizes: params=COLUMN,tokens=COLUMN. No others are.",
    ),
]


def split(text: str) -> list[str]:
    """Names of a comma-separated list, in order, without repeats."""
    return list(
        dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    )
