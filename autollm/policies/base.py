"""The interface of every policy (it is asked for configurations and told their
outcomes), and the part that most policies share.

`RankingPolicy` scores the view's candidates and proposes the best one that is still
worth a trial.

Invariant: proposals are determined by (view, rng, trials told); `ask` itself changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from autollm.core.spaces.distances import nearest
from autollm.core.spaces.space import Space
from autollm.gym.tasks.episode import Proposal, Trial
from autollm.gym.tasks.view import TaskView

Configuration = dict[str, Any]


@runtime_checkable
class Policy(Protocol):
    """Anything that proposes the next configuration."""

    policy_id: ClassVar[str]
    version: ClassVar[int]
    sees_target: ClassVar[bool]
    """True for oracles alone: evaluation then also calls `reset_with_target(episode)`."""

    def reset(self, view: TaskView, rng: np.random.Generator) -> None:
        """Forget the last task and read the evidence of this one."""
        ...

    def ask(
        self, n: int = 1, pending: Sequence[Proposal] = ()
    ) -> Sequence[Proposal]:
        """Up to `n` proposals to try next; `pending` ones were asked for before and
        have no outcome yet. None: wait for one of those.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """What a trial gave, whoever proposed it; its `experiment` is empty for the
        target. Its loss is NaN where there was no outcome.
        """
        ...

    def explain(self) -> str:
        """Why the next proposal is what it is, in a sentence or two; every number in it
        was computed.
        """
        ...


