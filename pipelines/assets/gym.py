"""The snapshot: built from the marts, checked, published by one pointer swap."""

import dagster as dg

from autollm.evaluation.markdown import markdown
from pipelines import groups
from pipelines.dbt_project import project_digest
from pipelines.resources import JobSettings

MARTS = (
    "mart_gym__outcomes",
    "dim_experiments",
    "dim_configs",
    "dim_spaces",
    "fct_outcomes",
    "fct_learning_curves",
)


@dg.asset(group_name=groups.GYM, deps=list(MARTS), kinds={"parquet", "numpy"})
def snapshot(settings: JobSettings) -> dg.MaterializeResult:
    """Marts frozen under the hash of their content; not yet what the gym reads."""
    from autollm.stages.snapshots import (
        build_candidate,
        experiment_rows,
        left_out_of_candidate,
    )

    places = settings.places
    table_id = build_candidate(places)
    rows = experiment_rows(places, table_id)
    left_out = [
        {"source": source, "reason": reason}
        for source, reason in left_out_of_candidate(places).items()
    ]
    return dg.MaterializeResult(
        metadata={
            "table_id": table_id,
            "dagster/row_count": sum(r["configurations"] for r in rows),
            "experiments": len(rows),
            "content": dg.MetadataValue.md(markdown(rows)),
            "folder": dg.MetadataValue.path(f"{places.snapshots}/{table_id}"),
            "left out": dg.MetadataValue.md(markdown(left_out) or "nothing"),
        }
    )


@dg.asset_check(asset=snapshot, blocking=True)
def snapshot_complete(settings: JobSettings) -> dg.AssetCheckResult:
    """Every file is there with its recorded hash, arrays and mart agree."""
    from autollm.stages.snapshots import candidate_id, check_complete

    table_id = candidate_id(settings.places)
    return _verdict(check_complete(settings.places, table_id), table_id)


@dg.asset_check(asset=snapshot, blocking=True)
def held_out_disjoint(settings: JobSettings) -> dg.AssetCheckResult:
    """Test targets are none of the targets that are trained or selected on, and more
    expensive than what is trained on.
    """
    from autollm.stages.snapshots import candidate_id, check_held_out

    table_id = candidate_id(settings.places)
    return _verdict(check_held_out(settings.places, table_id), table_id)


@dg.asset(group_name=groups.GYM, deps=[snapshot])
def published_snapshot(settings: JobSettings) -> dg.MaterializeResult:
    """The pointer that the gym follows, moved to the checked snapshot."""
    from autollm.stages.snapshots import publish_candidate

    table_id, moved = publish_candidate(settings.places, project_digest())
    return dg.MaterializeResult(
        metadata={"table_id": table_id, "changed": moved}
    )


def _verdict(problems: list[str], table_id: str) -> dg.AssetCheckResult:
    text = "\n".join(f"- {p}" for p in problems[:20]) or "none"
    return dg.AssetCheckResult(
        passed=not problems,
        metadata={"table_id": table_id, "problems": dg.MetadataValue.md(text)},
    )
