"""What every environment of the gym keeps: gymnasium's own rules, seeds that alone decide
an episode, rewards that add up to one minus the final regret.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

Played = list[tuple[Any, float, bool]]


class EnvironmentContract:
    """Subclass it, with a fixture `new_env` that returns a function which makes a fresh
    environment with discrete actions.
    """

    @pytest.fixture
    def new_env(self) -> Callable[[], gymnasium.Env]:
        raise NotImplementedError("define the fixture new_env in the subclass")

    def test_env__gymnasium_checker__passes(self, new_env):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*(Box|spec|render).*")
            check_env(new_env().unwrapped, skip_render_check=True)

    def test_env__same_seed__gives_the_same_episode(self, new_env):
        assert played(new_env(), seed=5) == played(new_env(), seed=5)

    def test_env__reset_after_a_play__forgets_it(self, new_env):
        env = new_env()
        first = played(env, seed=5)
        played(env, seed=6)
        assert played(env, seed=5) == first

    def test_env__rewards__add_up_to_at_most_one(self, new_env):
        for seed in range(5):
            total = sum(reward for _, reward, _ in played(new_env(), seed))
            assert -1e-9 <= total <= 1 + 1e-9

    def test_env__episode__ends_and_says_so(self, new_env):
        steps = played(new_env(), seed=0)
        assert (
            steps
            and steps[-1][2]
            and not any(over for _, _, over in steps[:-1])
        )


def played(env: gymnasium.Env, seed: int) -> Played:
    """An episode of actions drawn from `seed`: observation, reward, over; one entry a
    step, at most a thousand.
    """
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    steps: Played = []
    while len(steps) < 1000:
        action = int(rng.integers(env.action_space.n))
        observation, reward, terminated, truncated, _ = env.step(action)
        steps.append(
            (np.asarray(observation).tolist(), float(reward), terminated)
        )
        if terminated or truncated:
            break
    return steps
