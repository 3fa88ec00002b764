import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.agent.landscapes import make_landscape
from autollm.agent.transcript import (
    Call,
    Turn,
    parse_turn,
    play_call,
    render_turn,
    run_call,
    submit_call,
    thought,
    traced_numbers,
)
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start

NAMES = st.text(st.sampled_from('abcxyz_0189é "\\{}'), min_size=1, max_size=8)
QUARTERS = st.integers(-48, 48).map(lambda q: q / 4)
CONFIGURATIONS = st.dictionaries(NAMES, QUARTERS, min_size=1, max_size=4)


def opened(seed=5, trials=3):
    landscape = make_landscape(seed)
    env = TextEnv(
        lambda: start(
            landscape.task.with_(trials=trials), landscape.table, seed
        )
    )
    return env, env.reset()


@settings(max_examples=100, deadline=None)
@given(CONFIGURATIONS)
def test_parse_turn__rendered_turn__is_read_back(configuration):
    turn = Turn(
        "trend -0.25 0.5",
        Call(
            "run_experiment",
            {"experiment": "target", "configuration": configuration},
        ),
    )
    assert parse_turn(render_turn(turn)) == turn


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no call",
        "<tool_call>",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "submit", "arguments": []}</tool_call>',
        '<tool_call>{"name": "submit", "arguments": {</tool_call>',
        '<tool_call>{"name": "submit", "arguments": {"configuration": {}}',
        "<tool_call>" + "[" * 5000 + "</tool_call>",
    ],
)
def test_parse_turn__malformed_text__has_no_call(text):
    assert parse_turn(text).call is None


def test_parse_turn__text_behind_the_call__is_ignored():
    assert parse_turn(
        'a<tool_call>{"name": "submit", "arguments": {}}</tool_call>b<|im_end|>c'
    ) == Turn("a", Call("submit", {}))


@pytest.mark.parametrize(
    "call",
    [
        None,
        Call("destroy", {}),
        Call("reset", {}),
        Call("get_reward", {}),
        Call("run_experiment", {}),
        Call(
            "run_experiment",
            {"experiment": "e1", "configuration": {}, "extra": 1},
        ),
        Call(
            "run_experiment",
            {"experiment": "target", "configuration": {"nothing": 1.0}},
        ),
        Call(
            "run_experiment", {"experiment": "target", "configuration": [1.0]}
        ),
    ],
)
def test_play_call__bad_call__costs_its_trial(call):
    env, _ = opened()
    assert play_call(env, call).startswith("malformed")
    assert (
        env.episode.ledger.trials_left == 2
        and env.episode.trials[0].status == "malformed"
    )


def test_play_call__free_tools__cost_nothing():
    env, _ = opened()
    for call in (
        Call("summarize_evidence", {}),
        Call("list_candidates", {"page": 0}),
        Call("query_experiments", {"experiment": "e1"}),
    ):
        assert not play_call(env, call).startswith(("error", "malformed"))
    assert env.episode.ledger.trials_left == 3


def test_thought__whole_episode__every_number_was_read_before():
    env, prompt = opened()
    conversation = [{"role": "user", "content": prompt}]
    for k in range(3):
        call = run_call(env, env.episode.drawn.view.candidates[k])
        conversation.append({"role": "assistant", "content": thought(env)})
        conversation.append({"role": "tool", "content": play_call(env, call)})
    conversation.append({"role": "assistant", "content": thought(env)})
    traced, total = traced_numbers(conversation)
    assert traced == total > 8
    assert play_call(env, submit_call(env)) == "submitted"


def test_traced_numbers__invented_number__is_not_traced():
    conversation = [
        {"role": "user", "content": "trend 0.5"},
        {"role": "assistant", "content": "best 0.5 and -7.25"},
    ]
    assert traced_numbers(conversation) == (1, 2)


def test_trl__rendered_turn__is_parsed_like_ours(tokenizer):
    from trl.chat_template_utils import (
        has_generation_markers,
        is_chat_template_prefix_preserving,
        parse_response,
    )

    assert is_chat_template_prefix_preserving(
        tokenizer
    ) and has_generation_markers(tokenizer.chat_template)
    env, _ = opened()
    turn = Turn(
        thought(env), run_call(env, env.episode.drawn.view.candidates[0])
    )
    prefix = tokenizer.encode(
        "<|user|>x<|im_end|><|assistant|>", add_special_tokens=False
    )
    message = parse_response(
        tokenizer,
        tokenizer.encode(
            render_turn(turn) + "<|im_end|>", add_special_tokens=False
        ),
        prefix=prefix,
    )
    assert message["content"] == turn.thought
    assert [c["function"] for c in message["tool_calls"]] == [
        {"name": turn.call.name, "arguments": turn.call.arguments}
    ]
    broken = tokenizer.encode(
        'a<tool_call>{"name": }</tool_call><|im_end|>', add_special_tokens=False
    )
    assert "tool_calls" not in parse_response(tokenizer, broken, prefix=prefix)


def test_tool_schemas__trl_environment__are_the_methods_that_it_lists():
    import inspect

    from transformers.utils import get_json_schema

    from autollm.agent.tools import tool_schemas
    from autollm.agent.transcript import TOOLS

    env, _ = opened()
    members = [
        name
        for name, _ in inspect.getmembers(
            type(env), predicate=inspect.isfunction
        )
    ]
    listed = [
        getattr(env, n)
        for n in members
        if n not in ("reset", "get_reward") and not n.startswith("_")
    ]
    assert [json.dumps(get_json_schema(m)) for m in listed] == [
        json.dumps(s) for s in tool_schemas()
    ]
    assert tuple(m.__name__ for m in listed) == TOOLS
