"""The user's own names and units: what is shown reads back as what was meant."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.asking.native import Names, Spelling, names_of
from autollm.core.errors import QuestionError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

SPACE = Space(
    (
        Knob("learning_rate", "log", tuple(2.0 ** np.arange(-12, -5))),
        Knob("batch_tokens", "log", (65536.0, 131072.0, 262144.0)),
        Knob("optimizer", "categorical", ("adam", "muon")),
        Knob("mix", "simplex", ("code", "web")),
    )
)
SEQUENCE = 2048.0


def run(rate, sequences, **more):
    """A run of the mapped log: its configuration, and the cells of its row."""
    config = {
        "learning_rate": rate,
        "batch_tokens": sequences * SEQUENCE,
        "optimizer": "adam",
        "mix": {"code": 0.5, "web": 0.5},
    }
    cells = {"config.lr": str(rate), "bs": str(sequences), **more}
    return {"config_json": json.dumps(config), "cells": cells}


RUNS = [run(2.0**-i, n) for i in range(6, 11) for n in (32, 64, 128)]
COLUMNS = {"learning_rate": "config.lr", "mix.*": "w_*"}
NAMES = names_of(SPACE, COLUMNS, RUNS)


def test_names_of__column_in_another_unit__is_told_in_it():
    assert NAMES.spelling("batch_tokens") == Spelling("bs", SEQUENCE, True)
    assert NAMES.spelling("learning_rate") == Spelling("config.lr", 1.0)
    assert NAMES.spelling("mix.code").column == "w_code"
    assert NAMES.spelling("optimizer").column == "optimizer"


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "learning_rate": st.integers(-12, -6).map(lambda n: 2.0**n),
        "batch_tokens": st.sampled_from([65536.0, 131072.0, 262144.0]),
        "optimizer": st.sampled_from(["adam", "muon"]),
        "mix": st.integers(0, 20).map(
            lambda n: {"code": n / 20, "web": 1 - n / 20}
        ),
    }
)


@settings(max_examples=50)
@given(CONFIGURATIONS)
def test_names__shown_and_read__is_the_configuration(configuration):
    shown = NAMES.show(configuration)
    assert set(shown) == {"config.lr", "bs", "optimizer", "w_code", "w_web"}
    back = NAMES.read(shown)
    assert back["optimizer"] == configuration["optimizer"]
    assert back["batch_tokens"] == configuration["batch_tokens"]
    assert back["learning_rate"] == pytest.approx(
        configuration["learning_rate"], rel=1e-3
    )
    assert back["mix"] == pytest.approx(configuration["mix"], abs=1e-3)


@settings(max_examples=50)
@given(CONFIGURATIONS)
def test_names__canonical_names__read_as_well(configuration):
    flat = {**configuration, **configuration["mix"]}
    written = {
        "lr.x": 1,
        **flat,
        "bs": configuration["batch_tokens"] / SEQUENCE,
    }
    back = NAMES.read(written)
    assert back["learning_rate"] == configuration["learning_rate"]
    assert back["batch_tokens"] == configuration["batch_tokens"]


@pytest.mark.parametrize("prefix", ["", "optimizer."])
def test_read__canonical_name__is_in_the_canonical_unit(prefix):
    """Sequences under the user's own column, tokens under the canonical one."""
    own = NAMES.read(BASE | {"bs": 64})
    bare = {k: v for k, v in BASE.items() if k != "bs"}
    canonical = NAMES.read(bare | {f"{prefix}batch_tokens": 64 * SEQUENCE})
    assert own["batch_tokens"] == canonical["batch_tokens"] == 64 * SEQUENCE


@settings(max_examples=50)
@given(CONFIGURATIONS)
def test_read__canonical_configuration__is_itself(configuration):
    flat = dict(configuration)
    flat |= flat.pop("mix")
    found = NAMES.read(flat)
    mixture = found.pop("mix")
    assert found == {k: v for k, v in configuration.items() if k != "mix"}
    assert mixture == pytest.approx(configuration["mix"])


