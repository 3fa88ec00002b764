"""Each command with input that it cannot take: the exit code of the contract, one
sentence with a remedy on stderr, nothing but JSON on stdout, and never a traceback.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.commands import call

POLICIES = ("--policies", "random")
SUITE = ("--suite", "lab-pretraining-v2")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path):
    """Files and folders that commands are pointed at."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    (tmp_path / "plan.json").write_text('{"lr": 0.1}')
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "pretraining-a1-x.jsonl").write_text('{"kind":"hea')
    blank = tmp_path / "blank"
    blank.mkdir()
    (blank / "foo.jsonl").write_text("")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "foo.jsonl").write_text(
        '{"kind":"header","run_id":"foo","source":"s","family":"f","config":{},'
        '"fidelity":{},"seed":0}\n{"kind":"end","status":"finished"}\n'
    )
    return tmp_path


def filled(arguments, files):
    """The arguments with {files} put in."""
    return [str(a).replace("{files}", str(files)) for a in arguments]


USAGE = [
    ("nope",),
    ("--nope",),
    (),
    ("suites", "nope"),
    ("suites", "make", "x", "--gap", "0.5"),
    ("suites", "make", "x", "--gap", "wide"),
    ("suites", "make"),
    ("suites", "describe"),
    ("evaluate",),
    ("evaluate", *SUITE, *POLICIES, "--seeds", "0"),
    ("evaluate", *SUITE, *POLICIES, "--seeds", "many"),
    ("evaluate", *SUITE, *POLICIES, "--seeds", "1.5"),
    ("evaluate", *SUITE, *POLICIES, "--jobs", "0"),
    ("evaluate", *SUITE, *POLICIES, "--setting", "blind"),
    ("evaluate", *SUITE, *POLICIES, "--target-rows", "half"),
    ("evaluate", *SUITE, *POLICIES, "--split", "all"),
    ("evaluate", *SUITE, *POLICIES, "--max-seconds", "0"),
    ("clean",),
    ("clean", "--keep", "-1"),
    ("clean", "--keep", "two"),
    ("lab",),
    ("lab", "nope"),
    ("lab", "run", "pretraining", "--budget", "soon"),
    ("lab", "run", "pretraining", "--budget", "-5"),
    ("lab", "run", "pretraining", "--budget", "nan"),
    ("lab", "run", "pretraining", "--budget", "0h"),
    ("lab", "run", "pretraining", "--budget", ""),
    ("lab", "run", "pretraining", "--jobs", "0"),
    ("lab", "pilot", "pretraining"),
    ("lab", "pilot", "pretraining", "--levels", "a1", "--cells", "3"),
    ("lab", "verify", "pretraining", "--sample", "0"),
    ("lab", "summary", "pretraining", "--here", "{files}/absent"),
    ("lab", "summary", "pretraining", "--here", "{files}/text"),
    ("lab", "page", "pretraining", "--here", "{files}/absent"),
    ("lab", "quality", "pretraining", "--here", "{files}/absent"),
    ("lab", "export", "pretraining", "--as", ""),
    ("lab", "export", "pretraining", "--as", ","),
    ("lab", "export", "pretraining", "--sample", "0"),
    ("bench",),
    ("bench", "nope"),
    ("bench", "ingest", "--rows", "0"),
    ("mcp", "--root", "{files}/absent"),
    ("mcp", "--root", "{files}/text"),
    ("sources", "nope"),
    ("sources", "inspect"),
    ("ingest",),
    ("ingest", ""),
    ("ingest", "  "),
    ("ingest", "{files}/text", ""),
    ("ingest", "--json"),
    ("ingest", "--as", "lab-optimizer", "--objective", "x", "{files}/text"),
    ("recommend", "{files}/text", "--target", "a=1", "--trials", "0"),
    ("recommend", "{files}/text", "--target", "a=1", "--trials", "21"),
    ("advice", "nope"),
    ("run", "--profile", "tiny"),
    ("doctor", "--keep", "1"),
    ("tell",),
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_command__wrong_usage__is_code_2_and_nothing_on_stdout(
    files, monkeypatch, tmp_path, arguments
):
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    done = call(*filled(arguments, files))
    assert not done.traceback
    assert done.code == 2
    if arguments not in ((), ("lab",), ("bench",)):  # these show their help
        assert done.out == "" and done.err
    assert not (tmp_path / "home" / "bronze").exists()


ERRORS = [
    (("suites", "--home", "{files}/a?b"), r"holds '\?'.*Fix: choose a name"),
    (("suites", "describe", ""), "unknown suite ''. Known: "),
    (("suites", "make", "nope"), "no snapshot is published"),
    (("evaluate", "--suite", "", *POLICIES), "unknown suite ''"),
    (("evaluate", "--suite", ",", *POLICIES), "unknown suite ''"),
    (("evaluate", *SUITE, "--policies", ","), "unknown policy or trained"),
    (("evaluate", *SUITE, *POLICIES), "no snapshot is published"),
    (("evaluate", *SUITE, *POLICIES, "--profile", "x"), "unknown profile"),
    (("evaluate", *SUITE, "--agent", "{files}/empty"), "is no checkpoint"),
    (("evaluate", *SUITE, "--policies", "chat:"), "no http address"),
    (("evaluate", *SUITE, "--policies", "chat:m@http://[::1"), "no http addr"),
    (("evaluate", *SUITE, "--policies", "chat:m@ftp://x"), "no http address"),
    (("report",), "no leaderboard"),
    (("report", "nope"), "no leaderboard nope"),
    (("report", "../../etc"), r"no leaderboard \.\./\.\./etc"),
    (("lab", "summary", "pretrainin"), "Did you mean 'pretraining'"),
    (("lab", "summary", "pretraining", "--objective", "val"), "val_loss"),
    (
        ("lab", "summary", "pretraining", "--here", "{files}/empty"),
        "holds no log of a run.*Fix: autollm lab run",
    ),
    (
        ("lab", "summary", "pretraining", "--here", "{files}/damaged"),
        r"pretraining-a1-x\.jsonl is damaged.*Fix: remove it",
    ),
    (
        ("lab", "summary", "pretraining", "--here", "{files}/blank"),
        r"foo\.jsonl is damaged: it is empty.*Fix: remove it",
    ),
    (
        ("lab", "page", "pretraining", "--here", "{files}/empty"),
        "holds no log of a run",
    ),
    (
        ("lab", "quality", "pretraining", "--here", "{files}/damaged"),
        "is damaged",
    ),
    (("lab", "quality", "--sweep", "ladder"), "unknown sweep 'ladder'"),
    (("lab", "quality", "nope"), "unknown lab family 'nope'"),
    (("lab", "verify", "pretraining", "--sweep", "x"), "unknown sweep 'x'"),
    (("lab", "pack", "pretraining", "--here", "{files}/empty"), "Fix: autollm"),
    (("lab", "export", "pretraining", "--as", "tsv"), "unknown tool 'tsv'"),
    (
        ("lab", "export", "pretraining", "--as", "csv", "--level", "z1"),
        "unknown level 'z1'",
    ),
    (
        ("lab", "export", "pretraining", "--as", "csv", "--run", "r"),
        "unknown run 'r'",
    ),
    (
        ("lab", "run", "pretraining", "--level", "z1", "--budget", "1s"),
        "unknown level 'z1'",
    ),
    (
        ("lab", "run", "pretraining", "--launcher", "x", "--budget", "1s"),
        "unknown launcher 'x'",
    ),
    (("lab", "pilot", "pretraining", "--levels", "z1"), "unknown level 'z1'"),
    (("sources", "inspect", "{files}/absent"), "does not exist"),
    (("sources", "inspect", "{files}/text"), "no reader knows its format"),
    (("sources", "inspect", "{files}/empty"), "holds no log that can be read"),
    (("sources", "add", "{files}/absent"), "cannot read the mapping file"),
    (("sources", "add", "{files}/text"), "is not TOML"),
    (("sources", "fetch", "steplow"), "Did you mean 'steplaw'"),
    (("ingest", "{files}/absent"), "does not exist"),
    (("ingest", "--as", "step-law", "{files}/text"), "Did you mean 'steplaw'"),
    (("ingest", "--again", "nope"), "nope"),
    (("tell", "nope", "--run", "a=1"), "unknown advice 'nope'"),
    (("advice", "show", "nope"), "unknown advice 'nope'"),
    (("run", "--settings", "{files}/text"), "cannot be read"),
    (("run", "--settings", "{files}/absent"), "cannot be read"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), ERRORS, ids=lambda x: " ".join(x)[:60]
)
def test_command__input_it_cannot_take__is_code_1_and_one_sentence(
    files, home, monkeypatch, arguments, said
):
    monkeypatch.setenv("AUTOLLM_HOME", str(home))
    done = call(*filled(arguments, files))
    assert not done.traceback
    assert done.code == 1 and done.out == ""
    lines = done.err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert re.search(said, lines[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "{files}/absent", "--target", "params=7B"),
        ("recommend", "{files}/text", "--target", "params=7B"),
        ("recommend", "{files}/empty", "--target", "params=7B"),
        ("recommend", "--source", "nope", "--target", "params=7B"),
        ("plan", "{files}/absent", "--target", "params=7B"),
        ("check", "{files}/plan.json", "{files}/no", "--target", "params=7B"),
    ],
    ids=" ".join,
)
def test_advice__unreadable_logs__are_code_3_and_an_error_object(
    files, home, monkeypatch, arguments
):
    monkeypatch.setenv("AUTOLLM_HOME", str(home))
    done = call(*filled(arguments, files), "--json")
    assert not done.traceback
    assert done.code == 3
    told = json.loads(done.out)
    assert told["schema"] == "autollm.recommendation/1"
    assert set(told["error"]) == {"code", "text", "remedy"}
    assert told["error"]["remedy"]
    shown = call(*filled(arguments, files))
    assert shown.code == 3 and shown.out == ""
    assert shown.err.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "target", ["", "params", "params=0", "params=-1", "params=big", "=3"]
)
@pytest.mark.parametrize("command", ["recommend", "plan"])
def test_advice__target_that_is_none__is_code_2_and_an_error_object(
    files, home, monkeypatch, command, target
):
    monkeypatch.setenv("AUTOLLM_HOME", str(home))
    logs = files / "runs.csv"
    rows = "0.1,1000,2.0\n0.2,1000,1.9\n0.1,9000,1.8\n0.2,9000,1.7\n"
    logs.write_text("lr,params,loss\n" + rows)
    done = call(command, logs, "--target", target, "--json")
    assert not done.traceback
    assert done.code == 2
    assert json.loads(done.out)["error"]["text"]


