"""`python -m pipelines.steps.train`: one training stage, named by the asset, in a
process of its own.
"""

from __future__ import annotations

from typing import Any

from dagster_pipes import PipesContext

from autollm.core.places import Places
from autollm.stages.settings import Settings
from pipelines.steps.child import markdown, run_step


def train(
    places: Places, settings: Settings, pipes: PipesContext
) -> dict[str, Any]:
    """Train the stage and describe what came out."""
    from autollm.evaluation.markdown import markdown as table
    from autollm.stages.training import train as train_stage

    done = train_stage(
        places, settings, pipes.extras["stage"], {"dagster_run": pipes.run_id}
    )
    rows = [{"metric": k, "value": v} for k, v in sorted(done.metrics.items())]
    return {
        "identity": done.identity,
        "checkpoint": done.checkpoint,
        "digest": done.digest,
        "seconds": done.seconds,
        "mlflow": f"#/experiments/{done.mlflow_experiment}/runs/{done.mlflow_run}",
        "last metrics": markdown(table(rows)),
    }


if __name__ == "__main__":
    run_step(train)
