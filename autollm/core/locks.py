"""Locks between processes on one machine: one file each, held by the kernel, so that a
killed holder leaves none behind.

The file tells who holds it. What does not belong here: what is locked.
Invariant: whether a lock is free is asked of the kernel, never of the file's text.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from autollm.core.errors import BusyError

POLL_S = 0.2


@contextmanager
def hold(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `path` while the block runs; `what` is named in the refusal of
    others.

    Raises:
        BusyError: somebody else still holds it after `wait_s` seconds; the message
            names who and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _acquire(file.fileno(), path, what, wait_s)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(_me()))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    if not path.exists():
        return False
    with path.open("a+") as file:
        return not _try(file.fileno())


def holder(path: Path) -> str:
    """Who holds a lock, in words; `another process` when it has not said so yet."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError):
        return "another process"
    return f"process {raw['pid']} ({raw['command']}, since {raw['since']})"


def _acquire(handle: int, path: Path, what: str, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    told = False
    while not _try(handle):
        if time.monotonic() >= end:
            raise BusyError(
                f"{what} is in use by {holder(path)}; waited {wait_s:.0f} s. "
                "Fix: wait until it is done, or stop that process, then run this again."
            )
        if not told:
            print(
                f"waiting up to {wait_s:.0f} s for {what}, in use by {holder(path)}",
                file=sys.stderr,
                flush=True,
            )
            told = True
        time.sleep(POLL_S)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _me() -> dict[str, str | int]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    return {
        "pid": os.getpid(),
        "command": command or "python",
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
