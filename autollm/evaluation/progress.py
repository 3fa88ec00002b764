"""Progress of a long loop on stderr: how far, how long still. Quiet where nothing
changed for a while.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """`advance(n)` after n units; prints at most every `every_s` seconds, and at the
    end.
    """

    def __init__(
        self, what: str, total: int, out: TextIO | None = None, every_s: float = 5.0
    ):
        self.what, self.total, self.every_s = what, total, every_s
        self.out = out or sys.stderr
        self.done = 0
        self._begin = self._printed = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now - self._printed >= self.every_s or self.done >= self.total:
            self._printed = now
            print(self.line(now - self._begin, note), file=self.out, flush=True)

    def line(self, elapsed_s: float, note: str = "") -> str:
        left_s = elapsed_s / max(self.done, 1) * (self.total - self.done)
        text = f"{self.what}: {self.done}/{self.total} episodes, {elapsed_s:.0f} s, {left_s:.0f} s left"
        return f"{text} ({note})" if note else text
