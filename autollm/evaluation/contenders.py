"""Who takes part in an evaluation: registered policies, and agents that are handed in.

An agent plays its own episodes in batches (`play_many`); evaluation judges the episodes
and knows nothing else of it. Invariant: a contender's version changes whenever its play
could, so that stored scores are never another contender's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import autollm
from autollm.evaluation.protocol import Player
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.episode import Episode
from autollm.gym.tasks.task import Task
from autollm.policies.registry import policy_version

SOURCES = ("policies/**/*.py", "gym/**/*.py", "core/*.py")
"""Code that decides what a registered policy proposes and how that is scored."""


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
    traced_numbers: Callable[[list[dict[str, Any]]], tuple[int, int]] | None = None
    tasks_at_once: int = 0

    @property
    def policy_id(self) -> str:
        return self.player.policy_id


def registered(policy_id: str) -> Contender:
    """A policy of the registry; its version names the code too.

    Raises:
        UnknownNameError: no policy of that id.
    """
    return Contender(Player(policy_id, f"{policy_version(policy_id)}-{code_digest()}"))


def agent(
    policy_id: str,
    version: str,
    make_agent: Callable[[], BatchedAgent],
    *,
    stage: str,
    decoding: str = "greedy",
    traced_numbers: Callable[[list[dict[str, Any]]], tuple[int, int]] | None = None,
    tasks_at_once: int = 0,
) -> Contender:
    """An agent; `version` is the digest of its checkpoint (the digest of the gym's code
    is added).
    """
    return Contender(
        Player(policy_id, f"{version}-{code_digest()}", stage, decoding),
        make_agent,
        traced_numbers,
        tasks_at_once,
    )


@cache
def code_digest() -> str:
    """8 hex digits over the source of policies and gym."""
    root = Path(autollm.__file__).parent
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(
                path.relative_to(root).as_posix().encode() + path.read_bytes()
            )
    return digest.hexdigest()[:8]
