"""Progress of a training on stderr: step, loss or reward, time left; and the last value
of every metric.
"""

from __future__ import annotations

from typing import TextIO

from autollm.core.progress import Progress

SHOWN = ("loss", "mean_token_accuracy", "reward", "kl")


class StepLog:
    """A metric log for people."""

    def __init__(self, name: str, total_steps: int, out: TextIO | None = None):
        self.name = name
        self.total = total_steps
        self.last: dict[str, float] = {}
        self._out = out
        self._progress: Progress | None = None

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.last |= metrics
        if (
            self._progress is None
        ):  # an interrupted training begins later than at 0
            self._progress = Progress(
                self.name, self.total, begun=step - 1, out=self._out
            )
        parts = [f"step {step}/{self.total}"]
        parts += [
            f"{name} {metrics[name]:.3g}" for name in SHOWN if name in metrics
        ]
        self._progress.reach(step, ", ".join(parts))
