"""Which code ran."""

from __future__ import annotations

import subprocess
from functools import cache

from autollm.core.places import PROJECT


@cache
def commit() -> str:
    """The checkout's commit, with `+changes` when tracked files differ from it;
    `unknown` outside a checkout.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    return (
        f"{head}+changes"
        if _git("status", "--porcelain", "--untracked-files=no")
        else head
    )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
