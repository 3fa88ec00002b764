"""How a text log says that its run ended: a traceback, a full memory, a scheduler's word
after the last point, or fewer steps than it announces (`iteration 300/ 500`).

Invariant: a log that goes on after such a line did not end there.
"""

from __future__ import annotations

import re

_KILLED = re.compile(
    r"\bCANCELLED AT\b|DUE TO (?:TIME LIMIT|PREEMPTION)|\bKeyboardInterrupt\b"
    r"|\boom[-_]kill|^Killed\b|\bSIGTERM\b|\bTerminated$"
)
_FAILED = re.compile(
    r"^Traceback \(most recent call last\)|\bOutOfMemoryError\b|CUDA out of memory"
    r"|Segmentation fault|\bChildFailedError\b|^\w*Error: |\bNCCL error\b"
)


_PLAN = re.compile(r"(?<![\d/.])(\d[\d,]*)\s*/\s*(\d[\d,]*)(?![\d/.])")


class LogEnd:
    """Sees a log's lines in order."""

    def __init__(self) -> None:
        self._word: str | None = None
        self._reached = self._planned = self._widest = 0

    def see(self, line: str, is_point: bool) -> None:
        """One line; only what stands after the last point counts."""
        self._word = None if is_point else ending_of(line) or self._word
        plan = _PLAN.search(line) if is_point else None
        if plan:
            reached, planned = (int(n.replace(",", "")) for n in plan.groups())
            self._widest = max(self._widest, reached - self._reached)
            self._reached, self._planned = reached, planned

    def state(self) -> str:
        """`failed`, `killed`, `unfinished` or `finished`: the next point would lie within
        the plan where a run stopped short of it.
        """
        is_short = self._reached + self._widest < self._planned
        return self._word or ("unfinished" if is_short else "finished")


def ending_of(line: str) -> str | None:
    """`killed` or `failed` where a line says so, else None."""
    if _KILLED.search(line):
        return "killed"
    return "failed" if _FAILED.search(line) else None