@runtime_checkable
class Predictive(Protocol):
    """A policy that also says what it expects: an advisor weighs such ones by how well
    they predicted.
    """

    def predict(
        self, configurations: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u at the target, after `reset` and what was told since: 0
        is the best of the target's table, 1 its median (squashing.squash). NaN where
        nothing is known.
        """
        ...


class RankingPolicy:
    """Base of policies that score every candidate of the view; lower is better, the
    lowest index wins a tie.

    Attributes, after reset: `view`, `rng`, `trials` (told so far), `candidates` float64
    [n, d] in natural units (d coordinates: one a number, several a category, list or
    mixture), `candidates_are_rows`: they are the target's rows (`TaskView.lists_rows`);
    `steps` float64 [d], the median grid step per coordinate.
    """

    policy_id: ClassVar[str] = ""
    version: ClassVar[int] = 1
    sees_target: ClassVar[bool] = False

    view: TaskView
    rng: np.random.Generator
    trials: list[Trial]

    def reset(self, view: TaskView, rng: np.random.Generator) -> None:
        self.view = view
        self.rng = rng
        self.trials = []
        self.candidates = view.candidates
        self.candidates_are_rows = view.lists_rows
        self._spent = np.zeros(len(view.candidates), dtype=bool)
        self._asked: list[int] = []
        self.steps = grid_steps(view)
        self.__dict__.pop("_gap", None)
        self.prepare()

    def prepare(self) -> None:
        """Hook: read the evidence, once per task."""

    def scores(self) -> np.ndarray:
        """Hook: float64 [n_candidates], lower is proposed earlier."""
        raise TypeError(f"{type(self).__name__} must define scores()")

    def ask(
        self, n: int = 1, pending: Sequence[Proposal] = ()
    ) -> Sequence[Proposal]:
        """The `n` best candidates that are not spent; those that may well repeat a row,
        and spent ones, only at the end.
        """
        rank = self._reluctance(pending)
        order = np.lexsort((np.arange(len(rank)), self.scores(), rank))
        self._asked.extend(int(i) for i in order[:n] if i not in self._asked)
        return [self.view.space.decode(self.candidates[i]) for i in order[:n]]

    def tell(self, trial: Trial) -> None:
        if trial.experiment:
            return  # what a cheap experiment says is evidence, which is read at reset
        self.trials.append(trial)
        if trial.configuration is None:
            return
        point = (
            np.array(trial.point)
            if trial.point
            else self.view.space.encode(trial.configuration)
        )
        self._spent |= self._beside(point)
        self._spend_asked(point, trial.distance)

    def explain(self) -> str:
        return ""

    @property
    def from_centre(self) -> np.ndarray:
        """Distance [n_candidates] to the middle of the window: the order of a policy
        that knows nothing else.
        """
        return np.linalg.norm(
            self.candidates - self.view.space.window.mean(axis=0), axis=1
        )

    @property
    def tried(self) -> tuple[np.ndarray, np.ndarray]:
        """Evaluated points [k, n_knobs] and losses [k] of the trials that gave an
        outcome, repeats left out.
        """
        loss_at = {}
        for trial in self.trials:
            if trial.point and np.isfinite(trial.loss):
                loss_at[trial.point] = trial.loss
        points = np.array(list(loss_at), dtype=float)
        losses = np.array(list(loss_at.values()))
        return points.reshape(-1, len(self.view.space)), losses

    @cached_property
    def _gap(self) -> np.ndarray:
        return neighbour_gap(self.view.space)

    def _reluctance(self, pending: Sequence[Proposal]) -> np.ndarray:
        """0 for a free candidate, 1 for one that would often be snapped onto a spent
        row, 2 for a spent one; int [n].
        """
        spent = self._spent.copy()
        for configuration in (p for p in pending if not isinstance(p, tuple)):
            spent |= self._beside(self.view.space.encode(configuration))
        return np.where(spent, 2, self._may_repeat(spent).astype(int))

    def _may_repeat(self, spent: np.ndarray) -> np.ndarray:
        """Candidates whose nearest other candidate (the lower of two) is spent, bool
        [n], once snaps showed holes in the grid.

        A table may hold half of its declared grid; then the neighbour of a tried row is
        snapped back onto it, and a trial is lost. Holes are taken for common when they
        took a third of the trials, on a prior of one in five.
        """
        if self.candidates_are_rows or not self.trials:
            return np.zeros(len(spent), dtype=bool)
        evaluated = [t for t in self.trials if t.row >= 0]
        n_holes = sum(t.distance > 1e-6 for t in evaluated)
        if (0.5 + n_holes) / (2.5 + len(evaluated)) < 1 / 3:
            return np.zeros(len(spent), dtype=bool)
        lower = np.flatnonzero(spent)[None, :] < np.arange(len(spent))[:, None]
        squared = np.sum(
            (self.candidates[:, None, :] - self.candidates[None, spent, :])
            ** 2,
            axis=2,
        )
        return np.any(
            lower & (squared <= (self._gap**2)[:, None] + 1e-9), axis=1
        )

    def _beside(self, point: np.ndarray) -> np.ndarray:
        """Candidates that stand for the same row as `point`, bool [n_candidates].

        In a pool that is the row itself. In a declared window rows are unknown: what
        lies less than half a grid step from an evaluated row in every knob would be
        snapped onto it again.
        """
        gap = np.abs(self.candidates - point)
        if self.candidates_are_rows:
            return np.all(gap < 1e-6, axis=1)
        return np.all(gap < 0.5 * self.steps - 1e-9, axis=1) | np.all(
            gap < 1e-6, axis=1
        )

    def _spend_asked(self, point: np.ndarray, snap: float) -> None:
        """Block the candidates that the snap of our own proposal rules out: no row is
        nearer to the proposal than the evaluated one.
        """
        for index in self._asked:
            proposal = self.candidates[index]
            if abs(np.linalg.norm(proposal - point) - snap) > 1e-6:
                continue
            self._asked.remove(index)
            self._spent[index] = True
            if snap > 0 and not self.candidates_are_rows:
                to_row = np.linalg.norm(self.candidates - point, axis=1)
                to_proposal = np.linalg.norm(self.candidates - proposal, axis=1)
                self._spent |= to_row + to_proposal <= 1.05 * snap
            return


def grid_steps(view: TaskView) -> np.ndarray:
    """Median step of the declared levels per coordinate in natural units, float64 [d];
    1 for one of one level, or without a grid.
    """
    if any(k.grid is None for k in view.space.knobs):
        return np.ones(len(view.space))
    columns = [
        c
        for k in view.space.knobs
        for c in np.asarray(k.grid).reshape(len(k.levels), -1).T
    ]
    gaps = [np.diff(np.unique(np.round(c, 6))) for c in columns]
    return np.array([np.median(g) if len(g) else 1.0 for g in gaps])


def neighbour_gap(space: Space) -> np.ndarray:
    """Distance from each point of the declared grid to its nearest other point, natural
    units, float64 [n_points].
    """
    from scipy.spatial import (
        cKDTree,
    )  # only where a table turned out to have holes

    return cKDTree(space.grid).query(space.grid, k=2)[0][:, 1]


def assign_nearest(candidates: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which candidate each point [m, d] stands for, int [m], in the points' order: the
    nearest that no earlier one has taken.

    -1 for points that are left over when all candidates are taken.
    """
    free = np.ones(len(candidates), dtype=bool)
    claimed = np.full(len(points), -1)
    for i, point in enumerate(points[: len(candidates)]):
        left = np.flatnonzero(free)
        claimed[i] = left[nearest(candidates[left], point)[0]]
        free[claimed[i]] = False
    return claimed


def describe(configuration: Mapping[str, Any]) -> str:
    """A configuration in a sentence: `learning_rate 0.00195, batch_tokens 2.62e+05`."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in configuration.items()
    )
