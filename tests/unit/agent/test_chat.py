"""A chat model behind a real (local, small) HTTP server plays through the text view."""

import contextlib
import gzip
import itertools
import json
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from autollm.agent.chat import (
    INSTRUCTIONS,
    KEY_VARIABLE,
    make_chat_agent,
    parse_chat,
)
from autollm.agent.server import MAX_BODY_BYTES, OpenAIGenerator, retry_after_s
from autollm.agent.transcript import parse_turn, user_message
from autollm.core.errors import GenerationError, SetupError
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
KEY = "plugh-" + "1234567890"


def completion(content="", *calls):
    """The body of an answer; calls are (name, arguments)."""
    made = [
        {
            "id": "x",
            "type": "function",
            "function": {"name": n, "arguments": json.dumps(a)},
        }
        for n, a in calls
    ]
    return (
        200,
        {},
        json.dumps(
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": content,
                            "tool_calls": made,
                        }
                    }
                ]
            }
        ),
    )


def run(lr, batch=0.0):
    return completion(
        "try",
        (
            "run_experiment",
            {
                "experiment": "target",
                "configuration": {"learning_rate": lr, "batch_tokens": batch},
            },
        ),
    )


SUBMIT = completion(
    "done",
    ("submit", {"configuration": {"learning_rate": 0.0, "batch_tokens": 0.0}}),
)


@contextmanager
def endpoint(*answers):
    """A server on a free port that gives these answers (status, headers, body) in turn,
    the last one for ever, and what it was sent.

    An answer may be a number: seconds that it stays silent.
    """
    seen, left, waiting = [], list(answers), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.path, dict(self.headers), json.loads(body)))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, float):
                waiting.wait(answer)
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(text.encode())),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        waiting.set()
        server.shutdown()
        server.server_close()


def played(url, key=""):
    return make_chat_agent(
        parse_chat(f"chat:m@{url}"), {KEY_VARIABLE: key}
    ).play_many([make_task(TABLE)], TABLE, [0])[0]


def asked(url, timeout_s=5.0, **settings):
    pauses = []
    generator = OpenAIGenerator(
        url,
        "m",
        timeout_s=timeout_s,
        sleep=pauses.append,
        instructions="play",
        **settings,
    )
    return generator, pauses


def test_chat__whole_play__is_told_the_rules_and_sees_what_the_tools_say():
    with endpoint(run(0.0), run(-0.5), run(0.5), SUBMIT) as (url, seen):
        play = played(f"{url}/v1", KEY)
    assert (
        [t.status for t in play.episode.trials] == ["ok"] * 3
        and play.episode.finished
        and play.n_malformed == 0
    )
    path, headers, body = seen[-1]
    assert (
        path == "/v1/chat/completions"
        and headers["Authorization"] == f"Bearer {KEY}"
        and body["model"] == "m"
    )
    assert (
        body["messages"][0] == {"role": "system", "content": INSTRUCTIONS}
        and "trend" in body["messages"][1]["content"]
    )
    assert [m["role"] for m in body["messages"][2:]] == [
        "assistant",
        "tool",
    ] * 3 and "change" in body["messages"][3]["content"]
    ids = [m["tool_calls"][0]["id"] for m in body["messages"][2::2]]
    assert len(set(ids)) == 3 and ids == [
        m["tool_call_id"] for m in body["messages"][3::2]
    ]
    assert {"run_experiment", "submit"} < {
        t["function"]["name"] for t in body["tools"]
    }


@pytest.mark.parametrize(
    "answer",
    [
        completion("I would go lower."),
        completion("", ("fly", {})),
        completion("", ("run_experiment", {"experiment": "e1"})),
        completion('<tool_call>{"name": "run_exp'),
    ],
    ids=["talk", "unknown tool", "wrong arguments", "cut off"],
)
def test_chat__malformed_turns__cost_their_trials_and_are_counted(answer):
    with endpoint(answer) as (url, seen):
        play = played(url)
    assert [t.status for t in play.episode.trials] == [
        "malformed"
    ] * 3 and play.n_calls == 4
    assert play.n_malformed >= 3, (
        "a fourth turn finds no trials left, whatever its arguments"
    )
    roles = [m["role"] for m in seen[-1][2]["messages"][2:]]
    assert "malformed" in seen[-1][2]["messages"][-1]["content"]
    assert all(
        before == "assistant"
        for before, role in itertools.pairwise(roles)
        if role == "tool"
    )


