"""One judged episode."""

from __future__ import annotations

import numpy as np
import pytest

from autollm.evaluation.protocol import (
    Calls,
    Player,
    key_of,
    oracle_curve,
    play,
    result_of,
)
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.regret import expected_random_regret
from autollm.policies.base import RankingPolicy
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)


class Raising(RankingPolicy):
    policy_id = "raising"

    def scores(self) -> np.ndarray:
        if len(self.trials) == 1:
            raise RuntimeError("out of ideas")
        return np.zeros(len(self.candidates))


class Mumbling(RankingPolicy):
    policy_id = "mumbling"

    def ask(self, n=1, pending=()):
        return [{"learning_rate": "warm"}]


def test_play__policy_that_raises__is_a_result_with_its_other_trials_malformed() -> (
    None
):
    result = play(Raising(), make_task(TABLE), TABLE, 0)
    assert result.error == "RuntimeError: out of ideas"
    assert (result.malformed, result.n_calls) == (2, 3)
    assert result.regret[0] == result.regret[2] < 1.0 + 1e-12


def test_play__unreadable_proposals__cost_their_trials() -> None:
    result = play(Mumbling(), make_task(TABLE), TABLE, 0)
    assert (result.malformed, result.regret, result.error) == (
        3,
        [1.0, 1.0, 1.0],
        "",
    )
    assert result.rank[-1] == len(TABLE.losses(3)) * 4 // 5, (
        "nothing found ranks last among the rows of the draw"
    )


def test_play__same_seed__is_equal_and_other_seed_differs() -> None:
    results = [
        play(make_policy("random"), make_task(TABLE), TABLE, seed)
        for seed in (3, 3, 4)
    ]
    assert results[0] == results[1] != results[2]


def test_play__oracle__is_told_the_target_and_matches_the_oracle_column() -> (
    None
):
    result = play(make_policy("oracle"), make_task(TABLE), TABLE, 1)
    assert result.regret == pytest.approx(result.oracle_regret)
    assert result.latent_regret[0] == pytest.approx(0.0)


def test_oracle_curve__fewer_rows_than_trials__repeats_its_last_value() -> None:
    episode = start(make_task(TABLE, trials=200), TABLE, 0)
    curve = oracle_curve(episode)
    assert (
        curve.shape == (200,)
        and curve[-1] == 0.0
        and np.all(np.diff(curve) <= 0)
    )


def test_result_of__agent_calls__are_counted_as_given() -> None:
    task = make_task(TABLE)
    episode = start(task, TABLE, 5)
    episode.run(
        episode.drawn.view.space.decode(episode.drawn.view.candidates[0])
    )
    player = Player("agent-x", "abc", "sft", "greedy")
    result = result_of(
        episode, player, Calls(7, 2, 3, 4, [{"role": "user", "content": "hi"}])
    )
    assert (
        result.n_calls,
        result.malformed,
        result.n_traced,
        result.n_numbers,
        result.stage,
    ) == (7, 2, 3, 4, "sft")
    assert result.key == key_of(task, TABLE, player, 5)
    assert result.raw_gap[0] >= 0 and result.rank[0] >= 1


def test_random__many_seeds__meets_its_exact_expectation() -> None:
    task = make_task(TABLE, setting="pool-visible", target_rows="all")
    curves = np.array(
        [
            play(make_policy("random"), task, TABLE, seed).regret
            for seed in range(400)
        ]
    )
    for k in (1, 3):
        exact = expected_random_regret(TABLE.losses(3), k)
        error = curves[:, k - 1].std(ddof=1) / np.sqrt(len(curves))
        assert abs(curves[:, k - 1].mean() - exact) < 3 * error
