"""What an evaluation's request says: the command that repeats it, and its identity."""

from dataclasses import replace
from pathlib import Path

from autollm.agent.chat import parse_chat
from autollm.agent.profiles import load_profile
from autollm.evaluation.runner import evaluate
from autollm.gym.suites import Suite
from autollm.stages.agents import Agent
from autollm.stages.judging import Request, chat_contender, identity_of
from tests.unit.agent.test_chat import SUBMIT, TABLE, endpoint, run
from tests.unit.gym.tables import make_task

CHAT = parse_chat("chat:m@http://127.0.0.1:9")
REQUEST = Request(("lab-pretraining-v1",), ("random",), (), 3, load_profile("tiny"))


def trained(number: int) -> Agent:
    return Agent(f"agent-x#{number}", "sft", Path(f"f{number}"), f"d{number}", reference=f"f{number}")


def test_request__chat_and_trainings__command_names_them_as_they_were_named() -> None:
    agents = (trained(1), trained(2), Agent("other", "sft", Path("g"), "e", reference="g"))
    said = replace(REQUEST, chats=(CHAT,), agents=agents).command
    assert "--policies random,chat:m@http://127.0.0.1:9 " in said and "--agent f1+f2,g " in said


def test_identity__other_chat_address__is_another_evaluation() -> None:
    found = {identity_of(replace(REQUEST, chats=chats), "t") for chats in ((), (CHAT,), (parse_chat("chat:m@http://127.0.0.1:8"),))}
    assert len(found) == 3


def test_chat_contender__evaluated__is_judged_once_and_kept(tmp_path) -> None:
    suite = Suite("toy-v1", 1, "pretraining", "toy", "", (make_task(TABLE),))
    with endpoint(run(0.0), run(-0.5), run(0.5), SUBMIT) as (url, seen):
        contender = chat_contender(parse_chat(f"chat:m@{url}"))
        (first,) = evaluate([suite], [contender], 1, TABLE, out_url=str(tmp_path))
        assert evaluate([suite], [contender], 1, TABLE, out_url=str(tmp_path)) == [first] and len(seen) == 4
    assert (first.policy, first.stage, first.n_calls, first.malformed) == ("chat:m", "chat", 4, 0)
    assert first.transcript_json and first.regret[-1] < 1
