"""`defs`: everything that Dagster shows and runs. Loading it imports no torch, numpy,
transformers, trl or mlflow.

Assets import what they call when they run. Invariant: importing does no work, except
that dbt's manifest is made anew where the project changed.
"""

from __future__ import annotations

import dagster as dg

from autollm.core.places import silence_telemetry

silence_telemetry()


def build() -> dg.Definitions:
    """All definitions.

    Raises:
        SetupError: dbt cannot parse the project.
    """
    from pipelines.assets import (
        advice,
        agent,
        evaluation,
        gym,
        lab,
        logs,
        promotion,
    )
    from pipelines.assets.warehouse import build_dbt_assets
    from pipelines.jobs import build_jobs
    from pipelines.resources import resources
    from pipelines.schedules import nightly_rebuild
    from pipelines.sensors import inbox_sensor, mlflow_sensor

    return dg.Definitions(
        assets=[
            lab.lab_runs,
            logs.landing,
            build_dbt_assets(),
            gym.snapshot,
            gym.published_snapshot,
            agent.trajectories,
            agent.training,
            evaluation.validation_scores,
            evaluation.held_out_scores,
            evaluation.report,
            promotion.registered_agent,
            promotion.champion,
            advice.recommendations,
        ],
        asset_checks=[
            gym.snapshot_complete,
            gym.held_out_disjoint,
            evaluation.agent_beats_baselines,
        ],
        jobs=build_jobs(),
        schedules=[nightly_rebuild],
        sensors=[inbox_sensor, mlflow_sensor],
        resources=resources(),
        executor=dg.in_process_executor,
    )


defs = build()
