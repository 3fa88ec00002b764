"""Processes that start processes: a child that must not outlive its parent watches for
it.

Invariant: watching costs nothing that a user would notice.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

CHECK_S = 0.5
WATCH = "AUTOLLM_DIE_WITH_PARENT"
"""Set to 1 by whoever starts a process that must end with its starter (the Makefile,
`autollm run`).
"""


def die_with_parent() -> None:
    """End this process within a second after its parent is gone: a process that starts
    later must not find it still writing. A worker of a pool knows its parent by name,
    also one that was killed before the worker came this far.
    """
    starter = multiprocessing.parent_process()
    parent = (
        os.getppid() if starter is None or starter.pid is None else starter.pid
    )
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def die_with_parent_if_asked() -> None:
    if os.environ.get(WATCH) == "1":
        die_with_parent()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_S)
    os._exit(1)
