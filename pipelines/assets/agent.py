"""The agent: trajectories, distillation, reinforcement learning. Training runs in child
processes, one at a time.
"""

import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines import groups
from pipelines.assets.gym import published_snapshot
from pipelines.resources import JobSettings

POOL = "gpu"


@dg.asset(group_name=groups.AGENT, deps=[published_snapshot], kinds={"jsonl"})
def trajectories(settings: JobSettings) -> dg.MaterializeResult:
    """Teachers' plays of training tasks and of generated landscapes, as conversations."""
    from autollm.stages.training import make_trajectories

    made, new = make_trajectories(settings.places, settings.load())
    facts = made.metadata
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(made.rows),
            "digest": facts["digest"],
            "new": new,
            "table_id": facts["table_id"],
            "trained on": facts["trained_on"],
            "recorded targets": ", ".join(facts["experiments"]) or "none",
            **{
                f"conversations, {kind}": n
                for kind, n in facts["counts"].items()
            },
            "an example": dg.MetadataValue.md(
                _example(made.rows[0]["messages"])
            ),
        }
    )


@dg.asset(
    group_name=groups.AGENT,
    deps=[trajectories],
    pool=POOL,
    kinds={"trl", "mlflow"},
)
def agent_sft(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
) -> Iterator[Any]:
    """The base checkpoint after distillation of the trajectories."""
    yield from _train(context, settings, pipes, "sft")


@dg.asset(
    group_name=groups.AGENT,
    deps=[agent_sft],
    pool=POOL,
    kinds={"trl", "mlflow"},
)
def agent_rl(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
) -> Iterator[Any]:
    """The distilled agent after multi-turn reinforcement learning in the gym; and the
    base checkpoint after it, where the settings' stages name `rl`.
    """
    if "rl" in settings.load().stages:
        for _ in _train(context, settings, pipes, "rl"):
            pass  # an asset has one result, that of the default agent
    yield from _train(context, settings, pipes, "sft-rl")


def _train(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
    stage: str,
) -> Iterator[Any]:
    """A child process, unless this very work is done."""
    from autollm.stages import agents

    places, loaded = settings.places, settings.load()
    work = agents.work_of(places, loaded, stage)
    done = agents.done_of(work)
    if done is None:
        command = [sys.executable, "-m", "pipelines.steps.train"]
        extras = {"settings": loaded.model_dump(), "stage": stage}
        ran = pipes.run(
            context=context,
            command=command,
            extras=extras,
            env=places.environment(),
        )
        yield from ran.get_results()
        return
    agents.point_to(places, loaded, done)
    yield dg.MaterializeResult(
        metadata={
            "identity": done.identity,
            "checkpoint": done.checkpoint,
            "digest": done.digest,
            "seconds": done.seconds,
            "already done": True,
            "mlflow": f"#/experiments/{done.mlflow_experiment}/runs/{done.mlflow_run}",
        }
    )


def _example(messages: list[dict[str, Any]]) -> str:
    return "\n\n".join(
        f"**{m['role']}**\n```\n{m['content'][:1500]}\n```"
        for m in messages[:4]
    )
