import json
import logging
import math
import os
import subprocess
import sys

import pytest

from autollm.core.errors import SetupError, SourceError
from autollm.logs.readers.tools import wandb_server
from autollm.logs.readers.tools.addresses import (
    fetched_folder,
    is_address,
    local_path,
)
from autollm.logs.readers.tools.wandb_api import WandbFetchedReader, fetch_wandb
from autollm.logs.readers.tools.wandb_server import WandbServer
from tests.unit.logs.readers.opened import curve_of, read_folder, runs_of
from tests.unit.logs.readers.wandb_stub import KEY, Project, node, serving


def project_of(n_rows=2_500):
    """Three runs: one with a long history, one short, one without."""
    history = []
    for i in range(n_rows):
        row = {"_step": 10 * i, "_runtime": 0.5 * i, "loss": 3 - i / n_rows}
        history.append(row)
    return Project(
        {
            "long": (
                node("long", n_rows=n_rows, lr=0.001, m={"d": 2}),
                history,
            ),
            "none": (node("none", state="crashed", lr=0.003), []),
            "short": (
                node("short", state="running", n_rows=3, lr=0.002),
                history[:3],
            ),
        }
    )


def fetched(project, folder, sleeps=None):
    with serving(project) as url:
        wait = (sleeps if sleeps is not None else []).append
        server = WandbServer(url, KEY, wait)
        fetch_wandb("team/sweep", folder, server)
        server.close()
    return read_folder(WandbFetchedReader(), folder)


def test_fetch__a_project__gives_settings_results_and_the_full_history(
    tmp_path,
):
    relation = fetched(project_of(), tmp_path)
    runs = runs_of(relation)
    states = {name: row["state"] for name, row in runs.items()}
    assert states == {"long": "finished", "none": "crashed", "short": "running"}
    row = runs["long"]
    assert (row["config.lr"], row["config.m.d"]) == (0.001, 2)
    assert (row["summary.val.loss"], row["runtime_s"]) == (2.5, 60.5)
    assert math.isnan(row["summary.nan"])
    assert row["run_name"] == "name of long"
    steps = [step for step, _ in curve_of(relation, "long", "loss")]
    assert steps == list(range(0, 25_000, 10))
    assert len(curve_of(relation, "short", "loss")) == 3
    assert not relation.notes and not relation.bad


@pytest.mark.parametrize("is_old", [False, True])
def test_fetch__history_in_files__comes_whole_and_without_the_key(
    tmp_path, is_old
):
    project = project_of()
    project.in_files = {} if is_old else {"long": 1_800}
    project.is_old = is_old
    relation = fetched(project, tmp_path)
    steps = [step for step, _ in curve_of(relation, "long", "loss")]
    assert steps == list(range(0, 25_000, 10))
    assert not relation.notes


CLIENT = """
import wandb
api = wandb.Api(overrides={"base_url": %r, "entity": "team"}, api_key=%r, timeout=20)
for run in api.runs("team/sweep"):
    rows = list(run.scan_history())
    print(run.id, run.state, run.config["lr"], len(rows), sep=",")
"""


def test_stub__the_pinned_client_itself__reads_the_same_from_it(tmp_path):
    pytest.importorskip("wandb", reason="extra exports is not installed")
    project = project_of(n_rows=300)
    with serving(project) as url:
        env = {
            **os.environ,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }
        env |= {"WANDB_CACHE_DIR": str(tmp_path), "WANDB_API_KEY": KEY}
        done = subprocess.run(
            [sys.executable, "-c", CLIENT % (url, KEY)],
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path,
            check=True,
        )
    told = {
        row.split(",")[0]: row.split(",")[1:] for row in done.stdout.split()
    }
    assert told == {
        "long": ["finished", "0.001", "300"],
        "none": ["crashed", "0.003", "0"],
        "short": ["running", "0.002", "3"],
    }


