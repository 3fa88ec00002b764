"""What an episode is asked, what it answers, and what it has left: proposals, trials,
the ledger.

Invariant: a trial holds nothing of the target but what was paid for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SLACK = 1e-9
"""Tolerance of a budget, since sums of shares are not exact."""
Proposal = (
    dict[str, Any]
    | tuple[str, dict[str, Any]]
    | tuple[str, dict[str, Any], float]
)
"""A configuration for the target, or (experiment id, configuration) for a charged one;
with the share to run up to, where runs may be paused.
"""


def read_proposal(proposal: Proposal) -> tuple[str, dict[str, Any], float]:
    """Experiment (empty for the target), configuration and share of a proposal."""
    experiment, configuration, *until = (
        proposal if isinstance(proposal, tuple) else ("", proposal)
    )
    return experiment, configuration, until[0] if until else 1.0


@dataclass(frozen=True)
class Trial:
    """One spent trial.

    `status`: ok, paused, repeated, off_table (further than the tolerance from any row),
    infeasible (the nearest row, or the run, breaks a constraint of the task), malformed.
    `proposed` is the point that was asked for, `point` and `row` what was evaluated
    after snapping (row -1: nothing was), `distance` the snap in natural units. `loss` is
    NaN where there is no outcome. `experiment`: a charged one's id, empty for the
    target; `cost`: of the budget, a run of the target is 1. `share`: how far the run has
    come, or was asked to, 1 is its end; below it there is no outcome. `signal`, where
    runs may be paused: its curve so far, (share, value) with lower values better.
    """

    number: int
    status: str
    configuration: dict[str, Any] | None
    point: tuple[float, ...] = ()
    row: int = -1
    distance: float = 0.0
    objective: float = float("nan")
    loss: float = float("nan")
    diverged: bool = False
    experiment: str = ""
    cost: float = 1.0
    proposed: tuple[float, ...] = ()
    share: float = 1.0
    signal: tuple[tuple[float, float], ...] = ()


@dataclass
class Ledger:
    """What is left (in runs of the target), and the cost of the runs behind what was
    spent (repeats are not run twice).
    """

    left: float
    cost_flops: float = 0.0
    cost_device_hours: float = 0.0

    @property
    def trials_left(self) -> int:
        """Whole runs of the target that are left."""
        return int(self.left + SLACK)
