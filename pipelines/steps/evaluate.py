"""`python -m pipelines.steps.evaluate`: judge all contenders on one split, in a process
of its own (agents need torch).
"""

from __future__ import annotations

from dagster_pipes import PipesContext

from autollm.core.places import Places
from autollm.stages.settings import Settings
from pipelines.requests import request_of
from pipelines.steps.child import markdown, run_step


def evaluate(places: Places, settings: Settings, pipes: PipesContext) -> None:
    """Judge, and describe the scores."""
    from autollm.evaluation.markdown import markdown as table
    from autollm.evaluation.markdown import score_rows
    from autollm.stages.judging import judge

    evaluated = judge(
        places,
        request_of(places, settings, pipes.extras["split"]),
        {"dagster_run": pipes.run_id},
    )
    scores = markdown(table(score_rows(evaluated.leaderboard)))
    pipes.report_asset_materialization(
        metadata={**evaluated.facts, "scores": scores}
    )


if __name__ == "__main__":
    run_step(evaluate)
