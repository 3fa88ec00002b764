"""What an evaluation's request says: the command that repeats it, and its identity."""

from dataclasses import replace
from pathlib import Path

import pytest

from autollm.agent.chat import parse_chat
from autollm.agent.profiles import load_profile
from autollm.core.errors import EpisodeError
from autollm.core.places import resolve
from autollm.evaluation.runner import evaluate
from autollm.gym.tasks.suites import Suite
from autollm.lab.families import FAMILIES
from autollm.stages import judging
from autollm.stages.agents import Agent
from autollm.stages.evaluation_players import chat_contender
from autollm.stages.evaluation_request import EvaluationRequest
from autollm.stages.judging import evaluation_identity
from tests.unit.agent.test_chat import SUBMIT, TABLE, endpoint, run
from tests.unit.gym.tables import make_task
from tests.unit.lab.live_tables import TINY, table_of, task_of

CHAT = parse_chat("chat:m@http://127.0.0.1:9")
REQUEST = EvaluationRequest(
    ("lab-pretraining-v1",), ("random",), (), 3, load_profile("tiny")
)


def trained(number: int) -> Agent:
    return Agent(
        "agent-x",
        "sft",
        Path(f"f{number}"),
        f"d{number}",
        reference=f"f{number}",
        training=number,
    )


def test_request__chat_and_trainings__command_names_them_as_they_were_named() -> (
    None
):
    agents = (
        trained(1),
        trained(2),
        Agent("other", "sft", Path("g"), "e", reference="g"),
    )
    said = replace(REQUEST, chats=(CHAT,), agents=agents).command
    assert (
        "--policies random,chat:m@http://127.0.0.1:9 " in said
        and "--agent f1+f2,g " in said
    )


def test_identity__other_chat_address__is_another_evaluation() -> None:
    found = {
        evaluation_identity(replace(REQUEST, chats=chats), TABLE)
        for chats in ((), (CHAT,), (parse_chat("chat:m@http://127.0.0.1:8"),))
    }
    assert len(found) == 3


def test_chat_contender__evaluated__is_judged_once_and_kept(tmp_path) -> None:
    suite = Suite("toy-v1", 1, "pretraining", "toy", "", (make_task(TABLE),))
    with endpoint(run(0.0), run(-0.5), run(0.5), SUBMIT) as (url, seen):
        contender = chat_contender(parse_chat(f"chat:m@{url}"))
        (first,) = evaluate(
            [suite], [contender], 1, TABLE, out_url=str(tmp_path)
        )
        assert (
            evaluate([suite], [contender], 1, TABLE, out_url=str(tmp_path))
            == [first]
            and len(seen) == 4
        )
    assert (first.policy, first.stage, first.n_calls, first.malformed) == (
        "chat:m",
        "chat",
        4,
        0,
    )
    assert first.transcript_json and first.regret[-1] < 1


def test_request__live__is_said_in_the_command_and_is_another_evaluation() -> (
    None
):
    assert replace(REQUEST, live=True).command.endswith("--seeds 3 --live")
    assert (
        replace(REQUEST, live=True, max_seconds=60).command.endswith(
            "--live --max-seconds 60"
        )
        and "--live" not in REQUEST.command
    )


def test_open_table__live_suite_of_no_lab_family__is_refused_before_anything_is_played(
    tmp_path, monkeypatch
) -> None:
    suite = Suite("toy-v1", 1, "pretraining", "toy", "", (make_task(TABLE),))
    monkeypatch.setattr(judging, "open_snapshot", lambda _: TABLE)
    monkeypatch.setattr(judging, "playable", lambda *_: ([suite], []))
    places = resolve(tmp_path)
    assert judging.open_table(places, REQUEST) is TABLE
    with pytest.raises(EpisodeError, match="Fix: leave --live out"):
        judging.open_table(places, replace(REQUEST, live=True))


def test_open_table__live_suite_of_the_lab__table_says_that_it_is_live(
    tmp_path, monkeypatch
) -> None:
    table = table_of("pretraining")
    monkeypatch.setitem(FAMILIES, "pretraining", TINY["pretraining"])
    monkeypatch.setattr(judging, "open_snapshot", lambda _: table)
    monkeypatch.setattr(
        judging,
        "playable",
        lambda *_: (
            [
                Suite(
                    "tiny-v1",
                    1,
                    "pretraining",
                    "lab-pretraining",
                    "",
                    (task_of(table),),
                )
            ],
            [],
        ),
    )
    live = judging.open_table(
        resolve(tmp_path), replace(REQUEST, live=True, max_seconds=7)
    )
    assert (
        live.live
        and live.table_id == table.table_id
        and live.make_source.max_seconds == 7
        and live.make_source.logs_dir == resolve(tmp_path).inbox / "live"
    )
