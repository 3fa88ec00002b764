"""New files in the inbox start a rebuild.

What does not belong here: reading logs. Invariant: one state of the inbox starts one
run, whatever restarts in between.
"""

import time

import dagster as dg

from pipelines.jobs import REBUILD

SETTLED_S = 2.0
"""A file that changed less than this ago, or dates itself into the future, may still be
written: it counts once it has looked the same at two ticks.
"""


@dg.sensor(
    job_name=REBUILD,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def inbox_sensor(
    context: dg.SensorEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a rebuild when the inbox's files differ from those of the last request."""
    from autollm.core.places import resolve
    from autollm.stages.landing import files_below, fingerprint

    inbox = resolve().prepare().inbox
    files = files_below(inbox)
    if not files:
        return dg.SkipReason(f"{inbox} is empty")
    now = fingerprint([inbox])
    requested, _, waiting = (context.cursor or "").partition(" ")
    if now == requested:
        return dg.SkipReason(
            f"the {len(files)} files in the inbox have been seen"
        )
    newest_s = max(f.stat().st_mtime for f in files)
    if newest_s > time.time() - SETTLED_S and now != waiting:
        context.update_cursor(f"{requested} {now}")
        return dg.SkipReason("a file in the inbox may still be written")
    context.update_cursor(now)
    return dg.RunRequest(
        run_key=now, tags={"autollm/reason": f"{len(files)} files in the inbox"}
    )
