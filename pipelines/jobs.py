"""Jobs: everything, and the nightly rebuild of the gym that scores the agents again without training them."""

from __future__ import annotations

import dagster as dg

from pipelines import groups

MAIN = "main"
REBUILD = "gym_rebuild"


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """All jobs."""
    everything = dg.AssetSelection.all()
    training = dg.AssetSelection.groups(groups.AGENT)
    return [
        dg.define_asset_job(MAIN, everything, description="Raw logs to a judged, registered agent."),
        dg.define_asset_job(REBUILD, everything - training, description="New logs to a new snapshot; agents are scored again, not trained."),
    ]
