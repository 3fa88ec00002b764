import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.agent.landscape_names import KNOB_NAMES
from autollm.agent.tools import tool_schemas
from research.batches import TOOL_STUBS, Encoder
from research.practice import practice_example
from research.pretrain import make_tokenizer
from research.tokenizer import VOCABULARY, quarter_ids


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_tokenizer__any_text__round_trips(tokenizer, text):
    assert (
        tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
        == text
    )


def test_tokenizer__numbers_counts_and_known_names__are_single_tokens(
    tokenizer,
):
    assert len(set(quarter_ids(tokenizer).tolist())) == 97
    words = [f" {n}" for n in range(100)] + [
        f'"{name}"' for group in KNOB_NAMES.values() for name in group
    ]
    assert all(
        len(tokenizer.encode(w, add_special_tokens=False)) == 1 for w in words
    )
    assert len(tokenizer) <= VOCABULARY


def test_tokenizer__built_again__is_the_same(tokenizer):
    assert (
        make_tokenizer().backend_tokenizer.to_str()
        == tokenizer.backend_tokenizer.to_str()
    )


def test_chat_template__whole_schemas__render_like_their_names(tokenizer):
    messages = practice_example(3).messages
    whole = tokenizer.apply_chat_template(
        messages, tools=list(tool_schemas()), tokenize=False
    )
    assert whole == tokenizer.apply_chat_template(
        messages, tools=TOOL_STUBS, tokenize=False
    )


def test_encoder__example__values_are_the_played_configurations(tokenizer):
    example = practice_example(11)
    tokens, text, values = Encoder(tokenizer).encode(example)
    played = [float(tokenizer.decode([t])) for t in tokens[values]]
    said = [
        v
        for m in example.messages
        for c in m.get("tool_calls", [])
        if c["function"]["name"] == "run_experiment"
        for v in __import__("json")
        .loads(c["function"]["arguments"])["configuration"]
        .values()
    ]
    assert played == said and len(values) == sum(
        len(d) for d in example.decisions
    )
    assert not set(values) & set(text)
    assert np.allclose(np.concatenate(example.decisions).sum(axis=1), 1)


def test_chat_template__given_turns__carry_no_loss(tokenizer):
    messages = [dict(m) for m in practice_example(11).messages]

    def n_loss_tokens():
        out = tokenizer.apply_chat_template(
            messages,
            tools=TOOL_STUBS,
            return_assistant_tokens_mask=True,
            return_dict=True,
        )
        return sum(out["assistant_masks"])

    all_turns = n_loss_tokens()
    next(m for m in messages if m["role"] == "assistant")["given"] = True
    assert 0 < n_loss_tokens() < all_turns


@pytest.mark.parametrize("length", [64, 128])
def test_encoder__chunk__is_padded_to_whole_multiples(
    tokenizer, length, monkeypatch
):
    monkeypatch.setattr("research.batches.CHUNK", 8)
    monkeypatch.setattr("research.batches.PAD_TO", length)
    batches = Encoder(tokenizer).chunk(0, 4)
    assert [len(b.tokens) for b in batches] == [4, 4] and all(
        b.tokens.shape[1] % length == 0 for b in batches
    )
