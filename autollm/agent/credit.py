"""What a play is worth, and which of its tokens get that credit.

By play: every token has the play's reward. By turn: a decision has what it gained on
its own incumbent and, discounted, what later ones gained; the noise of a first trial,
most of a play's reward, no longer stands behind every other decision. TRL's trainer
gives a completion one advantage, and takes advantages [plays, tokens] from a subclass.
Invariant: a group's advantages of one trial sum to 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

os.environ.setdefault(
    "TRL_EXPERIMENTAL_SILENCE", "1"
)  # the notice that environments are experimental, on every start

from trl import GRPOTrainer

from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import Episode


class TrainingEnv(TextEnv):
    """The text view, with trials that a play leaves unused (its last turn held no call)
    counted like malformed ones.
    """

    def get_reward(self) -> float:
        return (
            super().get_reward()
            - self._penalty * self.episode.ledger.trials_left
        )

    def _gains(self) -> np.ndarray:
        """Decrease of latent regret by each trial, less the penalty where the trial was
        bad or unused; float64 [trials].
        """
        regret = self.episode.regret_curve(latent=True)
        good = np.array(
            [t.status == "ok" for t in self.episode.trials]
            + [False] * self.episode.ledger.trials_left
        )
        return -np.diff(regret, prepend=1.0) - self._penalty * ~good


class RandomRewardEnv(TextEnv):
    """The control: it plays the same episodes with random rewards. Whatever it gains
    was not learnt from rewards.
    """

    def __init__(
        self, open_episode: Callable[..., Episode], rng: np.random.Generator
    ):
        super().__init__(open_episode)
        self._rng = rng

    def get_reward(self) -> float:
        return float(self._rng.random())

    def _gains(self) -> np.ndarray:
        return self._rng.random(self.episode.drawn.task.trials)


class TurnCreditTrainer(GRPOTrainer):
    """GRPO whose decisions are credited one by one, from trial `first_trial` on (1:
    all). Earlier decisions are kept as they were: `hold` is added to the KL weight on
    their tokens, since what is learnt for later turns would otherwise change them too.
    """

    def __init__(
        self,
        *arguments: Any,
        discount: float,
        first_trial: int,
        hold: float,
        **named: Any,
    ):
        super().__init__(*arguments, **named)
        self._discount, self._first_trial, self._hold = (
            discount,
            first_trial,
            hold,
        )

    def _generate_and_score_completions(
        self, inputs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        out = super()._generate_and_score_completions(inputs)
        if "tool_mask" in out:  # absent where no play of the batch held a call
            gains = np.stack([env._gains() for env in self.environments])
            advantages = turn_advantages(
                gains, self.num_generations, self._discount, self._first_trial
            )
            n_trials = [len(env.episode.trials) for env in self.environments]
            is_held = np.zeros_like(advantages)
            is_held[:, : self._first_trial - 1] = 1
            by_token = [
                spread(
                    torch.as_tensor(x, dtype=torch.float32),
                    out["tool_mask"].cpu(),
                    torch.tensor(n_trials),
                )
                for x in (advantages, is_held)
            ]
            out["advantages"], out["held"] = (
                x.to(out["advantages"]) for x in by_token
            )
        return out

    def _get_per_token_logps_and_entropies(
        self, *arguments: Any, **named: Any
    ) -> Any:
        result = super()._get_per_token_logps_and_entropies(*arguments, **named)
        self._logps = result[0]
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        if not self._hold or "held" not in inputs:
            return loss
        wrote = inputs["completion_mask"] * inputs["tool_mask"]
        away = inputs["ref_per_token_logps"] - self._logps
        kl = (
            (away.exp() - away - 1) * inputs["held"] * wrote
        ).sum() / wrote.sum()
        return (
            loss + self._hold * kl / self.current_gradient_accumulation_steps
        )  # as TRL scales its own terms


def turn_advantages(
    gains: np.ndarray, group_size: int, discount: float, first_trial: int = 1
) -> np.ndarray:
    """Discounted gains from each trial on, less their mean over the group; 0 before
    `first_trial`.

    Args:
        gains: [plays, trials], members of a group beside each other.

    Returns:
        float64 [plays, trials].
    """
    returns = gains.copy()
    for trial in reversed(range(gains.shape[1] - 1)):
        returns[:, trial] += discount * returns[:, trial + 1]
    groups = returns.reshape(-1, group_size, gains.shape[1])
    advantages = (groups - groups.mean(axis=1, keepdims=True)).reshape(
        gains.shape
    )
    advantages[:, : first_trial - 1] = 0
    return advantages


def spread(
    advantages: torch.Tensor, model_wrote: torch.Tensor, n_trials: torch.Tensor
) -> torch.Tensor:
    """Advantages of trials [plays, trials] on the tokens of their turns [plays,
    tokens]; 0 on what follows the last trial.

    A play whose calls are not one trial each (it asked a free tool) has the mean of its
    advantages on every token.

    Args:
        model_wrote: [plays, tokens], 1 where the model wrote (and on padding), 0 where
            a tool did.
        n_trials: [plays], trials that were spent.
    """
    before, after = model_wrote[:, :-1], model_wrote[:, 1:]
    turn = torch.zeros_like(model_wrote, dtype=torch.long)
    turn[:, 1:] = (before < after).cumsum(dim=1)
    padded = torch.nn.functional.pad(advantages, (0, 1))
    by_turn = padded.gather(1, turn.clamp(max=advantages.shape[1]))
    whole = (before > after).sum(dim=1) != n_trials
    return torch.where(
        whole[:, None], advantages.mean(dim=1, keepdim=True), by_turn
    )
