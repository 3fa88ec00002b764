"""Addresses of trackers in the place of a path: `wandb:ENTITY/PROJECT` and `mlflow:URI`.

What is behind one is fetched into a folder of the home, `fetched/<tool>/<name>`, and
landed from there as any folder is; the next time only what has changed is asked for.

    wandb:team/sweep                    WANDB_API_KEY or netrc; WANDB_BASE_URL
    mlflow:http://127.0.0.1:5000        or any tracking URI; `#name` picks an experiment
    mlflow:sqlite:///var/mlflow.db      read as the file it is, without mlflow

Invariant: a path that is no address is given back as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from autollm.core.errors import SourceError
from autollm.core.locks import hold
from autollm.core.records import content_hash
from autollm.logs.readers.tools.fetched import shown_address
from autollm.logs.readers.tools.mlflow_store import fetch_mlflow
from autollm.logs.readers.tools.wandb_api import fetch_wandb
from autollm.logs.readers.tools.wandb_server import WandbServer

_TOOLS = ("wandb:", "mlflow:")
_FILES = ("sqlite:///", "file://")


def is_address(path: str) -> bool:
    """Whether it names a tracker and no file."""
    return path.startswith(_TOOLS)


def local_path(
    path: str, fetched: Path, say: Callable[[str], None] = lambda text: None
) -> str:
    """A path on this machine that holds what an address names; fetches it below
    `fetched` where that is needed.

    Raises:
        SourceError, SetupError: see `fetch_wandb` and `fetch_mlflow`.
        BusyError: another command fetches the same.
    """
    if not is_address(path):
        return path
    tool, _, rest = path.partition(":")
    if not rest:
        raise SourceError(
            f"{path!r} names no {tool} project. Expected wandb:ENTITY/PROJECT or "
            "mlflow:URI."
        )
    uri, _, experiment = rest.partition("#")
    if tool == "mlflow":
        for prefix in _FILES:
            if uri.startswith(prefix):
                return uri.removeprefix(prefix)
    folder = fetched_folder(fetched, tool, rest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold(folder.with_name(f"{folder.name}.lock"), shown_address(path)):
        if tool == "mlflow":
            fetch_mlflow(uri, folder, [experiment] if experiment else [], say)
        else:
            server = WandbServer()
            try:
                fetch_wandb(rest, folder, server, say)
            finally:
                server.close()
    return str(folder)


def fetched_folder(fetched: Path, tool: str, name: str) -> Path:
    """Where an address is fetched to: its name as far as a file's name goes, and a hash
    of it.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", shown_address(name))
    plain = plain.strip("-.")[:60]
    return fetched / tool / f"{plain}-{content_hash(name, 8)}"
