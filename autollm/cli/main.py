"""`autollm`: the commands put together, and how their errors are said.

Invariant: an error that autollm raises on purpose is one line on stderr and exit code
1; a wrong command line is code 2.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from autollm import __version__
from autollm.cli.options import Home
from autollm.core.errors import AutoLLMError
from autollm.core.extras import naming_extra
from autollm.core.places import silence_telemetry
from autollm.core.refusals import sentence_of


def _say_version(asked: bool) -> None:
    if asked:
        print(f"autollm {__version__}")
        raise typer.Exit


def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_say_version,
            is_eager=True,
            help="Say which it is.",
        ),
    ] = False,
    home: Home = None,
) -> None:
    """Turn logs of cheap training runs into a gym, and a research agent that configures
    expensive ones.
    """


class App(typer.Typer):
    """A Typer application that turns errors of ours into one line."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        silence_telemetry()
        try:
            with naming_extra("this command"):
                return super().__call__(*args, **kwargs)
        except (AutoLLMError, OSError) as error:
            is_refusal = isinstance(error, OSError) and error.errno is not None
            sentence = sentence_of(error) if is_refusal else str(error)
            if sentence is None:
                raise
            print(f"error: {sentence}", file=sys.stderr)
            raise SystemExit(1) from None


def build() -> App:
    """The application with all commands."""
    from autollm.cli import (
        advice,
        bench,
        clean,
        doctor,
        evaluate,
        ingest,
        judge,
        lab,
        mcp,
        recommend,
        report,
        run,
        sources,
        suites,
    )

    app = App(
        name="autollm",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(about)
    for module in (
        run,
        ingest,
        recommend,
        evaluate,
        report,
        doctor,
        clean,
        mcp,
    ):
        app.command()(getattr(module, module.__name__.rsplit(".", 1)[1]))
    app.command()(recommend.check)
    app.command()(recommend.plan)
    app.command()(advice.tell)
    advice.app.command()(judge.judge)
    app.add_typer(advice.app, name="advice")
    app.add_typer(lab.app, name="lab")
    app.add_typer(sources.app, name="sources")
    app.add_typer(bench.app, name="bench")
    app.add_typer(suites.app, name="suites")
    return app


app = build()

if __name__ == "__main__":
    app()
