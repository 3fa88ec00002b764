"""`autollm evaluate`: policies and agents on suites, judged, written as leaderboard and
page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autollm.cli.options import Home, Json, split

if TYPE_CHECKING:
    from autollm.agent.chat import ChatModel
    from autollm.core.places import Places
    from autollm.stages.agents import Agent
    from autollm.stages.settings import Settings

POLICIES_HELP = (
    "Policies and trained agents, with commas, such as copy-nearest,agent-tiny-sft-rl. "
    "chat:MODEL@URL is any chat model behind "
    "an OpenAI-compatible address (its key: AUTOLLM_CHAT_API_KEY)."
)
AGENT_HELP = (
    "More agents: models:/NAME@champion or checkpoint folders, with commas. A+B+C are "
    "trainings of one agent that differ in their "
    "seed: they are also judged together."
)


SEALED_HELP = "Why sealed suites are opened; logged as a look. Without a reason they are refused."


def evaluate(
    suite: Annotated[
        str,
        typer.Option("--suite", help="Suites, with commas (autollm suites)."),
    ],
    policies: Annotated[str, typer.Option(help=POLICIES_HELP)] = "",
    agent: Annotated[str, typer.Option(help=AGENT_HELP)] = "",
    seeds: Annotated[
        int, typer.Option(min=1, help="Episodes of each task.")
    ] = 20,
    setting: Annotated[
        Literal["declared", "pool-visible"],
        typer.Option(help="What a policy may know of the target's table."),
    ] = "declared",
    target_rows: Annotated[
        Literal["redraw", "all"],
        typer.Option(
            help="A fifth of the target's rows dropped per seed, or all kept."
        ),
    ] = "redraw",
    of: Annotated[
        Literal["test", "validation", "train"],
        typer.Option("--split", help="Tasks of which split."),
    ] = "test",
    objective: Annotated[
        str,
        typer.Option(
            help="Tasks with these objectives alone, with commas; all by default."
        ),
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    profile: Annotated[
        str, typer.Option(help="Training profile of the agents.")
    ] = "tiny",
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Train every proposal with the lab; logs go into the inbox.",
        ),
    ] = False,
    max_seconds: Annotated[
        float, typer.Option(min=1.0, help="With --live: time limit of a run.")
    ] = 600.0,
    open_sealed: Annotated[
        str, typer.Option("--open-sealed", help=SEALED_HELP)
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge policies and agents, print the leaderboard, write leaderboard.json and
    report.html.
    """
    from autollm.core.places import resolve
    from autollm.gym.tasks.suites import load_suite
    from autollm.stages.agents import config_of
    from autollm.stages.evaluation_request import EvaluationRequest
    from autollm.stages.judging import publish_report
    from autollm.stages.settings import load_settings

    places, settings = resolve(home), load_settings(profile=profile)
    for name in split(suite) or [""]:
        load_suite(name, home=places.home).opened(open_sealed)
    chats, names = _chats_and_others(split(policies))
    registered, agents = contenders(
        places, settings, names, split(agent), allow_none=bool(chats)
    )
    published = publish_report(
        places,
        EvaluationRequest(
            suites=tuple(split(suite)),
            policies=registered,
            agents=agents,
            n_seeds=seeds,
            config=config_of(settings),
            split=of,
            objectives=tuple(split(objective)),
            setting=setting,
            target_rows=target_rows,
            jobs=jobs,
            chats=chats,
            live=live,
            max_seconds=max_seconds,
            open_sealed=open_sealed,
        ),
    )
    if as_json:
        print(json.dumps(published.leaderboard.as_json()))
        return
    from autollm.cli.report import show

    show(home, published.leaderboard.evaluation_id)


