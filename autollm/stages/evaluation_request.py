"""What shall be judged: suites, who plays them, and under which protocol."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autollm.agent.chat import ChatModel
from autollm.agent.profiles import TrainConfig
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import Suite, load_suite
from autollm.lab.live import MAX_SECONDS
from autollm.stages.agents import Agent


@dataclass(frozen=True)
class EvaluationRequest:
    """What shall be judged. `objectives`: tasks with these alone; all when empty.
    `suites` that the snapshot cannot play are left out when `skip_missing`. `live`:
    proposals are trained by the lab, each for at most `max_seconds`. `open_sealed`: why
    sealed suites are opened; without it they are refused.
    """

    suites: tuple[str, ...]
    policies: tuple[str, ...]
    agents: tuple[Agent, ...]
    n_seeds: int
    config: TrainConfig
    split: Literal["test", "validation", "train"] = "test"
    objectives: tuple[str, ...] = ()
    setting: Literal["declared", "pool-visible"] = "declared"
    target_rows: Literal["redraw", "all"] = "redraw"
    jobs: int = 2
    skip_missing: bool = False
    chats: tuple[ChatModel, ...] = ()
    live: bool = False
    max_seconds: float = MAX_SECONDS
    open_sealed: str = ""

    @property
    def command(self) -> str:
        """The command that repeats it."""
        who = [*self.policies, *(chat.spec for chat in self.chats)]
        who += [agent.policy_id for agent in self.agents if not agent.reference]
        options = {
            "--policies": ",".join(who),
            "--agent": ",".join(map("+".join, self._references())),
            "--seeds": str(self.n_seeds),
            "--objective": ",".join(self.objectives),
        }
        unusual = {
            "--setting": (self.setting, "declared"),
            "--target-rows": (self.target_rows, "redraw"),
            "--profile": (self.config.profile, "tiny"),
        }
        parts = ["autollm evaluate", f"--suite {','.join(self.suites)}"]
        parts += [
            f"{option} {shlex.quote(value)}"
            for option, value in options.items()
            if value
        ]
        for option, (value, usual) in unusual.items():
            if value != usual:
                parts.append(f"{option} {value}")
        if self.open_sealed:
            parts.append(f"--open-sealed {shlex.quote(self.open_sealed)}")
        if self.live:
            parts.append("--live")
            if self.max_seconds != MAX_SECONDS:
                parts.append(f"--max-seconds {self.max_seconds:g}")
        if self.split != "test":
            parts.append(f"--split {self.split}")
        return " ".join(parts)

    def without(self, suites: Sequence[str]) -> EvaluationRequest:
        """The same request on fewer suites."""
        kept = tuple(suite for suite in self.suites if suite not in suites)
        return replace(self, suites=kept)

    def _references(self) -> list[list[str]]:
        """What names agents on a command line, trainings of one agent together."""
        by_agent: dict[str, list[str]] = {}
        for agent in self.agents:
            if agent.reference:
                own = by_agent.setdefault(agent.policy_id, [])
                own.append(agent.reference)
        return list(by_agent.values())


def playable(
    suite_ids: Sequence[str],
    table: OutcomeTable,
    skip_missing: bool,
    open_sealed: str = "",
) -> tuple[list[Suite], list[str]]:
    """Suites, and the ids of those that are left out because the table lacks their
    experiments.

    Raises:
        SealedError: a suite is sealed, and `open_sealed` says no reason to open it.
    """
    suites = [load_suite(s, table).opened(open_sealed) for s in suite_ids]
    if not skip_missing:
        return suites, []
    suites_here = [suite for suite in suites if not suite.missing(table)]
    left_out = [suite.suite_id for suite in suites if suite not in suites_here]
    return suites_here, left_out
