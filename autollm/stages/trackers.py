"""A tracking server whose finished runs land with everything else: the address in
AUTOLLM_MLFLOW_SOURCE, such as `http://127.0.0.1:5000#experiment`.

Invariant: without the variable no server is contacted.
"""

from __future__ import annotations

import os
from pathlib import Path

from autollm.core.errors import SourceError
from autollm.core.places import Places
from autollm.logs.readers.tools.addresses import fetched_folder, local_path

VARIABLE = "AUTOLLM_MLFLOW_SOURCE"
FILES = ("sqlite:///", "file://")


def address() -> tuple[str, str]:
    """Tracking URI and experiment, both empty where no server is named."""
    uri, _, experiment = os.environ.get(VARIABLE, "").strip().partition("#")
    return uri, experiment


def tracker_paths(places: Places) -> list[Path]:
    """Where its runs lie on this machine: the store itself, or what was fetched."""
    uri, experiment = address()
    if not uri:
        return []
    for prefix in FILES:
        if uri.startswith(prefix):
            return [Path(uri.removeprefix(prefix))]
    name = f"{uri}#{experiment}" if experiment else uri
    folder = fetched_folder(places.fetched, "mlflow", name)
    return [folder] if (folder / "runs.jsonl").exists() else []


def fetch_tracker(places: Places) -> str:
    """Fetch new runs; returns a warning, empty where all went well. Runs that were
    fetched before are kept, and land even when the server is gone.

    Raises:
        SetupError: mlflow is not installed.
    """
    uri, experiment = address()
    if not uri:
        return ""
    name = f"{uri}#{experiment}" if experiment else uri
    try:
        local_path(f"mlflow:{name}", places.fetched)
    except SourceError as error:
        return f"{VARIABLE}: {error}"
    return ""
