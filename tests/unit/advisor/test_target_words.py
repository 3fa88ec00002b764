"""Targets as people write them, and what contradicts itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.advisor.asking.target import parse_target, resolve_target
from autollm.core.errors import QuestionError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import Experiment

SPACE = Space((Knob("lr", "log", (0.001, 0.002)),))
COLUMNS = {"params": "N", "tokens": "train.tokens"}


def experiment(**fidelity):
    return Experiment("e", "e", "s", "f", fidelity, 1e20, "loss", "min", SPACE)


VARIED = (
    experiment(params=1e8, tokens=2e9),
    experiment(params=2e8, tokens=8e9),
)


def resolve(text, experiments=VARIED, columns=COLUMNS):
    return resolve_target(parse_target(text), experiments, columns)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("params=7e9", {"params": 7e9}),
        ("params=7B , tokens=140B", {"params": 7e9, "tokens": 1.4e11}),
        ("a=1,,b=2,", {"a": 1.0, "b": 2.0}),
        ("layers=12", {"layers": 12.0}),
        ("a=1_000", {"a": 1000.0}),
        ("a=2^20", {"a": 2.0**20}),
        ("tokens/params=20", {"tokens/params": 20.0}),
        ("a=1,a=1.0", {"a": 1.0}),
        ("", {}),
        (" , ", {}),
    ],
)
def test_parse_target__list_of_coordinates__is_names_and_numbers(text, found):
    assert parse_target(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "params",
        "params=",
        "params=big",
        "params=0",
        "params=-1",
        "params=nan",
        "params=inf",
        "params=1e999",
        "params=True",
        "params=2024-01-01",
        "params=1,tokens",
        f"params={'9' * 500}",
    ],
)
def test_parse_target__no_positive_number__names_the_part(text):
    with pytest.raises(
        QuestionError, match=r"is no coordinate\. Expected NAME="
    ):
        parse_target(text)


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30))
def test_parse_target__any_positive_numbers__come_back_exactly(a, b):
    assert parse_target(f"x={a!r},y={b!r}") == {"x": a, "y": b}


def test_parse_target__one_name_with_two_values__is_refused():
    with pytest.raises(QuestionError, match="params is said twice, 1 and 2"):
        parse_target("params=1,params=2")


@pytest.mark.parametrize(
    "text",
    ["params=7B,N=8B,tokens=1e11", "N=7B,n=8B,tokens=1e11"],
)
def test_resolve_target__coordinate_under_two_names__is_refused(text):
    """Silently taking the last one would answer another question."""
    with pytest.raises(QuestionError, match=r"said twice.*Fix: say it once"):
        resolve(text)


def test_resolve_target__coordinate_under_two_names_alike__is_fine():
    target, _ = resolve("params=7B,N=7e9,tokens=1e11")
    assert target == {"params": 7e9, "tokens": 1e11}


@pytest.mark.parametrize(
    ("text", "params", "tokens"),
    [
        ("params=7B,tokens_per_param=20", 7e9, 1.4e11),
        ("tokens=140B,tokens_per_param=20", 7e9, 1.4e11),
        ("params=7B,tokens/params=20", 7e9, 1.4e11),
        ("params=7B,tokens=140B,tokens_per_param=20", 7e9, 1.4e11),
        ("TRAIN.TOKENS=140B,n=7B", 7e9, 1.4e11),
        ("Params=7B,Tokens=140B", 7e9, 1.4e11),
    ],
)
def test_resolve_target__ratios_and_own_names__are_one_target(
    text, params, tokens
):
    target, assumptions = resolve(text)
    assert list(target) == ["params", "tokens"]
    assert target == pytest.approx({"params": params, "tokens": tokens})
    assert {a.origin for a in assumptions} == {"said"}


def test_resolve_target__ratio_that_contradicts__is_refused():
    with pytest.raises(
        QuestionError, match=r"makes tokens 1\.4e\+11, and 1e\+11 is said"
    ):
        resolve("params=7B,tokens=1e11,tokens_per_param=20")


def test_resolve_target__ratio_alone__says_what_it_needs():
    with pytest.raises(QuestionError, match="needs params or tokens beside it"):
        resolve("tokens_per_param=20")


def test_resolve_target__constant_within_six_digits__is_filled_in():
    nearly = (
        experiment(params=1e8, tokens=2.0000001e9),
        experiment(params=2e8, tokens=2e9),
    )
    target, assumptions = resolve("params=7B", nearly)
    assert target["tokens"] == pytest.approx(2e9)
    (filled,) = [a for a in assumptions if a.origin == "guessed"]
    assert filled.code == "target-constant"
    assert filled.text == "train.tokens = 2e+09, as in every run"


def test_resolve_target__varying_coordinate_left_out__says_range_and_remedy():
    with pytest.raises(QuestionError) as refused:
        resolve("params=7B")
    said = str(refused.value)
    assert "lacks train.tokens (2e+09 to 8e+09), which varies" in said
    assert "Fix: --target params=7e+09,train.tokens=NUMBER." in said


def test_resolve_target__several_left_out__are_named_at_once_and_quoted():
    names = {"params": "Model Size", "tokens": "a,b"}
    with pytest.raises(QuestionError) as refused:
        resolve("", columns=names)
    said = str(refused.value)
    assert "lacks Model Size (1e+08 to 2e+08) and a,b" in said
    assert "Fix: --target 'Model Size=NUMBER,tokens=NUMBER'." in said


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("params=0.5,tokens=2e9", "N=0.5B"),
        ("params=350,tokens=2e9", "N=350M"),
        ("params=7e18,tokens=2e9", "N=7e+09"),
        ("params=1e8,tokens=20", "train.tokens=20B"),
        ("N=0.0001,tokens=2e9", "N=0.0001T"),
    ],
)
def test_resolve_target__letter_forgotten__asks_what_was_meant(text, meant):
    with pytest.raises(QuestionError) as refused:
        resolve(text)
    assert f"Did you mean {meant}?" in str(refused.value)


def test_resolve_target__evidence_in_billions__small_numbers_are_meant():
    billions = (experiment(params=0.1), experiment(params=0.4))
    target, _ = resolve("params=7", billions)
    assert target == {"params": 7.0}
    with pytest.raises(QuestionError, match=r"Did you mean N=7\?"):
        resolve("params=7e12", billions)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("params=1Bn", 1e9),
        ("params=7b params", 7e9),
        ("tokens=140B tokens", 1.4e11),
        ("data_fraction=50%", 0.5),
        ("train_hours=2h", 7200.0),
    ],
)
def test_parse_target__unit_of_the_coordinate__is_read(text, number):
    assert list(parse_target(text).values()) == [number]


@pytest.mark.parametrize(
    "text",
    ["params=7BB", "params=7b tokens", "params=1h", "tokens=50%", "N=3it/s"],
)
def test_parse_target__unit_of_something_else__is_refused(text):
    with pytest.raises(QuestionError, match="in another unit"):
        parse_target(text)


def test_resolve_target__nothing_said_and_nothing_varies__is_the_evidence_s():
    one = (experiment(params=1e8, tokens=2e9),)
    target, assumptions = resolve("", one)
    assert target == {"params": 1e8, "tokens": 2e9}
    assert {a.origin for a in assumptions} == {"guessed"}


@pytest.mark.parametrize(
    "name", ["depth", "param s", "loss", "e", "pa", "x_per_y"]
)
def test_resolve_target__unknown_name__names_the_known(name):
    with pytest.raises(QuestionError, match=r"no coordinate .*params"):
        resolve(f"{name}=1,params=7B,tokens=1e11")


def test_resolve_target__word_of_the_only_such_coordinate__is_it():
    experiments = (
        experiment(non_embedding_params=1e8, tokens=2e9),
        experiment(non_embedding_params=2e8, tokens=2e9),
    )
    target, _ = resolve("params=7B", experiments, {})
    assert target["non_embedding_params"] == 7e9


def test_resolve_target__word_of_two_coordinates__is_refused():
    experiments = (
        experiment(active_params=1e8, total_params=2e8),
        experiment(active_params=2e8, total_params=4e8),
    )
    with pytest.raises(QuestionError, match="no coordinate 'params'"):
        resolve("params=7B", experiments, {})
