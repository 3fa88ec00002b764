"""The surface tool: one smooth surface through all cheap experiments and the trials,
and the lowest untried place on it.

Kriging with a fixed kernel over (configuration, fidelity), so that it costs
milliseconds: it models sqrt(u + OFFSET), u the squashed loss, which turns a bowl into a
cone. Unlike the trend it makes no claim about how the optimum moves; where experiments
scatter it pools them.

Invariant: of the target it reads spent trials alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autollm.core.spaces.distances import squared_distances
from autollm.gym.tables.squashing import log_above_one, squash
from autollm.gym.tasks.episode import Trial
from autollm.gym.tasks.view import TaskView

KNOB_LENGTH = 1.5
FIDELITY_LENGTH = 5.0
"""Length scales of the kernel, natural units: among 1.5 to 4 and 3 to 12, these were
best on frozen generated landscapes (docs/experiments.md).
"""
NOISE = 0.05
TRIAL_NOISE = 0.01
"""Variance of an evidence row and of a trial, in units of the rows' variance: a trial
counts for more than what lies beside it.
"""
OFFSET = 0.1
MAX_ROWS = 300
APART = 1.0
"""Natural units between places that are told apart."""
SAME = 1e-6
"""Squared distance below which two points are one."""


class Surface:
    """The surface of one view. `spread`: the unit of the trials' losses, median - min
    of the most expensive cheap experiment.
    """

    def __init__(self, view: TaskView, spread: float):
        self._candidates = view.candidates
        self._spread = spread
        self._target_z = np.zeros(len(view.target_z))
        inputs = [_inputs(e.points, e.z - view.target_z) for e in view.evidence]
        kept = _thinned(sum(map(len, inputs)))
        d = view.candidates.shape[1]
        self._lengths = np.concatenate(
            [
                np.full(d, KNOB_LENGTH * max(1.0, np.sqrt(d / 2))),
                np.full(len(self._target_z), FIDELITY_LENGTH),
            ]
        )
        self._x = (
            np.concatenate([np.empty((0, len(self._lengths))), *inputs])[kept]
            / self._lengths
        )
        self._w = np.sqrt(
            np.concatenate(
                [np.empty(0), *(squash(e.loss) for e in view.evidence)]
            )[kept]
            + OFFSET
        )
        self._cells = _inputs(self._candidates, self._target_z) / self._lengths
        self._mean, self._scale = (
            (self._w.mean(), max(self._w.std(), 1e-9))
            if len(self._w)
            else (0.0, 1.0)
        )
        self._prior = (
            self._posterior(self._x, self._w)
            if len(self._w)
            else np.linalg.norm(
                self._candidates - self._candidates.mean(axis=0), axis=1
            )
        )

    def lowest(self, trials: Sequence[Trial], n: int = 1) -> list[int]:
        """Indices of the n candidates, at least APART from each other, where the
        surface through evidence and trials is lowest (fewer where there are no more).
        It is not looked for where a trial was proposed or evaluated, nor where nothing
        can be recorded: nearer to a proposal than the row that it was snapped to.
        Trials of charged experiments count for nothing.
        """
        own = [t for t in trials if not t.experiment]
        ended = [t for t in own if t.row >= 0]
        height = self._with(ended) if ended and len(self._w) else self._prior
        for trial in own:
            for place, within in (
                (trial.proposed, _snapped(trial)),
                (trial.point, 0.0),
            ):
                if place:
                    squared = squared_distances(
                        self._candidates, np.array([place])
                    )[:, 0]
                    height = np.where(
                        (squared < SAME) | (squared < within - SAME),
                        np.inf,
                        height,
                    )
        chosen = [int(np.argmin(height))]
        while len(chosen) < n:
            near = (
                squared_distances(
                    self._candidates, self._candidates[chosen[-1:]]
                )[:, 0]
                < APART**2
            )
            height = np.where(near, np.inf, height)
            if not np.isfinite(height).any():
                break
            chosen.append(int(np.argmin(height)))
        return chosen

    def _with(self, trials: list[Trial]) -> np.ndarray:
        """Posterior mean at the candidates, the trials included. The target's minimum
        is unknown: the first trial counts as what the evidence expects there, the
        others by their difference from it.
        """
        points = np.array([t.point for t in trials])
        losses = np.array([t.loss for t in trials])
        first = (
            self._prior[
                np.argmin(squared_distances(self._candidates, points[:1])[:, 0])
            ]
            ** 2
            - OFFSET
        )
        u = np.maximum(first, 0.0) + (losses - losses[0]) / self._spread
        u = log_above_one(u)
        x = _inputs(points, self._target_z) / self._lengths
        return self._posterior(
            np.concatenate([self._x, x]),
            np.concatenate([self._w, np.sqrt(np.maximum(u + OFFSET, 0.0))]),
        )

    def _posterior(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Posterior mean of w at the candidates, [n_candidates]."""
        noise = np.where(np.arange(len(x)) < len(self._x), NOISE, TRIAL_NOISE)
        weights = np.linalg.solve(
            np.exp(-0.5 * squared_distances(x, x)) + np.diag(noise),
            (w - self._mean) / self._scale,
        )
        return self._mean + self._scale * (
            np.exp(-0.5 * squared_distances(self._cells, x)) @ weights
        )


def _snapped(trial: Trial) -> float:
    """Squared distance from what was proposed to where it was evaluated, natural units."""
    return (
        float(np.sum((np.array(trial.proposed) - np.array(trial.point)) ** 2))
        if trial.proposed and trial.point
        else 0.0
    )


def _inputs(points: np.ndarray, z: np.ndarray) -> np.ndarray:
    """[n, d + f]: points at fidelity z [f] relative to the target's."""
    return np.column_stack([points, np.tile(z, (len(points), 1))])


def _thinned(n: int) -> np.ndarray:
    """At most MAX_ROWS of n row numbers, evenly spaced."""
    return (
        np.arange(n)
        if n <= MAX_ROWS
        else np.linspace(0, n - 1, MAX_ROWS).astype(int)
    )
