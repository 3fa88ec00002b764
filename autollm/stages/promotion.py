"""From a trained agent to `candidate`, and to `champion` when it beats its baselines on
validation tasks.

What does not belong here: test scores; nothing here reads them. Invariant: the gate is
a function of a validation leaderboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.agent.checkpoint_files import check_files, read_metadata
from autollm.core.errors import CheckpointError
from autollm.core.places import Places
from autollm.stages.agents import SFT_RL, Agent, current_agents
from autollm.stages.settings import Settings

BASELINES = ("copy-nearest", "pool-centre")
KS = (1, 3)
MEASURE = "latent_regret"


@dataclass(frozen=True)
class Verdict:
    """Whether an agent may become champion, with the comparisons that decided."""

    passed: bool
    comparisons: list[dict[str, Any]]

    @property
    def words(self) -> str:
        lost = [c for c in self.comparisons if c["difference"] >= 0]
        if not self.comparisons:
            return "no comparison with a baseline"
        shown = lost or self.comparisons
        text = ", ".join(
            f"{c['baseline']} at k={c['k']} by {abs(c['difference']):.3f}"
            for c in shown
        )
        return f"{'is behind' if lost else 'beats'} {text} ({MEASURE}, validation)"


def verdict(board: dict[str, Any], policy_id: str) -> Verdict:
    """The gate: latent regret below that of every baseline at k = 1 and k = 3, in the
    mean over suites, each counted once.
    """
    pairs = [
        p
        for p in board["pairs"]
        if p["policy"] == policy_id
        and p["baseline"] in BASELINES
        and p["measure"] == MEASURE
        and p["k"] in KS
    ]
    rows = [
        {
            "baseline": baseline,
            "k": k,
            "difference": float(np.mean([p["difference"] for p in same])),
            "by suite": ", ".join(f"{p['suite']} {p['difference']:+.3f}" for p in same),
        }
        for baseline in BASELINES
        for k in KS
        if (same := [p for p in pairs if (p["baseline"], p["k"]) == (baseline, k)])
    ]
    return Verdict(bool(rows) and all(r["difference"] < 0 for r in rows), rows)


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
    places: Places, settings: Settings, version: str, found: Verdict, table_id: str
) -> bool:
    """Make a version the champion if the verdict allows it; True when it did."""
    from autollm.tracking import Tracker

    if found.passed:
        Tracker(places).promote(
            settings.profile, version, {"validation": found.words, "table_id": table_id}
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
