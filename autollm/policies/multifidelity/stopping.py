"""Median stopping: random search whose runs are left when their learning curves fall
behind. Only tasks whose runs may be paused show curves.

What does not belong here: the ladder of shares, and what is done with the rest of the
budget (climbing.py). On any other task this is random search. Source: D. Golovin et
al., "Google Vizier: a service for black-box optimization" (KDD 2017), section 3.1.1.
Own code: schedulers of libraries want to run the trials themselves.
"""

from __future__ import annotations

import math

import numpy as np

from autollm.core.distances import nearest
from autollm.gym.tasks.episode import Trial
from autollm.gym.tasks.trial import SLACK
from autollm.gym.tasks.view import TaskView
from autollm.policies.multifidelity.climbing import Climber, Move

TENTHS = tuple(i / 10 for i in range(9, 0, -1))
MIN_WHOLE = 3
"""Whole runs before any is left: the fewest whose median is none of the extremes."""

Curve = tuple[tuple[float, float], ...]


class MedianStopping(Climber):
    """After each tenth of a run: leave it where its best value so far is above the
    median, over the whole runs, of the mean of their values up to the same share. Cheap
    experiments that are charged too are left aside.

    Attributes after reset: `whole`, curves of the whole runs; `going`, rung and
    candidate of the runs to go on with; `n_left`.
    """

    policy_id = "median-stopping"
    shares = TENTHS

    def reset(self, view: TaskView, rng: np.random.Generator) -> None:
        self.whole: list[Curve] = []
        self.going: list[Move] = []
        self.n_left = 0
        super().reset(view, rng)

    def plan(self) -> None:
        self.ladder = [rung for rung in self.ladder if not rung.experiment]

    def move(self, running: list[set[int]]) -> Move | None:
        on = [
            (r, c)
            for r, c in self.going
            if c not in running[r] and c not in self.ladder[r].lost
        ]
        new = self.fresh(0, running)
        return on[0] if on else self.last(running) if new is None else (0, new)

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if trial.experiment or trial.row < 0:
            return
        if trial.share == 1:
            self.whole.append(trial.signal)
        elif self.falls_behind(trial):
            self.n_left += 1
        else:
            r = self._number("", trial.share)
            self.going.append(
                (
                    r + 1,
                    nearest(self.ladder[r + 1].candidates, np.array(trial.point))[0],
                )
            )

    def falls_behind(self, trial: Trial) -> bool:
        """Whether a paused run is worse than the median of the whole ones."""
        if len(self.whole) < MIN_WHOLE:
            return False
        means = [mean_up_to(curve, trial.share) for curve in self.whole]
        return min(
            (value for _, value in trial.signal if math.isfinite(value)),
            default=math.inf,
        ) > float(np.median(means))

    def explain(self) -> str:
        if not self.climbs:
            return super().explain()
        return f"{len(self.whole)} whole runs of random candidates; {self.n_left} were left, worse than the median of those at the same share"


def mean_up_to(curve: Curve, share: float) -> float:
    """Mean of a curve's values up to a share of the run; inf where there is none, or
    one is not finite.
    """
    values = [value for s, value in curve if s <= share + SLACK]
    return (
        float(np.mean(values))
        if values and all(map(math.isfinite, values))
        else math.inf
    )