def _chats_and_others(
    names: Sequence[str],
) -> tuple[tuple[ChatModel, ...], list[str]]:
    """Chat models among the named policies, and the names of all others.

    Raises:
        ComparisonError: one chat model is named with two addresses.
    """
    from autollm.agent.chat import PREFIX, parse_chat
    from autollm.core.errors import ComparisonError

    chats: dict[str, ChatModel] = {}
    others = []
    for name in names:
        if not name.startswith(PREFIX):
            others.append(name)
            continue
        chat = parse_chat(name)
        if chat.policy_id in chats:
            raise ComparisonError(
                "one chat model is named with two addresses: they would be two "
                "versions of one policy. Fix: evaluate one at a time."
            )
        chats[chat.policy_id] = chat
    return tuple(chats.values()), others


def contenders(
    places: Places,
    settings: Settings,
    names: Sequence[str],
    references: Sequence[str],
    *,
    allow_none: bool = False,
) -> tuple[tuple[str, ...], tuple[Agent, ...]]:
    """Ids of registered policies, and agents: those named by id, then those named by
    reference (`A+B`: two trainings of one agent).

    Raises:
        UnknownNameError: neither a policy nor a trained agent; or no such registered
            model. CheckpointError: a folder without weights.
        SetupError: none of the policies named can be used here. Where some can, the
            others are left out, and stderr says why.
    """
    from autollm.core.errors import SetupError, UnknownNameError
    from autollm.policies.registry import policy_ids, why_absent
    from autollm.stages.agents import current_agents

    known = policy_ids()
    trained = {a.policy_id: a for a in current_agents(places, settings)}
    for name in names:
        if name not in known and name not in trained:
            raise UnknownNameError(
                "policy or trained agent", name, [*known, *trained]
            )
    if not names and not references and not allow_none:
        raise UnknownNameError(
            "policy or trained agent", "", [*known, *trained]
        )
    agents = [trained[n] for n in names if n in trained]
    for reference in references:
        taken = {a.policy_id for a in agents}
        trainings = [
            by_reference(places, settings.profile, one, taken)
            for one in reference.split("+")
        ]
        agents += _numbered(trainings)
    absent = {n: why_absent(n) for n in names if n in known and why_absent(n)}
    usable = tuple(n for n in names if n in known and n not in absent)
    if absent and not usable and not agents and not allow_none:
        raise SetupError(" ".join(absent.values()))
    for reason in absent.values():
        print(f"left out: {reason}", file=sys.stderr)
    return usable, tuple(agents)


def _numbered(trainings: list[Agent]) -> list[Agent]:
    """Trainings of one agent under its id, each with its number; a single one as it is."""
    if len(trainings) == 1:
        return trainings
    policy_id = trainings[0].policy_id
    numbered = []
    for i, agent in enumerate(trainings, start=1):
        numbered.append(replace(agent, policy_id=policy_id, training=i))
    return numbered


def by_reference(
    places: Places, profile: str, reference: str, taken: set[str]
) -> Agent:
    """The agent behind `models:/NAME@ALIAS` or a folder; `@...` is added to its id
    where another one has the same.

    Raises:
        CheckpointError: weights that are gone, or are not those that were registered.
    """
    from autollm.core.errors import CheckpointError
    from autollm.stages.agents import named_agent

    if not reference.startswith("models:/"):
        agent = named_agent("", Path(reference))
        return named_agent(
            _free(
                f"agent-{profile}-{agent.stage}", Path(reference).name, taken
            ),
            Path(reference),
            reference=reference,
        )
    from autollm.tracking import Tracker

    registered = Tracker(places).resolve(reference)
    agent = named_agent("", registered.folder, registered.tags.get("stage"))
    if agent.digest != registered.digest:
        raise CheckpointError(
            f"{registered.folder} has digest {agent.digest}, version "
            f"{registered.version} of {registered.name} was registered "
            f"with {registered.digest}: the weights were altered. Fix: train it again "
            "(autollm run)."
        )
    suffix = (
        reference.rpartition("@")[2] if "@" in reference else registered.version
    )
    return named_agent(
        _free(
            f"{registered.name.removeprefix('autollm-')}-{agent.stage}",
            suffix,
            taken,
        ),
        registered.folder,
        agent.stage,
        reference,
    )


def _free(policy_id: str, suffix: str, taken: set[str]) -> str:
    return f"{policy_id}@{suffix}" if policy_id in taken else policy_id
