"""What the paths of logs name: runs, folders, checkpoints.

Invariant: an archive's `!` parts as `/` does.
"""

from __future__ import annotations

import re

from autollm.logs.readers.words import pattern

_CHECKPOINT_PART = pattern("checkpoint")


def last_part(path: str) -> str:
    """The last part of a path, or of an archive's member."""
    return path.replace("!", "/").rstrip("/").rsplit("/", 1)[-1] or path


def run_of_folder(path: str) -> str:
    """A folder's path below what was given, that included where only one part is left:
    `version_0` alone names many runs.
    """
    parts = path.replace("!", "/").strip("/").split("/")
    return "/".join(parts[1:] if len(parts) > 2 else parts)


def run_of_checkpoint(path: str) -> str:
    """The run that a checkpoint's path belongs to: the folder that holds it."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    while parts and _CHECKPOINT_PART.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1] if parts else ""


def plain_stem(name: str) -> str:
    """A file's name without folders and suffixes: what a curve's run is called when
    nothing else names it.
    """
    base = last_part(name)
    return re.sub(r"(\.[A-Za-z]{1,6}){1,2}$", "", base) or base
