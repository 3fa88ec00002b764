"""pydantic's errors as the house's sentences: the entry as the file names it, what was
said, what is expected.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autollm.core.errors import SpaceError
from autollm.core.validation import declaration, names_of, sentence_of


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    scale: Literal["log", "linear"] = "log"
    step: float = Field(1.0, gt=0, allow_inf_nan=False)
    parts: tuple[str, ...] = Field((), max_length=2)
    code: str = Field("a", pattern="^[a-z]+$")
    deep: Deep | None = None


class Deep(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    values: tuple[int, ...] = ()


class File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    source: str
    budget: int = 5
    on: bool = True
    cost: Inner = Inner(name="c")
    knobs: tuple[Inner, ...] = Field(min_length=1)
    free: dict[str, int] = {}
    set_: dict[str, int] = Field({}, alias="set")


GOOD = {"source": "mine", "knobs": ({"name": "lr"},)}


def said(**changes):
    """What the house says of a file with these entries changed."""
    raw = {**GOOD, **changes}
    with pytest.raises(ValidationError) as refused:
        File.model_validate({k: v for k, v in raw.items() if v is not None})
    return sentence_of(refused.value, File)


def knob(**changes):
    return ({"name": "lr", **changes},)


def test_file_of_this_test__as_it_stands__is_valid():
    assert File.model_validate(GOOD).knobs[0].name == "lr"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": None}, "section 'source' is missing"),
        ({"source": 3}, "source must be a string, got 3"),
        ({"budget": "x"}, "budget must be a whole number, got 'x'"),
        ({"budget": 1.5}, "budget must be a whole number, got 1.5"),
        ({"on": 1}, "on must be true or false, got 1"),
        ({"knobs": 3}, "knobs must be a list, got 3"),
        ({"knobs": ()}, "knobs is empty, expected at least one entry"),
        ({"knobs": (3,)}, "[[knobs]] must be a table, got 3"),
        ({"cost": 3}, "[cost] must be a table, got 3"),
        ({"knobs": knob(name=3)}, "knobs.name must be a string, got 3"),
        ({"knobs": ({},)}, "[[knobs]] has no 'name'"),
        (
            {"knobs": knob(scale="lg")},
            "knobs.scale 'lg', expected one of 'log' or 'linear'",
        ),
        (
            {"knobs": knob(step=-1.0)},
            "knobs.step = -1.0, expected a positive number",
        ),
        (
            {"knobs": knob(step=float("nan"))},
            "knobs.step must be a finite number, got nan",
        ),
        (
            {"knobs": knob(step=float("inf"))},
            "knobs.step must be a finite number, got inf",
        ),
        (
            {"knobs": knob(step="1")},
            "knobs.step must be a number, got '1'",
        ),
        (
            {"knobs": knob(parts=("a", "b", "c"))},
            "knobs.parts: 3 entries, more than 2",
        ),
        (
            {"knobs": knob(deep={"value": ()})},
            "unknown entry of [[knobs]] deep 'value'. Did you mean 'values'?",
        ),
        (
            {"knobs": knob(deep=7)},
            "[[knobs]] deep must be a table, got 7",
        ),
        (
            {"knobs": knob(nam="x")},
            "unknown entry of [[knobs]] 'nam'. Did you mean 'name'?",
        ),
        (
            {"sourc": "x"},
            "unknown section 'sourc'. Did you mean 'source'?",
        ),
        (
            {"zzz": 1},
            "unknown section 'zzz'. Known: source, budget, on, cost, knobs, free, "
            "set.",
        ),
        ({"free": {"a": "x"}}, "free.a must be a whole number, got 'x'"),
    ],
)
def test_sentence_of__one_problem__names_entry_value_and_expectation(
    changes, sentence
):
    assert said(**changes) == sentence


def test_sentence_of__misspelt_entry__is_said_and_not_that_one_is_missing():
    """`nam = "lr"` is a missing name too: the cause is said."""
    assert said(knobs=({"nam": "lr"},)).startswith("unknown entry")


def test_sentence_of__very_long_value__is_cut():
    assert len(said(source=["x" * 5000])) < 200


def test_sentence_of__pattern__says_which_characters():
    assert "letters, digits" in said(knobs=knob(code="A B"))


@pytest.mark.parametrize(
    ("location", "names"),
    [
        (
            (),
            ("source", "budget", "on", "cost", "knobs", "free", "set"),
        ),
        (("cost",), ("name", "scale", "step", "parts", "code", "deep")),
        (("knobs", 0), ("name", "scale", "step", "parts", "code", "deep")),
        (("knobs", 0, "deep"), ("values",)),
        (("free",), ()),
        (("nothing",), ()),
        (("source",), ()),
    ],
)
def test_names_of__a_table__are_its_entries_as_the_file_spells_them(
    location, names
):
    assert names_of(File, location) == names


@declaration(SpaceError)
class Window:
    """A declaration as core/ has them."""

    name: str
    levels: tuple[float, ...]
    scale: Literal["log", "linear"] = "log"


def test_declaration__made__is_frozen_and_compares_by_value():
    one = Window("a", (1.0, 2.0))
    assert one == Window(name="a", levels=(1.0, 2.0), scale="log")
    assert hash(one) == hash(Window("a", (1.0, 2.0)))
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        one.name = "b"


@pytest.mark.parametrize(
    ("args", "fields", "sentence"),
    [
        (("a",), {}, "section 'levels' is missing"),
        ((3, (1.0,)), {}, "name must be a string, got 3"),
        (
            ("a", (1.0,), "lg"),
            {},
            "scale 'lg', expected one of 'log' or 'linear'",
        ),
        (("a", (1.0,)), {"scle": "log"}, "Did you mean 'scale'?"),
        (("a", ("x",)), {}, "levels must be a number, got 'x'"),
    ],
)
def test_declaration__that_does_not_fit__raises_its_own_error(
    args, fields, sentence
):
    with pytest.raises(SpaceError) as refused:
        Window(*args, **fields)
    assert sentence in str(refused.value)


def test_declaration__more_values_than_fields__is_refused():
    with pytest.raises((SpaceError, TypeError)):
        Window("a", (1.0,), "log", "one too many")
