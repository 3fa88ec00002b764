"""The registry: the trained agent as candidate, and as champion when the check on
validation tasks passes.
"""

import dagster as dg

from pipelines import groups
from pipelines.assets.evaluation import validation_scores
from pipelines.requests import request_of
from pipelines.resources import JobSettings


@dg.asset(group_name=groups.PROMOTION, deps=["agent_rl"], kinds={"mlflow"})
def registered_agent(settings: JobSettings) -> dg.MaterializeResult:
    """The last trained agent in MLflow's registry, alias `candidate`."""
    from autollm.stages.promotion import model_card, register_candidate

    loaded = settings.load()
    agent, version = register_candidate(settings.places, loaded)
    return dg.MaterializeResult(
        metadata={
            "model": f"autollm-agent-{loaded.profile}",
            "version": version,
            "digest": agent.digest,
            "mlflow": f"#/models/autollm-agent-{loaded.profile}/versions/{version}",
            "card": dg.MetadataValue.md(model_card(agent)),
        }
    )


@dg.asset(
    group_name=groups.PROMOTION,
    deps=[registered_agent, validation_scores],
    kinds={"mlflow"},
)
def champion(settings: JobSettings) -> dg.MaterializeResult:
    """Alias `champion`, moved to the candidate if it beats its baselines on validation
    tasks; else it stays.
    """
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.stages.judging import finished
    from autollm.stages.promotion import promote, register_candidate, verdict

    places, loaded = settings.places, settings.load()
    agent, version = register_candidate(places, loaded)
    table = open_snapshot(places.home)
    evaluated = finished(
        places, request_of(places, loaded, "validation"), table
    )
    if evaluated is None:
        return dg.MaterializeResult(
            metadata={
                "promoted": False,
                "verdict": "validation is not scored yet",
            }
        )
    gate = verdict(evaluated.leaderboard.pairs, agent.policy_id)
    promoted = promote(places, loaded, version, gate, table.table_id)
    return dg.MaterializeResult(
        metadata={
            "promoted": promoted,
            "version": version,
            "verdict": gate.words,
            "table_id": table.table_id,
        }
    )