BASE = {
    "config.lr": 0.001,
    "bs": 64,
    "optimizer": "adam",
    "w_code": 0.5,
    "w_web": 0.5,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config.lr": "fast"}, "learning_rate='fast' is no number"),
        ({"bs": None}, "batch_tokens=None is no number"),
        ({"w_code": "much"}, "mix.code='much' is no weight"),
        ({"w_code": -0.5}, "mix.code=-0.5 is no weight"),
        ({"w_code": "nan"}, "mix.code='nan' is no weight"),
        ({"w_code": 0, "w_web": 0}, "the weights of mix sum to 0"),
        ({"w_code": "inf"}, "the weights of mix sum to inf"),
        ({"w_code": "", "w_web": None}, "the weights of mix sum to 0"),
    ],
)
def test_read__value_of_another_kind__is_a_question_error(changes, said):
    """A weight that cannot be read is not nothing."""
    with pytest.raises(QuestionError) as refused:
        NAMES.read({**BASE, **changes})
    assert said in str(refused.value)


@pytest.mark.parametrize("column", list(BASE))
def test_read__column_left_out__is_named_with_what_there_is(column):
    written = {k: v for k, v in BASE.items() if k != column}
    with pytest.raises(QuestionError, match=r"lacks .*Fix: add") as refused:
        NAMES.read(written)
    assert column in str(refused.value)


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        ({"w_code": 2, "w_web": 6}, (0.25, 0.75)),
        ({"w_code": "30 %", "w_web": "70%"}, (0.3, 0.7)),
        ({"w_code": "", "w_web": 1}, (0.0, 1.0)),
        ({"w_code": None, "w_web": 3}, (0.0, 1.0)),
        ({"w_code": 1e-12, "w_web": 0}, (1.0, 0.0)),
    ],
)
def test_read__weights_of_any_sum__become_shares(written, weights):
    found = NAMES.read({**BASE, **written})["mix"]
    assert (found["code"], found["web"]) == pytest.approx(weights)


def test_read__nested_key_of_that_name__is_found_where_it_is_alone():
    written = {k: v for k, v in BASE.items() if k != "bs"}
    assert NAMES.read({**written, "train.bs": 64})["batch_tokens"] == 131072.0
    with pytest.raises(QuestionError, match="lacks bs"):
        NAMES.read({**written, "train.bs": 64, "eval.bs": 8})


def test_read__other_keys__are_ignored():
    assert NAMES.read({**BASE, "seed": 1, "x": [1]}) == NAMES.read(BASE)


@pytest.mark.parametrize(
    ("factor", "shown"),
    [(2048.0, 2048.0), (1 / 1024, 1 / 1024), (3.7, 3.7), (-5.0, -5.0)],
)
def test_names_of__proportional_column__has_its_factor(factor, shown):
    space = Space((Knob("k", "linear", (-1e6, 1e6)),))
    runs = []
    for value in (1.0, 2.0, 3.5, 8.0):
        runs.append(
            {
                "config_json": json.dumps({"k": value * factor}),
                "cells": {"col": str(value)},
            }
        )
    spelling = names_of(space, {"k": "col"}, runs).spelling("k")
    assert spelling.column == "col"
    assert spelling.factor == pytest.approx(shown)


def test_names_of__column_that_is_not_proportional__is_told_as_the_knob():
    space = Space((Knob("k", "linear", (0.0, 100.0)),))
    runs = []
    for value in (1.0, 2.0, 3.0):
        config = json.dumps({"k": value**2})
        runs.append({"config_json": config, "cells": {"other": str(value)}})
    assert names_of(space, {}, runs).spelling("k") == Spelling("k", whole=True)


def test_names_of__no_runs__are_the_mappings_columns():
    names = names_of(SPACE, COLUMNS, [])
    assert names.spelling("learning_rate").column == "config.lr"
    assert names.spelling("batch_tokens").column == "batch_tokens"


def test_value__whole_native_unit__is_a_whole_number():
    names = Names(SPACE, {"batch_tokens": Spelling("bs", SEQUENCE, True)})
    value = names.value("batch_tokens", 131072.0)
    assert value == 64 and isinstance(value, int)
    assert names.value("learning_rate", 0.00123456) == 0.001235
    assert names.value("optimizer", "adam") == "adam"
    assert names.value("learning_rate", True) is True


def test_names_of__mixture_in_percent__is_shown_and_read_in_percent():
    space = Space((Knob("mix", "simplex", ("code", "web")),))
    cells = {"code %": "20", "web %": "80"}
    run = {"config_json": '{"mix":{"code":0.2,"web":0.8}}', "cells": cells}
    columns = {"mix.code": "code %", "mix.web": "web %"}
    names = names_of(space, columns, [run])
    chosen = {"mix": {"code": 0.25, "web": 0.75}}
    assert names.show(chosen) == {"code %": 25.0, "web %": 75.0}
    assert names.read({"code %": 25, "web %": 75}) == chosen
