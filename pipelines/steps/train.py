"""`python -m pipelines.steps.train`: the training stages that the asset names, one
after the other in one process.
"""

from __future__ import annotations

from dagster_pipes import PipesContext

from autollm.core.places import Places
from autollm.stages.settings import Settings
from pipelines.steps.child import markdown, run_step


def train(places: Places, settings: Settings, pipes: PipesContext) -> None:
    """Train each asset's stages, and describe what came out of its last one."""
    from autollm.evaluation.markdown import markdown as table
    from autollm.stages.training import train as train_stage

    tags = {"dagster_run": pipes.run_id}
    for asset, stages in pipes.extras["stages"].items():
        for stage in stages:
            done = train_stage(places, settings, stage, tags)
        rows = [
            {"metric": k, "value": done.metrics[k]}
            for k in sorted(done.metrics)
        ]
        metadata = {**done.facts, "last metrics": markdown(table(rows))}
        pipes.report_asset_materialization(metadata=metadata, asset_key=asset)


if __name__ == "__main__":
    run_step(train)
