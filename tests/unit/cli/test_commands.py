"""Commands as a person or a program calls them."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from autollm.cli.evaluate import contenders
from autollm.cli.main import app
from autollm.cli.suites import origin_of
from autollm.core.errors import SetupError
from autollm.core.places import resolve
from autollm.evaluation import leaderboard
from autollm.evaluation.protocol import Player, play
from autollm.gym.tasks.suites import suite_ids
from autollm.policies import registry
from autollm.policies.registry import make_policy
from autollm.stages.settings import load_settings
from tests.unit.gym.tables import make_table, make_task


def _call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done


def _process(*arguments, home):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "autollm.cli.main",
            *map(str, arguments),
            "--home",
            str(home),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help__asked_for__loads_nothing_heavy():
    code = (
        "import sys\nfrom autollm.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'dagster', 'pyarrow', 'numpy', "
        "'duckdb'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"
    for command in (
        "run",
        "lab",
        "ingest",
        "sources",
        "suites",
        "evaluate",
        "report",
        "doctor",
        "clean",
    ):
        assert command in done.stdout


def test_suites__json__lists_id_and_family(tmp_path):
    rows = json.loads(_call("suites", "--json", "--home", tmp_path).stdout)
    assert [r["suite_id"] for r in rows] == suite_ids()
    assert {r["suite_id"]: r["family"] for r in rows}[
        "tinker-sft-v1"
    ] == "finetuning"
    assert [r["masked_id"] for r in rows] == [
        f"{s}-masked" for s in suite_ids()
    ]
    assert all(
        r["family"] and r["playable"] is None and r["n_tasks"]["test"]
        for r in rows
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            (
                "evaluate",
                "--suite",
                "lab-pretrainin-v2",
                "--policies",
                "random",
            ),
            "Did you mean 'lab-pretraining-v2'",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--policies",
                "randm",
            ),
            "Did you mean 'random'",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--policies",
                "random",
            ),
            "no snapshot is published",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--agent",
                "models:/autollm-agent-tiny@champion",
            ),
            "unknown registered model",
        ),
        (
            ("evaluate", "--suite", "lab-pretraining-v2", "--agent", "nowhere"),
            "nowhere is no checkpoint",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--policies",
                "chat:m",
            ),
            "chat:MODEL@URL",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--policies",
                "chat:m@http://127.0.0.1:9,chat:m@http://127.0.0.1:8",
            ),
            "two addresses",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-v2",
                "--policies",
                "chat:m@http://127.0.0.1:9",
            ),
            "no snapshot is published",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-pretraining-fresh-v1",
                "--policies",
                "random",
            ),
            "is sealed",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-optimizer-fresh-v1-masked",
                "--policies",
                "random",
            ),
            "is sealed",
        ),
        (
            (
                "evaluate",
                "--suite",
                "lab-rl_tuning-fresh-v1",
                "--policies",
                "random",
                "--open-sealed",
                "why",
            ),
            "no snapshot is published",
        ),
        (("suites", "describe", "lab-pretraining-fresh-v1"), "is sealed"),
        (
            ("suites", "describe", "lab-pretraining-v2"),
            "no snapshot is published",
        ),
        (
            ("suites", "describe", "lab-pretrainin-v2"),
            "Did you mean 'lab-pretraining-v2'",
        ),
        (("report",), "no leaderboard"),
        (("ingest", "/nowhere/at/all"), "does not exist"),
        (("run", "--settings", "/nowhere.toml"), "cannot be read"),
        (("sources", "fetch", "steplow"), "Did you mean 'steplaw'"),
        (("lab", "run", "pretrainin"), "Did you mean 'pretraining'"),
    ],
)
def test_commands__wrong_name__one_line_on_stderr_and_code_1(
    tmp_path, arguments, words
):
    done = _process(*arguments, home=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert (
        words in done.stderr
        and done.stderr.startswith("error: ")
        and len(done.stderr.strip().splitlines()) == 1
    )


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("hwgpt", "surrogate"),
        ("tinker-sft", "measured"),
        ("lab/pretraining", None),
    ],
)
def test_origin_of__source__says_whether_its_rows_were_measured(source, rows):
    assert (origin_of(source) or {"rows": None})["rows"] == rows


def test_contenders__policy_whose_extra_is_absent__is_left_out_with_the_reason(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(registry.NEEDS, "trees", ("no_such_module",))
    settings = load_settings()
    assert contenders(resolve(tmp_path), settings, ["random", "trees"], []) == (
        ("random",),
        (),
    )
    assert (
        "left out: policy 'trees' needs no_such_module"
        in capsys.readouterr().err
    )
    with pytest.raises(SetupError, match="no_such_module"):
        contenders(resolve(tmp_path), settings, ["trees"], [])


def test_contenders__two_trainings_of_an_agent__share_its_id_and_are_numbered(
    tmp_path,
):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_text(name)
    references = [f"{tmp_path}/a+{tmp_path}/b", f"{tmp_path}/c"]
    home = resolve(tmp_path / "home")
    _, agents = contenders(home, load_settings(), [], references)
    assert [(agent.policy_id, agent.training) for agent in agents] == [
        ("agent-tiny-base", 1),
        ("agent-tiny-base", 2),
        ("agent-tiny-base@c", 0),
    ]


def test_commands__wrong_option__code_2(tmp_path):
    assert (
        _process(
            "evaluate",
            "--suite",
            "lab-pretraining-v2",
            "--seeds",
            "0",
            home=tmp_path,
        ).returncode
        == 2
    )


def test_ingest__broken_lines__counts_add_up_and_nothing_read_is_an_error(
    tmp_path,
):
    log = tmp_path / "broken.jsonl"
    log.write_text('{"kind":"header"\n\x00\x01\nnot json\n')
    home = tmp_path / "home"
    done = _call("ingest", log, "--home", home, "--json")
    report = json.loads(done.stdout)
    assert (
        done.exit_code == 1  # nothing could be read
        and report["n_lines_read"] + report["n_lines_quarantined"]
        == report["n_lines"]
        == 3
    )
    again = json.loads(_call("ingest", log, "--home", home, "--json").stdout)
    assert again["batch_id"] is None and again["n_files_skipped"] == 1


def test_lab_page__recorded_family__is_written_where_it_says(tmp_path):
    said = _call("lab", "page", "pretraining", "--home", tmp_path).stdout
    path = tmp_path / "reports" / "lab" / "pretraining.html"
    assert str(path) in said and path.read_text().count("<svg") == 2


def test_lab_status__json__counts_recorded_runs(tmp_path):
    families = json.loads(
        _call("lab", "status", "--json", "--home", tmp_path).stdout
    )["families"]
    assert (
        families["pretraining"]["runs"]
        == families["pretraining"]["embedded"]
        > 0
    )


def test_doctor__json__every_finding_that_is_not_ok_has_a_remedy_or_says_why(
    tmp_path,
):
    findings = json.loads(_call("doctor", "--json", "--home", tmp_path).stdout)
    assert {"Python", "packages", "home", "snapshot", "telemetry"} <= {
        f["what"] for f in findings
    }
    assert all(
        f["remedy"]
        for f in findings
        if f["state"] != "ok" and f["what"] != "GPU"
    )


def test_doctor__home_not_writable__is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    done = _call("doctor", "--home", tmp_path)
    assert done.exit_code == 1 and "PROBLEM home" in done.stdout


def test_report__written_board__is_printed_with_its_command(tmp_path):
    table = make_table(noise=0.02)
    results = []
    for seed in (0, 1):
        policy = make_policy("random")
        results.append(
            play(policy, make_task(table), table, seed, Player("random"))
        )
    board = leaderboard.build(
        results, command="autollm evaluate ...", commit="c"
    )
    leaderboard.write(board, str(tmp_path))
    leaderboard.point_latest(str(tmp_path), board.evaluation_id)
    shown = _call("report", "--home", tmp_path).stdout
    mean = f"{board.rows[0].regret_mean:.3f}".lstrip("0")
    for words in ("random", mean, "autollm evaluate ...", "report.html"):
        assert words in shown
    told = json.loads(_call("report", "--json", "--home", tmp_path).stdout)
    assert told == board.as_json()


@pytest.mark.parametrize(
    ("to", "needs_torch"), [("published_snapshot", False), (None, True)]
)
def test_run__up_to_the_snapshot__needs_nothing_that_trains(
    monkeypatch, tmp_path, to, needs_torch
):
    from autollm.cli import run as module

    asked = []
    monkeypatch.setattr(
        "autollm.core.extras.require", lambda modules, by: asked.extend(modules)
    )
    monkeypatch.setattr(module, "run_child", lambda arguments: 3)
    with pytest.raises(typer.Exit):
        module.run(home=str(tmp_path), settings=None, to=to)
    assert "dagster" in asked and ("torch" in asked) == needs_torch
