"""The advisor by the protocol's own client: in process, and as `autollm mcp`."""

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

from mcp import Client, StdioServerParameters  # noqa: E402

from autollm.advisor.doors.mcp_server import MAX_CHARACTERS, build_server  # noqa: E402

TOOLS = {
    "what_can_i_know",
    "list_sources",
    "query_experiments",
    "recommend",
    "check",
    "plan",
    "tell",
    "is_it_noise",
}
TARGET = "params=1e9,tokens=2e10"
SECRET = "sk-proj-" + "a1B2" * 10


def write_sweep(folder: Path, name: str = "runs.csv") -> Path:
    """A sweep whose best rate halves with each level, each cell run twice, with noise
    of sd .01.
    """
    rng = np.random.default_rng(7)
    lines = ["run,params,tokens,lr,batch_size,seed,val_loss"]
    for level, (params, tokens) in enumerate(
        [(1e7, 2e8), (3e7, 6e8), (1e8, 2e9)]
    ):
        for octave in range(-4, 3):
            for batch in (32, 64, 128):
                for seed in (0, 1):
                    off = octave + level + 1
                    batch_off = np.log2(batch / 64)
                    loss = 4 - 0.3 * level + 0.02 * off**2 + 0.01 * batch_off**2
                    loss += rng.normal(0, 0.01)
                    row = (
                        params,
                        tokens,
                        0.004 * 2.0**octave,
                        batch,
                        seed,
                        loss,
                    )
                    told = ",".join(f"{value:.6g}" for value in row)
                    lines.append(f"{SECRET}-{len(lines)},{told}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def ask(server, tool, **arguments):
    """What a client gets: the text and whether it is an error."""

    async def call():
        async with Client(server) as client:
            answer = await client.call_tool(tool, arguments)
            return "".join(
                part.text for part in answer.content
            ), answer.is_error

    return asyncio.run(call())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_sweep(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    return build_server(folder)


def test_server__listed_tools__are_described_with_their_arguments(server):
    async def listed():
        async with Client(server) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(listed())
    assert {tool.name for tool in tools} == TOOLS
    for tool in tools:
        assert tool.description
        required = tool.input_schema["required"]
        assert "logs" in required or tool.name == "tell"


def test_recommend__sweep__follows_the_optimum_and_tells_no_secret(server):
    text, failed = ask(server, "recommend", logs="runs.csv", target=TARGET)
    advice = json.loads(text)
    assert not failed and advice["schema"] == "autollm.recommendation/1"
    rate = advice["recommendations"][0]["configuration"]["lr"]
    assert rate < 0.002, "the optimum falls with scale"
    assert SECRET not in text and len(text) <= MAX_CHARACTERS


def test_what_can_i_know__sweep__answers_each_question_with_its_reason(server):
    text, failed = ask(
        server, "what_can_i_know", logs="runs.csv", target=TARGET
    )
    answers = json.loads(text)["can_answer"]
    assert not failed and {a["answer"] for a in answers} <= {
        "yes",
        "partly",
        "no",
    }
    assert all(a["because"] for a in answers)


def test_check__plan_far_off__is_wasteful(server):
    plan = {"lr": 0.016, "batch_size": 64}
    text, failed = ask(
        server, "check", logs="runs.csv", target=TARGET, configuration=plan
    )
    checked = json.loads(text)["checked"]
    assert not failed and checked["distance_to_optimum"]["lr"] > 1


def test_plan__sweep__names_cheap_runs_and_what_they_cost(server):
    text, failed = ask(
        server, "plan", logs="runs.csv", target=TARGET, budget="20%"
    )
    told = json.loads(text)
    assert not failed and told["plan"] and told["noise"]["sd"] > 0
    for run in told["plan"]:
        assert run["expected_regret_after"] <= run["expected_regret_before"]
    text, failed = ask(
        server, "plan", logs="runs.csv", target=TARGET, budget="much"
    )
    assert failed and "expected 200device-hours" in text


def test_recommend_saved_and_told__ledger__scores_it(folder, tmp_path):
    server = build_server(folder, str(tmp_path))
    text, failed = ask(
        server, "recommend", logs="runs.csv", target=TARGET, save=True
    )
    assert not failed, text
    advice = json.loads(text)
    first = advice["recommendations"][0]
    told = {
        "advice_id": advice["advice_id"],
        "configuration": first["configuration"],
    }
    text, failed = ask(server, "tell", **told)
    assert failed and "the run lacks the outcome val_loss. Fix: give it" in text
    outcome = first["predicted"]["mean"]
    text, failed = ask(server, "tell", outcome=outcome, **told)
    row = json.loads(text)
    assert not failed and row["n_scored"] == row["n_inside"] == 1
    assert row["noise"]["sd"] > 0 and SECRET not in text
    text, failed = ask(server, "tell", status="lost", **told)
    assert failed and "expected one of" in text
    text, failed = ask(server, "tell", name="b", status="OOM", **told)
    assert not failed and json.loads(text)["n_told"] == 2
    other = told | {"advice_id": "f" * 16, "status": "killed"}
    text, failed = ask(server, "tell", **other)
    assert failed and "unknown advice" in text


def test_tell__server_without_a_home__says_so(server):
    text, failed = ask(
        server, "tell", advice_id="abcd", configuration={}, outcome=1.0
    )
    assert failed and "--home" in text


def test_list_sources_and_query__sweep__tell_what_lies_there(server):
    told = json.loads(ask(server, "list_sources", logs="runs.csv")[0])
    assert told["runs"] == 126 and len(told["experiments"]) == 3
    assert set(told["knobs"]) == {"lr", "batch_size"}
    assert told["noise_sd"] == pytest.approx(0.01, rel=0.3)
    page = json.loads(
        ask(server, "query_experiments", logs="runs.csv", page=0)[0]
    )
    outcomes = [run["outcome"] for run in page["runs"]]
    assert outcomes == sorted(outcomes) and page["pages"] == 7


@pytest.mark.parametrize("difference, real", [(0.1, True), (0.005, False)])
def test_is_it_noise__difference__is_held_against_repeats(
    server, difference, real
):
    text, _ = ask(server, "is_it_noise", logs="runs.csv", difference=difference)
    told = json.loads(text)
    assert told["real"] is real and told["degrees"] == 63
    assert (told["runs_needed"] > 1) is not real


@pytest.mark.parametrize(
    "logs", ["../outside.csv", "/etc/hostname", "missing.csv", "link.csv"]
)
def test_tools__path_outside_or_missing__is_refused_in_a_sentence(
    folder, server, logs
):
    outside = folder.parent / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    link = folder / "link.csv"
    if not link.is_symlink():
        link.symlink_to(outside)
    text, failed = ask(server, "list_sources", logs=logs)
    assert failed and "Fix: " in text and "Traceback" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": "params=1e9"},
        {"target": "nonsense"},
        {"target": TARGET, "trials": 0},
        {"target": "x" * 5000},
        {},
    ],
)
def test_recommend__wrong_arguments__end_in_an_error_of_the_protocol(
    server, arguments
):
    text, failed = ask(server, "recommend", logs="runs.csv", **arguments)
    assert failed and text and "Traceback" not in text


def test_tools__unreadable_log__says_so(folder, server):
    (folder / "noise.csv").write_bytes(os.urandom(4096))
    text, failed = ask(server, "list_sources", logs="noise.csv")
    assert failed and "Traceback" not in text


def test_command__over_stdin__answers_the_client(folder):
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "autollm.cli.main", "mcp", "--root", str(folder)],
        env={**os.environ},
    )
    text, failed = ask(parameters, "list_sources", logs="runs.csv")
    assert not failed and json.loads(text)["runs"] == 126
