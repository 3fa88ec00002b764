"""Tasks: a target experiment, the cheaper experiments that may be looked at, an
objective, constraints, and a budget of trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autollm.core.errors import EpisodeError, UnknownNameError

Setting = Literal["declared", "pool-visible"]
TargetRows = Literal["redraw", "all"]


@dataclass(frozen=True)
class Constraint:
    """Bounds of a metric that is known before a run, such as its parameters. A row
    beyond them, or without the metric, is infeasible.
    """

    metric: str
    most: float = float("inf")
    least: float = float("-inf")

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Where values [n] keep the bounds, bool [n]. Marts keep 9 digits of a metric,
        so that a bound is widened by as much.
        """
        slack = 1e-8
        return (values <= self.most + slack * abs(self.most)) & (
            values >= self.least - slack * abs(self.least)
        )

    def __str__(self) -> str:
        low = f"{self.least:.12g} <= " if self.least > float("-inf") else ""
        return f"{low}{self.metric}{f' <= {self.most:.12g}' if self.most < float('inf') else ''}"


@dataclass(frozen=True)
class Task:
    """One target, its evidence, its budget. Experiments are named by id; `split` is
    train, validation or test.

    `objective`: a metric of the experiments; empty: their own objective. `charged`:
    cheap experiments that may be run too, each at its cost relative to a run of the
    target; `trials` is then the whole budget, in runs of the target. `pausable`: runs
    may be paused at a share of their steps and gone on with, each stretch charged by
    its share. `sealed`: nothing plays it until its suite is opened.
    """

    task_id: str
    suite_id: str
    suite_version: int
    split: str
    target: str
    evidence: tuple[str, ...]
    trials: int = 5
    setting: Setting = "declared"
    target_rows: TargetRows = "redraw"
    tolerance: float = 1.0
    masked: bool = False
    objective: str = ""
    constraints: tuple[Constraint, ...] = ()
    charged: tuple[str, ...] = ()
    pausable: bool = False
    sealed: bool = False

    def __post_init__(self) -> None:
        if self.target in self.evidence:
            raise EpisodeError(
                f"{self.task_id}: {self.target} is the target, so it cannot be its own "
                "evidence: whoever plays would see the outcomes."
            )
        for experiment in {self.target, *self.evidence} & set(self.charged):
            raise EpisodeError(
                f"{self.task_id}: {experiment} is charged, so it can be neither the "
                "target nor free evidence."
            )
        for name, value, known in (
            ("setting", self.setting, ("declared", "pool-visible")),
            ("target_rows", self.target_rows, ("redraw", "all")),
        ):
            if value not in known:
                raise UnknownNameError(name, value, known)

    def with_(self, **changes: object) -> Task:
        """The same task with other fields."""
        return replace(self, **changes)
