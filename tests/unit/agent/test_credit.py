"""Which tokens of a play get which credit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autollm.agent.credit import (
    RandomRewardEnv,
    TrainingEnv,
    TurnCreditTrainer,
    spread,
    turn_advantages,
)
from autollm.agent.grpo import train_grpo
from autollm.agent.landscapes import make_landscape
from autollm.agent.profiles import load_profile
from autollm.gym.environments.text import spoken
from autollm.gym.tasks.episode import start


def opened(seed: int = 3, trials: int = 3) -> TrainingEnv:
    landscape = make_landscape(seed)
    env = TrainingEnv(
        lambda: start(
            landscape.task.with_(trials=trials), landscape.table, seed
        ),
        penalty=0.4,
    )
    env.reset()
    return env


def test_gains__a_repeat_and_an_unused_trial__cost_the_penalty_and_the_rest_adds_up_to_the_last_regret():
    env = opened()
    cell = spoken(env, env.episode.drawn.view.candidates[0])
    env.run_experiment("target", cell)
    env.run_experiment("target", cell)
    gains = env._gains()
    regret = env.episode.regret_curve(latent=True)
    assert gains.shape == (3,) and gains[0] == pytest.approx(1 - regret[0])
    assert gains[1:] == pytest.approx([-0.4, -0.4])
    assert gains.sum() == pytest.approx(1 - regret[-1] - 0.8)


def test_turn_advantages__two_groups__are_discounted_and_centred_within_each():
    gains = np.array(
        [[1.0, 0.0, 4.0], [0.0, 2.0, 0.0], [5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    )
    advantages = turn_advantages(gains, 2, discount=0.5)
    assert advantages.tolist() == [
        [0.5, 0.0, 2.0],
        [-0.5, 0.0, -2.0],
        [0.0] * 3,
        [0.0] * 3,
    ]  # returns 2, 2, 4 and 1, 2, 0
    assert gains[0, 0] == 1.0


def test_turn_advantages__from_the_second_trial__leave_the_first_alone():
    gains = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert turn_advantages(gains, 2, discount=0.0).tolist() == [
        [0.5, -0.5],
        [-0.5, 0.5],
    ]
    assert turn_advantages(gains, 2, discount=0.0, first_trial=2).tolist() == [
        [0.0, -0.5],
        [0.0, 0.5],
    ]


def test_spread__two_trials__each_turn_has_its_own_and_the_end_none():
    model_wrote = torch.tensor([[1, 1, 0, 0, 1, 0, 1, 1]])
    advantages = torch.tensor([[0.5, -1.0]])
    assert spread(advantages, model_wrote, torch.tensor([2])).tolist() == [
        [0.5, 0.5, 0.5, 0.5, -1.0, -1.0, 0.0, 0.0]
    ]


def test_spread__a_free_call_among_the_turns__credits_the_whole_play():
    model_wrote = torch.tensor([[1, 0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 1, 1]])
    out = spread(
        torch.tensor([[0.5, -1.0], [0.5, -1.0]]),
        model_wrote,
        torch.tensor([2, 2]),
    )
    assert out[0].tolist() == [-0.25] * 7 and out[1].tolist() == [
        0.5,
        0.5,
        -1.0,
        -1.0,
        0.0,
        0.0,
        0.0,
    ]


def test_random_reward__gains__are_chance_and_not_the_play_s():
    landscape = make_landscape(3)
    env = RandomRewardEnv(
        lambda: start(landscape.task.with_(trials=3), landscape.table, 3),
        np.random.default_rng(0),
    )
    env.reset()
    first, second = env._gains(), env._gains()
    assert (
        first.shape == (3,)
        and not np.array_equal(first, second)
        and (first >= 0).all()
    )


def test_turn_credit_trainer__real_plays__have_advantages_by_token_and_none_on_the_first_trial(
    generated_table, tmp_path, monkeypatch
):
    seen = []
    own = TurnCreditTrainer._generate_and_score_completions

    def watched(self, inputs):
        seen.append(out := own(self, inputs))
        return out

    monkeypatch.setattr(
        TurnCreditTrainer, "_generate_and_score_completions", watched
    )
    config = load_profile(
        "tiny",
        device="cpu",
        grpo={
            "steps": 1,
            "groups": 2,
            "group_size": 4,
            "trials": 3,
            "temperature": 1.0,
            "credit": "turn",
            "first_trial": 2,
        },
    )
    train_grpo(config, generated_table, config.base_path, tmp_path)
    (out,) = seen
    advantages, model_wrote = out["advantages"], out["tool_mask"]
    assert (
        advantages.shape == out["completion_ids"].shape
        and advantages.abs().sum() > 0
    )
    n_first = (
        (model_wrote == 0).long().argmax(dim=1)
    )  # the first turn ends where the first answer begins
    assert all(
        row[:n].abs().sum() == 0
        for row, n in zip(advantages, n_first, strict=True)
        if row.unique().numel() > 2
    )
    held = out["held"] * model_wrote
    assert (held == 1).any()
    assert all(
        (row[:n] == 1).all() and not row[n:].any()
        for row, n in zip(held, n_first, strict=True)
        if set(row.tolist()) == {0.0, 1.0}
    )


def test_turn_credit_trainer__held_first_trial__pays_for_leaving_where_it_was(
    generated_table, tmp_path, monkeypatch
):
    paid = []
    own = TurnCreditTrainer._compute_loss

    def watched(self, model, inputs):
        held, hold, self._hold = own(self, model, inputs), self._hold, 0.0
        free, self._hold = own(self, model, inputs), hold
        paid.append((held - free).item())
        return held

    monkeypatch.setattr(TurnCreditTrainer, "_compute_loss", watched)
    config = load_profile(
        "tiny",
        device="cpu",
        grpo={
            "steps": 2,
            "groups": 2,
            "group_size": 4,
            "trials": 3,
            "temperature": 1.0,
            "credit": "turn",
            "first_trial": 2,
            "hold": 10.0,
            "learning_rate": 1e-2,
            "warmup_steps": 0,
        },
    )
    train_grpo(config, generated_table, config.base_path, tmp_path)
    assert paid[0] == pytest.approx(0.0, abs=1e-6) and paid[1] > 1e-4