EMPTY = [
    (("suites", "--json"), list),
    (("clean", "--keep", "2", "--json"), list),
    (("clean", "--keep", "0", "--dry-run", "--json"), list),
    (("sources", "list", "--json"), dict),
    (("advice", "list", "--json"), list),
    (("lab", "quality", "--json"), list),
    (("lab", "summary", "optimizer", "--json"), list),
]


@pytest.mark.parametrize(("arguments", "kind"), EMPTY)
def test_command__home_that_is_not_there__answers_json_and_makes_no_home(
    home, arguments, kind
):
    takes_home = arguments[0] != "lab"
    done = call(*arguments, *(("--home", home) if takes_home else ()))
    assert done.code == 0 and not done.traceback
    assert isinstance(json.loads(done.out), kind)
    assert not (home / "bronze").exists()


def test_lab_status__empty_log_in_the_home__names_it(home):
    """A kill or a full disk may leave one; nothing else may hide behind it."""
    folder = home / "lab" / "optimizer"
    folder.mkdir(parents=True)
    (folder / "optimizer-a1-x.jsonl").write_text("")
    done = call("lab", "status", "--json", "--home", home)
    assert done.code == 1 and done.out == "" and not done.traceback
    assert "optimizer-a1-x.jsonl is damaged: it is empty" in done.err


def test_lab_summary__log_of_no_declared_run__shows_no_level(files):
    done = call(
        "lab", "summary", "pretraining", "--here", files / "stranger", "--json"
    )
    assert done.code == 0 and json.loads(done.out) == []


def test_doctor__home_that_is_a_file__is_a_problem(files):
    done = call("doctor", "--json", "--home", files / "text")
    assert done.code == 1
    (found,) = [f for f in json.loads(done.out) if f["what"] == "home"]
    assert found["state"] == "problem" and found["remedy"]
    assert "is a file" in found["found"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200.0),
        ("30m", 1800.0),
        ("600s", 600.0),
        ("600", 600.0),
        ("1.5h", 5400.0),
        (".5m", 30.0),
    ],
)
def test_seconds__duration__is_what_a_person_means(text, seconds):
    from autollm.cli.lab import seconds as parse

    assert parse(text) == seconds


def test_version__asked_for__is_one_line():
    done = call("--version")
    assert done.code == 0 and re.fullmatch(r"autollm \d+\.\d+\S*\n", done.out)
