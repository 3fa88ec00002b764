"""Progress of a run on stderr: which step of how many, how long so far, how long still.

The estimate stands on how long each step took last time; before that, on what was measured on two cores.
What does not belong here: the progress inside a step, which its own process prints.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

FIRST_GUESS_S = {"landing": 8.0, "dbt_build": 12.0, "trajectories": 40.0, "agent_sft": 120.0, "agent_rl": 150.0,
                 "validation_scores": 40.0, "leaderboard": 90.0, "report": 10.0}
OTHER_GUESS_S = 2.0
TICK_S = 15.0


class StepProgress:
    """Takes a run's events; while open, a thread says every TICK_S seconds how far it is."""

    def __init__(self, instance: Any, out: TextIO | None = None):
        self._instance, self._out = instance, out or sys.stderr
        self._steps: list[str] = []
        self._expected: dict[str, float] = {}
        self._begin = self._step_begin = time.monotonic()
        self._current: str | None = None
        self._done: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self.succeeded = False
        self.run_id = ""

    def __enter__(self) -> StepProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def plan(self, steps: list[str], run_id: str) -> None:
        """Say what will run; steps are named by their keys, in order."""
        self._steps, self.run_id = steps, run_id
        self._expected = {s: FIRST_GUESS_S.get(s, OTHER_GUESS_S) for s in steps} | last_durations(self._instance, steps)

    def take(self, event: Any) -> None:
        """Follow one Dagster event."""
        kind, step = event.event_type_value, event.step_key
        if kind == "STEP_START" and step in self._expected:
            self._current, self._step_begin = step, time.monotonic()
            self._say(f"step {self._number(step)}/{len(self._steps)} {step} ...")
        elif kind == "STEP_SUCCESS" and step in self._expected:
            self._done.append(step)
            self._say(f"step {self._number(step)}/{len(self._steps)} {step} done in {self._in_step_s:.0f} s")
            self._current = None
        elif kind in ("STEP_FAILURE", "STEP_SKIPPED"):
            self._say(f"step {step} {'failed' if kind == 'STEP_FAILURE' else 'skipped'}{_reason(event)}")
        elif kind in ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED"):
            self.succeeded = kind == "RUN_SUCCESS"

    @property
    def _in_step_s(self) -> float:
        return time.monotonic() - self._step_begin

    @property
    def left_s(self) -> float:
        """Estimate of the seconds that are left."""
        later = sum(s for name, s in self._expected.items() if name not in self._done and name != self._current)
        current = max(self._expected.get(self._current, 0.0) - self._in_step_s, 0.0) if self._current else 0.0
        return later + current

    def _number(self, step: str) -> int:
        return self._steps.index(step) + 1

    def _say(self, text: str) -> None:
        elapsed = time.monotonic() - self._begin
        print(f"[{_clock(elapsed)}, about {_clock(self.left_s)} left] {text}", file=self._out, flush=True)

    def _tick(self) -> None:
        while not self._stop.wait(TICK_S):
            if self._current:
                self._say(f"step {self._number(self._current)}/{len(self._steps)} {self._current}: {self._in_step_s:.0f} s")


def last_durations(instance: Any, steps: list[str]) -> dict[str, float]:
    """Seconds that each step took in the newest finished run that has it."""
    import dagster as dg

    found: dict[str, float] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]), limit=3):
        for stats in instance.get_run_step_stats(run.run_id):
            if stats.step_key in steps and stats.step_key not in found and stats.end_time and stats.start_time:
                found[stats.step_key] = stats.end_time - stats.start_time
    return found


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _reason(event: Any) -> str:
    data = event.event_specific_data
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return f": {error.message.strip()}" if error is not None else ""
