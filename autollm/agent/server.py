"""Generation by a server over an OpenAI-compatible address: vLLM for our own
checkpoints, any endpoint for `chat:` policies (chat.py).

    vllm serve CHECKPOINT --served-model-name agent --enable-auto-tool-choice
    --tool-call-parser hermes

What a server can do wrong and what comes of it: refused or dropped connections,
time-outs, 5xx, rate limits (after the pause that they ask for) and bodies cut half-way
are tried again, then GenerationError; other 4xx and answers that are no chat completion
are GenerationError at once; a tool call with broken arguments is data: the turn is
malformed and costs its trial. What does not belong here: starting a server. Invariant:
no answer is ever made up; secrets are redacted from what is sent and said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from autollm.agent.redaction import redact
from autollm.agent.tools import tool_schemas
from autollm.agent.transcript import Message
from autollm.core.errors import GenerationError

ATTEMPTS = 3
PARALLEL = 32
LONGEST_PAUSE_S = 60.0
MAX_CHARACTERS = 20_000
"""Of a turn; what an endpoint writes beyond is not kept."""


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
        self.url, self.model, self.temperature, self.max_new_tokens = (
            url.rstrip("/"),
            model,
            temperature,
            max_new_tokens,
        )
        self.instructions, self.attempts = instructions, attempts
        self._key, self._sleep = api_key, sleep
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(
            timeout=timeout_s, transport=transport, headers=headers
        )

    def check(self) -> None:
        """That the server answers and serves the model.

        Raises:
            GenerationError: it does not.
        """
        listed = self._json(lambda: self._client.get(f"{self.url}/v1/models"))
        served = (
            [m.get("id") for m in listed.get("data", [])]
            if isinstance(listed.get("data"), list)
            else []
        )
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
        messages = [
            self._redacted(m)
            for m in _sent(conversation, strict=bool(self.instructions))
        ]
        messages = (
            [{"role": "system", "content": self.instructions}, *messages]
            if self.instructions
            else messages
        )
        body = {
            "model": self.model,
            "messages": messages,
            "tools": list(tool_schemas()),
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": seed,
        }
        answer = self._json(
            lambda: self._client.post(f"{self.url}/v1/chat/completions", json=body)
        )
        try:
            message = answer["choices"][0]["message"]
            functions = [c["function"] for c in message.get("tool_calls") or []]
            text = _text(message.get("content")) + "".join(
                _written(f["name"], f["arguments"]) for f in functions
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise GenerationError(
                f"{self.url} answered no chat completion ({error!r}): "
                f"{self._safe(json.dumps(answer))[:200]}. Expected "
                "choices[0].message. Fix: check that it serves OpenAI-compatible chat "
                "completions."
            ) from error
        return self._safe(text[:MAX_CHARACTERS])

    def _json(self, send: Callable[[], httpx.Response]) -> dict[str, Any]:
        """The body of an answer; what may pass is tried again with growing pauses, or
        with those that the server asks for.
        """
        problem, asked_s = "", None
        for attempt in range(self.attempts):
            if attempt:
                self._sleep(
                    min(
                        0.5 * 2**attempt if asked_s is None else asked_s,
                        LONGEST_PAUSE_S,
                    )
                )
            asked_s = None
            try:
                response = send()
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code >= 500 or response.status_code == 429:
                problem, asked_s = (
                    f"HTTP {response.status_code}: {self._safe(response.text)[:200]}",
                    retry_after_s(response),
                )
                continue
            if response.status_code >= 400:
                raise GenerationError(
                    f"{self.url} refused the request: HTTP {response.status_code}: "
                    f"{self._safe(response.text)[:200]}. Fix: "
                    f"{self._remedy(response.status_code)}."
                )
            try:
                body = response.json()
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                problem = (
                    f"answer is not JSON ({error}): {self._safe(response.text)[:80]!r}"
                )
                continue
            if isinstance(body, dict):
                return body
            problem = f"answer is not an object: {self._safe(response.text)[:80]!r}"
        raise GenerationError(
            f"{self.url} failed {self.attempts} times; last: {problem}. Fix: check "
            "that the server runs and has "
            "memory and quota, then call again: what was played is kept."
        )

    def _redacted(self, message: dict[str, Any]) -> dict[str, Any]:
        calls = [
            {
                **c,
                "function": {
                    **c["function"],
                    "arguments": self._safe(c["function"]["arguments"]),
                },
            }
            for c in message.get("tool_calls", ())
        ]
        return {
            **message,
            "content": self._safe(message["content"]),
            **({"tool_calls": calls} if calls else {}),
        }

    def _safe(self, text: str) -> str:
        return redact(text, [self._key])

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return "set the key that this endpoint expects (AUTOLLM_CHAT_API_KEY)"
        return "check the served model's name, and for vLLM --enable-auto-tool-choice --tool-call-parser hermes"


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that a server asks to wait (a number or a date in Retry-After); None
    where it asks for nothing that can be read.
    """
    said = response.headers.get("retry-after", "").strip()
    if said.replace(".", "", 1).isdigit() and said.isascii():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return None
    return max(
        0.0,
        (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(),
    )


def _sent(conversation: Sequence[Message], strict: bool) -> list[dict[str, Any]]:
    """Messages in the API's own shape: ids on tool calls, none of our own marks.

    `strict`: the answer to a turn without a readable call becomes the user's, since
    endpoints refuse a tool's answer without a call.
    """
    out: list[dict[str, Any]] = []
    for number, message in enumerate(conversation):
        one = {"role": message["role"], "content": message["content"]}
        if message.get("tool_calls"):
            one["tool_calls"] = [
                {"id": f"call_{number}", **call} for call in message["tool_calls"]
            ]
        if message["role"] == "tool":
            called = bool(conversation[number - 1].get("tool_calls"))
            one |= (
                {"tool_call_id": f"call_{number - 1}"}
                if called or not strict
                else {"role": "user"}
            )
        out.append(one)
    return out


def _text(content: Any) -> str:
    """The text of an answer's content: a string, parts of which some are text, or
    nothing.
    """
    if isinstance(content, list):
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""


def _written(name: str, arguments: Any) -> str:
    """A parsed call as the text that the model had written; broken arguments stay
    broken. Some servers parse arguments, too.
    """
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {arguments}}}</tool_call>'
