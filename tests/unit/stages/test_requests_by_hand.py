"""What stages say and refuse, by hand: commands that repeat an evaluation, pages of
families with little in them, damaged warehouses, servers that are named.
"""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.agent.chat import parse_chat
from autollm.agent.profiles import load_profile
from autollm.core.errors import SetupError
from autollm.core.metrics import Metric
from autollm.core.places import resolve
from autollm.stages import health, trackers
from autollm.stages.agents import Agent
from autollm.stages.evaluation_request import EvaluationRequest, playable
from autollm.stages.lab_page import describe, landscapes, render
from autollm.stages.steps_log import StepLog
from autollm.stages.warehouse import (
    is_damage,
    is_damaged,
    set_aside,
    source_faults,
    writer_of,
)
from autollm.testing.tables import make_table
from tests.unit.lab.test_family_rules import family, level
from tests.unit.lab.test_summary_by_hand import run_of

REQUEST = EvaluationRequest(
    ("lab-pretraining-v3",), ("random",), (), 3, load_profile("tiny")
)


def options_of(request):
    """Options of the command as a shell reads them, with their values."""
    words = shlex.split(request.command)
    assert words[:2] == ["autollm", "evaluate"]
    found = {}
    at = 2
    while at < len(words):
        takes = words[at] != "--live"
        found[words[at]] = words[at + 1] if takes else ""
        at += 1 + takes
    return found


def agent(reference, policy_id="agent-x"):
    return Agent(policy_id, "sft", Path("f"), "d", reference=reference)


def test_command__plain_request__names_suites_policies_and_seeds():
    assert options_of(REQUEST) == {
        "--suite": "lab-pretraining-v3",
        "--policies": "random",
        "--seeds": "3",
    }


def test_command__everything_unusual__is_said():
    request = replace(
        REQUEST,
        suites=("a", "b"),
        objectives=("loss", "accuracy"),
        setting="pool-visible",
        target_rows="all",
        split="validation",
        live=True,
        max_seconds=60.0,
        open_sealed="a final look",
    )
    assert options_of(request) == {
        "--suite": "a,b",
        "--policies": "random",
        "--seeds": "3",
        "--objective": "loss,accuracy",
        "--setting": "pool-visible",
        "--target-rows": "all",
        "--open-sealed": "a final look",
        "--live": "",
        "--max-seconds": "60",
        "--split": "validation",
    }


@pytest.mark.parametrize(
    "reference",
    ["/home/a b/final", "it's", "$HOME/x", "models:/n@champion", "a;b", "日本"],
)
def test_command__checkpoint_of_any_name__is_one_word_for_a_shell(reference):
    request = replace(REQUEST, agents=(agent(reference),))
    assert options_of(request)["--agent"] == reference


def test_command__chat_address_with_a_query__is_one_word_for_a_shell():
    chat = parse_chat("chat:m@http://127.0.0.1:9/v1")
    request = replace(REQUEST, policies=(), chats=(chat,))
    assert options_of(request)["--policies"] == chat.spec


def test_command__other_profile_of_the_agents__is_said():
    """How agents write hangs on the profile."""
    request = replace(REQUEST, config=load_profile("qwen3-1.7b"))
    assert options_of(request)["--profile"] == "qwen3-1.7b"
    assert "--profile" not in options_of(REQUEST)


def test_without__some_suites__keeps_the_others_in_order():
    request = replace(REQUEST, suites=("a", "b", "c"))
    assert request.without(["b", "z"]).suites == ("a", "c")


def test_playable__table_without_their_experiments__are_left_out_and_named():
    table = make_table()
    names = ["lab-pretraining-v3", "lab-optimizer-v1"]
    assert playable(names, table, skip_missing=True) == ([], names)
    suites, left_out = playable(names, table, skip_missing=False)
    assert [s.suite_id for s in suites] == names and left_out == []


def logs(*runs):
    return {records[0].run_id: records for records in runs}


def test_describe__one_finite_run__is_a_page():
    toy = family()
    found = describe(toy, logs(run_of(toy, 0.1, 2.0)))
    assert found["n_runs"] == 1 and found["most_expensive"] == "a1"
    assert found["levels"][0]["noise_share"] is None
    assert "<html" in render(toy, logs(run_of(toy, 0.1, 2.0)))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_describe__no_run_with_a_finite_loss__says_what_to_do(status):
    toy = family()
    runs = logs(run_of(toy, 0.1, None, status=status))
    with pytest.raises(SetupError, match="no run of toy has a finite loss"):
        describe(toy, runs)
    with pytest.raises(SetupError, match="Fix: autollm lab run toy"):
        render(toy, {})


def test_describe__metric_that_the_top_level_never_logged__is_left_out():
    small, large = level("a1"), level("b1", settings={"width": 32})
    toy = family(small, large, secondary=(Metric("accuracy", direction="max"),))
    runs = logs(
        run_of(toy, 0.1, 2.0, at=small, accuracy=0.5),
        run_of(toy, 0.2, 3.0, at=small, accuracy=0.7),
        run_of(toy, 0.1, 1.0, at=large),
    )
    found = describe(toy, runs)
    assert [o["name"] for o in found["objectives"]] == ["loss"]
    assert "<html" in render(toy, runs)


