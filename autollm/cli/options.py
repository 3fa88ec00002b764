"""Options that several commands share, and lists given with commas."""

from __future__ import annotations

from typing import Annotated

import typer

Home = Annotated[
    str | None,
    typer.Option(
        "--home",
        help="State folder; default AUTOLLM_HOME, else ./var.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def split(text: str) -> list[str]:
    """Names of a comma-separated list, in order, without repeats."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
