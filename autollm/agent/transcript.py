"""The one transcript format and its one parser: used to distil, to train by RL, to
evaluate, to recommend.

A conversation is a list of chat messages: the user's prompt, then turns of the
assistant (a thought, one tool call) and answers of tools. A thought says what was
computed: before the first trial the nearest cheap experiment's optimum, the trend and
the surface's lowest place, later the best trial so far and what the last one changed.
Its numbers are copied from the prompt and from answers, never invented.

    {"role": "user", "content": PROMPT} {"role": "assistant", "content": "nearest e4
    optimum 0.0 0.0, trend -0.25 0.5, surface 0.0 0.25", "tool_calls": [...], "given":
    False} {"role": "tool", "name": "run_experiment", "content": "ok at -0.25 0.5 change
    0.0 left 2 surface -0.25 0.75"}

Where configurations are candidates with numbers: "nearest e4 best candidate 0 3 1,
trend candidate 4, centre candidate 5, surface candidate 0 3 7".

`given` turns were handed to the model (a prefix): they carry no loss. Invariant:
parse_turn(render_turn(t)) == t.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.gym.environments.text import TextEnv, spoken, spoken_trial

Message = dict[str, Any]
CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?\b")
NEAREST = re.compile(r"(e\d+) at .* (optimum .*(?= best)|best candidate .*).*")
"""A cheap experiment's line of the prompt: its name, and what it says of the optimum."""
TOOLS = (
    "list_candidates",
    "query_experiments",
    "run_experiment",
    "submit",
    "summarize_evidence",
)
END = "<|im_end|>"


@dataclass(frozen=True)
class Call:
    """One tool call: a tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """An assistant's turn. `call` is None where its text held none that could be read."""

    thought: str
    call: Call | None


def render_call(call: Call) -> str:
    """The call as the model writes it (the Hermes form, which chat servers parse too).
    No `<` stands within it, so that nothing in it ends the call or the turn.
    """
    parts = []
    for value in (call.name, call.arguments):
        parts.append(json.dumps(value).replace("<", "\\u003c"))
    name, arguments = parts
    return (
        f'<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'
    )


def render_turn(turn: Turn) -> str:
    """The text of a turn, without the template's own marks."""
    return turn.thought + (render_call(turn.call) if turn.call else "")


def parse_turn(text: str) -> Turn:
    """Read a turn: its first call, when well formed. Text behind the call is ignored,
    as chat servers do.
    """
    text = text.split(END)[0]
    match = CALL.search(text)
    if not match:
        return Turn(text.strip(), None)
    thought = text[: match.start()].strip()
    try:
        raw = json.loads(match.group(1))
    except (ValueError, RecursionError):  # also digits without end
        return Turn(thought, None)
    well_formed = (
        isinstance(raw, dict)
        and isinstance(raw.get("name"), str)
        and isinstance(raw.get("arguments"), dict)
    )
    return Turn(
        thought, Call(raw["name"], raw["arguments"]) if well_formed else None
    )


def user_message(prompt: str) -> Message:
    return {"role": "user", "content": prompt}


def assistant_message(turn: Turn, given: bool = False) -> Message:
    """The turn as a chat message; arguments as JSON text, since a column of a dataset
    cannot hold free-form objects.
    """
    calls = []
    if turn.call:
        function = {
            "name": turn.call.name,
            "arguments": json.dumps(turn.call.arguments),
        }
        calls = [{"type": "function", "function": function}]
    return {
        "role": "assistant",
        "content": turn.thought,
        "tool_calls": calls,
        "given": given,
    }


def tool_message(name: str, content: str) -> Message:
    return {"role": "tool", "name": name, "content": content}


def play_call(env: TextEnv, call: Call | None) -> str:
    """What the environment answers. A turn without a readable call, an unknown tool or
    wrong arguments cost a trial.
    """
    if call is not None and call.name in TOOLS:
        try:
            return getattr(env, call.name)(**call.arguments)
        except TypeError:
            pass
    if env.episode.done:
        return "error: no trials left"
    env.episode.malformed()
    return f"malformed left {env.episode.ledger.trials_left}"


def play_turn(
    env: TextEnv, messages: list[Message], call: Call, given: bool = False
) -> None:
    """Play a call with the thought that belongs to it, and append the turn and the tool's
    answer; `given`: see `assistant_message`.
    """
    messages.append(assistant_message(Turn(thought(env), call), given))
    messages.append(tool_message(call.name, play_call(env, call)))


def run_call(env: TextEnv, point: np.ndarray) -> Call:
    """The call that runs a point [n_knobs] of the natural scale on the target."""
    return Call(
        "run_experiment",
        {"experiment": "target", "configuration": spoken(env, point)},
    )


def submit_call(env: TextEnv) -> Call:
    """The call that submits the best trial; the trend where no trial gave an outcome."""
    best = env.episode.incumbent
    return Call(
        "submit",
        {
            "configuration": spoken(
                env,
                np.array(best.point) if best else env.summary.power_law_optimum,
            )
        },
    )


def thought(env: TextEnv) -> str:
    """The computed thought before the next call."""
    trials = [t for t in env.episode.trials if t.row >= 0]
    if trials:
        last = spoken_trial(env, trials[-1]).split(" change ")[1]
        return f"best {spoken_trial(env, env.episode.incumbent)}, last {last}"
    lines = env.summarize_evidence().split("\n")
    cheap = [line for line in lines if NEAREST.match(line)]
    parts = [NEAREST.sub(r"nearest \1 \2", cheap[-1])] if cheap else []
    return ", ".join([*parts, *lines[len(cheap) :]])


def traced_numbers(conversation: list[Message]) -> tuple[int, int]:
    """(numbers in thoughts that stand in what the model had read before, numbers in
    thoughts).
    """
    traced = total = 0
    read: set[str] = set()
    for message in conversation:
        numbers = NUMBER.findall(message["content"])
        if message["role"] == "assistant":
            total += len(numbers)
            traced += sum(number in read for number in numbers)
        else:
            read.update(numbers)
    return traced, total
