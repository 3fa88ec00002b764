import json

import pytest
import torch

from autollm.agent.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from autollm.core.identity import checkpoint_digest
from research.averaging import average
from research.model import build_model
from tests.unit.agent.conftest import SMALL


def swapped_words(tokenizer):
    return sorted(
        t for t in tokenizer.get_vocab() if t.isalpha() and len(t) > 3
    )[:2]


@pytest.fixture()
def other(tokenizer, tmp_path):
    """Other weights, and a vocabulary in which two tokens have changed places."""
    vocabulary = tokenizer.get_vocab()
    a, b = swapped_words(tokenizer)
    swapped = type(tokenizer).from_pretrained(
        save_checkpoint(
            Checkpoint(build_model(SMALL, tokenizer, seed=2), tokenizer, {}),
            tmp_path / "plain",
        )
    )
    state = json.loads(swapped.backend_tokenizer.to_str())
    state["model"]["vocab"] |= {a: vocabulary[b], b: vocabulary[a]}
    swapped._tokenizer = type(swapped.backend_tokenizer).from_str(
        json.dumps(state)
    )
    assert swapped.get_vocab()[a] == vocabulary[b]
    metadata = {"stage": "base", "experiments": ["seen:1"], "parents": ["p"]}
    return save_checkpoint(
        Checkpoint(build_model(SMALL, tokenizer, seed=2), swapped, metadata),
        tmp_path / "other",
    )


def test_average__of_one_with_itself__is_that_checkpoint(random_base, tmp_path):
    out = load_checkpoint(
        average([random_base, random_base, random_base], tmp_path / "out")
    )
    before = load_checkpoint(random_base).model.state_dict()
    assert all(
        torch.allclose(value, before[name], atol=1e-7)
        for name, value in out.model.state_dict().items()
    )


def test_average__of_two__is_their_mean_and_tokens_are_found_by_name(
    random_base, other, tmp_path
):
    mean = load_checkpoint(average([random_base, other], tmp_path / "out"))
    one, two = load_checkpoint(random_base), load_checkpoint(other)
    for token in (*swapped_words(one.tokenizer), "<|im_end|>"):
        rows = [
            c.model.get_input_embeddings().weight[
                c.tokenizer.convert_tokens_to_ids(token)
            ]
            for c in (one, two, mean)
        ]
        assert torch.allclose((rows[0] + rows[1]) / 2, rows[2], atol=1e-6)
    layer = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(
        (one.model.state_dict()[layer] + two.model.state_dict()[layer]) / 2,
        mean.model.state_dict()[layer],
        atol=1e-6,
    )


def test_average__provenance__holds_what_any_of_them_was_trained_on(
    random_base, other, tmp_path
):
    metadata = load_checkpoint(
        average([random_base, other], tmp_path / "out")
    ).metadata
    assert metadata["experiments"] == ["seen:1"] and metadata["averaged"] == [
        checkpoint_digest(random_base),
        checkpoint_digest(other),
    ]
    assert metadata["parents"] == sorted(["p", *metadata["averaged"]])
