"""Thousands of tasks at once, of any suites, as flat arrays over one shared table: a
step is two gathers and some arithmetic.

Each environment points at what its draw answers (candidate_outcomes.py); environments
of equal (task, seed) share that. By cell (one for every candidate) stands a slot, by
slot the outcome of a row: its loss and the latent regret of having it as incumbent.
Invariant: rewards are those of LLMConfigEnv and Episode, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from autollm.core.errors import EpisodeError
from autollm.gym.environments.candidate_outcomes import (
    INFEASIBLE,
    STATUSES,
    lay_out,
    n_candidates,
)
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import draw, target_rows
from autollm.gym.tasks.episode import Episode, start
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.view import TaskView

NAMES = np.array([*STATUSES, "malformed", "repeated"])
MALFORMED = len(STATUSES)
REPEATED = len(STATUSES) + 1
Observation = dict[str, np.ndarray]


class LLMConfigVectorEnv(gymnasium.vector.VectorEnv):
    """One environment a task; a task may stand several times.

    Actions: int64 [num_envs], numbers of candidates. Observation, of the last trial:
    `loss` float64 [num_envs] (inf without an outcome), `repeated` bool [num_envs] (its
    row had been tried before). Rewards: float64 [num_envs], decrease of latent regret.
    An episode that is over waits for `reset(options={"reset_mask": mask})`: stepping it
    is an error.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, tasks: Sequence[Task], table: OutcomeTable):
        self.tasks = tuple(tasks)
        self.table = table
        self.num_envs = len(tasks)
        self._shared = _SharedOutcomes(self.tasks, table)
        self._n_candidates = self._shared.n_candidates
        self._fewest = int(self._n_candidates.min())
        spaces = gymnasium.spaces
        n = self.num_envs
        self.single_action_space = spaces.Discrete(
            int(self._n_candidates.max())
        )
        self.action_space = spaces.MultiDiscrete(self._n_candidates)
        self.single_observation_space = spaces.Dict(
            {
                "loss": spaces.Box(-np.inf, np.inf, (), np.float64),
                "repeated": spaces.MultiBinary(()),
            }
        )
        self.observation_space = spaces.Dict(
            {
                "loss": spaces.Box(-np.inf, np.inf, (n,), np.float64),
                "repeated": spaces.MultiBinary(n),
            }
        )
        self._trials = np.array([t.trials for t in self.tasks])
        self._seeds = np.zeros(n, np.int64)
        self._cells = np.zeros(n, np.int64)
        self._best = np.full(n, np.inf)
        self._regret = np.ones(n)
        # An episode is over when the count of steps reaches its end; all are before the
        # first reset.
        self._step = 0
        self._ends = np.zeros(n, np.int64)
        self._soonest = 0
        self._past: deque[tuple[np.ndarray, np.ndarray]] = deque(
            maxlen=int(self._trials.max())
        )

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes: of all environments, or of those in `options["reset_mask"]`
        (bool [num_envs]).

        Args:
            seed: a seed an environment; one number s means s, s + 1, ...; None draws
                from this object's own stream.
        """
        one = isinstance(seed, (int, np.integer))
        super().reset(seed=int(seed) if one else None)
        n = self.num_envs
        if one:
            seeds = np.arange(seed, seed + n)
        elif seed is None:
            seeds = self.np_random.integers(2**31, size=n)
        else:
            seeds = np.asarray(seed)
        mask = np.asarray(
            (options or {}).get("reset_mask", np.ones(n, dtype=bool)),
            dtype=bool,
        )
        if mask.shape != (n,) or seeds.shape != (n,):
            raise EpisodeError(
                f"reset needs a seed and a place in reset_mask for each of {n} "
                f"environments, got {seeds.shape} and {mask.shape}."
            )
        which = np.flatnonzero(mask)
        self._cells[which] = self._shared.exchange(which, seeds[which])
        self._seeds[which] = seeds[which]
        self._best[which] = np.inf
        self._regret[which] = 1.0
        self._ends[which] = self._step + self._trials[which]
        self._soonest = int(self._ends.min())
        for slot, _ in self._past:
            slot[which] = -1
        if mask.all():
            self._past.clear()
        return {
            "loss": np.full(n, np.inf),
            "repeated": np.zeros(n, dtype=bool),
        }, {"seed": self._seeds.copy()}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Try a candidate in every environment. A number that names none is a malformed
        call and costs its trial.

        Raises:
            EpisodeError: an episode is over or has not begun, or there is not one
                action an environment.
        """
        actions = np.ascontiguousarray(actions, dtype=np.int64)
        if self._step >= self._soonest or actions.shape != (self.num_envs,):
            self._refuse(actions)
        some_unknown = (
            actions.view(np.uint64).max() >= self._fewest
        )  # a negative number is a huge unsigned one
        if some_unknown:
            actions = np.where(
                (actions < 0) | (actions >= self._n_candidates),
                self._n_candidates,
                actions,
            )
        cell = actions + self._cells
        slot = self._shared.slot.take(cell, mode="clip")
        repeated = np.zeros(self.num_envs, dtype=bool)
        for earlier, _ in self._past:
            repeated |= earlier == slot
        if some_unknown or self._shared.some_infeasible:
            repeated &= slot != 0
        self._past.append((slot, cell))
        outcome = self._shared.outcome.take(slot, mode="clip")
        loss = (
            outcome.real.copy()
        )  # side by side: the comparisons take a third of the time
        better = (loss < self._best).astype(
            np.float64
        )  # 0 or 1: sums of products are exact, and no branch is guessed wrong
        regret = better * outcome.imag
        regret += np.subtract(1.0, better, out=better) * self._regret
        np.minimum(self._best, loss, out=self._best)
        reward = self._regret - regret
        self._regret = regret
        self._step += 1
        over = (
            self._ends == self._step
            if self._step >= self._soonest
            else np.zeros(self.num_envs, dtype=bool)
        )
        return (
            {"loss": loss, "repeated": repeated},
            reward,
            over,
            np.zeros(self.num_envs, dtype=bool),
            {},
        )

    @property
    def trials_left(self) -> np.ndarray:
        """int64 [num_envs]."""
        return self._ends - self._step

    @property
    def latent_regret(self) -> np.ndarray:
        """Latent regret of the incumbents, float64 [num_envs]; 1 while nothing was
        found.
        """
        return self._regret.copy()

    def costs(self) -> tuple[np.ndarray, np.ndarray]:
        """FLOPs and device hours spent by the running episodes, float64 [num_envs]
        each; a repeat is not run twice.
        """
        flops = np.zeros(self.num_envs)
        hours = np.zeros(self.num_envs)
        for k, (slot, _) in enumerate(self._past):
            counts = (slot > 0) & ~self._repeated(k)
            row = self._shared.row[np.maximum(slot, 0)]
            for total, name in (
                (flops, "cost_flops"),
                (hours, "cost_device_hours"),
            ):
                total += np.where(counts, self.table.columns[name][row], 0.0)
        return flops, hours

    def statuses(self) -> np.ndarray:
        """How the last step's trials are counted (Trial.status), str [num_envs]."""
        code = self._shared.status[self._past[-1][1]]
        return NAMES[
            np.where(
                (code == 0) & self._repeated(len(self._past) - 1),
                REPEATED,
                code,
            )
        ]

    def view(self, index: int) -> TaskView:
        """What a policy may know of one running episode."""
        return draw(self.tasks[index], self.table, int(self._seeds[index])).view

    def episode(self, index: int) -> Episode:
        """One running episode with its trials, ledger and regret curves."""
        episode = start(self.tasks[index], self.table, int(self._seeds[index]))
        used = int(self._trials[index] - self.trials_left[index])
        for _, cell in list(self._past)[len(self._past) - used :]:
            episode.run_candidate(int(cell[index] - self._cells[index]))
        return episode

    def _repeated(self, k: int) -> np.ndarray:
        """Whether the k-th remembered step tried a row again, bool [num_envs]."""
        slot = self._past[k][0]
        return (
            np.any([self._past[j][0] == slot for j in range(k)], axis=0)
            if k
            else np.zeros(self.num_envs, dtype=bool)
        )

    def _refuse(self, actions: np.ndarray) -> None:
        over = np.flatnonzero(self._ends <= self._step)
        if len(over):
            raise EpisodeError(
                f"{len(over)} of {self.num_envs} episodes have no trials left, such as "
                f"number {over[0]}. "
                'Fix: reset(options={"reset_mask": terminations}) before the next step.'
            )
        raise EpisodeError(
            f"step needs {self.num_envs} actions, got an array of shape "
            f"{actions.shape}."
        )


