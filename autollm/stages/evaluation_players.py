"""Who plays an evaluation: registered policies, trained agents and chat models as
contenders.

Invariant: no policy and no weights are loaded before something is left to play.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from autollm.agent.chat import ChatModel
from autollm.agent.checkpoint_files import check_files
from autollm.agent.profiles import TrainConfig
from autollm.evaluation import contenders
from autollm.evaluation.contenders import Contender
from autollm.gym.environments.text import tool_texts
from autollm.stages.agents import Agent
from autollm.stages.evaluation_request import EvaluationRequest

LIVE_CODE = ("autollm.lab.live",)
"""Modules that make the outcomes of a live play."""
AGENT_CODE = ("autollm.agent.policy", "autollm.agent.generation")
"""Modules that play a checkpoint."""
CHAT_CODE = ("autollm.agent.chat",)
CHAT = "chat"
"""The stage of a chat model, which was not trained here."""


def identities_of(request: EvaluationRequest) -> dict[str, str]:
    """Who plays, with the identity of each; no policy and no weights are loaded."""
    modules = LIVE_CODE if request.live else ()
    out = {p: contenders.policy_identity(p, modules) for p in request.policies}
    for agent in _agents_of(request):
        out[agent.policy_id] = agent.player.identity
    return out


def field_of(request: EvaluationRequest) -> list[Contender]:
    """All contenders of a request."""
    modules = LIVE_CODE if request.live else ()
    return [
        *(contenders.registered(p, modules) for p in request.policies),
        *_agents_of(request),
    ]


def _agents_of(request: EvaluationRequest) -> Iterator[Contender]:
    modules = LIVE_CODE if request.live else ()
    for chat in request.chats:
        yield chat_contender(chat, modules)
    for agent in request.agents:
        yield contender(agent, request.config, modules)


def contender(
    agent: Agent, config: TrainConfig, modules: Sequence[str] = ()
) -> Contender:
    """An agent as a row of the leaderboard; its weights are loaded only if it has
    something to play.
    """

    def make() -> Any:
        from autollm.agent.generation import make_generator
        from autollm.agent.policy import AgentPolicy

        check_files(agent.folder, agent.digest)
        return AgentPolicy(
            agent.policy_id, make_generator(config, str(agent.folder))
        )

    decoding = (
        "greedy"
        if config.generation.temperature == 0
        else f"temperature {config.generation.temperature:g}"
    )
    return contenders.agent(
        agent.policy_id,
        agent.digest,
        make,
        stage=agent.stage,
        decoding=decoding,
        traced_numbers=_traced,
        modules=[*AGENT_CODE, *modules],
        reads={
            "tools": tool_texts(),
            "generation": config.generation.model_dump(mode="json"),
        },
        training=agent.training,
    )


def chat_contender(chat: ChatModel, modules: Sequence[str] = ()) -> Contender:
    """A chat model as a row of the leaderboard. Its plays cost money: they are stored
    task by task.
    """

    def make() -> Any:
        from autollm.agent.chat import make_chat_agent

        return make_chat_agent(chat)

    return contenders.agent(
        chat.policy_id,
        chat.version,
        make,
        stage=CHAT,
        decoding="greedy",
        traced_numbers=_traced,
        tasks_at_once=1,
        modules=[*CHAT_CODE, *modules],
        reads={"tools": tool_texts()},
    )


def _traced(conversation: list[dict[str, Any]]) -> tuple[int, int]:
    from autollm.agent.transcript import traced_numbers

    return traced_numbers(conversation)
