"""`autollm mcp`: the advisor for coding agents, over stdin and stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autollm.cli.options import Home


def mcp(
    root: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Logs are read below this folder alone.",
        ),
    ] = Path(),
    home: Home = None,
) -> None:
    """Serve advice to coding agents by the Model Context Protocol (extra `mcp`)."""
    from autollm.advisor.doors.mcp_server import serve
    from autollm.core.places import resolve

    serve(root, resolve(home).home)
