"""Generation by a vLLM server over its OpenAI-compatible address (chat completions with tools, hermes tool parser).

    vllm serve CHECKPOINT --served-model-name agent --enable-auto-tool-choice --tool-call-parser hermes

What a server can do wrong and what comes of it: refused or dropped connections, time-outs, 5xx and bodies cut half-way are tried
again, then GenerationError; 4xx and answers that are no chat completion are GenerationError at once; a tool call with broken
arguments is data: the turn is malformed and costs its trial.
What does not belong here: starting a server. Invariant: no answer is ever made up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from autollm.agent.tools import tool_schemas
from autollm.agent.transcript import Message
from autollm.errors import GenerationError

ATTEMPTS = 3
PARALLEL = 32


class OpenAIGenerator:
    """`url` without /v1. `transport` and `sleep` are for tests."""

    def __init__(self, url: str, model: str, temperature: float = 0.0, max_new_tokens: int = 96, timeout_s: float = 60.0,
                 transport: httpx.BaseTransport | None = None, sleep: Callable[[float], None] = time.sleep):
        self.url, self.model, self.temperature, self.max_new_tokens = url.rstrip("/"), model, temperature, max_new_tokens
        self._sleep = sleep
        self._client = httpx.Client(timeout=timeout_s, transport=transport)

    def check(self) -> None:
        """That the server answers and serves the model.

        Raises:
            GenerationError: it does not.
        """
        listed = self._json(lambda: self._client.get(f"{self.url}/v1/models"))
        served = [m.get("id") for m in listed.get("data", [])] if isinstance(listed.get("data"), list) else []
        if self.model not in served:
            raise GenerationError(f"{self.url} serves {', '.join(map(str, served)) or 'nothing'}, expected {self.model!r}. "
                                  f"Fix: vllm serve CHECKPOINT --served-model-name {self.model}.")

    def generate(self, conversations: Sequence[list[Message]], seed: int = 0) -> list[str]:
        """One request a conversation, up to PARALLEL at a time; see Generator."""
        with ThreadPoolExecutor(max_workers=max(1, min(PARALLEL, len(conversations)))) as pool:
            return list(pool.map(lambda c: self._turn(c, seed), conversations))

    def _turn(self, conversation: list[Message], seed: int) -> str:
        body = {"model": self.model, "messages": [_sent(m) for m in conversation], "tools": list(tool_schemas()),
                "temperature": self.temperature, "max_tokens": self.max_new_tokens, "seed": seed}
        answer = self._json(lambda: self._client.post(f"{self.url}/v1/chat/completions", json=body))
        try:
            message = answer["choices"][0]["message"]
            calls = message.get("tool_calls") or []
            functions = [c["function"] for c in calls]
            return (message.get("content") or "") + "".join(_written(f["name"], f["arguments"]) for f in functions)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise GenerationError(f"{self.url} answered no chat completion ({error!r}): {json.dumps(answer)[:200]}. Expected "
                                  "choices[0].message. Fix: check that it is a vLLM server of a supported version.") from error

    def _json(self, send: Callable[[], httpx.Response]) -> dict[str, Any]:
        """The body of an answer; what may pass is tried again with growing pauses."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(0.5 * 2**attempt)
            try:
                response = send()
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code >= 500:
                problem = f"HTTP {response.status_code}: {response.text[:200]}"
                continue
            if response.status_code >= 400:
                raise GenerationError(f"{self.url} refused the request: HTTP {response.status_code}: {response.text[:200]}. Fix: "
                                      "check the served model's name and --enable-auto-tool-choice --tool-call-parser hermes.")
            try:
                body = response.json()
            except json.JSONDecodeError as error:
                problem = f"answer is not JSON ({error}): {response.text[:80]!r}"
                continue
            if isinstance(body, dict):
                return body
            problem = f"answer is not an object: {response.text[:80]!r}"
        raise GenerationError(f"{self.url} failed {ATTEMPTS} times; last: {problem}. Fix: check that the server runs and has "
                              "memory, or set generation.backend = transformers.")


def _sent(message: Message) -> dict[str, Any]:
    """A message in the API's own shape: ids on tool calls, none of our own marks."""
    out = {"role": message["role"], "content": message["content"]}
    if message.get("tool_calls"):
        out["tool_calls"] = [{"id": f"call_{i}", **call} for i, call in enumerate(message["tool_calls"])]
    if message["role"] == "tool":
        out["tool_call_id"] = "call_0"
    return out


def _written(name: str, arguments: str) -> str:
    """A parsed call as the text that the model had written; broken arguments stay broken."""
    return f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {arguments}}}</tool_call>'
