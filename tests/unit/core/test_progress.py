"""Lines of progress in a log, a bar on a terminal."""

from __future__ import annotations

import io
import re

from autollm.core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress__in_a_log__says_a_line_now_and_then_and_at_the_end() -> None:
    out = io.StringIO()
    progress = Progress("evaluate", 4, out=out, every_s=1e9)
    progress.reach(2, "2/4 episodes")
    assert out.getvalue() == ""
    progress.reach(4, "4/4 episodes")
    assert re.fullmatch(
        r"evaluate: 4/4 episodes, \d+ s, 0 s left\n", out.getvalue()
    )


def test_progress__line__estimates_by_what_was_done_here() -> None:
    assert Progress("x", 10).line(30.0, 6, "6/10") == "x: 6/10, 30 s, 20 s left"
    assert Progress("x", 10, begun=4).line(30.0, 6) == "x: 30 s, 60 s left"
    assert Progress("x", 0).line(30.0, 6, "6 bytes") == "x: 6 bytes, 30 s"


def test_progress__on_a_terminal__draws_a_bar_and_ends_it() -> None:
    out = Terminal()
    progress = Progress("evaluate", 2, out=out)
    progress.reach(1, "1/2 episodes [x]")
    assert "evaluate: 1/2 episodes [x]" in out.getvalue()
    progress.reach(2, "2/2 episodes")
    assert "2/2 episodes" in out.getvalue() and progress._bars is None