def test_chat__turn_without_a_call__is_answered_as_the_user():
    """OpenAI's own endpoint refuses a tool's answer to no call."""
    with endpoint(completion("hm"), SUBMIT) as (url, seen):
        played(url)
    assert [m["role"] for m in seen[-1][2]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_generator__rate_limit__waits_as_long_as_it_is_told():
    date = format_datetime(
        datetime.now(UTC) + timedelta(seconds=20), usegmt=True
    )
    with endpoint(
        (429, {"retry-after": "7"}, "{}"),
        (429, {"retry-after": date}, "{}"),
        (429, {"retry-after": "9000"}, "{}"),
        (429, {}, "{}"),
        SUBMIT,
    ) as (url, seen):
        generator, pauses = asked(url, attempts=6)
        assert (
            parse_turn(generator.generate([[user_message("go")]])[0]).call.name
            == "submit"
        )
    assert (
        pauses[0] == 7
        and 10 < pauses[1] <= 20
        and pauses[2] == 60
        and pauses[3] == 8
        and len(seen) == 5
    )


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, '{"error": "out of memory"}'),
        (429, {}, '{"error": "slow down"}'),
        (200, {}, '{"choices": [{"mes'),
    ],
    ids=["500", "429", "cut off"],
)
def test_generator__failure_that_stays__is_an_error_after_its_attempts(answer):
    with endpoint(answer) as (url, seen):
        generator, pauses = asked(url)
        with pytest.raises(GenerationError, match=r"failed 3 times.*Fix"):
            generator.generate([[user_message("go")]])
    assert len(seen) == 3 and len(pauses) == 2


def test_generator__sent_on_to_another_host__is_not_followed_and_said_at_once():
    moved = (302, {"location": "http://127.0.0.1:1/"}, "")
    with endpoint(moved) as (url, seen):
        generator, _ = asked(url, api_key=KEY)
        with pytest.raises(
            GenerationError,
            match=r"sends on to 'http://127.0.0.1:1/'.*302.*Fix",
        ):
            generator.generate([[user_message("go")]])
    assert len(seen) == 1


def test_generator__silent_server__is_given_up_after_the_time_out():
    with endpoint(5.0) as (url, _):
        generator, _ = asked(url, timeout_s=0.3, attempts=2)
        with pytest.raises(GenerationError, match="ReadTimeout"):
            generator.generate([[user_message("go")]])


def test_generator__wrong_key__is_an_error_at_once_that_does_not_say_it():
    with endpoint(
        (401, {}, json.dumps({"error": f"Incorrect API key provided: {KEY}"}))
    ) as (url, seen):
        generator, _ = asked(url, api_key=KEY)
        with pytest.raises(GenerationError, match=KEY_VARIABLE) as raised:
            generator.generate([[user_message("go")]])
    assert (
        KEY not in str(raised.value)
        and "[redacted]" in str(raised.value)
        and len(seen) == 1
    )


def test_generator__secrets_in_a_conversation__are_not_sent_and_not_kept():
    secret = "hf_" + "Ab1" * 10
    with endpoint(completion(f"your key is {KEY} and {secret}")) as (url, seen):
        generator, _ = asked(url, api_key=KEY)
        call = {
            "type": "function",
            "function": {
                "name": "submit",
                "arguments": json.dumps({"note": secret}),
            },
        }
        text = generator.generate(
            [
                [
                    user_message(f"use {secret}"),
                    {"role": "assistant", "content": KEY, "tool_calls": [call]},
                ]
            ]
        )[0]
    assert secret not in json.dumps(seen[0][2]) and KEY not in json.dumps(
        seen[0][2]
    )
    assert text == "your key is [redacted] and [redacted]"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"type": "text", "text": "a"}, {"type": "image"}], "a"),
        (None, ""),
        (7, ""),
    ],
)
def test_generator__content_of_another_shape__is_read_as_text(content, said):
    body = json.dumps(
        {
            "choices": [
                {
                    "message": {
                        "content": content,
                        "tool_calls": [
                            {
                                "function": {
                                    "name": "submit",
                                    "arguments": {"configuration": {"k": 1}},
                                }
                            }
                        ],
                    }
                }
            ]
        }
    )
    with endpoint((200, {}, body)) as (url, _):
        turn = parse_turn(asked(url)[0].generate([[user_message("go")]])[0])
    assert turn.thought == said and turn.call.arguments == {
        "configuration": {"k": 1}
    }


@pytest.mark.parametrize("header", ["", "soon", "-5", "١"])
def test_retry_after__what_cannot_be_read__asks_for_nothing(header):
    assert (
        retry_after_s(httpx.Headers({"retry-after": header.encode()})) is None
    )


def test_parse_chat__model_and_address__are_normalized():
    chat = parse_chat("chat:org/m@2026@https://host:8443/api/v1/")
    assert (chat.model, chat.url, chat.policy_id) == (
        "org/m@2026",
        "https://host:8443/api",
        "chat:org/m@2026",
    )
    assert (
        parse_chat(chat.spec) == chat
        and chat.version != parse_chat("chat:org/m@https://host").version
    )


