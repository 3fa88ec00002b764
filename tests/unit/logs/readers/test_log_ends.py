"""How text logs say that their run ended."""

import pytest

from autollm.logs.proposals import propose
from autollm.logs.readers.log_ends import LogEnd
from tests.unit.logs.raw_logs import write


def points_of(worse):
    """Lines of nine epochs, the last with a loss of 2.5 + `worse`."""
    lines = []
    for n in range(1, 10):
        lines.append(
            f"Epoch {n}/9 | train loss {4 - n / 9} | val loss {3.5 - n / 9 + worse}"
        )
    return lines


POINTS = points_of(0)


def state_of(*lines):
    end = LogEnd()
    for line in lines:
        end.see(line, is_point="loss" in line)
    return end.state()


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ("", "finished"),
        ("Traceback (most recent call last):", "failed"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "failed"),
        ("RuntimeError: shape mismatch", "failed"),
        ("slurmstepd: error: *** JOB 1 ON a CANCELLED AT 2024 ***", "killed"),
        ("KeyboardInterrupt", "killed"),
        ("Training finished, 0 errors", "finished"),
    ],
)
def test_log_end__last_words__tell_the_state(last, state):
    assert state_of(*POINTS, last) == state


def test_log_end__goes_on_after_an_error__did_not_end_there():
    assert (
        state_of(POINTS[0], "Traceback (most recent call last):", *POINTS[1:])
        == "finished"
    )


@pytest.mark.parametrize(("n", "state"), [(5, "unfinished"), (8, "finished")])
def test_log_end__fewer_steps_than_announced__is_unfinished(n, state):
    assert state_of(*POINTS[:n]) == state


def test_propose__array_of_jobs__broken_ones_are_no_outcomes(tmp_path):
    for number in range(6):
        head = f"Namespace(lr={(number + 1) * 1e-4}, batch_size=32)"
        lines = [head, *points_of(abs(number - 3) / 8)]
        if number == 2:
            lines = [*lines[:2], "Traceback (most recent call last):"]
        if number == 4:
            lines = lines[:4]
        write(tmp_path, f"slurm-12_{number}.out", "\n".join(lines).encode())
    found = propose(tmp_path)
    assert found.summary.statuses == {"finished": 4, "failed": 1, "running": 1}
    assert found.summary.best["value"] == 2.5
