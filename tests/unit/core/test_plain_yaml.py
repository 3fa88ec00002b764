"""YAML without PyYAML: what is read is what PyYAML reads, all else is left to it."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.plain_yaml import NotPlain, parse_plain_yaml
from autollm.logs.readers.documents import parse_any_yaml

PLAN = """\
# a plan
optimizer:
  name: adamw   # ours
  lr: 3e-4
  betas: [0.9, 0.95]
"data.mix": 'it''s'
batch: 256
notes:
schedule:
- cosine
- 0.1
model:
    depth: 12
    tie: yes

    width: 7.5
path: /data/a:b#c
names: ["a, b", "c", 1.0e-05]
"""
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        ["yes", "1e3", "2025-01-02", "0x1f", "1:30", "~", "a: b", "- x"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def by_pyyaml(text):
    return parse_any_yaml(text.encode("utf-8", "surrogatepass"), "text")


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def is_left_or_the_same(text):
    try:
        found = parse_plain_yaml(text)
    except NotPlain:
        return True
    return same(found, by_pyyaml(text))


def test_plain_yaml__a_plan__is_what_pyyaml_reads():
    found = parse_plain_yaml(PLAN)
    assert same(found, by_pyyaml(PLAN))
    assert found["optimizer"] == {
        "name": "adamw",
        "lr": 3e-4,
        "betas": [0.9, 0.95],
    }
    assert found["schedule"] == ["cosine", 0.1]
    assert found["model"] == {"depth": 12, "tie": True, "width": 7.5}


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1",
        "a: *x",
        "a: !!int 1",
        "a: |\n  text",
        "a: >\n  text",
        "- a: 1\n  b: 2",
        "a: {b: 1}",
        "a: 1\na: 2",
        "a: one\n  more",
        "a: 2025-01-02",
        "a: 0x1f",
        "a: 1:30",
        "a: 010",
        "a: [1, [2]]",
        "a\n",
        "\ta: 1",
        "1: a",
        "on: a",
        "a: 1\n---\nb: 2",
        "a: 1\n b: 2",
    ],
)
def test_plain_yaml__more_than_plain__is_left_to_pyyaml(text):
    with pytest.raises(NotPlain):
        parse_plain_yaml(text)


@given(value=VALUES, flow=st.sampled_from([None, False]))
def test_plain_yaml__what_pyyaml_writes__is_read_alike_or_left(value, flow):
    text = yaml.safe_dump(
        value, default_flow_style=flow, allow_unicode=True, sort_keys=False
    )
    assert is_left_or_the_same(text), text


FLAT = st.dictionaries(
    st.sampled_from(["lr", "batch size", "a.b", "x/y", "n"]),
    st.integers(-999, 999)
    | st.floats(-9, 9)
    | st.sampled_from(["adam", "a b", ""]),
    min_size=1,
)


@given(plan=st.dictionaries(st.sampled_from("abc"), FLAT, min_size=1))
def test_plain_yaml__settings_of_two_levels__are_always_read(plan):
    text = yaml.safe_dump(plan, default_flow_style=False)
    assert same(parse_plain_yaml(text), by_pyyaml(text)), text


CHARACTERS = st.sampled_from(list("ab1.-+: \n#'\"[],{}&*!|>%~=_eyns0/\\\t"))


@settings(max_examples=500)
@given(cut=st.integers(0, len(PLAN)), put=st.lists(CHARACTERS, max_size=4))
def test_plain_yaml__any_damage__is_read_alike_or_left(cut, put):
    text = PLAN[:cut] + "".join(put) + PLAN[cut + len(put) // 2 :]
    assert is_left_or_the_same(text), text
