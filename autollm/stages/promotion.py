"""From a trained agent to `candidate`, and to `champion` when it beats its baselines on
validation tasks.

Invariant: the gate is a function of a validation leaderboard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.agent.checkpoint_files import check_files, read_metadata
from autollm.core.errors import CheckpointError
from autollm.core.places import Places
from autollm.evaluation.scores import Pair
from autollm.stages.agents import SFT_RL, Agent, current_agents
from autollm.stages.settings import Settings

BASELINES = ("copy-nearest", "pool-centre")
KS = (1, 3)
MEASURE = "latent_regret"


@dataclass(frozen=True)
class Comparison:
    """An agent against one baseline after k trials: the mean over suites of the paired
    difference, below 0 where the agent is better.
    """

    baseline: str
    k: int
    difference: float
    by_suite: str


@dataclass(frozen=True)
class Verdict:
    """Whether an agent may become champion, with the comparisons that decided."""

    passed: bool
    comparisons: tuple[Comparison, ...]

    @property
    def words(self) -> str:
        """The verdict as half a sentence."""
        if not self.comparisons:
            return "no comparison with a baseline"
        behind = [c for c in self.comparisons if c.difference >= 0]
        shown = [
            f"{c.baseline} at k={c.k} by {abs(c.difference):.3f}"
            for c in behind or self.comparisons
        ]
        side = "is behind" if behind else "beats"
        return f"{side} {', '.join(shown)} ({MEASURE}, validation)"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The comparisons as rows of a table for a person."""
        return [dataclasses.asdict(c) for c in self.comparisons]


def verdict(pairs: Iterable[Pair], policy_id: str) -> Verdict:
    """The gate: latent regret below that of every baseline at k = 1 and k = 3, in the
    mean over suites, each counted once.
    """
    by_baseline: dict[tuple[str, int], list[Pair]] = {}
    for pair in pairs:
        if pair.policy == policy_id and pair.measure == MEASURE:
            by_baseline.setdefault((pair.baseline, pair.k), []).append(pair)
    comparisons = []
    for baseline in BASELINES:
        for k in KS:
            if (baseline, k) in by_baseline:
                comparisons.append(_compared(by_baseline[baseline, k]))
    passed = bool(comparisons) and all(c.difference < 0 for c in comparisons)
    return Verdict(passed, tuple(comparisons))


def _compared(pairs: list[Pair]) -> Comparison:
    """Pairs of one baseline and k, one a suite."""
    mean = float(np.mean([pair.difference for pair in pairs]))
    by_suite = ", ".join(
        f"{pair.suite} {pair.difference:+.3f}" for pair in pairs
    )
    return Comparison(pairs[0].baseline, pairs[0].k, mean, by_suite)


def register_candidate(places: Places, settings: Settings) -> tuple[Agent, str]:
    """Register the last trained agent, once for each checkpoint; returns it and its
    version.

    Raises:
        CheckpointError: none was trained, or its weights were altered.
    """
    from autollm.tracking import Tracker

    agent = final_agent(places, settings)
    check_files(agent.folder, agent.digest)
    tags = {"stage": agent.stage, "policy_id": agent.policy_id}
    return agent, Tracker(places).register(
        settings.profile,
        agent.folder,
        agent.digest,
        agent.mlflow_run,
        model_card(agent),
        tags,
    )


def promote(
    places: Places,
    settings: Settings,
    version: str,
    found: Verdict,
    table_id: str,
) -> bool:
    """Make a version the champion if the verdict allows it; True when it did."""
    from autollm.tracking import Tracker

    if found.passed:
        Tracker(places).promote(
            settings.profile,
            version,
            {"validation": found.words, "table_id": table_id},
        )
    return found.passed


def final_agent(places: Places, settings: Settings) -> Agent:
    """The agent after its last stage.

    Raises:
        CheckpointError: it was not trained yet.
    """
    for agent in current_agents(
        places, settings.model_copy(update={"stages": [SFT_RL]})
    ):
        return agent
    raise CheckpointError(
        f"no agent of profile {settings.profile} was trained under {places.local}. "
        "Fix: autollm run."
    )


def model_card(agent: Agent) -> str:
    """What a person wants to know before using the checkpoint, as Markdown."""
    metadata = read_metadata(agent.folder)
    experiments = metadata.get("experiments") or []
    return "\n".join(
        [
            f"# {agent.policy_id}",
            "",
            "Reads what cheap experiments showed and proposes configurations for an "
            "expensive one, by calling the gym's tools.",
            "",
            f"- stage: {agent.stage}; weights: `{agent.digest}`; parents: "
            f"{', '.join(metadata.get('parents', [])) or 'none'}",
            f"- trained on: {metadata.get('trained_on', 'unknown')}",
            f"- recorded targets seen in training: {', '.join(experiments) or 'none'}",
            f"- snapshot: `{metadata.get('table_id')}`",
            "- never trained or selected on: any test target of any suite (checked "
            "when trajectories are made and when weights are saved)",
            "- limits: families with two or three numeric knobs and evidence from at "
            "least one cheaper experiment; regret elsewhere is unknown",
            "- load: `autollm evaluate --agent "
            f"models:/autollm-agent-{metadata.get('profile', 'tiny')}@champion --suite "
            "...`",
        ]
    )
