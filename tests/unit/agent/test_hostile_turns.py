"""Whatever a model writes: a turn is read or malformed, the play goes on, and numbers
in thoughts are traced. No text ends an evaluation.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.agent.labels import OFF_TABLE, SHARPNESS, SLACK, Grid
from autollm.agent.policy import FREE_TURNS, AgentPolicy
from autollm.agent.transcript import (
    END,
    TOOLS,
    Call,
    Turn,
    assistant_message,
    parse_turn,
    play_call,
    render_turn,
    tool_message,
    traced_numbers,
    user_message,
)
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.regret import regret
from research.validation import traced_share
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
FEW = settings(max_examples=50, deadline=None)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["</tool_call>", "<tool_call>", END, "target", "e1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["experiment", "configuration", "page", "self", "x", ""])
    | st.text(max_size=5),
    VALUES,
    max_size=4,
)
CALLS = st.builds(
    Call, st.sampled_from(TOOLS) | st.text(max_size=10), ARGUMENTS
)
THOUGHTS = st.text(
    st.characters(exclude_characters="<", exclude_categories=["Cs"]),
    max_size=20,
).map(str.strip)
PIECES = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        '{"name": "submit", "arguments": {}}',
        '{"name": "run_experiment", "arguments": {"experiment": "target"',
        "}}",
        "9" * 5000,
        "[" * 2000,
        END,
        "\ud83d",
        "\x00",
        "best -0.25 0.5",
        "NaN",
    ]
)
TURNS = st.lists(PIECES | st.text(max_size=6), max_size=7).map("".join)


class Scripted:
    """A generator that writes given turns, then nothing."""

    def __init__(self, turns):
        self._turns = list(turns)

    def generate(self, conversations, seed=0):
        text = self._turns.pop(0) if self._turns else ""
        return [text for _ in conversations]


def opened(**changes):
    env = TextEnv(lambda: start(make_task(TABLE, **changes), TABLE, 0))
    return env, env.reset()


@FEW
@given(THOUGHTS, st.none() | CALLS)
def test_parse_turn__any_turn_that_we_render__is_read_back(thought, call):
    """Also where an argument spells the end of a call."""
    turn = Turn(thought, call)
    assert parse_turn(render_turn(turn)) == turn
    assert parse_turn(render_turn(turn) + END + "later") == turn


@FEW
@given(TURNS)
def test_parse_turn__any_text__is_a_turn(text):
    turn = parse_turn(text)
    assert isinstance(turn.thought, str)
    assert turn.call is None or isinstance(turn.call.arguments, dict)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * 100_000 + "}",
        '{"x": 1e999999999}',
        '{"x": "\\ud83d"}',
        "{'x': 1}",
        '{"x": 1,}',
    ],
    ids=["digits", "nested", "exponent", "surrogate", "quotes", "comma"],
)
def test_parse_turn__arguments_that_break_parsers__are_a_call_or_none(
    arguments,
):
    """Python refuses whole numbers of more than 4,300 digits with another error."""
    text = (
        f'<tool_call>{{"name": "submit", "arguments": {arguments}}}</tool_call>'
    )
    turn = parse_turn(text)
    assert turn.call is None or turn.call.name == "submit"


@FEW
@given(st.none() | CALLS)
def test_play_call__any_call__is_answered_and_costs_at_most_a_trial(call):
    env, _ = opened()
    answer = play_call(env, call)
    assert isinstance(answer, str)
    assert len(env.episode.trials) <= 1
    if call is None or call.name not in TOOLS:
        assert answer == "malformed left 2"


@FEW
@given(st.lists(TURNS, max_size=9))
def test_play_many__any_turns__end_with_a_result(turns):
    agent = AgentPolicy("agent-x", Scripted(turns))
    (play,) = agent.play_many([make_task(TABLE)], TABLE, [0])
    assert play.episode.done
    assert play.n_calls <= 3 + 1 + FREE_TURNS
    assert play.n_malformed <= play.n_calls
    curve = play.episode.regret_curve()
    assert ((curve >= 0) & (curve <= 1)).all()
    json.dumps(play.conversation)
    assert 0 <= traced_share([play.conversation]) <= 1


def test_play_many__nothing_written__is_malformed_to_the_end():
    (play,) = AgentPolicy("a", Scripted([])).play_many(
        [make_task(TABLE)], TABLE, [0]
    )
    assert play.episode.regret_curve().tolist() == [1.0, 1.0, 1.0]
    assert play.n_malformed == play.n_calls == 4


def test_play_many__free_tools_alone__end_when_their_turns_are_used():
    call = render_turn(Turn("", Call("list_candidates", {})))
    (play,) = AgentPolicy("a", Scripted([call] * 50)).play_many(
        [make_task(TABLE)], TABLE, [0]
    )
    assert play.n_calls == 3 + 1 + FREE_TURNS
    assert play.episode.trials == [] and not play.episode.finished


@pytest.mark.parametrize(
    ("conversation", "counts"),
    [
        ([], (0, 0)),
        ([user_message("e1 at -2.0 0.5")], (0, 0)),
        (
            [
                user_message("e1 at -2.0 0.5"),
                assistant_message(Turn("trend -2.0 0.5", None)),
            ],
            (2, 2),
        ),
        (
            [
                user_message("e1 at -2.0"),
                assistant_message(Turn("best 2.0, 7", None)),
            ],
            (0, 2),
        ),
        (
            [
                assistant_message(Turn("0.25", None)),
                tool_message("x", "ok at 0.25"),
                assistant_message(Turn("0.25", None)),
            ],
            (1, 2),
        ),
        ([assistant_message(Turn("e1 candidate v2.5x", None))], (0, 0)),
    ],
)
def test_traced_numbers__said_after_it_was_read__counts(conversation, counts):
    assert traced_numbers(conversation) == counts


def test_traced_share__no_numbers__is_one():
    assert traced_share([]) == 1.0
    assert traced_share([[user_message("1")]]) == 1.0


def by_definition(episode):
    """The teacher's weights, one cell at a time."""
    cells = episode.drawn.view.candidates
    latent = episode.latent
    regrets = np.asarray(regret(latent, latent))
    best = episode.incumbent
    reached = 1.0 if best is None else min(1.0, regrets[best.row] + SLACK)
    tried = {t.row for t in episode.trials}
    gains = []
    for cell in cells:
        apart = [math.dist(cell, row) for row in episode.points]
        row = min(range(len(apart)), key=lambda i: (round(apart[i], 6), i))
        gain = 0.0 if row in tried else max(reached - regrets[row], 0.0)
        far = apart[row] > episode.drawn.task.tolerance + 1e-9
        gains.append(gain * (OFF_TABLE if far else 1.0))
    gains = np.array(gains)
    return (gains / gains.max()) ** SHARPNESS


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 34), max_size=2))
def test_grid_weights__any_play__are_those_of_the_definition(seed, calls):
    episode = start(make_task(TABLE), TABLE, seed)
    for call in calls:
        episode.run_candidate(call)
    found = Grid(episode).weights()
    assert found == pytest.approx(by_definition(episode), abs=1e-9)
    assert found.max() == 1.0 and found.min() >= 0.0


def test_grid_weights__all_rows_tried__are_even():
    episode = start(make_task(TABLE, trials=40, target_rows="all"), TABLE, 0)
    for row in range(35):
        episode.run_candidate(row)
    assert (Grid(episode).weights() == 1.0).all()
    assert not Grid(episode).untried().any()


def test_grid_untried__row_that_was_tried__is_none_of_its_cells():
    episode = start(make_task(TABLE, target_rows="all"), TABLE, 0)
    assert Grid(episode).untried().all()
    trial = episode.run_candidate(4)
    left = Grid(episode).untried()
    assert left.sum() == 34 and not left[trial.row]
