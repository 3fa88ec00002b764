"""Ladders of fidelity and their texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import SpaceError
from autollm.core.metrics import Metric
from autollm.core.spaces.ladders import Coordinate, Ladder

WORDS = st.text("abcé_ .", min_size=1, max_size=6)


@st.composite
def ladders(draw):
    coordinates = []
    for name in draw(st.lists(WORDS, max_size=3, unique=True)):
        coordinates.append(Coordinate(name, draw(st.sampled_from(["", "1"]))))
    metrics = []
    for name in draw(st.lists(WORDS, max_size=3, unique=True)):
        direction = draw(st.sampled_from(["", "min", "max"]))
        metrics.append(Metric(name, "nats", direction))
    signal = None
    if draw(st.booleans()):
        signal = Metric(draw(WORDS), direction="min")
    return Ladder(tuple(coordinates), tuple(metrics), signal)


@given(ladders())
def test_ladder__text_and_back__is_equal_and_so_is_its_text(ladder):
    text = ladder.to_json()
    assert Ladder.from_json(text) == ladder
    assert Ladder.from_json(text).to_json() == text


@given(ladders(), ladders())
def test_ladder__equal_texts__are_equal_ladders(one, other):
    assert (one.to_json() == other.to_json()) == (one == other)


def test_ladder__without_metrics_and_signal__says_nothing_of_them():
    ladder = Ladder((Coordinate("params"),))
    assert ladder.to_json() == '{"coordinates":[{"name":"params","unit":""}]}'


def test_ladder__order_of_coordinates__is_kept():
    ladder = Ladder((Coordinate("tokens", "1"), Coordinate("params")))
    found = Ladder.from_json(ladder.to_json())
    assert [c.name for c in found.coordinates] == ["tokens", "params"]


def test_ladder__all_parts__stand_in_its_text():
    ladder = Ladder(
        (Coordinate("params", "1"),),
        (Metric("accuracy", "share", "max"),),
        Metric("train_loss", direction="min"),
    )
    assert json.loads(ladder.to_json()) == {
        "coordinates": [{"name": "params", "unit": "1"}],
        "metrics": [{"name": "accuracy", "direction": "max", "unit": "share"}],
        "signal": {"name": "train_loss", "direction": "min"},
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"coordinates":[{"nam":"params"}]}',
        '{"coordinates":[{"name":3}]}',
        '{"coordinates":[],"signal":{"name":"x","direction":"down"}}',
        '{"coordinates":[],"metrics":[{"name":"x","directio":"min"}]}',
        '{"coordinates":[{"unit":"1"}]}',
        "{}",
        "[]",
        "3",
        "not json",
        '{"coordinates":3}',
        '{"coordinates":["params"]}',
    ],
)
def test_ladder__text_of_something_else__is_a_space_error(text):
    with pytest.raises(SpaceError):
        Ladder.from_json(text)
