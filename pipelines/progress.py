"""Progress of a run on stderr: which step of how many, how long so far, how long still.

The estimate stands on how long each step took last time; before that, on what was
measured on two cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TextIO

import dagster as dg

from autollm.core.progress import say
from autollm.core.refusals import sentence_in

if TYPE_CHECKING:
    from autollm.core.places import Places
    from autollm.stages.settings import Settings

FIRST_GUESS_S = {
    "landing": 8.0,
    "dbt_build": 12.0,
    "trajectories": 40.0,
    "training": 260.0,
    "validation_scores": 40.0,
    "held_out_scores": 90.0,
    "report": 5.0,
}
OTHER_GUESS_S = 2.0
DONE_S = 0.5
TICK_S = 15.0
POLL_S = 0.5
"""Half a second of delay is not noticed, and looking for events costs a millisecond."""


class StepProgress:
    """While open, a thread follows a run's events and prints every TICK_S seconds how
    far the run is. At the end it prints where the time went.

    Args:
        steps: keys of the steps that will run, in order. done: those that will find
            their work finished.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        steps: list[str],
        done: Collection[str] = (),
        out: TextIO | None = None,
    ):
        self._instance = instance
        self._run_id = run_id
        self._steps = steps
        self._out = out
        self._expected = {s: FIRST_GUESS_S.get(s, OTHER_GUESS_S) for s in steps}
        self._expected |= longest_durations(instance, steps)
        self._expected |= dict.fromkeys(done, DONE_S)
        self._began_s = time.time()
        self._said_s = self._began_s
        self._step_began_s = self._began_s
        self._current: str | None = None
        self._seconds: dict[str, float] = {}
        self._cursor: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> StepProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()
        if self._seconds:
            self._say(f"where the time went: {self.spent()}")

    def spent(self) -> str:
        """Seconds of each finished step, the longest first; quick ones together."""
        named = sorted(self._seconds.items(), key=lambda pair: -pair[1])
        long = [
            f"{step} {seconds:.0f} s" for step, seconds in named if seconds >= 1
        ]
        quick_s = sum(seconds for _, seconds in named if seconds < 1)
        n_quick = len(named) - len(long)
        return ", ".join([*long, f"{n_quick} others {quick_s:.1f} s"])

    def take(self, event: dg.DagsterEvent, at_s: float) -> None:
        """Follow one event of Dagster, which happened `at_s` seconds after 1970."""
        step = event.step_key or ""
        kind = event.event_type.name
        number = (
            f"{self._steps.index(step) + 1}/" if step in self._steps else ""
        )
        if kind == "STEP_START" and number:
            self._current = step
            self._step_began_s = at_s
            self._say(f"step {number}{len(self._steps)} {step} ...")
        elif kind == "STEP_SUCCESS" and number:
            self._seconds[step] = at_s - self._step_began_s
            self._current = None
            seconds = self._seconds[step]
            self._say(
                f"step {number}{len(self._steps)} {step} done in {seconds:.0f} s"
            )
        elif kind == "STEP_FAILURE":
            self._leave(step)
            self._say(f"step {step} failed{_reason(event)}")
        elif kind == "STEP_SKIPPED":
            self._leave(step)
            self._say(f"step {step} skipped")

    def _leave(self, step: str) -> None:
        """A step that ended otherwise: it takes no more time."""
        self._expected.pop(step, None)
        if self._current == step:
            self._current = None

    def _follow(self) -> None:
        while not self._stop.wait(POLL_S):
            self._read()
            if self._current and time.time() - self._said_s >= TICK_S:
                number = self._steps.index(self._current) + 1
                step = f"step {number}/{len(self._steps)} {self._current}"
                self._say(f"{step}: {self._in_step_s:.0f} s")

    def _read(self) -> None:
        """The run's events since the last look."""
        records = self._instance.get_records_for_run(self._run_id, self._cursor)
        self._cursor = records.cursor
        for record in records.records:
            entry = record.event_log_entry
            if entry.dagster_event is not None:
                self.take(entry.dagster_event, entry.timestamp)

    @property
    def _in_step_s(self) -> float:
        return time.time() - self._step_began_s

    @property
    def left_s(self) -> float:
        """Estimate of the seconds that are left."""
        left_s = 0.0
        for step, seconds in self._expected.items():
            if step == self._current:
                left_s += max(seconds - self._in_step_s, 0.0)
            elif step not in self._seconds:
                left_s += seconds
        return left_s

    def _say(self, text: str) -> None:
        self._said_s = time.time()
        elapsed = _clock(self._said_s - self._began_s)
        left = _clock(self.left_s)
        say(f"[{elapsed}, about {left} left] {text}", self._out)


def longest_durations(
    instance: Any, steps: list[str], n_runs: int = 4
) -> dict[str, float]:
    """Longest duration of each step in the newest runs, in seconds. A step that found
    its work done took no time and is left out.
    """
    longest: dict[str, float] = {}
    for run in instance.get_runs(limit=n_runs):
        for stats in instance.get_run_step_stats(run.run_id):
            if stats.step_key in steps and stats.end_time and stats.start_time:
                longest[stats.step_key] = max(
                    longest.get(stats.step_key, 0.0),
                    stats.end_time - stats.start_time,
                )
    return {s: seconds for s, seconds in longest.items() if seconds > DONE_S}


def likely_done(places: Places, settings: Settings) -> set[str]:
    """Long steps whose work is done already, as long as the snapshot stays as it is."""
    from autollm.core.errors import AutoLLMError
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.stages import agents, judging
    from pipelines.requests import request_of

    done: set[str] = set()
    try:
        table = open_snapshot(places.home)
    except AutoLLMError:
        return done
    folder = agents.trajectories_folder(places, settings, table)
    if (folder / "trajectories.jsonl").exists():
        done.add("trajectories")
    if agents.done_stage(places, settings, agents.SFT_RL) is not None:
        done.add("training")
    for step, split in (
        ("validation_scores", "validation"),
        ("held_out_scores", "test"),
    ):
        if judging.finished(places, request_of(places, settings, split), table):
            done.add(step)
    return done


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _reason(event: Any) -> str:
    data = event.event_specific_data
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return ""
    return f": {sentence_in(error.message) or error.message.strip()}"
