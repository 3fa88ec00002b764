"""Sizes that names state."""

import pytest

from autollm.logs.proposals.sizes import size_of, sizes_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("pythia-1.4b", 1.4e9),
        ("Qwen3-30B-A3B", 30e9),
        ("FacebookAI/roberta-base", 125e6),
        ("bert-base-uncased", 110e6),
        ("small", None),
    ],
)
def test_size_of__name__is_what_it_states(text, size):
    assert size_of(text) == size


def test_sizes_of__one_published_family__is_a_ladder():
    found = sizes_of(("bert-base-cased", "bert-large-cased"))
    assert found.sizes == {"bert-base-cased": 110e6, "bert-large-cased": 340e6}


def test_sizes_of__several_published_families__are_no_sizes():
    names = ("bert-base-cased", "distilbert-base-cased", "roberta-base")
    assert sizes_of(names) is None
