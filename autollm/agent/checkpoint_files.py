"""The files of a checkpoint: what it says of itself, and whether they are what was saved.

`autollm.json` names what the checkpoint is, what it was trained on, and the sha256 of
every other file. No torch is imported here. Invariant: weights that were altered are
named before they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autollm.core.errors import CheckpointError
from autollm.core.identity import checkpoint_digest
from autollm.core.sealed import file_sha256, read_sealed, write_sealed

SCHEMA = 1
METADATA = "autollm.json"
AGAIN = (
    "restore the folder, or remove it and train the checkpoint again (autollm run does "
    "it for its own agents)."
)


def write_metadata(folder: str | Path, metadata: Mapping[str, Any]) -> None:
    """Write `autollm.json` beside files that are all in place."""
    fields = {**metadata, "schema": SCHEMA, "files": _files_of(Path(folder))}
    write_sealed(str(Path(folder) / METADATA), dict(sorted(fields.items())))


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """The metadata of a checkpoint; where it has none, that of an unmarked base model.

    Raises:
        CheckpointError: unreadable, altered, or of another schema version.
    """
    path = Path(folder) / METADATA
    if not path.exists():
        return {
            "schema": SCHEMA,
            "stage": "base",
            "trained_on": f"unknown to autollm ({folder})",
            "experiments": [],
            "table_id": None,
            "parents": [],
        }
    metadata = read_sealed(str(path), CheckpointError, AGAIN)
    if metadata.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {metadata.get('schema')}, this version reads {SCHEMA}. "
            f"Fix: {AGAIN}"
        )
    return metadata


def check_files(folder: str | Path, digest: str = "") -> None:
    """Check that a checkpoint's files are those that were saved; each is read once a
    process.

    Args:
        digest: that of the checkpoint that is asked for; empty: any.

    Raises:
        CheckpointError: a file is missing or altered, or it is another checkpoint.
    """
    recorded = read_metadata(folder).get("files", {})
    for name, sha256 in recorded.items():
        path = Path(folder) / name
        if not path.exists():
            raise CheckpointError(f"{path} is missing. Fix: {AGAIN}")
        if file_sha256(str(path)) != sha256:
            raise CheckpointError(
                f"{path} was altered: its sha256 begins with "
                f"{file_sha256(str(path))[:16]}, it was saved with {sha256[:16]}. "
                f"Fix: {AGAIN}"
            )
    actual = checkpoint_digest(folder) if digest else ""
    if actual != digest:
        raise CheckpointError(
            f"{folder} was altered: its digest is {actual}, recorded is {digest}. "
            f"Fix: {AGAIN}"
        )


def _files_of(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != METADATA:
            digests[path.name] = file_sha256(str(path))
    return digests
