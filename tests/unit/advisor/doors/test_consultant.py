"""The tools of the advisor called at once, without a protocol: what a coding agent reads
of logs that hold what people's logs hold.
"""

from __future__ import annotations

import csv
import json
import math
import os

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

from mcp.server.mcpserver.exceptions import ToolError

from autollm.advisor.doors import mcp_server
from autollm.advisor.doors.mcp_server import (
    MAX_CHARACTERS,
    PAGE,
    Consultant,
)

LOSSES = ("nan", "inf", "3.0", "2.5", "2.75", "-inf")


def write_runs(path, n=24, direction="min"):
    """A table with rates, sizes and every kind of outcome."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "run",
                "peak_lr",
                "n_params",
                "n_tokens",
                f"val_{direction}",
                "state",
            ]
        )
        for number in range(n):
            loss = LOSSES[number % len(LOSSES)]
            diverged = not math.isfinite(float(loss))
            writer.writerow(
                [
                    f"r{number}",
                    0.001 * 2.0 ** (number % 4),
                    int(1e8 * 2 ** (number // 12)),
                    int(2e9 * 2 ** (number // 12)),
                    loss,
                    "diverged" if diverged else "finished",
                ]
            )
    return path


@pytest.fixture(scope="module")
def consultant(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_runs(folder / "runs.csv")
    return Consultant(folder)


OBJECTIVE = "val_min:min"


def asked(tool, *arguments, **named):
    return json.loads(tool("runs.csv", *arguments, **named))


def test_query_experiments__runs_that_diverged__come_last_without_an_outcome(
    consultant,
):
    found = asked(consultant.query_experiments, objective=OBJECTIVE)
    outcomes = [run["outcome"] for run in found["runs"]]
    known = [value for value in outcomes if value is not None]
    assert known == sorted(known) and len(known) == 12
    assert outcomes[: len(known)] == known
    assert {run["status"] for run in found["runs"][len(known) :]} == {
        "diverged"
    }


def test_query_experiments__configuration__is_in_the_users_own_words(
    consultant,
):
    found = asked(consultant.query_experiments, objective=OBJECTIVE)
    first = found["runs"][0]
    assert set(first["configuration"]) == {"peak_lr"}
    assert set(first["fidelity"]) == {"n_params", "n_tokens"}
    assert first["file"].endswith("runs.csv")


def test_query_experiments__pages__hold_each_run_once(consultant):
    names = []
    page = 0
    while True:
        found = asked(consultant.query_experiments, page, OBJECTIVE)
        if not found["runs"]:
            break
        assert len(found["runs"]) <= PAGE
        names += [run["run_id"] for run in found["runs"]]
        page += 1
    assert found["pages"] == page == 2
    assert len(names) == len(set(names)) == 24


def test_query_experiments__objective_to_be_maximized__highest_comes_first(
    tmp_path,
):
    write_runs(tmp_path / "runs.csv", direction="max")
    found = asked(
        Consultant(tmp_path).query_experiments, objective="val_max:max"
    )
    assert found["runs"][0]["outcome"] == 3.0


def test_list_sources__sweep__counts_how_runs_ended(consultant):
    found = asked(consultant.list_sources, objective=OBJECTIVE)
    assert found["runs"] == 24
    assert found["ended"] == {"finished": 12, "diverged": 12}
    assert found["experiments_not_shown"] == 0
    assert found["knobs"] == ["peak_lr"]


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ("gone.csv", "nothing is at 'gone.csv'"),
        ("../", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("a\x00b", "a path holds no NUL"),
    ],
)
def test_inside__path_that_may_not_be_read__is_refused(consultant, logs, words):
    with pytest.raises(ToolError, match="Fix") as caught:
        consultant.list_sources(logs)
    assert words in str(caught.value)


def test_inside__link_that_leads_outside__is_refused(tmp_path):
    inside = tmp_path / "root"
    inside.mkdir()
    write_runs(tmp_path / "secret.csv")
    (inside / "runs.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(ToolError, match="lies outside"):
        Consultant(inside).list_sources("runs.csv")


def test_evidence__same_files__are_read_once_and_changed_ones_anew(
    tmp_path, monkeypatch
):
    path = write_runs(tmp_path / "runs.csv")
    reads = []

    def read(*arguments):
        reads.append(arguments)
        return object()

    monkeypatch.setattr(mcp_server, "read_evidence", read)
    consultant = Consultant(tmp_path)
    consultant._evidence("runs.csv", "a")
    consultant._evidence("runs.csv", "a")
    assert len(reads) == 1
    consultant._evidence("runs.csv", "b")
    assert len(reads) == 2
    os.utime(path, (1, 2**33))
    consultant._evidence("runs.csv", "b")
    assert len(reads) == 3


def test_home__server_without_one__says_how_to_start_it(tmp_path):
    with pytest.raises(ToolError, match="start it with --home"):
        Consultant(tmp_path).tell("abcd", {"lr": 1}, 2.0)


def bounded(**answer):
    return json.loads(mcp_server._bounded(answer))


def test_bounded__long_evidence__keeps_its_first_rows():
    rows = [{"text": "x" * 500, "number": i} for i in range(200)]
    found = bounded(a=1, evidence={"n_runs": 200, "rows": rows})
    assert [row["number"] for row in found["evidence"]["rows"]] == [0, 1, 2]
    assert found["a"] == 1 and found["evidence"]["n_runs"] == 200


def test_bounded__too_long_all_the_same__is_refused_with_its_size():
    with pytest.raises(ToolError, match="ask of fewer logs") as caught:
        mcp_server._bounded({"text": "x" * (MAX_CHARACTERS + 1)})
    assert f"{MAX_CHARACTERS:,} are shown" in str(caught.value)


def test_bounded__secret__is_not_told():
    secret = "sk-proj-" + "a1B2" * 10
    assert secret not in mcp_server._bounded({"name": secret})
