"""From marts to the published snapshot, in steps that a kill may separate: build,
check, publish.

Invariant: the pointer moves only after every check of the candidate passed.
"""

from __future__ import annotations

from typing import Any

from autollm.core.errors import SnapshotError
from autollm.core.files import exists, join
from autollm.core.places import Places
from autollm.core.sealed import read_sealed, write_sealed
from autollm.gym.tables import snapshot
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import Suite, load_suite, suite_ids
from autollm.snapshots import building
from autollm.snapshots.playable import left_out, playable_marts
from autollm.stages.landing import fingerprint, landed_fingerprint, sources
from autollm.stages.settings import Settings

ORIGIN = "origin.json"
"""What the published snapshot was built from."""


def build_candidate(places: Places) -> str:
    """Build the snapshot of the marts and note it as the candidate; returns its
    table_id.

    Sources whose spaces the gym cannot represent are left out, see
    `left_out_of_candidate`.

    Raises:
        SnapshotError: see snapshots.building.build.
    """
    marts, lack = playable_marts(places.marts, places.marts / "playable")
    table_id = building.build(str(marts), places.home)
    note = {"table_id": table_id} | ({"left_out": lack} if lack else {})
    write_sealed(join(places.snapshots, "candidate.json"), note)
    return table_id


def left_out_of_candidate(places: Places) -> dict[str, str]:
    """Sources that are in the marts and not in the candidate, with the reason."""
    url = join(places.snapshots, "candidate.json")
    return _read_note(url).get("left_out", {}) if exists(url) else {}


def candidate_id(places: Places) -> str:
    """The snapshot that was built last.

    Raises:
        SnapshotError: none was built yet.
    """
    url = join(places.snapshots, "candidate.json")
    if not exists(url):
        raise SnapshotError(
            f"no snapshot was built under {places.home}. Fix: materialize `snapshot` "
            "first (autollm run)."
        )
    return _read_note(url)["table_id"]


def _read_note(url: str) -> dict[str, Any]:
    return read_sealed(url, SnapshotError, snapshot.REBUILD)


def check_complete(places: Places, table_id: str) -> list[str]:
    """Problems of a snapshot: missing or altered files, arrays and mart that disagree,
    experiments without a known cost.
    """
    problems = snapshot.check_snapshot(places.home, table_id)
    if problems:
        return problems
    table = snapshot.open_snapshot(places.home, table_id)
    manifest = _read_note(join(places.snapshots, table_id, "manifest.json"))
    n_rows = int(table.offsets[-1])
    n_mart = manifest["rows"]["mart_gym__outcomes"]
    if n_rows != n_mart:
        problems.append(
            f"arrays hold {n_rows} outcomes, the mart holds {n_mart}"
        )
    return problems + [
        f"experiment {e.label} has compute {e.compute_flops}"
        for e in table.experiments
        if not e.compute_flops > 0
    ]


def check_held_out(places: Places, table_id: str) -> list[str]:
    """Problems of the suites that the snapshot can play: test targets among training or
    validation targets, or no more expensive than what is trained on.

    Validation targets may cost as much as test targets: what is selected should be
    selected across the same gap.
    """
    table = snapshot.open_snapshot(places.home, table_id)
    problems = []
    for suite_id in suite_ids(places.home):
        suite = load_suite(suite_id, table, places.home)
        if not suite.missing(table):
            problems += _held_out_problems(suite, table)
    return problems


def _held_out_problems(suite: Suite, table: OutcomeTable) -> list[str]:
    problems = []
    trained = {task.target for task in suite.split("train")}
    selected = {task.target for task in suite.split("validation")}
    highest_flops = max([_flops(table, e) for e in trained], default=0.0)
    for task in suite.split("test"):
        if task.target in trained | selected:
            problems.append(
                f"{task.task_id}: its target is trained or selected on as well"
            )
        if _flops(table, task.target) <= highest_flops:
            problems.append(
                f"{task.task_id}: its target is no more expensive than what is "
                "trained on"
            )
    return problems


def _flops(table: OutcomeTable, experiment_id: str) -> float:
    return table.experiments[table.index(experiment_id)].compute_flops


def publish_candidate(places: Places, built_by: str) -> tuple[str, bool]:
    """Publish the candidate; returns its table_id and whether the pointer moved.
    `built_by` names the dbt project's content.

    Raises:
        SnapshotError: it is not complete; the pointer stays.
    """
    table_id = candidate_id(places)
    before = _published_before(places)
    if table_id != before:
        building.publish(places.home, table_id)
    origin = {
        "table_id": table_id,
        "inputs": landed_fingerprint(places),
        "built_by": built_by,
        "schema": snapshot.SCHEMA,
        **_lack(left_out_of_candidate(places)),
    }
    write_sealed(join(places.snapshots, ORIGIN), origin)
    return table_id, table_id != before


def _published_before(places: Places) -> str | None:
    """The snapshot that the pointer names; None where the pointer is damaged, since it
    is about to be replaced.
    """
    try:
        return snapshot.published_id(places.home)
    except SnapshotError:
        return None


def is_current(places: Places, settings: Settings, built_by: str) -> bool:
    """Whether the published snapshot stands on all that could land now, and on this dbt
    project.
    """
    url = join(places.snapshots, ORIGIN)
    published = _published_before(places)
    if not exists(url) or published is None:
        return False
    origin = {
        "table_id": published,
        "inputs": fingerprint(sources(places, settings)),
        "built_by": built_by,
        "schema": snapshot.SCHEMA,
        **_lack(left_out(places.marts)),
    }
    try:
        return _read_note(url) == origin
    except SnapshotError:  # a damaged note says nothing: build again
        return False


def _lack(sources_left_out: dict[str, str]) -> dict[str, list[str]]:
    """Part of what a snapshot was built from, so that a gym that can represent more
    spaces rebuilds it.
    """
    return {"left_out": sorted(sources_left_out)} if sources_left_out else {}


def experiment_rows(places: Places, table_id: str) -> list[dict[str, Any]]:
    """One row an experiment, for people: label, family, compute, rows, diverged."""
    table = snapshot.open_snapshot(places.home, table_id)
    rows = []
    for index, experiment in enumerate(table.experiments):
        diverged = table.column("diverged", index)
        rows.append(
            {
                "experiment": experiment.label,
                "family": experiment.family,
                "compute_flops": experiment.compute_flops,
                "configurations": len(diverged),
                "diverged": int(diverged.sum()),
                "objective": experiment.objective,
            }
        )
    return rows
