"""The scalar gymnasium environment: actions are rows of the view's candidates, observations are flat arrays.

A skin over episode.py. The observation is the raw state, which candidates were tried and what they gave; how to look at
the evidence is a policy's own choice, so it stands beside it as `env.view`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from autollm.gym.episode import Episode, start
from autollm.gym.table import OutcomeTable
from autollm.gym.task import Task, TaskView


class LLMConfigEnv(gymnasium.Env):
    """One task as a gymnasium environment.

    Action: Discrete(n_candidates). In the `declared` setting that is the declared grid, snapped to recorded rows.
    Observation: float32 [2, n_candidates]: row 0 is 1 where a candidate was tried, row 1 its loss minus the first
    trial's loss (0 where not tried or without outcome). Reward: decrease of latent regret, so that an episode's return
    is 1 minus its final latent regret.
    """

    metadata = {"render_modes": []}

    def __init__(self, task: Task, table: OutcomeTable):
        self._task, self._table = task, table
        n = len(start(task, table, 0).drawn.view.candidates)
        self.action_space = gymnasium.spaces.Discrete(n)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, n), np.float32)
        self._episode: Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode of `seed`; without one, of the next seed of this environment's own stream."""
        super().reset(seed=seed)
        episode_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        self._episode = start(self._task, self._table, episode_seed)
        self._observation = np.zeros(self.observation_space.shape, np.float32)
        return self._observation.copy(), {"seed": episode_seed}

    @property
    def view(self) -> TaskView:
        """What a policy may know of the running episode."""
        return self._episode.drawn.view

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Try a candidate. `info["trial"]` is the Trial."""
        before = self._latent_regret()
        trial = self._episode.run_candidate(int(action))
        self._observation[0, action] = 1
        if trial.row >= 0:
            first = next(t.loss for t in self._episode.trials if t.row >= 0)
            self._observation[1, action] = trial.loss - first
        reward = before - self._latent_regret()
        return self._observation.copy(), float(reward), self._episode.done, False, {"trial": trial}

    def _latent_regret(self) -> float:
        return float(self._episode.regret_curve(latent=True)[-1])
