"""Any chat model behind an OpenAI-compatible endpoint as a policy: `chat:MODEL@URL`,
playing through the text view.

    AUTOLLM_CHAT_API_KEY=... autollm evaluate --suite steplaw-dense-top-v1 --policies
    chat:some-model@https://host/v1

The model gets what a trained agent gets, and before it the rules of the game, since it
was not trained on them. The key comes from the environment alone, so that it stands in
no command, report or look.

Invariant: a secret never leaves in a message and never reaches a log (redaction.py);
the key goes to the named host alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from autollm.core.errors import SetupError
from autollm.core.records import canonical_json, content_hash

if TYPE_CHECKING:
    from autollm.agent.policy import AgentPolicy

PREFIX = "chat:"
KEY_VARIABLE = "AUTOLLM_CHAT_API_KEY"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_NEW_TOKENS = 1024
TIMEOUT_S = 120.0
ATTEMPTS = 6
"""A rate limit passes, and what was played before costs money."""
INSTRUCTIONS = """\
You choose the configuration of an expensive training run from what cheaper runs \
showed. Lower loss is better.
The user's message states the task: how many trials you have, the knobs with their \
window, and one line per cheap experiment:
`e1 at A B` is its distance to the target in each fidelity coordinate (log2), then \
its number of rows, its fitted optimum and its best row.
`trend` is the optimum extrapolated to the target, `surface` the most promising \
untried place on one smooth surface through all rows and
trials; it is said anew after each trial.
All knob values are relative to one reference configuration on the knob's natural \
scale (octaves for rates and sizes), in steps of 0.25:
0.0 is the reference, -1.0 is half of it. Answers of run_experiment say where the run \
was evaluated and how its loss changed from your
first trial, in tenths of the cheap experiments' spread.
Where knobs are many, the message names candidates by number instead of their values: \
the best ones of each cheap experiment, the one nearest
to the trend, the one in the middle of the window (`centre`), the surface's. There a \
configuration is {"candidate": number}; list_candidates says
what a number stands for and numbers others.
Every turn, call exactly one tool. run_experiment(experiment="target", \
configuration={every knob: number}) costs one trial; a malformed or
repeated call costs one too. query_experiments, summarize_evidence and \
list_candidates are free. End with submit(configuration)."""


@dataclass(frozen=True)
class ChatModel:
    """A model and the address that serves it; `url` without /v1."""

    model: str
    url: str

    @property
    def policy_id(self) -> str:
        return f"{PREFIX}{self.model}"

    @property
    def spec(self) -> str:
        """What names it on a command line."""
        return f"{PREFIX}{self.model}@{self.url}"

    @property
    def version(self) -> str:
        """Changes with the model, its address and its instructions."""
        return content_hash(
            canonical_json(
                {
                    "model": self.model,
                    "url": self.url,
                    "instructions": INSTRUCTIONS,
                    "max_tokens": MAX_NEW_TOKENS,
                }
            )
        )


def parse_chat(spec: str) -> ChatModel:
    """Read `chat:MODEL@URL`.

    Raises:
        SetupError: not of that form, or an address that holds credentials or a query.
    """
    model, _, url = spec.removeprefix(PREFIX).partition("@http")
    parts = _parts(f"http{url}")
    if (
        not model
        or parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
    ):
        raise SetupError(
            "a chat policy is chat:MODEL@URL, such as "
            "chat:qwen3-4b@http://127.0.0.1:8000; the one given has no model or no "
            "http address. Fix: name both."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SetupError(
            f"the address of {PREFIX}{model} holds credentials or a query; it would "
            "stand in reports. "
            "Fix: give the plain address, and the key in the environment variable "
            f"{KEY_VARIABLE}."
        )
    return ChatModel(
        model,
        f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}",
    )


def _parts(url: str) -> SplitResult | None:
    """An address taken apart; None where it is none, such as http://[::1."""
    import httpx  # a tenth of a second that only chat models cost

    try:
        parts = urlsplit(url)
        httpx.URL(url)
        parts.port  # noqa: B018  a number beyond 65535 is said here
    except (ValueError, httpx.InvalidURL):
        return None
    return parts


def make_chat_agent(
    chat: ChatModel, environment: Mapping[str, str] = os.environ
) -> AgentPolicy:
    """The model as an agent that plays whole episodes, greedily.

    Raises:
        SetupError: a key that no header can carry, or that would cross the network
            unencrypted.
    """
    from autollm.agent.policy import AgentPolicy
    from autollm.agent.server import OpenAIGenerator

    key = environment.get(KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable():
        raise SetupError(
            f"{KEY_VARIABLE} holds characters that no header can carry. Fix: set it to "
            "the key alone."
        )
    parts = urlsplit(chat.url)
    if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SetupError(
            f"{chat.url} is not encrypted, and {KEY_VARIABLE} would be sent there in "
            "clear. Fix: use https, or unset the variable."
        )
    generator = OpenAIGenerator(
        chat.url,
        chat.model,
        0.0,
        MAX_NEW_TOKENS,
        TIMEOUT_S,
        api_key=key,
        instructions=INSTRUCTIONS,
        attempts=ATTEMPTS,
    )
    return AgentPolicy(chat.policy_id, generator)
