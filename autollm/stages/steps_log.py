"""Progress of a training on stderr: step, loss or reward, time left; and the last value
of every metric.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

SHOWN = ("loss", "mean_token_accuracy", "reward", "kl")
EVERY_S = 5.0


class StepLog:
    """A metric log for people."""

    def __init__(self, name: str, total_steps: int, out: TextIO | None = None):
        self.name, self.total, self.out = name, total_steps, out or sys.stderr
        self.last: dict[str, float] = {}
        self._begin = self._said = time.monotonic()
        self._first: int | None = None

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.last |= metrics
        now = time.monotonic()
        if self._first is None:
            self._first = step
        if now - self._said >= EVERY_S or step >= self.total:
            self._said = now
            done = max(step - self._first, 1)
            left_s = (now - self._begin) / done * (self.total - step)
            shown = ", ".join(f"{k} {metrics[k]:.3g}" for k in SHOWN if k in metrics)
            print(
                f"  {self.name}: step {step}/{self.total}, {left_s:.0f} s "
                f"left{', ' + shown if shown else ''}",
                file=self.out,
                flush=True,
            )
