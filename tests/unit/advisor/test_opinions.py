"""Second opinions: a chat model behind a local server plays the gym's tools on a question
that nobody ran.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from autollm.advisor.answering.opinions import TRIALS, episode_of, opinion
from autollm.cli.main import app
from tests.unit.advisor.doors.test_mcp_server import SECRET, TARGET, write_sweep
from tests.unit.advisor.studies import study_of


class Scripted:
    """A generator that says what it is told to, turn after turn."""

    def __init__(self, *turns: str):
        self.turns = turns

    def generate(self, conversations, seed=0):
        said = sum(m["role"] == "assistant" for m in conversations[0])
        return [self.turns[min(said, len(self.turns) - 1)]]


def call(name: str, **arguments) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>{body}</tool_call>"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("opinions"))


def run(**knobs: float) -> str:
    return call("run_experiment", experiment="target", configuration=knobs)


def test_opinion__proposal__is_judged_by_the_same_fit(found):
    episode = episode_of(found)
    names = found.question.space.names
    here = dict.fromkeys(names, 0.0)
    said = opinion(
        found,
        "scripted",
        Scripted(f"trend 0.0{run(**here)}", call("submit", configuration=here)),
    )
    assert set(said["configuration"]) == {"lr", "batch_size"}
    assert said["expected_regret"].low <= said["expected_regret"].high
    assert [m["role"] for m in said["transcript"][:3]] == [
        "user",
        "assistant",
        "tool",
    ]
    assert said["transcript"][2]["content"] == "proposed left 0"
    assert (said["numbers"], said["numbers_traced"]) == (1, 1)
    assert episode.drawn.task.trials == TRIALS


def test_opinion__submission_without_a_run__is_the_opinion(found):
    here = dict.fromkeys(found.question.space.names, 0.0)
    said = opinion(found, "x", Scripted(call("submit", configuration=here)))
    assert said["configuration"]


def test_opinion__invented_number__is_not_traced(found):
    here = dict.fromkeys(found.question.space.names, 0.0)
    text = f"I know that 123.75 is best{call('submit', configuration=here)}"
    said = opinion(found, "x", Scripted(text))
    assert (said["numbers"], said["numbers_traced"]) == (1, 0)


@pytest.mark.parametrize(
    "turn", ["no call at all", call("run_experiment"), call("nonsense")]
)
def test_opinion__nothing_readable__is_none_and_ends(found, turn):
    said = opinion(found, "x", Scripted(turn))
    assert said["configuration"] is None and len(said["transcript"]) < 20


def test_episode__evidence__is_all_of_it_and_no_outcome(found):
    episode = episode_of(found)
    rows = sum(len(one.loss) for one in episode.drawn.view.evidence)
    assert rows == sum(len(one.loss) for one in found.question.view.evidence)
    trial = episode.run_point(found.question.space.window.mean(axis=0))
    assert np.isnan(trial.loss) and episode.done


class Handler(BaseHTTPRequestHandler):
    """Chat completions: looks at the evidence, proposes the trend, submits it."""

    requests: list[dict] = []

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        self.requests.append(asked | {"key": self.headers["Authorization"]})
        knobs = asked["messages"][1]["content"].split("window ")[1].split('"')
        here = dict.fromkeys((knobs[1], knobs[3]), 0.0)
        n_said = sum(m["role"] == "assistant" for m in asked["messages"])
        calls = [
            ("summarize_evidence", {}),
            ("run_experiment", {"experiment": "target", "configuration": here}),
            ("submit", {"configuration": here}),
        ]
        name, arguments = calls[n_said]
        function = {"name": name, "arguments": json.dumps(arguments)}
        message = {
            "role": "assistant",
            "content": "the trend is 0.0",
            "tool_calls": [
                {"id": "1", "type": "function", "function": function}
            ],
        }
        body = json.dumps({"choices": [{"message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def served():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_recommend__chat_policy__stands_beside_the_advice(
    tmp_path, monkeypatch
):
    Handler.requests.clear()
    monkeypatch.setenv("AUTOLLM_CHAT_API_KEY", SECRET)
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    arguments = ["recommend", str(write_sweep(tmp_path)), "--target", TARGET]
    plain = CliRunner().invoke(app, [*arguments, "--json"])
    page = tmp_path / "advice.html"
    with served() as url:
        policy = ["--policy", f"chat:some-model@{url}", "--page", str(page)]
        done = CliRunner().invoke(app, [*arguments, "--json", *policy])
    assert done.exit_code == 0, done.output
    advice = json.loads(done.stdout)
    before = json.loads(plain.stdout)
    assert advice["recommendations"] == before["recommendations"]
    (said,) = advice["opinions"]
    assert said["policy"] == "chat:some-model"
    assert set(said["configuration"]) == {"lr", "batch_size"}
    roles = [turn["role"] for turn in said["transcript"]]
    assert roles == ["user"] + ["assistant", "tool"] * 3
    assert said["transcript"][3]["call"].startswith("run_experiment")
    text = page.read_text()
    assert 'id="opinions"' in text and "the trend is 0.0" in text
    assert SECRET not in text
    assert Handler.requests[0]["key"] == f"Bearer {SECRET}"
    sent = json.dumps([r["messages"] for r in Handler.requests])
    assert SECRET not in sent and "runs.csv" not in sent


def test_recommend__chat_server_gone__is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("autollm.agent.chat.ATTEMPTS", 1)
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    arguments = ["recommend", str(write_sweep(tmp_path)), "--target", TARGET]
    policy = ["--policy", "chat:some-model@http://127.0.0.1:9"]
    done = CliRunner().invoke(app, [*arguments, *policy])
    assert done.exit_code == 1 and "failed 1 times" in str(
        done.exception or done.output
    )
