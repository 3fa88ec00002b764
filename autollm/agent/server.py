"""Generation by a server over an OpenAI-compatible address: vLLM for our own
checkpoints, any endpoint for `chat:` policies (chat.py).

    vllm serve CHECKPOINT --served-model-name agent --enable-auto-tool-choice
    --tool-call-parser hermes

What a server can do wrong and what comes of it: refused or dropped connections,
time-outs, 5xx, rate limits (after the pause that they ask for) and bodies cut half-way
or damaged are tried again, then GenerationError; other 4xx, bodies beyond
MAX_BODY_BYTES and answers that are no chat completion are GenerationError at once; a
tool call with broken arguments is data: the turn is malformed and costs its trial. A
call has a deadline as a whole: a server that trickles bytes holds nobody.

Invariant: no answer is ever made up; secrets are redacted from what is sent and said.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NamedTuple

import httpx

from autollm.agent.tools import tool_schemas
from autollm.agent.transcript import Message
from autollm.core.errors import GenerationError
from autollm.core.redaction import redact

ATTEMPTS = 3
PARALLEL = 32
LONGEST_PAUSE_S = 60.0
MAX_CHARACTERS = 20_000
"""Longest turn; what an endpoint writes beyond it is not kept."""
MAX_BODY_BYTES = 4 * 2**20
"""Largest answer, unpacked: 200 times a turn of MAX_CHARACTERS."""
QUOTED_CHARACTERS = 2000
"""How much of a refused answer is searched for secrets; its first 200 characters are
shown.
"""


class Reply(NamedTuple):
    """What came back, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes


