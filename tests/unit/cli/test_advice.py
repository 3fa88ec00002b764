from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from tests.unit.advisor.sweeps import best_rate, loss_at, rows_of, write_csv

TARGET = (1.6e9, 6e10)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def call(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def saved(home, *more) -> dict:
    table = write_csv(home.parent / "runs.csv", rows_of()[::2])
    arguments = (
        "--target",
        "params=1.6B,tokens=60B",
        "--save",
        "--json",
        *more,
    )
    done = call("recommend", table, *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def listed() -> list[dict]:
    return json.loads(call("advice", "list", "--json").stdout)


def test_tell__saved_advice__is_scored_and_goes_on_without_repeats(home):
    advice = saved(home)
    first = advice["recommendations"][0]
    settings = first["configuration"]
    outcome = loss_at(settings["lr"], settings["batch_size"], *TARGET)
    run = (
        ",".join(f"{k}={v}" for k, v in settings.items())
        + f",val_loss={outcome}"
    )
    done = call("tell", advice["advice_id"][:8], "--run", run, "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert (row["n_told"], row["n_followed"], row["n_inside"]) == (1, 1, 1)
    done = call("recommend", "--continue", advice["advice_id"], "--json")
    assert done.exit_code == 0, done.output
    after = json.loads(done.stdout)
    assert after["advice_id"] != advice["advice_id"]
    assert (home / "advice" / after["advice_id"] / "advice.json").exists()
    assert settings not in [
        r["configuration"] for r in after["recommendations"]
    ]
    assert after["history"][-1]["configuration"] == settings
    width = [
        r["predicted"]["high"] - r["predicted"]["low"]
        for r in (after["recommendations"][0], first)
    ]
    assert width[0] < width[1] / 2  # one run at the target tells its level


@pytest.mark.parametrize(
    ("times", "gain", "is_best"), [(1, 0.5, True), (1 / 8, -0.5, False)]
)
def test_continue__run_told_beats_all_that_is_proposed__says_so(
    home, times, gain, is_best
):
    advice = saved(home)
    first = advice["recommendations"][0]
    settings = first["configuration"] | {
        "val_loss": first["predicted"]["mean"] - gain
    }
    settings["lr"] *= times
    run = ",".join(f"{k}={v}" for k, v in settings.items())
    done = call("tell", advice["advice_id"], "--run", run)
    assert done.exit_code == 0, done.output
    done = call("recommend", "--continue", advice["advice_id"], "--json")
    after = json.loads(done.stdout)
    expected = [r["predicted"]["mean"] for r in after["recommendations"]]
    texts = [
        warning["text"]
        for warning in after["warnings"]
        if warning["code"] == "nothing-better"
    ]
    assert (min(expected) >= settings["val_loss"]) == is_best
    best = f"{settings['val_loss']:.4g}"
    said = f"nothing proposed is expected to beat {best}, which you have."
    assert texts == [said] * is_best


def test_advice_list_and_show__after_saving__hold_the_frozen_answer(home):
    advice = saved(home)
    listed = json.loads(call("advice", "list", "--json").stdout)
    assert [row["advice_id"] for row in listed] == [advice["advice_id"]]
    shown = json.loads(
        call("advice", "show", advice["advice_id"], "--json").stdout
    )
    assert shown["answer"] == advice
    assert "runs told" in call("advice", "list").stdout


def test_save__twice__the_first_stays(home):
    advice = saved(home)
    path = home / "advice" / advice["advice_id"] / "advice.json"
    before = path.read_bytes()
    assert saved(home)["advice_id"] == advice["advice_id"]
    assert path.read_bytes() == before


def test_tell__unknown_advice_or_missing_outcome__is_an_error(home):
    advice = saved(home)
    assert call("tell", "ffff", "--run", "lr=1").exit_code == 1
    done = call("tell", advice["advice_id"], "--run", "lr=0.001,batch_size=256")
    assert done.exit_code == 2 and "lacks the outcome val_loss" in done.stderr


def test_tell__diverged_run__counts_and_needs_no_outcome(home):
    advice = saved(home)
    rate = 8 * 2 ** best_rate(*TARGET)
    done = call(
        "tell",
        advice["advice_id"],
        "--run",
        f"lr={rate},batch_size=256",
        "--status",
        "diverged",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_diverged"] == 1


def test_recommend__landed_source__answers_from_the_home(home):
    table = write_csv(home.parent / "runs.csv", rows_of()[::2])
    toml = json.loads(call("sources", "inspect", table, "--json").stdout)[
        "toml"
    ]
    (home.parent / "m.toml").write_text(toml)
    assert call("ingest", table, "--as", home.parent / "m.toml").exit_code == 0
    target = ("--target", "params=1.6B,tokens=60B", "--json")
    done = call("recommend", "--source", "runs", *target)
    assert done.exit_code == 0, done.output
    direct = json.loads(call("recommend", table, *target).stdout)
    landed = json.loads(done.stdout)
    first = [d["recommendations"][0]["configuration"] for d in (direct, landed)]
    assert list(first[0].values()) == list(first[1].values())
    kept = [row["advice_id"] for row in listed()]
    assert kept == [landed["advice_id"]]  # of what landed, not of files


def test_recommend__nothing_landed__exit_3(home):
    done = call("recommend", "--target", "params=7B", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["code"] == "unreadable"