class _SharedOutcomes:
    """Outcomes of draws in flat arrays. There are as many regions as environments, each
    for the draws of one task; environments of equal task and seed share one, and a draw
    that nobody plays stays until its region is needed.

    By cell (a region's candidates, then one for every malformed call): `slot` int32, 0
    where there is no outcome, and `status` uint8. By slot: `outcome` complex128, loss +
    1j * latent regret, so that one gather brings both; `row` int64, in the table.
    """

    def __init__(self, tasks: tuple[Task, ...], table: OutcomeTable):
        self._table = table
        numbers = {
            task: number for number, task in enumerate(dict.fromkeys(tasks))
        }
        self._tasks = list(numbers)
        self._task_of = np.array([numbers[t] for t in tasks])
        self.n_candidates = np.array(
            [n_candidates(t, table) for t in self._tasks]
        )[self._task_of]
        n_rows = np.array([len(target_rows(t, table, 0)) for t in self._tasks])[
            self._task_of
        ]
        cells = np.cumsum(self.n_candidates + 1)
        slots = 1 + np.cumsum(n_rows)
        if slots[-1] > np.iinfo(np.int32).max:
            raise EpisodeError(
                f"{len(tasks)} environments hold {slots[-1]} rows, at most 2^31. Fix: "
                "split them over several objects."
            )
        self._first_cell = cells - self.n_candidates - 1
        self._first_slot = slots - n_rows
        self.slot = np.zeros(cells[-1], np.int32)
        self.status = np.zeros(cells[-1], np.uint8)
        self.outcome = np.zeros(slots[-1], np.complex128)
        self.row = np.zeros(slots[-1], np.int64)
        self.outcome[0] = complex(np.inf, 1.0)
        self.some_infeasible = False
        self._region_of_environment, self._users = (
            np.full(len(tasks), -1),
            np.zeros(len(tasks), np.int64),
        )  # region of an environment, users of a region
        self._spare: list[dict[int, tuple[int, int] | None]] = [
            {} for _ in self._tasks
        ]  # regions without users, and what they hold
        for region, number in enumerate(self._task_of.tolist()):
            self._spare[number][region] = None
        self._region_of: dict[tuple[int, int], int] = {}

    def exchange(self, which: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Give these environments the draws of their new seeds; returns the first cell
        of each.
        """
        before = self._region_of_environment[which]
        np.subtract.at(self._users, before[before >= 0], 1)
        key_of = {region: key for key, region in self._region_of.items()}
        for region in np.unique(before[before >= 0]).tolist():
            if not self._users[region]:
                self._spare[self._task_of[region]][region] = key_of[region]
        known, seed_number = np.unique(seeds, return_inverse=True)
        keys, key_number = np.unique(
            self._task_of[which] * len(known) + seed_number, return_inverse=True
        )
        regions = np.array(
            [
                self._occupy(int(k) // len(known), int(known[k % len(known)]))
                for k in keys
            ],
            dtype=np.int64,
        )
        self._region_of_environment[which] = regions[key_number]
        np.add.at(self._users, self._region_of_environment[which], 1)
        return self._first_cell[self._region_of_environment[which]]

    def _occupy(self, number: int, seed: int) -> int:
        """The region that holds this draw, laid out in a spare one where there is none
        yet.
        """
        region = self._region_of.get((number, seed))
        spare = self._spare[number]
        if region is None:
            region = next(iter(spare))
            held = spare[region]
            if held is not None:
                del self._region_of[held]
            self._lay_out(number, seed, region)
            self._region_of[number, seed] = region
        spare.pop(region, None)
        return region

    def _lay_out(self, number: int, seed: int, region: int) -> None:
        task = self._tasks[number]
        cell = int(self._first_cell[region])
        slot = int(self._first_slot[region])
        laid_out = lay_out(task, self._table, seed)
        n = len(laid_out.row)
        n_rows = len(laid_out.rows)
        self.slot[cell : cell + n] = np.where(
            laid_out.row >= 0, slot + laid_out.row, 0
        )
        self.slot[cell + n] = 0
        self.status[cell : cell + n] = laid_out.status
        self.status[cell + n] = MALFORMED
        self.some_infeasible |= bool((laid_out.status == INFEASIBLE).any())
        own_slots = slice(slot, slot + n_rows)
        self.outcome.real[own_slots] = laid_out.loss
        self.outcome.imag[own_slots] = laid_out.regret
        self.row[own_slots] = (
            self._table.offsets[self._table.index(task.target)] + laid_out.rows
        )
