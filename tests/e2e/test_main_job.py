"""The main job end to end, as a user starts it: one expensive run that all checks
share, a repetition, and two kills.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import dagster as dg
import fsspec
import pyarrow.parquet as pq
import pytest

from autollm.core.places import Places, resolve
from autollm.evaluation import leaderboard
from autollm.gym.tables import snapshot
from autollm.gym.tasks.suites import load_suite
from autollm.logs.lake.bronze import Bronze
from autollm.snapshots import building
from autollm.stages.agents import config_of
from autollm.stages.evaluation_request import EvaluationRequest
from autollm.stages.judging import publish_report
from autollm.stages.landing import land
from autollm.stages.settings import load_settings
from autollm.stages.snapshots import check_complete, check_held_out
from tests.e2e.homes import (
    BRONZE_KEYS,
    SETTINGS,
    Ended,
    Facts,
    Kill,
    drop_logs,
    look,
    run_job,
)
from tests.e2e.kill_campaign import age_litter, differences, halves
from tests.unit.evaluation.test_leaderboard import CONTRACT

pytestmark = pytest.mark.timeout(1200)
"""A machine that is busy otherwise may be slow; nothing below depends on how slow."""

DROPPED = ("good", "truncated", "binary")
WORKED = re.compile(
    r"agent-tiny-\S+: step|evaluate: \d+|Creating initial MLflow"
)
"""Lines of progress that only real work prints."""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A state folder whose inbox holds one good log and two broken ones."""
    folder = tmp_path_factory.mktemp("main job") / "home"
    drop_logs(folder, *DROPPED)
    return folder


@pytest.fixture(scope="module")
def first(home) -> Ended:
    return run_job(home)


@pytest.fixture(scope="module")
def facts(home, first) -> Facts:
    assert first.code == 0, "\n".join(first.stderr[-30:])
    return look(home)


@pytest.fixture(scope="module")
def second(home, facts) -> tuple[Ended, Facts]:
    ended = run_job(home)
    return ended, look(home)


def test_run__fresh_home__ends_with_every_step_done_and_says_where_results_are(
    home, first, facts
):
    assert first.code == 0
    assert {
        "landing",
        "dbt_build",
        "published_snapshot",
        "training",
        "held_out_scores",
        "report",
        "champion",
    } <= set(first.steps_done)
    assert (
        facts.table_id in first.stdout
        and "agent-tiny-sft-rl" in first.stdout
        and "make dev" in first.stdout
    )
    assert (
        str(home / "reports" / leaderboard.latest_id(str(home)) / "report.html")
        in first.stdout
    )


def test_run__leaderboard__keeps_the_contract(home, facts):
    board = leaderboard.load(str(home)).as_json()
    assert (
        board["schema"] == 2
        and board["command"].startswith("autollm evaluate --suite ")
        and board["commit"]
    )
    assert all(set(row) == CONTRACT for row in board["rows"])
    settings = load_settings(SETTINGS)
    agents = {f"agent-tiny-{stage}" for stage in settings.stages}
    assert {(row["policy"], row["k"]) for row in board["rows"]} == {
        (p, k) for p in {*settings.policies, *agents} for k in (1, 3, 5)
    }
    for row in board["rows"]:
        assert (
            row["table_id"] == facts.table_id
            and row["n_seeds"] == settings.n_seeds
            and row["setting"] == "declared"
        )
        assert 0 <= row["regret_mean"] <= 1 and 0 <= row["malformed"] <= 1
    assert {row["suite"] for row in board["rows"]} == set(
        settings.train_suites
    ), "suites whose tables are not at hand are left out"


def test_run__report__stands_beside_the_leaderboard(home, facts):
    page = (
        home / "reports" / leaderboard.latest_id(str(home)) / "report.html"
    ).read_text()
    assert (
        facts.table_id in page
        and "agent-tiny-sft-rl" in page
        and page.rstrip().endswith("</html>")
    )


def test_run__tables__hold_each_row_once(facts):
    assert facts.repeated == {} and facts.litter == []
    assert (
        facts.rows["bronze runs"] > 2
        and facts.rows["snapshot mart_gym__outcomes"]
        == facts.rows["mart mart_gym__outcomes"]
    )


def test_run__tracking__runs_are_finished_and_the_last_agent_is_candidate(
    home, facts
):
    assert facts.mlflow == {"FINISHED": 5}, "three trainings, two evaluations"
    pointer = json.loads(
        (home / "checkpoints" / "agents-tiny.json").read_text()
    )["stages"]
    assert (
        set(pointer) == {"sft", "rl", "sft-rl"}
        and facts.candidate_digest == pointer["sft-rl"]["digest"]
    )
    assert pointer["sft"]["digest"] != pointer["sft-rl"]["digest"]


def test_run__dagster__one_success_with_every_asset_and_check(home, facts):
    from pipelines.definitions import defs
    from pipelines.instance import open_instance

    assert facts.dagster == {"SUCCESS": 1}
    graph = defs.resolve_asset_graph()
    with open_instance(resolve(home)) as instance:
        assert set(
            instance.all_asset_keys()
        ) == graph.materializable_asset_keys - {dg.AssetKey("lab_runs")}, (
            "the lab's sweep stands apart"
        )
        summaries = instance.event_log_storage.get_asset_check_summary_records(
            list(graph.asset_check_keys)
        )
        assert {
            s.last_completed_check_execution_record is not None
            for s in summaries.values()
        } == {True}


