"""How a question is asked, beyond its logs and its target: one object for the command
line, Python and every door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.kept.ledger import ReportedRun


@dataclass(frozen=True)
class Options:
    """All optional.

    Attributes:
        trials: how many configurations. said: what the user said of the logs.
        planned: a configuration of the user's own to check beside the advice.
        tried: runs that were made at the target since.
        constraints: what every run must keep, `batch_size*seq_len <= 2e6`.
        budget_flops: compute of the run, where the target is to be the best split of
            it; coordinates of the target are then fixed.
        plan_budget: what cheap runs may cost before the target's, `200device-hours`,
            `1e19flops`, `5%` of the target's cost (empty: a tenth of it); None: the
            plan holds its first step alone.
        home: where own mappings lie, and what landed. command: as it was typed.
        pool [n, d]: the configurations that may be proposed, where they are known.
    """

    trials: int = 3
    said: LogOptions = field(default_factory=LogOptions)
    planned: Mapping[str, Any] | None = None
    tried: Sequence[ReportedRun] = ()
    constraints: Sequence[str] = ()
    budget_flops: float | None = None
    plan_budget: str | None = None
    home: str = ""
    command: str = ""
    pool: np.ndarray | None = None