def test_fetch__a_second_time__asks_for_no_history(tmp_path):
    project = project_of()
    fetched(project, tmp_path)
    project.asked.clear()
    fetched(project, tmp_path)
    assert not [q for q in project.asked if "HistoryPage" in q["query"]]
    grown, history = project.runs["short"]
    grown["historyLineCount"] = 4
    history.append({"_step": 30, "loss": 1.0})
    grown["historyKeys"] = {"lastStep": 30}
    project.asked.clear()
    relation = fetched(project, tmp_path)
    asked = {q["variables"].get("run") for q in project.asked} - {None}
    assert asked == {"short"}
    assert curve_of(relation, "short", "loss")[-1] == (30, 1.0)


def test_fetch__a_busy_server__is_asked_again_after_a_wait(tmp_path):
    project = project_of(n_rows=5)
    project.failures = [429, 503, 500]
    sleeps = []
    relation = fetched(project, tmp_path, sleeps)
    assert relation.runs.num_rows == 3
    assert len(sleeps) == 3 and sleeps == sorted(sleeps)


def test_fetch__a_server_that_stays_broken__keeps_what_came(tmp_path):
    project = project_of(n_rows=5)
    with serving(project) as url:
        server = WandbServer(url, KEY, lambda seconds: None)
        fetch_wandb("team/sweep", tmp_path, server)
        for path in tmp_path.glob("histories/*"):
            path.unlink()
        project.failures = [200, 200] + [500] * 100
        with pytest.raises(SourceError, match="2 of 2 histories"):
            fetch_wandb("team/sweep", tmp_path, server)
        project.failures = []
        fetch_wandb("team/sweep", tmp_path, server)
        server.close()
    assert len(list(tmp_path.glob("histories/*.jsonl"))) == 2


def test_fetch__rows_that_do_not_add_up__are_said(tmp_path):
    project = project_of(n_rows=5)
    project.runs["long"][0]["historyLineCount"] = 6
    relation = fetched(project, tmp_path)
    assert any("the server counts 6" in note for note in relation.notes)


def test_server__a_wrong_key__is_refused_and_never_shown(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = "deadbeef" * 5
    with serving(project_of(n_rows=5)) as url:
        server = WandbServer(url, wrong, lambda seconds: None)
        with pytest.raises(SourceError, match="refuses the API key") as caught:
            fetch_wandb("team/sweep", tmp_path, server)
        server.close()
    assert wrong not in str(caught.value) + caplog.text


def test_server__no_key_anywhere__says_how_to_give_one(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="WANDB_API_KEY"):
        WandbServer("https://wandb.example")


def test_server__netrc__holds_the_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    path = tmp_path / "netrc"
    path.write_text("machine wandb.example\n login user\n password abc123\n")
    monkeypatch.setenv("NETRC", str(path))
    assert wandb_server.find_key("https://wandb.example") == "abc123"
    assert wandb_server.find_key("https://other.example") == ""


@pytest.mark.parametrize(
    "answer", [{}, {"runs": None}, {"runs": {"edges": [{}], "pageInfo": {}}}]
)
def test_fetch__an_answer_of_another_shape__is_an_error_of_the_house(
    tmp_path, answer
):
    project = project_of(n_rows=1)
    project.answer = lambda query, variables: {"project": answer or None}
    with serving(project) as url:
        server = WandbServer(url, KEY, lambda seconds: None)
        with pytest.raises(SourceError):
            fetch_wandb("team/sweep", tmp_path, server)
        server.close()


def test_local_path__addresses__are_fetched_and_paths_are_not(
    tmp_path, monkeypatch
):
    assert not is_address("runs/wandb.csv") and is_address("wandb:a/b")
    assert local_path("a/b.csv", tmp_path) == "a/b.csv"
    assert local_path("mlflow:sqlite:////x/m.db", tmp_path) == "/x/m.db"
    with serving(project_of(n_rows=3)) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        folder = local_path("wandb:team/sweep", tmp_path)
    assert folder == str(fetched_folder(tmp_path, "wandb", "team/sweep"))
    head = json.loads(
        (tmp_path / folder / "runs.jsonl").read_text().splitlines()[0]
    )
    assert head["schema"] == "autollm.fetched/1"
    assert KEY not in (tmp_path / folder / "runs.jsonl").read_text()
    for wrong in ("wandb:", "wandb:team", "wandb:a/b/c"):
        with pytest.raises(SourceError):
            local_path(wrong, tmp_path)
