"""The lab's sweeps as a partitioned asset: one partition a level of a family, trained
by the same runner as `autollm lab run`.

A backfill over partitions is a sweep: Dagster's run launcher and executor decide where
each runs (this machine, Kubernetes), the pool `lab` how many at once. It stands apart
from the main job, which has no partitions.
"""

import os

import dagster as dg

from autollm.lab.families import FAMILIES
from pipelines import groups
from pipelines.resources import JobSettings

LEVELS = {
    f"{family.name}.{level.name}": (family, level)
    for family in FAMILIES.values()
    for level in family.every_level
}
"""By partition key."""


@dg.asset(
    group_name=groups.LAB,
    partitions_def=dg.StaticPartitionsDefinition(list(LEVELS)),
    pool="lab",
    kinds={"pytorch"},
)
def lab_runs(
    context: dg.AssetExecutionContext, settings: JobSettings
) -> dg.MaterializeResult:
    """Raw logs of every run of a level, trained where they are missing; `autollm
    ingest` lands them.
    """
    from autollm.lab.runner import run_family

    family, level = LEVELS[context.partition_key]
    folder = settings.places.prepare().lab / family.name
    done = run_family(family.name, folder, level.name, jobs=os.cpu_count() or 1)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": done.trained + done.skipped,
            "trained": done.trained,
            "recorded before": done.skipped,
            "left": done.left,
            "seconds": done.seconds,
            "FLOPs of a run": family.flops(level),
            "logs": dg.MetadataValue.path(str(folder)),
            "to land them": f"autollm ingest {folder}",
        }
    )