@pytest.mark.parametrize(
    "spec",
    [
        "chat:m",
        "chat:@http://h",
        "chat:m@ftp://h",
        "chat:m@http://",
        "chat:m@https://me:hunter22@h/v1",
        "chat:m@https://h/v1?key=hunter22",
    ],
)
def test_parse_chat__wrong_address__is_refused_without_repeating_a_secret(spec):
    with pytest.raises(SetupError, match="Fix") as raised:
        parse_chat(spec)
    assert "hunter22" not in str(raised.value)


def test_make_chat_agent__key_over_plain_http__is_refused_except_on_this_machine():
    with pytest.raises(SetupError, match="https"):
        make_chat_agent(
            parse_chat("chat:m@http://example.org"), {KEY_VARIABLE: KEY}
        )
    for spec in ("chat:m@http://127.0.0.1:1", "chat:m@https://example.org"):
        assert (
            make_chat_agent(parse_chat(spec), {KEY_VARIABLE: KEY}).policy_id
            == "chat:m"
        )


def raw_endpoint(*chunks, pause_s=0.0):
    """A server on a free port that writes these bytes, pausing between them, and closes;
    returns its address and a function that ends it.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve():
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                for chunk in chunks:
                    connection.sendall(chunk)
                    if pause_s and over.wait(pause_s):
                        return

    def end():
        over.set()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", end


def failure_of(*chunks, pause_s=0.0, timeout_s=5.0):
    """What asking such a server ends in."""
    url, end = raw_endpoint(*chunks, pause_s=pause_s)
    try:
        generator, _ = asked(url, timeout_s=timeout_s, attempts=2)
        with pytest.raises(GenerationError) as failure:
            generator.generate([[user_message("go")]])
    finally:
        end()
    return str(failure.value)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize("part", ["headers", "body"])
def test_chat__bytes_that_trickle__end_at_the_deadline_of_the_call(part):
    endless = [b"x-a: b\r\n"] * 200 if part == "headers" else [b" "] * 200
    head = HEAD if part == "headers" else HEAD + b"content-length: 900\r\n\r\n"
    said = failure_of(head, *endless, pause_s=0.05, timeout_s=0.4)
    assert "failed 2 times" in said and "no whole answer within 0.4 s" in said


def test_chat__body_beyond_the_limit__is_refused_unread():
    flood = b"x" * 2**20
    said = failure_of(
        HEAD + b"content-length: 524288000\r\n\r\n", *[flood] * 500
    )
    assert f"more than {MAX_BODY_BYTES:,} bytes" in said


def test_chat__small_body_that_unpacks_beyond_the_limit__is_refused():
    packed = gzip.compress(b" " * (2 * MAX_BODY_BYTES))
    head = HEAD + b"content-encoding: gzip\r\n"
    said = failure_of(
        head + b"content-length: %d\r\n\r\n" % len(packed), packed
    )
    assert f"more than {MAX_BODY_BYTES:,} bytes" in said


def test_chat__broken_gzip__is_tried_again_then_said():
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: 8\r\n\r\n"
    said = failure_of(head + b"notgzip!")
    assert "failed 2 times" in said and "DecodingError" in said


def test_chat__number_of_five_thousand_digits__is_no_answer():
    with endpoint((200, {}, '{"choices": ' + "9" * 5000 + "}")) as (url, _):
        generator, _ = asked(url, attempts=2)
        with pytest.raises(GenerationError, match="answer is not JSON"):
            generator.generate([[user_message("go")]])


def test_chat__half_a_surrogate_pair__becomes_text_that_can_be_written():
    body = '{"choices": [{"message": {"content": "a\\ud800b"}}]}'
    with endpoint((200, {}, body)) as (url, seen):
        generator, _ = asked(url)
        assert generator.generate([[user_message("lone \udc00")]]) == ["a?b"]
    assert seen[0][2]["messages"][1]["content"] == "lone \udc00"


@pytest.mark.parametrize("listed", ["[[1]]", '[{"id": null}, 7, "x"]', "{}"])
def test_check__strange_list_of_models__is_said(listed):
    def answer(_):
        return httpx.Response(200, text='{"data": ' + listed + "}")

    generator = OpenAIGenerator(
        "http://x", "m", transport=httpx.MockTransport(answer)
    )
    with pytest.raises(GenerationError, match="expected 'm'"):
        generator.check()


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:99999", "http://h:x", "http://\x00"]
)
def test_parse_chat__address_that_is_none__is_refused(url):
    with pytest.raises(SetupError, match="chat:MODEL@URL"):
        parse_chat(f"chat:m@{url}")


@pytest.mark.parametrize("key", ["gehe\u00edm" * 3, "a" * 20 + "\nX-Evil: 1"])
def test_make_chat_agent__key_that_no_header_can_carry__is_refused(key):
    with pytest.raises(SetupError, match=KEY_VARIABLE) as refused:
        make_chat_agent(
            parse_chat("chat:m@http://127.0.0.1:1"), {KEY_VARIABLE: key}
        )
    assert key not in str(refused.value)
