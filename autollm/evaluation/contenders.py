"""Who takes part in an evaluation: registered policies, and agents that are handed in.

An agent plays its own episodes in batches (`play_many`); evaluation judges the episodes
and knows nothing else of it. Invariant: a contender's identity changes whenever its play
could, so that stored scores are never another contender's; and with nothing else, so
that a new policy leaves the scores of all others where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autollm.core.identity import code_digest, identity_of
from autollm.evaluation.protocol import Player
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.episode import Episode
from autollm.gym.tasks.task import Task
from autollm.policies.registry import REGISTRY, module_of, policy_version

JUDGE = "autollm.evaluation.protocol"
"""The module that plays and scores an episode of any player."""


class Play(Protocol):
    """A finished play of an agent. `conversation`: messages {role, content}."""

    episode: Episode
    conversation: list[dict[str, Any]]
    n_calls: int
    n_malformed: int


class BatchedAgent(Protocol):
    """Anything that plays whole episodes by itself."""

    def play_many(
        self, tasks: Sequence[Task], table: OutcomeTable, seeds: Sequence[int]
    ) -> Sequence[Play]:
        """Every task with every seed, tasks slowest."""
        ...


@dataclass(frozen=True)
class Contender:
    """One row of the leaderboard.

    Attributes:
        make_agent: called once, and only if something is left to play; None: a
            registered policy of that id.
        tasks_at_once: tasks whose plays an agent is asked for together, and which a
            kill loses; 0: all of a suite.
        traced_numbers: conversation -> (numbers in thoughts that stand in what was read
            before, numbers in thoughts).
    """

    player: Player
    make_agent: Callable[[], BatchedAgent] | None = None
    traced_numbers: Callable[[list[dict[str, Any]]], tuple[int, int]] | None = (
        None
    )
    tasks_at_once: int = 0

    @property
    def policy_id(self) -> str:
        return self.player.name


def registered(policy_id: str, modules: Sequence[str] = ()) -> Contender:
    """A policy of the registry.

    Args:
        modules: what else decides an outcome, such as the lab's where plays are live.

    Raises:
        UnknownNameError: no policy of that id.
    """
    identity = policy_identity(policy_id, modules)
    return Contender(
        Player(policy_id, str(policy_version(policy_id)), identity=identity)
    )


def policy_identity(policy_id: str, modules: Sequence[str] = ()) -> str:
    """16 hex digits over all that decides the play of a registered policy, which is not
    loaded for it.

    Raises:
        UnknownNameError: no policy of that id.
    """
    return code_digest([JUDGE, module_of(policy_id), *modules], REGISTRY)


def agent(
    policy_id: str,
    version: str,
    make_agent: Callable[[], BatchedAgent],
    *,
    stage: str,
    decoding: str = "greedy",
    traced_numbers: Callable[[list[dict[str, Any]]], tuple[int, int]]
    | None = None,
    tasks_at_once: int = 0,
    modules: Sequence[str] = (),
    reads: Mapping[str, Any] | None = None,
    training: int = 0,
) -> Contender:
    """An agent.

    Args:
        version: digest of its checkpoint.
        modules: those that play it.
        reads: texts and settings that its play hangs on besides, by value.
        training: which of several trainings of one agent it is, from 1.
    """
    identity = identity_of(
        {
            "version": version,
            "code": code_digest([JUDGE, *modules], REGISTRY),
            "decoding": decoding,
            "reads": reads or {},
        }
    )
    return Contender(
        Player(policy_id, version, stage, decoding, identity, training),
        make_agent,
        traced_numbers,
        tasks_at_once,
    )