def test_describe__top_level_all_diverged__is_judged_by_the_one_below():
    small, large = level("a1"), level("b1", settings={"width": 32})
    toy = family(small, large)
    runs = logs(
        run_of(toy, 0.1, 2.0, at=small),
        run_of(toy, 0.1, None, at=large, status="diverged"),
    )
    assert describe(toy, runs)["most_expensive"] == "a1"
    assert [x.label for x in landscapes(toy, runs)] == ["a1"]


MAGIC = b"\0" * 8 + b"DUCK" + b"\0" * 8


@pytest.mark.parametrize("content", [MAGIC, b"", b"DUCK", b"x" * 100])
def test_is_damaged__file_that_is_none_of_duckdbs__is(tmp_path, content):
    path = tmp_path / "w.duckdb"
    assert not is_damaged(path)
    path.write_bytes(content)
    assert is_damaged(path)


def test_set_aside__damaged_warehouse__moves_away_without_its_log(tmp_path):
    path = tmp_path / "w.duckdb"
    for number in range(2):
        path.write_bytes(b"%d" % number)
        Path(f"{path}.wal").write_bytes(b"log")
        aside = set_aside(path)
        assert aside.read_bytes() == b"%d" % number
        assert not path.exists() and not Path(f"{path}.wal").exists()


def test_writer_of__nothing_there__is_nobody(tmp_path):
    assert writer_of(tmp_path / "w.duckdb") is None
    (tmp_path / "w.duckdb").write_bytes(MAGIC)
    assert writer_of(tmp_path / "w.duckdb") is None


@pytest.mark.parametrize(
    ("said", "damaged"),
    [
        ("IO Error: ... not a valid DuckDB database file!", True),
        ("Catalog Error: Table with name x does not exist", False),
        ("", False),
    ],
)
def test_is_damage__words__are_about_bytes(said, damaged):
    assert is_damage(said) == damaged


def test_source_faults__built_marts__name_only_what_is_wrong(tmp_path):
    places = resolve(str(tmp_path / "home")).prepare()
    assert source_faults(places) == {}
    places.marts.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {"source": ["a", "b", "c"], "fault": [None, "two directions", ""]}
    )
    pq.write_table(table, places.marts / "dim_sources.parquet")
    assert source_faults(places) == {"b": "two directions"}


@pytest.mark.parametrize(
    ("said", "uri", "experiment"),
    [
        ("", "", ""),
        ("  ", "", ""),
        ("http://h:5000", "http://h:5000", ""),
        ("http://h:5000#nightly runs", "http://h:5000", "nightly runs"),
        (" sqlite:////x/mlflow.db# ", "sqlite:////x/mlflow.db", ""),
    ],
)
def test_address__variable__is_a_server_and_an_experiment(
    monkeypatch, said, uri, experiment
):
    monkeypatch.setenv(trackers.VARIABLE, said)
    assert trackers.address() == (uri, experiment)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("sqlite:////x/mlflow.db", "/x/mlflow.db"),
        ("file:///x/mlruns", "/x/mlruns"),
    ],
)
def test_tracker_paths__store_on_this_machine__is_landed_itself(
    monkeypatch, tmp_path, said, path
):
    monkeypatch.setenv(trackers.VARIABLE, said)
    places = resolve(str(tmp_path))
    assert trackers.tracker_paths(places) == [Path(path)]


def test_tracker_paths__server_that_was_never_fetched__is_nothing_yet(
    monkeypatch, tmp_path
):
    monkeypatch.setenv(trackers.VARIABLE, "http://h:5000")
    assert trackers.tracker_paths(resolve(str(tmp_path))) == []
    monkeypatch.delenv(trackers.VARIABLE)
    assert trackers.tracker_paths(resolve(str(tmp_path))) == []
    assert trackers.fetch_tracker(resolve(str(tmp_path))) == ""


def test_step_log__last_step__is_said_with_what_people_read():
    out = io.StringIO()
    log = StepLog("agent", 10, out)
    log.log({"loss": 1.5, "grad_norm": 3.0}, 9)
    log.log({"loss": 1.25, "reward": 0.5}, 10)
    assert "step 10/10, loss 1.25, reward 0.5" in out.getvalue()
    assert "grad_norm" not in out.getvalue()
    assert log.last == {"loss": 1.25, "grad_norm": 3.0, "reward": 0.5}


def test_examine__package_without_its_checkout__is_said_and_no_error(
    monkeypatch, tmp_path
):
    """A copy of the program without the files beside it."""
    monkeypatch.setattr(health, "PROJECT", tmp_path)
    found = health.examine(resolve(str(tmp_path / "home")))
    by_name = {f.what: f for f in found}
    assert by_name["base checkpoint"].state == "problem"
    assert by_name["packages"].state in ("ok", "note", "problem")
    assert not (tmp_path / "home").exists()
