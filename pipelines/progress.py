"""Progress of a run on stderr: which step of how many, how long so far, how long still.

The estimate stands on how long each step took last time; before that, on what was
measured on two cores. What does not belong here: the progress inside a step, which its
own process prints.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from autollm.core.places import Places
    from autollm.stages.settings import Settings

FIRST_GUESS_S = {
    "landing": 8.0,
    "dbt_build": 12.0,
    "trajectories": 40.0,
    "agent_sft": 120.0,
    "agent_rl": 150.0,
    "validation_scores": 40.0,
    "held_out_scores": 90.0,
    "report": 5.0,
}
OTHER_GUESS_S = 2.0
DONE_S = 0.5
TICK_S = 15.0


class StepProgress:
    """Takes a run's events; while open, a thread says every TICK_S seconds how far it
    is.
    """

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

    def plan(self, steps: list[str], run_id: str, done: set[str] = frozenset()) -> None:
        """Say what will run; steps are named by their keys, in order, `done` are those
        that will find their work finished.
        """
        self._steps, self.run_id = steps, run_id
        first = {s: FIRST_GUESS_S.get(s, OTHER_GUESS_S) for s in steps}
        self._expected = (
            first
            | longest_durations(self._instance, steps)
            | {s: DONE_S for s in steps if s in done}
        )

    def take(self, event: Any) -> None:
        """Follow one Dagster event."""
        kind, step = event.event_type.name, event.step_key
        if kind == "STEP_START" and step in self._expected:
            self._current, self._step_begin = step, time.monotonic()
            self._say(f"step {self._number(step)}/{len(self._steps)} {step} ...")
        elif kind == "STEP_SUCCESS" and step in self._expected:
            self._done.append(step)
            self._say(
                f"step {self._number(step)}/{len(self._steps)} {step} done in "
                f"{self._in_step_s:.0f} s"
            )
            self._current = None
        elif kind in ("STEP_FAILURE", "STEP_SKIPPED"):
            self._say(
                f"step {step} "
                f"{'failed' if kind == 'STEP_FAILURE' else 'skipped'}{_reason(event)}"
            )
        elif kind in ("RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED"):
            self.succeeded = kind == "RUN_SUCCESS"

    @property
    def _in_step_s(self) -> float:
        return time.monotonic() - self._step_begin

    @property
    def left_s(self) -> float:
        """Estimate of the seconds that are left."""
        later = sum(
            s
            for name, s in self._expected.items()
            if name not in self._done and name != self._current
        )
        current = (
            max(self._expected.get(self._current, 0.0) - self._in_step_s, 0.0)
            if self._current
            else 0.0
        )
        return later + current

    def _number(self, step: str) -> int:
        return self._steps.index(step) + 1

    def _say(self, text: str) -> None:
        elapsed = time.monotonic() - self._begin
        print(
            f"[{_clock(elapsed)}, about {_clock(self.left_s)} left] {text}",
            file=self._out,
            flush=True,
        )

    def _tick(self) -> None:
        while not self._stop.wait(TICK_S):
            if self._current:
                self._say(
                    f"step {self._number(self._current)}/{len(self._steps)} "
                    f"{self._current}: {self._in_step_s:.0f} s"
                )


def longest_durations(
    instance: Any, steps: list[str], n_runs: int = 4
) -> dict[str, float]:
    """Seconds that each step took at most in the newest runs: a step that found its
    work done says nothing.
    """
    found: dict[str, float] = {}
    for run in instance.get_runs(limit=n_runs):
        for stats in instance.get_run_step_stats(run.run_id):
            if stats.step_key in steps and stats.end_time and stats.start_time:
                found[stats.step_key] = max(
                    found.get(stats.step_key, 0.0), stats.end_time - stats.start_time
                )
    return {s: seconds for s, seconds in found.items() if seconds > DONE_S}


def likely_done(places: Places, settings: Settings) -> set[str]:
    """Long steps whose work is done already, as long as the snapshot stays as it is."""
    from autollm.core.errors import AutoLLMError
    from autollm.gym.tables.snapshot import published_id
    from autollm.stages import agents, judging
    from pipelines.requests import request_of

    table_id = published_id(places.home)
    if table_id is None:
        return set()
    done = (
        {"trajectories"}
        if (
            agents.trajectories_folder(places, settings, table_id)
            / "trajectories.jsonl"
        ).exists()
        else set()
    )
    for step, stage in (("agent_sft", agents.SFT), ("agent_rl", agents.SFT_RL)):
        try:
            done |= (
                {step}
                if agents.done_of(agents.work_of(places, settings, stage))
                else set()
            )
        except AutoLLMError:
            return done
    for step, split in (
        ("validation_scores", "validation"),
        ("held_out_scores", "test"),
    ):
        found = judging.finished(
            places, judging.identity_of(request_of(places, settings, split), table_id)
        )
        done |= {step} if found else set()
    return done


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _reason(event: Any) -> str:
    data = event.event_specific_data
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return f": {error.message.strip()}" if error is not None else ""
