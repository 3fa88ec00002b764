"""What a run says step by step, and where the UIs are served."""

from __future__ import annotations

import io
import socket
from types import SimpleNamespace

import pytest
import yaml

from autollm.core.places import resolve
from pipelines import dev
from pipelines.progress import (
    FIRST_GUESS_S,
    OTHER_GUESS_S,
    StepProgress,
    longest_durations,
)


class History:
    """An instance of Dagster that knows how long steps took."""

    def __init__(self, *runs):
        self._runs = runs

    def get_runs(self, limit):
        return [SimpleNamespace(run_id=i) for i in range(len(self._runs))][
            :limit
        ]

    def get_run_step_stats(self, run_id):
        stats = []
        for step, (begin, end) in self._runs[run_id].items():
            until = None if end is None else 1000.0 + end
            stats.append(
                SimpleNamespace(
                    step_key=step, start_time=1000.0 + begin, end_time=until
                )
            )
        return stats


def event(kind, step, error=None):
    return SimpleNamespace(
        step_key=step,
        event_type=SimpleNamespace(name=f"STEP_{kind}"),
        event_specific_data=SimpleNamespace(error=error),
    )


def progress(*steps, history=(), done=()):
    out = io.StringIO()
    found = StepProgress(History(*history), "run", list(steps), done, out)
    return found, out


def test_longest_durations__several_runs__are_the_longest_of_each_step():
    history = History(
        {"a": (0.0, 5.0), "b": (0.0, 0.1)},
        {"a": (10.0, 22.0), "c": (0.0, None)},
        {"z": (0.0, 9.0)},
    )
    found = longest_durations(history, ["a", "b", "c"])
    assert found == {"a": 12.0}  # b found its work done, c never ended


def test_longest_durations__old_runs__do_not_count():
    history = History(*[{"a": (0.0, 2.0)}] * 4, {"a": (0.0, 99.0)})
    assert longest_durations(history, ["a"]) == {"a": 2.0}


def test_left__nothing_done__is_the_sum_of_guesses():
    found, _ = progress("landing", "odd")
    wanted = FIRST_GUESS_S["landing"] + OTHER_GUESS_S
    assert found.left_s == pytest.approx(wanted)


def test_left__measured_before_or_done_already__is_by_that():
    found, _ = progress(
        "a", "b", history=[{"a": (0.0, 30.0), "b": (0.0, 50.0)}], done=["b"]
    )
    assert found.left_s == pytest.approx(30.5)


def test_take__steps_in_order__say_their_number_and_seconds():
    found, out = progress("a", "b")
    found.take(event("START", "a"), 100.0)
    found.take(event("SUCCESS", "a"), 103.0)
    found.take(event("START", "b"), 103.0)
    lines = out.getvalue().splitlines()
    assert "step 1/2 a ..." in lines[0]
    assert "step 1/2 a done in 3 s" in lines[1]
    assert "step 2/2 b ..." in lines[2]
    assert found.spent() == "a 3 s, 0 others 0.0 s"


def test_take__step_of_another_run__says_nothing():
    found, out = progress("a")
    found.take(event("START", "z"), 1.0)
    found.take(event("SUCCESS", "z"), 2.0)
    assert out.getvalue() == "" and found.spent() == "0 others 0.0 s"


def test_take__failure__says_the_innermost_reason():
    inner = SimpleNamespace(message="ValueError: out of chalk\n", cause=None)
    outer = SimpleNamespace(message="StepError: a failed", cause=inner)
    found, out = progress("a", "b")
    found.take(event("START", "a"), 1.0)
    found.take(event("FAILURE", "a", outer), 2.0)
    assert (
        out.getvalue()
        .splitlines()[-1]
        .endswith("step a failed: ValueError: out of chalk")
    )


@pytest.mark.parametrize("kind", ["FAILURE", "SKIPPED"])
def test_left__step_that_failed_or_was_skipped__takes_no_more_time(kind):
    found, _ = progress("landing", "training")
    found.take(event("START", "landing"), 1.0)
    found.take(event("SUCCESS", "landing"), 2.0)
    if kind == "FAILURE":
        found.take(event("START", "training"), 2.0)
    found.take(event(kind, "training"), 3.0)
    assert found.left_s == 0.0


def test_spent__quick_and_long_steps__longest_first_quick_ones_together():
    found, _ = progress("a", "b", "c")
    at = 0.0
    for step, seconds in (("a", 2.0), ("b", 0.25), ("c", 7.0)):
        found.take(event("START", step), at)
        found.take(event("SUCCESS", step), at + seconds)
        at += seconds
    assert found.spent() == "c 7 s, a 2 s, 1 others 0.2 s"


def listening():
    """A socket that listens on a free port of loopback, and that port."""
    taken = socket.socket()
    taken.bind((dev.HOST, 0))
    taken.listen()
    return taken, taken.getsockname()[1]


def test_free_port__first_one_answers__is_a_later_one():
    taken, port = listening()
    with taken:
        found = dev.free_port(port)
    assert port < found < port + 200


def test_free_port__promised_to_another_server__is_not_given_twice():
    first = dev.free_port(20_000)
    second = dev.free_port(20_000, taken=(first,))
    assert second != first
    assert dev.free_port(20_000, taken=(first, second)) not in (first, second)


@pytest.mark.parametrize("first", [65_536, 70_000, -1, 0])
def test_free_port__number_that_no_port_has__says_so(first):
    with pytest.raises(SystemExit, match="--dagster-port or --mlflow-port"):
        dev.free_port(first)


def test_free_port__last_one__is_found_or_said(monkeypatch):
    monkeypatch.setattr(dev, "_can_bind", lambda port: port == 65_535)
    assert dev.free_port(65_400) == 65_535
    monkeypatch.setattr(dev, "_can_bind", lambda port: False)
    with pytest.raises(SystemExit, match="no free port from 65400 to 65535"):
        dev.free_port(65_400)


@pytest.fixture
def places(tmp_path):
    return resolve(str(tmp_path / "it's a home [v2]")).prepare()


def test_write_workspace__any_home__is_yaml_of_one_code_server(places):
    path = dev.write_workspace(places, 4266)
    told = yaml.safe_load(path.read_text())
    (entry,) = told["load_from"]
    assert entry["grpc_server"] == {
        "host": "127.0.0.1",
        "port": 4266,
        "location_name": "autollm",
    }


def test_commands__all_servers__listen_on_loopback_alone(places):
    workspace = dev.write_workspace(places, 1)
    commands = [
        dev.code_server_command(1),
        dev.webserver_command(workspace, 2),
        dev.mlflow_command(places, 3),
    ]
    for command in commands:
        at = command.index("-h") if "-h" in command else command.index("--host")
        assert command[at + 1] == "127.0.0.1"
        assert "0.0.0.0" not in command
    assert "--host" not in dev.daemon_command(workspace)
