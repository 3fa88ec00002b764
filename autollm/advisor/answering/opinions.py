"""A second opinion: an agent or a chat model plays a question with the tools of the gym,
and its transcript stands beside the advice.

    query_experiments, summarize_evidence, list_candidates   what the logs showed
    run_experiment(target)                                   "proposed": nobody ran it
    submit                                                   ends

Invariant: the player reads what TextEnv says of the evidence, and its proposal is
judged by the very fit that the advice rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autollm.advisor.deciding.check import check_configuration
from autollm.advisor.deciding.study import Study
from autollm.core.spaces.distances import nearest
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.drawing import Draw
from autollm.gym.tasks.episode import Episode, TableSource
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.trial import Ledger, Trial

if TYPE_CHECKING:
    from autollm.agent.generation import Generator
    from autollm.agent.transcript import Message

TRIALS = 1
"""What would you run? The first proposal is the opinion."""
MOST_CHARACTERS = 4000
"""Of one message that is kept: the longest page of a tool has half of them."""


class AskedEpisode(Episode):
    """An episode at a target that nobody ran: a call notes a proposal and answers no
    outcome. `proposals`: points [d], in order.
    """

    def __post_init__(self) -> None:
        self.ledger = Ledger(float(self.drawn.task.trials))
        self.proposals: list[np.ndarray] = []

    def run_point(self, point: np.ndarray, experiment: str = "") -> Trial:
        """Note the candidate nearest to a point [d]."""
        self._check_open()
        view = self.drawn.view
        row, distance = nearest(view.candidates, point)
        here = view.candidates[row]
        self.proposals.append(here)
        decoded = view.space.decode(here)
        return self._spend(Trial(0, "proposed", decoded, distance=distance))

    def malformed(self, experiment: str = "") -> Trial:
        """Spend the trial on a call that could not be read."""
        self._check_open()
        return self._spend(Trial(0, "malformed", None))

    def submit(self, configuration: Mapping[str, Any]) -> int:
        """End, with the candidate nearest to a configuration; returns its row.

        Raises:
            SpaceError: not a configuration of the space.
        """
        view = self.drawn.view
        row, _ = nearest(view.candidates, view.space.encode(configuration))
        self.proposals.append(view.candidates[row])
        self.finished = True
        return int(row)


def episode_of(found: Study) -> AskedEpisode:
    """The question as an episode, with all of its evidence."""
    view = replace(found.question.view, trials=TRIALS)
    table = found.question.table
    evidence = tuple(one.experiment_id for one in view.evidence)
    task = Task("question", "", 0, "test", "target", evidence, trials=TRIALS)
    nothing = np.empty(0, dtype=int)
    seed = np.random.SeedSequence(0)
    drawn = Draw(task, 0, view, -1, nothing, seed)
    return AskedEpisode(drawn, table, TableSource(table))


def opinion(
    found: Study, policy_id: str, generator: Generator
) -> dict[str, Any]:
    """What a player would run, what that is worth by the advice's own fit, and how it
    came to it.

    Raises:
        GenerationError: the model does not answer.
    """
    from autollm.agent.policy import play
    from autollm.agent.transcript import traced_numbers

    episode = episode_of(found)
    env = TextEnv(lambda: episode)
    (played,) = play([(env, env.reset())], generator)
    traced, total = traced_numbers(played.conversation)
    said: dict[str, Any] = {
        "policy": policy_id,
        "configuration": None,
        "predicted": None,
        "expected_regret": None,
        "numbers": total,
        "numbers_traced": traced,
        "transcript": list(map(_told, played.conversation)),
        "problem": "",
    }
    if episode.proposals:
        decoded = found.question.space.decode(episode.proposals[0])
        shown = found.names.show(decoded)
        judged = check_configuration(found, shown)
        said["configuration"] = judged.configuration
        said["predicted"] = judged.predicted
        said["expected_regret"] = judged.expected_regret
    return said


def no_opinion(policy_id: str, problem: str) -> dict[str, Any]:
    """What stands where a player could not be asked."""
    return {
        "policy": policy_id,
        "configuration": None,
        "predicted": None,
        "expected_regret": None,
        "numbers": 0,
        "numbers_traced": 0,
        "transcript": [],
        "problem": problem,
    }


def _told(message: Message) -> dict[str, str]:
    """One message: who, which tool, what, and the call as it was written."""
    call = ""
    for one in message.get("tool_calls") or ():
        call = f"{one['function']['name']} {one['function']['arguments']}"
    return {
        "role": message["role"],
        "name": message.get("name", ""),
        "content": message["content"][:MOST_CHARACTERS],
        "call": call[:MOST_CHARACTERS],
    }
