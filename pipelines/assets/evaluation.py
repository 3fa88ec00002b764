"""Scores: on validation tasks for the gate, on held-out tasks for the leaderboard and
its page.
"""

import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg

from autollm.evaluation.markdown import markdown, score_rows
from pipelines import groups
from pipelines.assets.agent import TRAINED
from pipelines.assets.gym import published_snapshot
from pipelines.requests import request_of
from pipelines.resources import JobSettings


@dg.asset(group_name=groups.EVALUATION, deps=[published_snapshot, *TRAINED])
def validation_scores(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
) -> Iterator[Any]:
    """Agents and baselines on validation tasks: what promotion may look at."""
    yield from _judge(context, settings, pipes, "validation")


@dg.asset_check(asset=validation_scores)
def agent_beats_baselines(settings: JobSettings) -> dg.AssetCheckResult:
    """The agent's latent regret is below that of its baselines at k = 1 and k = 3, in
    the mean over validation suites.
    """
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.stages.judging import finished
    from autollm.stages.promotion import verdict

    places, loaded = settings.places, settings.load()
    request = request_of(places, loaded, "validation")
    evaluated = finished(places, request, open_snapshot(places.home))
    if evaluated is None:
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"verdict": "validation is not scored yet"},
        )
    gate = verdict(
        evaluated.leaderboard.pairs, f"agent-{loaded.profile}-sft-rl"
    )
    return dg.AssetCheckResult(
        passed=gate.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "verdict": gate.words,
            "comparisons": dg.MetadataValue.md(markdown(gate.rows) or "none"),
        },
    )


@dg.asset(group_name=groups.EVALUATION, deps=[published_snapshot, *TRAINED])
def held_out_scores(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
) -> Iterator[Any]:
    """Every policy and every stage of the agent on expensive experiments, held out from
    everything before.
    """
    yield from _judge(context, settings, pipes, "test")


@dg.asset(group_name=groups.EVALUATION, deps=[held_out_scores])
def report(settings: JobSettings) -> dg.MaterializeResult:
    """leaderboard.json and the page that a person reads; `reports/latest` points to
    them.
    """
    from autollm.stages.judging import publish_report

    places, loaded = settings.places, settings.load()
    published = publish_report(places, request_of(places, loaded, "test"))
    board = published.leaderboard
    return dg.MaterializeResult(
        metadata={
            "evaluation_id": board.evaluation_id,
            "table_id": board.table_id,
            "page": dg.MetadataValue.path(published.html_url),
            "command": board.command,
            "commit": board.commit,
            "leaderboard": dg.MetadataValue.md(markdown(score_rows(board))),
        }
    )


def _judge(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
    split: str,
) -> Iterator[Any]:
    """Evaluate in a child process, or read the result where this evaluation was done
    before.
    """
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.stages.judging import finished

    places, loaded = settings.places, settings.load()
    request = request_of(places, loaded, split)
    evaluated = finished(places, request, open_snapshot(places.home))
    if evaluated is None:
        command = [sys.executable, "-m", "pipelines.steps.evaluate"]
        ran = pipes.run(
            context=context,
            command=command,
            extras={"settings": loaded.model_dump(), "split": split},
            env=places.environment(),
        )
        yield from ran.get_results()
        return
    yield dg.MaterializeResult(
        metadata={
            **evaluated.facts,
            "already done": True,
            "scores": dg.MetadataValue.md(
                markdown(score_rows(evaluated.leaderboard))
            ),
        }
    )
