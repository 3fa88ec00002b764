"""Locks between processes on one machine: one file each, held by the kernel (filelock),
so that a killed holder leaves none behind.

A file beside the lock tells who holds it. Invariant: whether a lock is free is asked of
the kernel, never of that file.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from autollm.core.errors import BusyError

log = logging.getLogger(__name__)

POLL_S = 0.2
"""A person does not notice it, and a waiting process costs nothing."""


@contextmanager
def hold(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `path` while the block runs; `what` is named in the error that
    others get.

    Raises:
        BusyError: somebody else still holds it after `wait_s` seconds; the message names
            who and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=POLL_S)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _wait(lock, path, what, wait_s)
    told = _holder_file(path)
    try:
        # a full disk holds no name, and what frees it needs the lock
        with suppress(OSError):
            told.write_text(json.dumps(_me()))
        yield
    finally:
        told.unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def holder(path: Path) -> str:
    """Who holds a lock, in words; `another process` while its holder has not written
    its name, or could not.
    """
    try:
        raw = json.loads(_holder_file(path).read_text())
        return f"process {raw['pid']} ({raw['command']}, since {raw['since']})"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def _wait(lock: FileLock, path: Path, what: str, wait_s: float) -> None:
    if wait_s > 0:
        log.warning(
            "waiting up to %.0f s for %s, in use by %s",
            wait_s,
            what,
            holder(path),
        )
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise BusyError(
            f"{what} is in use by {holder(path)}; waited {wait_s:.0f} s. "
            "Fix: wait until it is done, or stop that process, then run this again."
        ) from None


def _holder_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _me() -> dict[str, str | int]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "command": command or "python", "since": since}
