"""The nightly rebuild of the gym, which does not even start when nothing changed.

Invariant: a tick reads names, sizes and times of files, never their content.
"""

import dagster as dg

from pipelines.jobs import REBUILD


@dg.schedule(
    job_name=REBUILD,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_rebuild(
    context: dg.ScheduleEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Rebuild when a source or the dbt project changed since the published snapshot."""
    from autollm.core.places import resolve
    from autollm.gym.tables.snapshot import published_id
    from autollm.stages.settings import load_settings
    from autollm.stages.snapshots import is_current
    from pipelines.dbt_project import project_digest

    places = resolve().prepare()
    if is_current(places, load_settings(), project_digest()):
        return dg.SkipReason(
            f"nothing new: snapshot {published_id(places.home)} stands on all sources "
            "at hand"
        )
    return dg.RunRequest(tags={"autollm/reason": "sources changed"})
