"""Jobs: everything, and the nightly rebuild of the gym that scores the agents again
without training them.
"""

from __future__ import annotations

import dagster as dg

from pipelines import groups

MAIN = "main"
REBUILD = "gym_rebuild"
SWEEP = "lab_sweep"


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """All jobs."""
    sweep = dg.AssetSelection.groups(groups.LAB)
    everything = dg.AssetSelection.all() - sweep
    new_agents = dg.AssetSelection.groups(groups.AGENT, groups.PROMOTION)
    return [
        dg.define_asset_job(
            MAIN,
            everything,
            description="Raw logs to a judged, registered agent.",
        ),
        dg.define_asset_job(
            REBUILD,
            everything - new_agents,
            description="New logs to a new snapshot; agents are scored again, not "
            "trained or promoted.",
        ),
        dg.define_asset_job(
            SWEEP,
            sweep,
            description="The lab's experiments, a partition a level: launch it as a "
            "backfill.",
        ),
    ]
