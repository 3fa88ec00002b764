"""`autollm report`: the leaderboard of an evaluation, and where its page is."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from autollm.cli.options import Home, Json

WIDTH = 110
"""Columns where the output is no terminal."""


def report(
    evaluation_id: Annotated[
        str | None,
        typer.Argument(
            help="Which evaluation; default the latest.", show_default=False
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown tables on stdout.")
    ] = False,
) -> None:
    """Show a leaderboard and where its HTML page is."""
    from autollm.core.places import resolve
    from autollm.evaluation.leaderboard import load

    if as_json:
        print(json.dumps(load(resolve(home).home, evaluation_id).as_json()))
        return
    if as_markdown:
        from autollm.evaluation.markdown import markdown, score_rows

        print(markdown(score_rows(load(resolve(home).home, evaluation_id))))
        return
    show(home, evaluation_id)


def show(home: str | None, evaluation_id: str | None) -> None:
    """Print a leaderboard and the place of its page."""
    from rich.console import Console

    from autollm.core.files import join
    from autollm.core.places import resolve
    from autollm.evaluation.leaderboard import load
    from autollm.evaluation.terminal import print_leaderboard

    places = resolve(home)
    board = load(places.home, evaluation_id)
    print_leaderboard(
        board, Console(width=None if sys.stdout.isatty() else WIDTH)
    )
    print(
        f"snapshot {board.table_id}, commit {board.commit}; again: {board.command}"
    )
    print(
        f"report   {join(places.reports, board.evaluation_id, 'report.html')}"
    )
