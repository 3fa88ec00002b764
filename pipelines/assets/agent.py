"""The agent: trajectories, distillation, reinforcement learning. Both trainings run in
one child process.
"""

import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg

from autollm.stages.settings import Settings
from pipelines import groups
from pipelines.assets.gym import published_snapshot
from pipelines.resources import JobSettings

POOL = "gpu"
TRAINED = {
    "agent_sft": "The base checkpoint after distillation of the trajectories.",
    "agent_rl": "The distilled agent after multi-turn reinforcement learning in the "
    "gym; and the base checkpoint after it, where the settings' stages name `rl`.",
}
"""Assets that trainings make, in the order in which they are trained."""


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


def _specs() -> Iterator[dg.AssetSpec]:
    before: Any = trajectories
    for name, description in TRAINED.items():
        yield dg.AssetSpec(
            name,
            group_name=groups.AGENT,
            deps=[before],
            description=description,
            kinds={"trl", "mlflow"},
        )
        before = name


@dg.multi_asset(
    name="training", specs=list(_specs()), can_subset=True, pool=POOL
)
def training(
    context: dg.AssetExecutionContext,
    settings: JobSettings,
    pipes: dg.PipesSubprocessClient,
) -> Iterator[Any]:
    """Trains the selected stages in one child process, so that torch and TRL are loaded
    once. No process is started where all stages are trained already.
    """
    places = settings.places
    loaded = settings.load()
    stages = {}
    for name in TRAINED:
        if dg.AssetKey(name) in context.selected_asset_keys:
            stages[name] = stages_of(name, loaded)
    known = _already_done(settings, stages)
    if known is not None:
        yield from known
        return
    ran = pipes.run(
        context=context,
        command=[sys.executable, "-m", "pipelines.steps.train"],
        extras={"settings": loaded.model_dump(), "stages": stages},
        env=places.environment(),
    )
    yield from ran.get_results()


def stages_of(name: str, settings: Settings) -> list[str]:
    """The training stages behind an asset. The asset's result is that of the last
    stage.
    """
    from autollm.stages import agents

    if name == "agent_sft":
        return [agents.SFT]
    if agents.RL in settings.stages:
        return [agents.RL, agents.SFT_RL]
    return [agents.SFT_RL]


def _already_done(
    settings: JobSettings, stages: dict[str, list[str]]
) -> list[dg.MaterializeResult] | None:
    """Results of stages that were trained before, which become the current ones again;
    None when a stage is still to be trained.
    """
    from autollm.stages import agents

    loaded = settings.load()
    done = {}
    for name, own in stages.items():
        for stage in own:
            done[name] = agents.done_stage(settings.places, loaded, stage)
            if done[name] is None:
                return None
            agents.point_to(settings.places, loaded, done[name])
    results = []
    for name, one in done.items():
        facts = {**one.facts, "already done": True}
        results.append(dg.MaterializeResult(asset_key=name, metadata=facts))
    return results


def _example(messages: list[dict[str, Any]]) -> str:
    return "\n\n".join(
        f"**{m['role']}**\n```\n{m['content'][:1500]}\n```"
        for m in messages[:4]
    )
