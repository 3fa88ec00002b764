"""The scalar gymnasium environment: actions are numbers of candidates, observations
what the last trial gave.

A skin over candidate_outcomes.py that computes nothing in `step`: every candidate's answer,
observation included, is laid out at reset. What the play looks like as an Episode
(ledger, trials, regret curves) is made from the actions when it is asked for. How to
look at the evidence is a policy's own choice, so it stands beside the observation as
`env.view`.

Invariant: rewards are those of Episode.run_candidate with the same actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np

from autollm.core.errors import EpisodeError
from autollm.gym.environments.candidate_outcomes import (
    STATUSES,
    lay_out,
    n_candidates,
)
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import Draw, draw
from autollm.gym.tasks.episode import Episode, start
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.view import TaskView

LAID_OUT = 256
"""Candidates whose answers are laid out at reset (about 90 KB); of more than that, each
is laid out as it is tried.
"""


class Report(NamedTuple):
    """What `info["trial"]` says: `row` within the draw (-1 without an outcome), snap
    `distance`, `loss` (inf without one) and `status` as Trial has it.
    """

    status: str
    row: int
    distance: float
    loss: float


Cell = tuple[int, float, float, np.ndarray, Report]


class LLMConfigEnv(gymnasium.Env):
    """One task as a gymnasium environment.

    Action: Discrete(n_candidates). In the `declared` setting that is the declared grid,
    snapped to recorded rows. Observation: float32 [2], the last trial: the candidate's
    number and its loss (inf without an outcome); (-1, inf) before the first. The whole
    play: `gymnasium.wrappers.FrameStackObservation(env, trials)`. Reward: decrease of
    latent regret, so that an episode's return is 1 minus its final latent regret. Info:
    `trial`, a Report.
    """

    metadata = {"render_modes": []}

    def __init__(self, task: Task, table: OutcomeTable):
        self._task = task
        self._table = table
        n = n_candidates(task, table)
        self.action_space = gymnasium.spaces.Discrete(n)
        self.observation_space = gymnasium.spaces.Box(
            np.array([-1, -np.inf], np.float32),
            np.array([n - 1, np.inf], np.float32),
        )
        self._cells: dict[Any, Cell] = {}
        self._left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode of `seed`; without one, of the next seed of this
        environment's own stream.
        """
        super().reset(seed=seed)
        self._seed = (
            seed if seed is not None else int(self.np_random.integers(2**31))
        )
        self._laid_out = lay_out(self._task, self._table, self._seed)
        self._played: dict[Any, Cell] = {}
        self._cells = (
            self._lay_out(slice(None))
            if len(self._laid_out.row) <= LAID_OUT
            else {}
        )
        self._seen = bytearray(len(self._laid_out.rows))
        self._best = float("inf")
        self._regret = 1.0
        self._left = self._task.trials
        self._actions: list[int] = []
        self._drawn: Draw | None = None
        self._episode: Episode | None = None
        return np.array([-1, np.inf], np.float32), {"seed": self._seed}

    def step(
        self, action: int
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Try a candidate. A number that names no candidate is a malformed call and
        costs its trial.

        Raises:
            EpisodeError: the episode is over, or has not begun.
        """
        try:
            row, loss, regret, observation, report = self._cells[action]
        except (KeyError, TypeError):
            return self._unusual_step(action)
        if self._seen[row]:
            observation = observation.copy()  # it may have been handed out
            if report.status == "ok":
                report = Report("repeated", row, report.distance, loss)
        else:
            self._seen[row] = 1
        self._actions.append(action)
        reward = 0.0
        if loss < self._best:
            self._best = loss
            reward = self._regret - regret
            self._regret = regret
        self._left = left = self._left - 1
        if not left:
            self._cells, self._played = (
                {},
                self._cells,
            )  # freed at reset: that takes as long as a play
        return observation, reward, not left, False, {"trial": report}

    @property
    def view(self) -> TaskView:
        """What a policy may know of the running episode."""
        if self._drawn is None:
            self._drawn = draw(self._task, self._table, self._seed)
        return self._drawn.view

    @property
    def episode(self) -> Episode:
        """The running episode with its trials, ledger and regret curves."""
        if self._episode is None:
            self._episode = start(self._task, self._table, self._seed)
        for action in self._actions[len(self._episode.trials) :]:
            self._episode.run_candidate(action)
        return self._episode

    def _unusual_step(
        self, action: Any
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """A step that cannot take the short way: no outcome, a candidate that is not
        laid out, an action in an array.
        """
        if not self._left:
            raise EpisodeError(
                f"{self._task.task_id}: no trials left, or no episode has begun. Fix: "
                "call reset()."
            )
        if (
            isinstance(action, np.ndarray)
            and action.size == 1
            and action.dtype.kind in "iu"
        ):
            return self.step(int(action.item()))
        laid_out = self._laid_out
        known = isinstance(action, (int, np.integer)) and 0 <= action < len(
            laid_out.row
        )
        number = int(action) if known else -1
        if known and laid_out.row[number] >= 0:
            self._cells |= self._lay_out(slice(number, number + 1))
            return self.step(number)
        self._actions.append(number)
        self._left -= 1
        report = (
            Report(
                STATUSES[laid_out.status[number]],
                -1,
                float(laid_out.distance[number]),
                np.inf,
            )
            if known
            else Report("malformed", -1, 0.0, np.inf)
        )
        return (
            np.array([number, np.inf], np.float32),
            0.0,
            not self._left,
            False,
            {"trial": report},
        )

    def _lay_out(self, candidates: slice) -> dict[Any, Cell]:
        """Candidate -> (row, loss, latent regret as incumbent, observation, report),
        where there is an outcome.
        """
        laid_out = self._laid_out
        numbers = np.arange(len(laid_out.row))[candidates]
        rows = laid_out.row[candidates]
        observations = list(
            np.column_stack([numbers, laid_out.loss[rows]]).astype(np.float32)
        )
        losses = laid_out.loss[rows].tolist()
        rows = rows.tolist()
        names = [
            STATUSES[code] for code in laid_out.status[candidates].tolist()
        ]
        reports = map(
            Report, names, rows, laid_out.distance[candidates].tolist(), losses
        )
        cells = zip(
            rows,
            losses,
            laid_out.regret[rows].tolist(),
            observations,
            reports,
            strict=True,
        )
        return {
            number: cell
            for number, cell in zip(numbers.tolist(), cells, strict=True)
            if cell[0] >= 0
        }
