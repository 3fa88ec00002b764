import json
from pathlib import Path

import httpx
import pytest

from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.generation import TransformersGenerator, make_generator
from autollm.agent.profiles import load_profile
from autollm.agent.server import OpenAIGenerator
from autollm.agent.transcript import parse_turn, user_message
from autollm.core.errors import GenerationError

ASK = [user_message("pretraining trials 3\ntrend 0.5 -0.5")]
# A whole play, recorded from a running vLLM server (version and flags stand in the
# file).
REPLAY = json.loads(
    (Path(__file__).parent / "fixtures" / "vllm_exchanges.json").read_text()
)
RECORDED = REPLAY["exchanges"][0]["answer"]


def server(*answers, model="agent"):
    """A generator whose server gives these answers in turn (callables, exceptions,
    responses), and the requests it got.
    """
    requests, left = [], list(answers)

    def handle(request):
        requests.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return OpenAIGenerator(
        "http://server",
        model,
        transport=httpx.MockTransport(handle),
        sleep=lambda s: None,
    ), requests


def test_openai_generator__recorded_play__becomes_the_turns_that_the_model_wrote():
    generator, requests = server(
        *[httpx.Response(200, json=e["answer"]) for e in REPLAY["exchanges"]]
    )
    for exchange in REPLAY["exchanges"]:
        turn = parse_turn(generator.generate([exchange["messages"]])[0])
        function = exchange["answer"]["choices"][0]["message"]["tool_calls"][0][
            "function"
        ]
        assert (turn.call.name, turn.call.arguments) == (
            function["name"],
            json.loads(function["arguments"]),
        )
        assert (
            turn.thought
            == exchange["answer"]["choices"][0]["message"]["content"]
        )
    assert [
        e["answer"]["choices"][0]["finish_reason"] for e in REPLAY["exchanges"]
    ] == ["tool_calls"] * 4 and turn.call.name == "submit"
    sent = json.loads(requests[0].content)
    assert [t["function"]["name"] for t in sent["tools"]][2:4] == [
        "run_experiment",
        "submit",
    ] and sent["temperature"] == 0


def test_openai_generator__recorded_refusal__is_an_error_that_says_why():
    generator, _ = server(
        httpx.Response(
            REPLAY["refused"]["status"], json=REPLAY["refused"]["body"]
        )
    )
    with pytest.raises(GenerationError, match="does not exist"):
        generator.generate([ASK])


def test_openai_generator__conversation_with_turns__is_sent_in_the_apis_shape():
    generator, requests = server(httpx.Response(200, json=RECORDED))
    call = {
        "type": "function",
        "function": {"name": "submit", "arguments": "{}"},
    }
    generator.generate(
        [
            [
                *ASK,
                {
                    "role": "assistant",
                    "content": "a",
                    "tool_calls": [call],
                    "given": True,
                },
                {"role": "tool", "name": "submit", "content": "submitted"},
            ]
        ]
    )
    _, turn, tool = json.loads(requests[0].content)["messages"]
    assert (
        turn["tool_calls"][0]["id"] == tool["tool_call_id"]
        and "given" not in turn
        and "name" not in tool
    )


@pytest.mark.parametrize(
    "broken", ['{"experiment": "target", "conf', "", "null", "[1]"]
)
def test_openai_generator__broken_arguments__are_a_malformed_turn(broken):
    body = json.loads(json.dumps(RECORDED))
    body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = (
        broken
    )
    generator, _ = server(httpx.Response(200, json=body))
    assert parse_turn(generator.generate([ASK])[0]).call is None


def test_openai_generator__no_call_and_no_content__is_an_empty_turn():
    body = {
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [],
                }
            }
        ]
    }
    assert server(httpx.Response(200, json=body))[0].generate([ASK]) == [""]


PASSING = [
    httpx.Response(503, text="overloaded"),
    httpx.ReadTimeout("slow"),
    httpx.ConnectError("refused"),
    httpx.RemoteProtocolError(
        "peer closed connection without sending complete message body"
    ),
    httpx.Response(200, text='{"choices": [{"mess'),
    httpx.Response(200, text="[]"),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_openai_generator__failure_that_passes__is_tried_again(failure):
    generator, requests = server(failure, httpx.Response(200, json=RECORDED))
    assert (
        parse_turn(generator.generate([ASK])[0]).call is not None
        and len(requests) == 2
    )


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_openai_generator__failure_that_stays__is_an_error_after_three_attempts(
    failure,
):
    generator, requests = server(failure)
    with pytest.raises(GenerationError, match=r"failed 3 times.*Fix"):
        generator.generate([ASK])
    assert len(requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text="no such model"),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(
            200, json={"choices": [{"message": {"tool_calls": [{}]}}]}
        ),
        httpx.Response(200, json={"error": "out of memory"}),
    ],
    ids=str,
)
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
    config = load_profile(
        "tiny",
        generation={"backend": "openai", "server_url": "http://127.0.0.1:1"},
    )
    assert isinstance(make_generator(config, "nowhere"), OpenAIGenerator)


def test_transformers_generator__greedy__does_not_depend_on_the_batch(
    random_base,
):
    loaded = load_checkpoint(random_base)
    generator = TransformersGenerator(
        loaded.model, loaded.tokenizer, max_new_tokens=8
    )
    longer = [user_message("window " + "0.5 " * 50)]
    together = generator.generate([ASK, longer, ASK])
    assert together == [
        generator.generate([ASK])[0],
        generator.generate([longer])[0],
        together[0],
    ]


def test_transformers_generator__sampled__is_determined_by_its_seed(
    random_base,
):
    loaded = load_checkpoint(random_base)
    generator = TransformersGenerator(
        loaded.model, loaded.tokenizer, temperature=1.0, max_new_tokens=8
    )
    assert (
        generator.generate([ASK] * 4, seed=1)
        == generator.generate([ASK] * 4, seed=1)
        != generator.generate([ASK] * 4, seed=2)
    )