def test_run__broken_files_in_the_inbox__are_quarantined_and_the_rest_goes_on(
    home, facts
):
    found = {
        row["file"]: row
        for part in (home / "quarantine").glob("*.parquet")
        for row in pq.read_table(part).to_pylist()
    }
    assert set(found) == {"truncated.jsonl", "binary.jsonl"}
    assert (
        "binary data" in found["binary.jsonl"]["reason"]
        and found["truncated.jsonl"]["line"] > 1
    )
    assert (
        found["truncated.jsonl"]["n_lines"] == 1
        and found["truncated.jsonl"]["text"]
    )
    runs = {
        run_id: status
        for run_id, status in Bronze(str(home)).read(
            "runs", ["run_id", "status"]
        )
        if run_id.startswith("dropped-")
    }
    assert runs == {"dropped-good": "finished", "dropped-truncated": "running"}
    lines = Bronze(str(home)).read(
        "files", ["n_lines", "n_lines_read", "n_lines_quarantined"]
    )
    assert all(total == read + bad for total, read, bad in lines)
    kept = {
        p.name: p.read_bytes() for p in (home / "landing").glob("*/*/*.jsonl")
    }
    assert kept == {
        f"{name}.jsonl": (home / "inbox" / f"{name}.jsonl").read_bytes()
        for name in DROPPED
    }


def test_run__second_time__does_nothing_again_and_gives_the_same(
    first, facts, second
):
    ended, after = second
    assert ended.code == 0 and [
        line for line in first.stderr if WORKED.search(line)
    ]
    assert [line for line in ended.stderr if WORKED.search(line)] == []
    assert after == replace(facts, dagster=after.dagster) and after.dagster == {
        "SUCCESS": 2
    }


def test_nightly_rebuild__after_the_main_job__skips_and_says_on_what_the_snapshot_stands(
    home, second, monkeypatch
):
    import dagster as dg

    from pipelines.schedules import nightly_rebuild

    monkeypatch.setenv("AUTOLLM_HOME", str(home))
    monkeypatch.setenv("AUTOLLM_SETTINGS", str(SETTINGS))
    tick = nightly_rebuild(dg.build_schedule_context())
    assert (
        isinstance(tick, dg.SkipReason)
        and second[1].table_id in tick.skip_message
        and "nothing new" in tick.skip_message
    )


@pytest.fixture()
def memory(home, facts, tmp_path) -> Places:
    """A state folder in memory; what needs a disk is a local folder, which gets the
    inbox alone.
    """
    places = Places(f"memory://{uuid.uuid4().hex}", tmp_path / "local")
    shutil.copytree(home / "inbox", places.prepare().inbox, dirs_exist_ok=True)
    yield places
    fsspec.filesystem("memory").rm(
        places.home.removeprefix("memory:/"), recursive=True
    )


def test_stages__home_in_memory__give_what_the_local_home_holds(
    home, facts, memory
):
    settings = load_settings(SETTINGS)
    report = land(memory, settings)
    assert report.n_runs == facts.rows["bronze runs"]
    for table, columns in BRONZE_KEYS.items():
        assert sorted(Bronze(memory.home).read(table, columns)) == sorted(
            Bronze(str(home)).read(table, columns)
        )

    marts = f"{memory.home}/marts"
    fsspec.filesystem("memory").put(
        str(home / "marts"), marts.removeprefix("memory:/"), recursive=True
    )
    table_id = building.build(marts, memory.home)
    assert table_id == facts.table_id
    assert (
        check_complete(memory, table_id) == []
        and check_held_out(memory, table_id) == []
    )
    building.publish(memory.home, table_id)

    assert all(
        load_suite(s).missing(snapshot.open_snapshot(memory.home)) == []
        for s in settings.train_suites
    )
    request = EvaluationRequest(
        tuple(settings.train_suites),
        tuple(settings.policies),
        (),
        settings.n_seeds,
        config_of(settings),
        jobs=1,
    )
    published = publish_report(memory, request)
    names = {
        f"{row['policy']} {row['k']}": row["regret_mean"]
        for row in published.leaderboard.as_json()["rows"]
    }
    assert names == {
        f"{row['policy']} {row['k']}": row["regret_mean"]
        for row in facts.scores
        if not row["stage"]
    }
    assert leaderboard.load(
        memory.home
    ) == published.leaderboard and published.html_url.startswith(memory.home)
    assert (
        fsspec.filesystem("memory")
        .cat(published.html_url.removeprefix("memory:/"))
        .rstrip()
        .endswith(b"</html>")
    )
    assert (
        not (memory.local / "reports").exists()
        and not (memory.local / "snapshots").exists()
        and not (memory.local / "bronze").exists()
    )


def test_run__killed_after_publishing_and_in_training__ends_as_if_nobody_had(
    tmp_path, facts
):
    home = tmp_path / "home"
    drop_logs(home, *DROPPED)
    for kill in (
        Kill(r"\d published_snapshot done in"),
        Kill(r"agent-tiny-sft: step"),
    ):
        assert run_job(home, kill=kill).killed
        assert halves(home, {facts.table_id}) == []
    age_litter(home)
    assert run_job(home).code == 0
    assert differences(look(home), facts) == []
