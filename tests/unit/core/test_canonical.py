"""Canonical JSON and what is hashed of it: equal values, equal text."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.ids import Origin, config_id, experiment_id
from autollm.core.records import canonical_json, content_hash, flat

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES)
def test_canonical_json__written_read_and_written__is_the_same(tree):
    text = canonical_json(tree)
    assert canonical_json(json.loads(text)) == text


@given(TREES)
def test_canonical_json__without_digits__loses_nothing(tree):
    text = canonical_json(tree, digits=None)
    assert json.loads(text) == json.loads(json.dumps(tree))
    assert canonical_json(json.loads(text), digits=None) == text


@given(st.dictionaries(st.text(max_size=5), SCALARS, min_size=2, max_size=6))
def test_canonical_json__keys_in_another_order__is_the_same(tree):
    backwards = dict(reversed(tree.items()))
    assert canonical_json(backwards) == canonical_json(tree)
    assert config_id(backwards) == config_id(tree)


@given(st.integers(-(10**12), 10**12))
def test_canonical_json__whole_number_as_float__is_the_same(number):
    assert canonical_json(float(number)) == canonical_json(number)


@given(st.floats(1e-300, 1e300), st.sampled_from([3, 6, 9, 12]))
def test_canonical_json__any_number__keeps_the_digits_asked_for(number, digits):
    back = float(canonical_json(number, digits=digits))
    assert back == pytest.approx(number, rel=0.5001 * 10 ** (1 - digits))
    assert float(f"{number:.{digits}g}") == back


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.1 + 0.2, "0.3"),
        (1234567.0, "1234570"),
        (1234567, "1234570"),
        (999999.5, "1000000"),
        (1e14, "100000000000000"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (math.inf, '"inf"'),
        (-math.inf, '"-inf"'),
        (math.nan, '"nan"'),
        (True, "true"),
        (None, "null"),
        ("ü\n", '"ü\\n"'),
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({2: "x"}, '{"2":"x"}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_canonical_json__one_value__is_written_so(value, text):
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    ("of_numpy", "plain"),
    [
        (np.float64(0.25), 0.25),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.bool_(True), True),
        (np.bool_(False), False),
        (np.str_("a"), "a"),
        (np.float64("inf"), math.inf),
    ],
)
@pytest.mark.parametrize("digits", [None, 6])
def test_canonical_json__number_of_numpy__is_the_plain_one(
    of_numpy, plain, digits
):
    assert canonical_json(of_numpy, digits) == canonical_json(plain, digits)


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**18 + 1])
def test_canonical_json__whole_number_of_any_size__is_written(number):
    """JSON knows no largest number, and a log may hold any."""
    text = canonical_json(number)
    back = json.loads(text)
    assert (back > 0) == (number > 0)
    assert canonical_json(back) == text


def test_canonical_json__true_and_one__differ():
    assert config_id({"x": True}) != config_id({"x": 1})
    assert config_id({"x": "1"}) != config_id({"x": 1})
    assert config_id({"x": None}) != config_id({})


def test_config_id__is_the_hash_that_the_contract_says():
    text = '{"batch":64,"lr":0.0123457}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert config_id({"lr": 0.01234567, "batch": 64.0}) == expected


def test_experiment_id__is_source_and_eight_digits_of_the_fidelity():
    text = '{"params":1000000,"tokens":20000000}'
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    fidelity = {"tokens": 2e7, "params": 1e6}
    assert experiment_id(Origin("mine"), fidelity) == f"mine:{digest}"
    assert experiment_id(Origin("mine", "g"), fidelity) == f"mine/g:{digest}"


def test_experiment_id__context__is_appended_before_hashing():
    fidelity = {"params": 1.0}
    context = '{"optimizer":"adam"}'
    digest = hashlib.sha256(f'{{"params":1}}{context}'.encode()).hexdigest()
    assert experiment_id(Origin("s"), fidelity, context) == f"s:{digest[:8]}"
    assert experiment_id(Origin("s"), fidelity, "") == experiment_id(
        Origin("s"), fidelity
    )
    assert experiment_id(Origin("s"), fidelity, context) != experiment_id(
        Origin("s"), fidelity
    )


@given(st.binary(max_size=50), st.integers(1, 64))
def test_content_hash__text_and_bytes__are_the_first_digits(data, length):
    whole = hashlib.sha256(data).hexdigest()
    assert content_hash(data, length) == whole[:length]


def test_content_hash__text__is_its_utf8():
    assert content_hash("ü") == content_hash("ü".encode())
    assert len(content_hash("")) == 16


def test_flat__nested__are_dotted_names():
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None}
    assert flat(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None}


def test_flat__with_a_prefix__begins_with_it():
    assert flat({"a": 1, "b": {"c": 2}}, "config.") == {
        "config.a": 1,
        "config.b.c": 2,
    }


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), SCALARS))
def test_flat__flat_already__stays_as_it_is(values):
    assert flat(values) == values


@pytest.mark.parametrize("text", ["\ud83d", "caf\udce9", "a\udfff\ud800b"])
def test_content_hash__half_a_surrogate_pair__has_a_hash_of_its_own(text):
    """A file's name may hold bytes that are no UTF-8, and a log such a text."""
    assert len(content_hash(text)) == 16
    assert content_hash(text) != content_hash(text.replace("\ud83d", "?"))[:15]
    assert config_id({"x": text}) == config_id({"x": text})
    assert config_id({"x": text}) != config_id({"x": "?"})
