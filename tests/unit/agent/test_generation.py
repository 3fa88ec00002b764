import json

import httpx
import pytest

from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.generation import TransformersGenerator, make_generator
from autollm.agent.profiles import load_profile
from autollm.agent.server import OpenAIGenerator
from autollm.agent.transcript import parse_turn, user_message
from autollm.errors import GenerationError

ASK = [user_message("pretraining trials 3\ntrend 0.5 -0.5")]
# The shape of a vLLM chat completion with --tool-call-parser hermes.
RECORDED = {
    "id": "chatcmpl-b1f0", "object": "chat.completion", "created": 1, "model": "agent",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "trend 0.5 -0.5", "refusal": None, "annotations": None,
                                         "tool_calls": [{"id": "chatcmpl-tool-1", "type": "function", "function": {
                                             "name": "run_experiment",
                                             "arguments": '{"experiment": "target", "configuration": {"lr": 0.5, "bs": -0.5}}'}}]},
                 "logprobs": None, "finish_reason": "tool_calls", "stop_reason": None}],
    "usage": {"prompt_tokens": 31, "total_tokens": 53, "completion_tokens": 22}}


def server(*answers, model="agent"):
    """A generator whose server gives these answers in turn (callables, exceptions, responses), and the requests it got."""
    requests, left = [], list(answers)

    def handle(request):
        requests.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return OpenAIGenerator("http://server", model, transport=httpx.MockTransport(handle), sleep=lambda s: None), requests


def test_openai_generator__recorded_tool_call__becomes_the_turn_that_the_model_wrote():
    generator, requests = server(httpx.Response(200, json=RECORDED))
    turn = parse_turn(generator.generate([ASK])[0])
    assert turn.thought == "trend 0.5 -0.5"
    assert turn.call.arguments == {"experiment": "target", "configuration": {"lr": 0.5, "bs": -0.5}}
    sent = json.loads(requests[0].content)
    assert [t["function"]["name"] for t in sent["tools"]][2:4] == ["run_experiment", "submit"] and sent["temperature"] == 0


def test_openai_generator__conversation_with_turns__is_sent_in_the_apis_shape():
    generator, requests = server(httpx.Response(200, json=RECORDED))
    call = {"type": "function", "function": {"name": "submit", "arguments": "{}"}}
    generator.generate([[*ASK, {"role": "assistant", "content": "a", "tool_calls": [call], "given": True},
                         {"role": "tool", "name": "submit", "content": "submitted"}]])
    _, turn, tool = json.loads(requests[0].content)["messages"]
    assert turn["tool_calls"][0]["id"] == tool["tool_call_id"] and "given" not in turn and "name" not in tool


@pytest.mark.parametrize("broken", ['{"experiment": "target", "conf', "", "null", "[1]"])
def test_openai_generator__broken_arguments__are_a_malformed_turn(broken):
    body = json.loads(json.dumps(RECORDED))
    body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = broken
    generator, _ = server(httpx.Response(200, json=body))
    assert parse_turn(generator.generate([ASK])[0]).call is None


def test_openai_generator__no_call_and_no_content__is_an_empty_turn():
    body = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": []}}]}
    assert server(httpx.Response(200, json=body))[0].generate([ASK]) == [""]


PASSING = [httpx.Response(503, text="overloaded"), httpx.ReadTimeout("slow"), httpx.ConnectError("refused"),
           httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
           httpx.Response(200, text='{"choices": [{"mess'), httpx.Response(200, text="[]")]


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_openai_generator__failure_that_passes__is_tried_again(failure):
    generator, requests = server(failure, httpx.Response(200, json=RECORDED))
    assert parse_turn(generator.generate([ASK])[0]).call is not None and len(requests) == 2


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_openai_generator__failure_that_stays__is_an_error_after_three_attempts(failure):
    generator, requests = server(failure)
    with pytest.raises(GenerationError, match=r"failed 3 times.*Fix"):
        generator.generate([ASK])
    assert len(requests) == 3


@pytest.mark.parametrize("answer", [httpx.Response(404, text="no such model"), httpx.Response(200, json={"choices": []}),
                                    httpx.Response(200, json={"choices": [{"message": {"tool_calls": [{}]}}]}),
                                    httpx.Response(200, json={"error": "out of memory"})], ids=str)
def test_openai_generator__refusal_or_nonsense__is_an_error_at_once(answer):
    generator, requests = server(answer)
    with pytest.raises(GenerationError):
        generator.generate([ASK])
    assert len(requests) == 1


def test_openai_generator__check__wants_the_model_served():
    listed = httpx.Response(200, json={"data": [{"id": "agent"}]})
    server(listed)[0].check()
    with pytest.raises(GenerationError, match="served-model-name other"):
        server(listed, model="other")[0].check()


def test_make_generator__backend_openai__needs_no_weights():
    config = load_profile("tiny", generation={"backend": "openai", "server_url": "http://127.0.0.1:1"})
    assert isinstance(make_generator(config, "nowhere"), OpenAIGenerator)


def test_transformers_generator__greedy__does_not_depend_on_the_batch(random_base):
    loaded = load_checkpoint(random_base)
    generator = TransformersGenerator(loaded.model, loaded.tokenizer, max_new_tokens=8)
    longer = [user_message("window " + "0.5 " * 50)]
    together = generator.generate([ASK, longer, ASK])
    assert together == [generator.generate([ASK])[0], generator.generate([longer])[0], together[0]]


def test_transformers_generator__sampled__is_determined_by_its_seed(random_base):
    loaded = load_checkpoint(random_base)
    generator = TransformersGenerator(loaded.model, loaded.tokenizer, temperature=1.0, max_new_tokens=8)
    assert generator.generate([ASK] * 4, seed=1) == generator.generate([ASK] * 4, seed=1) != generator.generate([ASK] * 4, seed=2)
