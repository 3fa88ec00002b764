"""Progress of long work on stderr, the same for everything: a bar with the time left on
a terminal, a line now and then elsewhere.

Invariant: work that is quick says one line, at its end.
"""

from __future__ import annotations

import atexit
import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

EVERY_S = 5.0
"""Seconds between two lines: few enough lines for a log of an hour, soon enough for a
person.
"""


def say(text: str, out: TextIO | None = None) -> None:
    """One line for a person, on stderr by default; written at once."""
    print(text, file=out or sys.stderr, flush=True)


class Progress:
    """How far work is.

    Args:
        what: its name, in front of every line.
        total: units of work, of any kind (episodes, steps, FLOPs, bytes); 0: unknown.
        begun: units that were done before.
    """

    def __init__(
        self,
        what: str,
        total: float,
        *,
        begun: float = 0.0,
        out: TextIO | None = None,
        every_s: float = EVERY_S,
    ):
        self.what = what
        self.total = total
        self._begun = begun
        self._out = out or sys.stderr
        self._every_s = every_s
        self._start_s = time.monotonic()
        self._written_s = self._start_s
        self._bars: Bars | None = None

    def reach(self, done: float, words: str = "") -> None:
        """`done` units of all are done; `words` tell a person what that means."""
        if self._out.isatty():
            self._draw(done, words)
            return
        now = time.monotonic()
        if now - self._written_s >= self._every_s or self._is_last(done):
            self._written_s = now
            line = self.line(now - self._start_s, done, words)
            say(line, self._out)

    def line(self, elapsed_s: float, done: float, words: str = "") -> str:
        """`evaluate: 2/4 episodes, 3 s, 3 s left`."""
        parts = [part for part in (words, f"{elapsed_s:.0f} s") if part]
        if self.total:
            here = max(done - self._begun, 1e-9)
            left_s = elapsed_s / here * max(self.total - done, 0.0)
            parts.append(f"{left_s:.0f} s left")
        return f"{self.what}: {', '.join(parts)}"

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _is_last(self, done: float) -> bool:
        return bool(self.total) and done >= self.total

    def _draw(self, done: float, words: str) -> None:
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeRemainingColumn(),
                console=Console(file=self._out),
                auto_refresh=False,
            )
            self._bars.start()
            self._bars.add_task(self.what, total=self.total or None)
            atexit.register(self.close)
        task_id = self._bars.task_ids[0]
        text = f"{self.what}: {words}" if words else self.what
        self._bars.update(
            task_id, completed=done, description=text, refresh=True
        )
        if self._is_last(done):
            self.close()
