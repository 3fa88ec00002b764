"""The lab's sweeps as a partitioned asset: one partition a level of a family, trained
by the same runner as `autollm lab run`.

A backfill over partitions is a sweep: Dagster's run launcher and executor decide where
each runs (this machine, Kubernetes), the pool `lab` how many at once. It stands apart
from the main job, which has no partitions.
"""

import os

import dagster as dg

from pipelines import groups
from pipelines.resources import JobSettings

LEVELS = {
    "pretraining": "a1 a2 b1 b2 c1 c2 f1 g1 h1 i1 j1 k1 d1 e1 far1 fresh1",
    "optimizer": "a1 b1 c1 c2 d1 far1 fresh1",
    "architecture": "a1 a2 b1 b2 c1 c2 b3 c3 d3 far1 fresh1",
    "data_mixture": "a1 a2 b1 c1 d1 far1 fresh1",
    "rl_tuning": "s1 s2 s3 s4 a1 a2 a3 a4 c1 c2 c3 c4 far1 fresh1",
}
"""Names of every level of every family. They are spelt out here because the families
load numpy, which loading the definitions does without; a test compares them.
"""


def partition_keys() -> list[str]:
    """`family.level` of every level."""
    keys = []
    for family, levels in LEVELS.items():
        keys += [f"{family}.{level}" for level in levels.split()]
    return keys


@dg.asset(
    group_name=groups.LAB,
    partitions_def=dg.StaticPartitionsDefinition(partition_keys()),
    pool="lab",
    kinds={"pytorch"},
)
def lab_runs(
    context: dg.AssetExecutionContext, settings: JobSettings
) -> dg.MaterializeResult:
    """Raw logs of every run of a level, trained where they are missing; `autollm
    ingest` lands them.
    """
    from autollm.lab.families import load_family
    from autollm.lab.runner import run_family

    family_name, _, level_name = context.partition_key.partition(".")
    family = load_family(family_name)
    level = family.level(level_name)
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
