"""The agent as a policy: it plays real multi-turn episodes through its own text, many
in lock-step.

No grammar constrains what it writes. A turn without a readable call costs a trial, as
in training. Invariant: the agent sees what TextEnv says, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autollm.agent.generation import Generator
from autollm.agent.transcript import (
    TOOLS,
    Message,
    Turn,
    assistant_message,
    parse_turn,
    play_call,
    tool_message,
    user_message,
)
from autollm.gym.environments.text import TextEnv
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.episode import Episode, start
from autollm.gym.tasks.task import Task

FREE_TURNS = 4
"""Turns beyond one for each trial and one for the submission. After that many calls of
free tools the play ends.
"""


@dataclass
class Play:
    """One finished play. `n_calls` counts turns, `n_malformed` those without a call
    that the environment could take.
    """

    env: TextEnv
    conversation: list[Message]
    n_calls: int = 0
    n_malformed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def episode(self) -> Episode:
        return self.env.episode


class AgentPolicy:
    """`policy_id` such as agent-tiny-sft-rl; `seed` shifts the generator's stream where
    it samples.
    """

    def __init__(self, policy_id: str, generator: Generator, version: int = 1):
        self.policy_id, self.generator, self.version = (
            policy_id,
            generator,
            version,
        )

    def play_many(
        self, tasks: Sequence[Task], table: OutcomeTable, seeds: Sequence[int]
    ) -> list[Play]:
        """Every task with every seed, tasks slowest."""
        envs = [
            _opened(start(task, table, seed))
            for task in tasks
            for seed in seeds
        ]
        return play(envs, self.generator)


def play(
    envs: Sequence[tuple[TextEnv, str]], generator: Generator, seed: int = 0
) -> list[Play]:
    """Play (environment, prompt) pairs to their ends."""
    plays = [Play(env, [user_message(prompt)]) for env, prompt in envs]
    limits = [p.episode.drawn.task.trials + 1 + FREE_TURNS for p in plays]
    for turn in range(max(limits, default=0)):
        active = [
            p
            for p, limit in zip(plays, limits, strict=True)
            if turn < limit and not p.episode.finished
        ]
        if not active:
            break
        for one, text in zip(
            active,
            generator.generate(
                [p.conversation for p in active], seed * 1009 + turn
            ),
            strict=True,
        ):
            _take(one, text)
    return plays


def _take(one: Play, text: str) -> None:
    """One turn: parse, play, remember. A turn after the last trial that does not submit
    ends the play.
    """
    episode, turn = one.episode, parse_turn(text)
    was_done = episode.done
    one.n_calls += 1
    answer = play_call(one.env, turn.call)
    known = turn.call is not None and turn.call.name in TOOLS
    one.n_malformed += not known or answer.startswith(
        ("malformed", "error: a configuration")
    )
    if answer.startswith("error"):
        one.errors.append(answer)
    one.conversation.append(
        assistant_message(turn if turn.call else Turn(text, None))
    )
    one.conversation.append(
        tool_message(turn.call.name if turn.call else "none", answer)
    )
    if was_done:
        episode.finished = True


def _opened(episode: Episode) -> tuple[TextEnv, str]:
    env = TextEnv(lambda: episode)
    return env, env.reset()
