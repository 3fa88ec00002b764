"""New files in the inbox start a rebuild, and so do runs that ended on the tracking server
of AUTOLLM_MLFLOW_SOURCE.

Invariant: one state of the inbox, or of the server, starts one run, whatever restarts
in between.
"""

import hashlib
import json
import time

import dagster as dg

from pipelines.jobs import REBUILD

SETTLED_S = 2.0
"""A file that changed less than this ago, or whose date lies in the future, may still
be growing: it counts once two ticks saw it unchanged.
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


OVERLAP_MS = 24 * 3600 * 1000
"""How far before the newest known end of a run the sensor searches: clocks differ, and
offline runs are uploaded late.
"""


@dg.sensor(
    job_name=REBUILD,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def mlflow_sensor(
    context: dg.SensorEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a rebuild, which lands them, when runs ended on the named server."""
    from autollm.core.errors import SourceError
    from autollm.stages.trackers import VARIABLE, address

    uri, experiment = address()
    if not uri:
        return dg.SkipReason(f"{VARIABLE} names no server")
    from autollm.tracking import ended_since

    newest_ms, near_ids = _newest_and_near(context.cursor)
    try:
        ended = ended_since(uri, max(newest_ms - OVERLAP_MS, 0), experiment)
    except SourceError as error:
        return dg.SkipReason(str(error))
    new = sorted(set(ended) - near_ids)
    if not new:
        return dg.SkipReason("no run has ended since")
    newest_ms = max(ended.values())
    near = [i for i, ms in ended.items() if ms >= newest_ms - OVERLAP_MS]
    cursor = {"newest_ms": newest_ms, "seen": sorted(near)}
    context.update_cursor(json.dumps(cursor))
    key = hashlib.sha256(" ".join(new).encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=f"mlflow-{key}",
        tags={"autollm/reason": f"{len(new)} runs ended on the server"},
    )


def _newest_and_near(cursor: str | None) -> tuple[int, set[str]]:
    """Newest end, in ms since 1970, and the runs that ended near it."""
    if not cursor:
        return 0, set()
    raw = json.loads(cursor)
    return raw["newest_ms"], set(raw["seen"])
