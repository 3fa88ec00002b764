"""Who can give a second opinion on a question: chat models by `chat:MODEL@URL`, trained
agents of a home and the shipped one by their policy id.

Invariant: a model is loaded only where it is asked.
"""

from __future__ import annotations

from typing import Any

from autollm.advisor.answering.opinions import no_opinion, opinion
from autollm.advisor.deciding.study import Study
from autollm.agent.chat import PREFIX, make_chat_agent, parse_chat
from autollm.core.errors import GenerationError, SetupError, UnknownNameError
from autollm.core.extras import absent, require
from autollm.core.places import Places

NEEDS = ("torch", "transformers")


def second_opinion(places: Places, study: Study, policy: str) -> dict[str, Any]:
    """What one player would run.

    Raises:
        UnknownNameError: no such agent. SetupError: an address that is none, or an
            extra that is not installed. GenerationError: the model does not answer.
    """
    if policy.startswith(PREFIX):
        chat = parse_chat(policy)
        player = make_chat_agent(chat)
        return opinion(study, chat.policy_id, player.generator)
    require(NEEDS, f"the policy {policy!r}")
    from autollm.agent.generation import make_generator
    from autollm.stages.agents import config_of
    from autollm.stages.settings import load_settings

    agents = {agent.policy_id: agent for agent in _agents(places)}
    if policy not in agents:
        raise UnknownNameError("agent", policy, [*agents, f"{PREFIX}MODEL@URL"])
    config = config_of(load_settings())
    generator = make_generator(config, str(agents[policy].folder))
    return opinion(study, policy, generator)


def opinions_where_possible(
    places: Places, study: Study, policies: list[str] | None
) -> tuple[dict[str, Any], ...]:
    """The opinion of each player, or the reason why there is none. `policies` None: the
    home's own trained agent, where there is one and it can be loaded.
    """
    if policies is None:
        policies = [] if absent(NEEDS) else _trained(places)
    opinions = []
    for policy in policies:
        try:
            opinions.append(second_opinion(places, study, policy))
        except (GenerationError, SetupError, UnknownNameError) as error:
            opinions.append(no_opinion(policy, str(error)))
    return tuple(opinions)


def _agents(places: Places) -> list[Any]:
    from autollm.stages.agents import current_agents
    from autollm.stages.settings import load_settings

    return current_agents(places, load_settings())


def _trained(places: Places) -> list[str]:
    """The stage that was trained last, as a list; empty before any training."""
    from autollm.stages.agents import BASE

    trained = [a.policy_id for a in _agents(places) if a.stage != BASE]
    return trained[-1:]
