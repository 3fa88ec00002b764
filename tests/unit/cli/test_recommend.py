from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from tests.unit.advisor.sweeps import rows_of, write_csv

TARGET = ("--target", "params=1.6B,tokens=60B")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A sweep in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    return write_csv(tmp_path / "logs" / "runs.csv", rows_of()[::2])


def call(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_recommend__json__only_json_on_stdout_and_nothing_written(
    table, tmp_path
):
    done = call("recommend", table, *TARGET, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["schema"] == "autollm.recommendation/1"
    assert [p.name for p in tmp_path.iterdir()] == ["logs"]


def test_recommend__terminal__shows_configuration_answers_and_decider(table):
    done = call("recommend", table, *TARGET, "--trials", 2)
    assert done.exit_code == 0, done.output
    for words in (
        "lr =",
        "What your logs can answer",
        "Decided by",
        "achievable outcome",
    ):
        assert words in done.stdout


def test_recommend__write__a_file_with_the_users_keys(table, tmp_path):
    done = call("recommend", table, *TARGET, "--write", tmp_path / "next.yaml")
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "next.yaml").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["lr", "batch_size"]


def test_recommend__coordinate_missing__exit_2_and_the_error_object(table):
    done = call("recommend", table, "--target", "params=7B", "--json")
    assert done.exit_code == 2
    assert "tokens" in json.loads(done.stdout)["error"]["text"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("a,b\n1,2\n", "unreadable"),
        ("lr,metric_value\n" + "0.1,5\n0.2,7\n" * 5, "direction"),
    ],
)
def test_recommend__no_honest_answer__exit_3_and_the_error_object(
    tmp_path, content, code
):
    path = tmp_path / "t.csv"
    path.write_text(content)
    done = call("recommend", path, *TARGET, "--json")
    assert done.exit_code == 3
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code and error["remedy"]


def test_recommend__no_such_file__exit_3(tmp_path):
    done = call("recommend", tmp_path / "nothing.csv", *TARGET)
    assert done.exit_code == 3 and "nothing.csv" in done.stderr


def test_check__plan_file__verdict_and_distance(table, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"optim": {"lr": 0.01, "batch_size": 512}}))
    done = call("check", plan, table, *TARGET, "--json")
    assert done.exit_code == 0, done.output
    checked = json.loads(done.stdout)["checked"]
    assert checked["verdict"] in ("wasteful", "risky")
    assert checked["distance_to_optimum"]["lr"] > 1.5


def test_check__plan_without_a_knob__exit_2_and_names_it(table, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text('{"lr": 0.01}')
    done = call("check", plan, table, *TARGET)
    assert done.exit_code == 2 and "lacks batch_size" in done.stderr


def test_recommend__budget__answers_for_the_best_split(table):
    done = call("recommend", table, "--budget", "5.8e20flops", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["target"]["compute_flops"] == pytest.approx(5.8e20, rel=1e-3)
    assert found["allocation"]["flat_within"] > 1
    assert call("recommend", table, "--budget", "7 apples").exit_code == 2


def test_plan__json__the_runs_in_order_within_the_budget(table):
    done = call("plan", table, *TARGET, "--budget", "2%", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["schema"] == "autollm.recommendation/1"
    fields = {"experiment", "configuration", "cost", "why"}
    assert all(
        fields | {"expected_regret_after"} <= set(r) for r in answer["plan"]
    )
    spent = sum(run["cost"]["flops"] for run in answer["plan"])
    assert spent <= 0.02 * answer["target"]["compute_flops"]


def test_plan__terminal__says_what_comes_first_or_that_nothing_does(table):
    done = call("plan", table, *TARGET)
    assert done.exit_code == 0, done.output
    assert "Cheap runs, in this order" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--budget", "3 apples"), 2),
        (("--budget", "20device-hours"), 2),
        (("--constraint", "lr >"), 2),
        (("--constraint", "lr > 1"), 3),
    ],
)
def test_plan__no_answer__the_contracted_exit_code(table, arguments, code):
    done = call("plan", table, *TARGET, *arguments, "--json")
    assert done.exit_code == code, done.output
    assert json.loads(done.stdout)["error"]["text"]


def test_recommend__constraint__is_kept_and_asked_again_after_tell(
    table, tmp_path
):
    home = ("--home", tmp_path / "home")
    kept = ("--constraint", "batch_size <= 128")
    done = call("recommend", table, *TARGET, *kept, *home, "--save", "--json")
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout)
    assert first["recommendations"][0]["configuration"]["batch_size"] <= 128
    advice = first["advice_id"]
    run = "lr=0.0005,batch_size=128,val_loss=2.2"
    assert call("tell", advice, "--run", run, *home).exit_code == 0
    done = call("recommend", "--continue", advice, *home, "--json")
    assert done.exit_code == 0, done.output
    for entry in json.loads(done.stdout)["recommendations"]:
        assert entry["configuration"]["batch_size"] <= 128
