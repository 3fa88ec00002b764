"""A home in which something is damaged: each command names the file, what is wrong and
one remedy, and what does not need that file goes on.
"""

from __future__ import annotations

import json

import pytest

from tests.helpers.commands import call

SUITE = ("--suite", "lab-pretraining-v2", "--policies", "random")
READ_SNAPSHOT = [
    ("suites",),
    ("suites", "--json"),
    ("suites", "make", "x"),
    ("suites", "describe", "lab-pretraining-v2"),
    ("evaluate", *SUITE),
]


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def put(home, name, data):
    """A file of the home with these bytes."""
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refused(home, *arguments):
    """The one sentence in which a command ends."""
    done = call(*arguments, "--home", home)
    assert not done.traceback
    assert done.code == 1 and done.out == ""
    said = done.err.strip().splitlines()[-1]
    assert said.startswith("error: ") and "Fix: " in said
    return said


@pytest.mark.parametrize("arguments", READ_SNAPSHOT, ids=" ".join)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1}'])
def test_command__damaged_pointer__names_it(home, arguments, data):
    put(home, "snapshots/current.json", data)
    assert "current.json is damaged" in refused(home, *arguments)


@pytest.mark.parametrize("arguments", READ_SNAPSHOT, ids=" ".join)
def test_command__pointer_to_nothing__says_what_there_is(home, arguments):
    put(home, "snapshots/current.json", '{"table_id": "gone"}')
    said = refused(home, *arguments)
    assert "snapshot gone has no manifest.json" in said
    assert "Complete ones: none" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "current.json is damaged: it is empty"),
        (b'{"table_id": "gone"}', "gone: manifest.json is missing"),
    ],
)
def test_doctor__damaged_pointer__is_a_finding_beside_the_others(
    home, data, said
):
    """Who asks what is wrong gets the whole list, not its first entry."""
    put(home, "snapshots/current.json", data)
    done = call("doctor", "--json", "--home", home)
    assert done.code == 1 and not done.traceback
    findings = {f["what"]: f for f in json.loads(done.out)}
    assert len(findings) > 10
    found = findings["snapshot"]
    assert found["state"] == "problem" and said in found["found"]
    assert "autollm run" in found["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("suites",),
        ("clean", "--keep", "1"),
        ("lab", "status"),
        ("report",),
        ("advice", "list"),
        ("ingest", "x.csv"),
    ],
    ids=" ".join,
)
def test_command__home_of_a_newer_version__is_left_alone(home, arguments):
    note = put(home, "home.json", '{"schema": 99}')
    said = refused(home, *arguments)
    assert "schema 99" in said and "a newer autollm wrote it" in said
    assert [p.name for p in home.iterdir()] == ["home.json"]
    assert note.read_text() == '{"schema": 99}'


@pytest.mark.parametrize("data", [b"", b"junk", b"PAR1" * 20])
def test_clean__damaged_episodes__go_with_those_that_answer_nothing(home, data):
    """They answer nothing: whoever reads them plays their episodes again."""
    part = put(home, "reports/episodes/abc/part-0123.parquet", data)
    looked = call("clean", "--keep", "1", "--dry-run", "--json", "--home", home)
    assert looked.code == 0 and part.exists()
    (item,) = json.loads(looked.out)
    assert item["kind"] == "episodes" and item["n_bytes"] == len(data)
    done = call("clean", "--keep", "1", "--home", home)
    assert done.code == 0 and not part.exists()


@pytest.mark.parametrize(
    "arguments", [("clean", "--keep", "0"), ("evaluate", *SUITE)], ids=" ".join
)
def test_command__damaged_pointer_of_agents__names_it(home, arguments):
    put(home, "checkpoints/agents-tiny.json", "{")
    assert "agents-tiny.json" in refused(home, *arguments)


def test_suites__some_of_ones_own_are_broken__the_others_are_listed(home):
    put(home, "suites/x-v1.toml", b"\xff")
    put(home, "suites/[red]y-v1.toml", "a")
    (home / "suites" / "folder-v1.toml").mkdir()
    done = call("suites", "--json", "--home", home)
    assert done.code == 0 and not done.traceback
    assert len(json.loads(done.out)) > 20
    for name in ("x-v1.toml", "[red]y-v1.toml", "folder-v1.toml"):
        (line,) = [x for x in done.err.splitlines() if name in x]
        assert line.startswith("left out: ") and "Fix: correct the file" in line


@pytest.mark.parametrize("name", ["x-v1", "[red]y-v1", "folder-v1"])
def test_evaluate__broken_suite_of_ones_own__is_said(home, name):
    put(home, "suites/x-v1.toml", b"\xff")
    put(home, "suites/[red]y-v1.toml", "a")
    (home / "suites" / "folder-v1.toml").mkdir()
    said = refused(home, "evaluate", "--suite", name, "--policies", "random")
    assert f"{name}.toml" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("advice", "list"),
        ("advice", "show", "abcd"),
        ("tell", "abcd", "--run", "a=1"),
        ("recommend", "--continue", "abcd"),
    ],
    ids=" ".join,
)
def test_command__damaged_advice__names_it(home, arguments):
    put(home, "advice/abcd/advice.json", "{")
    assert "abcd/advice.json is damaged" in refused(home, *arguments)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"gone\n", b"", b"../..\n"])
def test_report__pointer_that_names_nothing__says_how_to_make_one(home, data):
    put(home, "reports/latest", data)
    assert "no leaderboard" in refused(home, "report")


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"schema": 2}', b'{"schema": 99}', b"[]", b"\xff"]
)
def test_report__damaged_leaderboard__names_it(home, data):
    put(home, "reports/abc/leaderboard.json", data)
    assert "leaderboard.json" in refused(home, "report", "abc")