class OpenAIGenerator:
    """`url` without /v1. `instructions`: a system message before every conversation,
    for models that were not trained on the text view; they are then also spared what
    only our own chat template knows. `transport` and `sleep` are for tests.
    """

    def __init__(
        self,
        url: str,
        model: str,
        temperature: float = 0.0,
        max_new_tokens: int = 96,
        timeout_s: float = 60.0,
        *,
        api_key: str = "",
        instructions: str = "",
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.url = url.rstrip("/")
        self.model = model
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.timeout_s = timeout_s
        self.instructions = instructions
        self.attempts = attempts
        self._key = api_key
        self._sleep = sleep
        self._transport = transport
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def check(self) -> None:
        """Check that the server answers and serves the model.

        Raises:
            GenerationError: it does not.
        """
        listed = self._json("GET", "/v1/models").get("data")
        served = []
        for model in listed if isinstance(listed, list) else []:
            if isinstance(model, dict):
                served.append(_whole(str(model.get("id")))[:200])
        if self.model not in served:
            raise GenerationError(
                f"{self.url} serves {', '.join(map(str, served)) or 'nothing'}, "
                f"expected {self.model!r}. "
                f"Fix: vllm serve CHECKPOINT --served-model-name {self.model}."
            )

    def generate(
        self, conversations: Sequence[list[Message]], seed: int = 0
    ) -> list[str]:
        """One request a conversation, up to PARALLEL at a time; see Generator."""
        with ThreadPoolExecutor(
            max_workers=max(1, min(PARALLEL, len(conversations)))
        ) as pool:
            return list(pool.map(lambda c: self._turn(c, seed), conversations))

    def _turn(self, conversation: list[Message], seed: int) -> str:
        messages: list[dict[str, Any]] = []
        if self.instructions:
            messages.append({"role": "system", "content": self.instructions})
        for message in _sent(conversation, strict=bool(self.instructions)):
            messages.append(self._redacted(message))
        body = {
            "model": self.model,
            "messages": messages,
            "tools": list(tool_schemas()),
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": seed,
        }
        answer = self._json("POST", "/v1/chat/completions", body)
        try:
            message = answer["choices"][0]["message"]
            text = _text(message.get("content"))
            for call in message.get("tool_calls") or []:
                function = call["function"]
                text += _written(function["name"], function["arguments"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise GenerationError(
                f"{self.url} answered no chat completion ({error!r}): "
                f"{self._quoted(json.dumps(answer))}. Expected choices[0].message. "
                "Fix: check that it serves OpenAI-compatible chat completions."
            ) from error
        return self._safe(_whole(text[:MAX_CHARACTERS]))

    def _json(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The object that a request is answered with; what may pass is tried again
        with growing pauses, or with those that the server asks for.

        Raises:
            GenerationError: refused, too large, or failed `attempts` times.
        """
        problem = ""
        asked_s: float | None = None
        for attempt in range(self.attempts):
            if attempt:
                pause_s = 0.5 * 2**attempt if asked_s is None else asked_s
                self._sleep(min(pause_s, LONGEST_PAUSE_S))
            asked_s = None
            try:
                answer = self._exchange(method, path, body)
            except (httpx.RequestError, httpx.StreamError) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if answer.status >= 500 or answer.status == 429:
                problem = f"HTTP {answer.status}: {self._quoted(answer.body)}"
                asked_s = retry_after_s(answer.headers)
                continue
            if 300 <= answer.status < 400:
                place = self._quoted(answer.headers.get("location", ""))
                raise GenerationError(
                    f"{self.url} sends on to {place!r} (HTTP {answer.status}), which "
                    "is not followed: the key goes to the named host alone. Fix: name "
                    "the address that serves."
                )
            if answer.status >= 400:
                raise GenerationError(
                    f"{self.url} refused the request: HTTP {answer.status}: "
                    f"{self._quoted(answer.body)}. Fix: {self._remedy(answer.status)}."
                )
            try:
                parsed = json.loads(answer.body)
            except (
                ValueError,
                RecursionError,
            ) as error:  # digits without end, too
                shown = self._quoted(answer.body, 80)
                problem = f"answer is not JSON ({error}): {shown!r}"
                continue
            if isinstance(parsed, dict):
                return parsed
            shown = self._quoted(answer.body, 80)
            problem = f"answer is not an object: {shown!r}"
        raise GenerationError(
            f"{self.url} failed {self.attempts} times; last: {problem}. Fix: check "
            "that the server runs and has memory and quota, then call again: what was "
            "played is kept."
        )

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Reply:
        """One request and its whole answer, within `timeout_s` from first to last byte.

        httpx bounds each read, not their sum, so that a byte every half second would
        go on for ever: a watchdog closes the connection.

        Raises:
            httpx.RequestError: no answer in time, or a damaged one. GenerationError:
                more than MAX_BODY_BYTES.
        """
        content = None if body is None else json.dumps(body).encode()
        client = httpx.Client(
            timeout=self.timeout_s,
            transport=self._transport,
            headers=self._headers,
            verify=_trusted(),
        )
        late = threading.Event()

        def give_up() -> None:
            late.set()
            client.close()

        watchdog = threading.Timer(self.timeout_s, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            with client.stream(
                method, f"{self.url}{path}", content=content
            ) as response:
                received = bytearray()
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > MAX_BODY_BYTES:
                        raise GenerationError(
                            f"{self.url} answered more than {MAX_BODY_BYTES:,} bytes. "
                            "Fix: check that it serves chat completions."
                        )
                return Reply(
                    response.status_code, response.headers, bytes(received)
                )
        except (
            httpx.HTTPError,
            httpx.StreamError,
            OSError,
            RuntimeError,
        ) as error:
            if late.is_set():
                raise httpx.ReadTimeout(
                    f"no whole answer within {self.timeout_s:g} s"
                ) from error
            if isinstance(error, RuntimeError | OSError):
                raise httpx.ReadError(str(error)) from error
            raise
        finally:
            watchdog.cancel()
            client.close()

    def _redacted(self, message: dict[str, Any]) -> dict[str, Any]:
        out = {**message, "content": self._safe(message["content"])}
        calls = []
        for call in message.get("tool_calls", ()):
            arguments = self._safe(call["function"]["arguments"])
            calls.append(
                {
                    **call,
                    "function": {**call["function"], "arguments": arguments},
                }
            )
        if calls:
            out["tool_calls"] = calls
        return out

    def _quoted(self, body: bytes | str, length: int = 200) -> str:
        """The start of an answer, to be shown."""
        if isinstance(body, bytes):
            body = body[:QUOTED_CHARACTERS].decode(errors="replace")
        return self._safe(_whole(body[:QUOTED_CHARACTERS]))[:length]

    def _safe(self, text: str) -> str:
        return redact(text, [self._key])

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return (
                "set the key that this endpoint expects (AUTOLLM_CHAT_API_KEY)"
            )
        return (
            "check the served model's name, and for vLLM --enable-auto-tool-choice "
            "--tool-call-parser hermes"
        )


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: reading the machine's certificates takes longer than a request."""
    return httpx.create_ssl_context()


def _whole(text: str) -> str:
    """Text that can be written anywhere: half a surrogate pair, which JSON can spell
    and UTF-8 cannot, becomes a question mark.
    """
    return text.encode(errors="replace").decode()


def retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds that a server asks to wait (a number or a date in Retry-After); None
    where it asks for nothing that can be read.
    """
    delay = headers.get("retry-after", "").strip()
    if delay.replace(".", "", 1).isdigit() and delay.isascii():
        return float(delay)
    try:
        until = parsedate_to_datetime(delay)
    except (ValueError, TypeError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _sent(
    conversation: Sequence[Message], strict: bool
) -> list[dict[str, Any]]:
    """Messages in the API's own shape: ids on tool calls, none of our own marks.

    `strict`: the answer to a turn without a readable call becomes the user's, since
    endpoints refuse a tool's answer without a call.
    """
    out: list[dict[str, Any]] = []
    for number, message in enumerate(conversation):
        one = {"role": message["role"], "content": message["content"]}
        calls = []
        for call in message.get("tool_calls") or ():
            calls.append({"id": f"call_{number}", **call})
        if calls:
            one["tool_calls"] = calls
        if message["role"] == "tool":
            if conversation[number - 1].get("tool_calls") or not strict:
                one["tool_call_id"] = f"call_{number - 1}"
            else:
                one["role"] = "user"
        out.append(one)
    return out


def _text(content: Any) -> str:
    """The text of an answer's content: a string, parts of which some are text, or
    nothing.
    """
    if isinstance(content, str):
        return content
    text = ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            text += part["text"]
    return text


def _written(name: str, arguments: Any) -> str:
    """A parsed call as the text that the model had written; broken arguments stay
    broken. Some servers parse arguments, too.
    """
    arguments = (
        arguments if isinstance(arguments, str) else json.dumps(arguments)
    )
    call = f'{{"name": {json.dumps(name)}, "arguments": {arguments}}}'
    return f"<tool_call>{call}</tool_call>"
