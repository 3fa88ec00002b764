"""Ids by content, and the declarations that they are made of."""

from __future__ import annotations

import hashlib

import pytest

from autollm.core.errors import SpaceError
from autollm.core.ids import Origin, config_id, experiment_id
from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.ladders import Coordinate, Ladder
from autollm.core.spaces.space import Limit, Space


def test_experiment_id__no_context__is_that_of_the_fidelity_alone():
    said = '{"params":1000000,"tokens":2.5}'
    digest = hashlib.sha256(said.encode()).hexdigest()[:8]
    assert (
        experiment_id(Origin("s", "g"), {"tokens": 2.5, "params": 1e6})
        == f"s/g:{digest}"
    )


def test_origin__name__has_the_group_where_there_is_one():
    assert Origin("s").name == "s"
    assert Origin("s", "g").name == "s/g"
    assert sorted([Origin("s-b"), Origin("s", "g")])[0] == Origin("s", "g")


def test_experiment_id__context__is_appended_before_hashing():
    context = '{"parametrization":"mup"}'
    digest = hashlib.sha256(('{"params":10}' + context).encode()).hexdigest()[
        :8
    ]
    assert (
        experiment_id(Origin("s"), {"params": 10.0}, context) == f"s:{digest}"
    )


def test_config_id__six_digits__are_what_counts():
    assert config_id({"a": 1.0000001, "b": "x"}) == config_id(
        {"b": "x", "a": 1}
    )
    assert len(config_id({})) == 16


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Knob("k", "logarithmic", (1,)),
            "scale 'logarithmic', expected one of",
        ),
        (
            lambda: Knob("k", "log", (2, 1)),
            "knob 'k': levels must be ascending",
        ),
        (
            lambda: Knob("k", "log", (1, 2), steps=1),
            "'steps'. Did you mean 'step'",
        ),
        (
            lambda: Knob("k", "log", (1, 2), step="x"),
            "step must be a number, got 'x'",
        ),
        (
            lambda: Space((Knob("k", "log", (1, 2)), "k2")),
            "knobs must be a Knob, got 'k2'",
        ),
        (
            lambda: Limit((("k", "heavy"),), 1.0),
            "weights must be a number, got 'heavy'",
        ),
        (
            lambda: Metric("loss", direction="down"),
            "direction 'down', expected one of",
        ),
        (lambda: Ladder(Coordinate("params")), "coordinates must be a list"),
    ],
)
def test_declaration__what_does_not_fit__is_a_sentence_of_the_house(make, said):
    with pytest.raises(SpaceError, match=said):
        make()


def test_declaration__made__cannot_be_written():
    knob = Knob("k", "log", (1.0, 2.0))
    with pytest.raises(AttributeError):
        knob.name = "other"
    assert {knob: 1}[Knob("k", "log", (1.0, 2.0))] == 1


def test_ladder__json__gives_an_equal_ladder():
    ladder = Ladder(
        (Coordinate("params", "parameters"), Coordinate("tokens")),
        (Metric("accuracy", "share", "max"),),
        Metric("train_loss", direction="min"),
    )
    assert Ladder.from_json(ladder.to_json()) == ladder
    alone = Ladder((Coordinate("params"),))
    assert alone.to_json() == '{"coordinates":[{"name":"params","unit":""}]}'
