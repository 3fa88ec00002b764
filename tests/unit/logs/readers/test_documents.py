import math

import pytest

from autollm.core.errors import RecordError
from autollm.logs.readers import documents
from autollm.logs.readers.documents import (
    parse_json,
    parse_literal,
    parse_mapping_text,
    parse_yaml,
)

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{now}: &{now} [{','.join([f'*{last}'] * 9)}]\n".encode()
    for last, now in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_yaml__what_tools_write__is_plain_data():
    text = (
        b"lr: 1e-4\nbetas: !!python/tuple [0.9, 0.95]\nmodel: !!python/object:os.system"
        b" {d: 64}\nwhen: 2025-01-02\nnone: null\nshared: &s [1]\nagain: *s\n"
    )
    assert parse_yaml(text, "h.yaml") == {
        "lr": 1e-4,
        "betas": [0.9, 0.95],
        "model": {"d": 64},
        "when": "2025-01-02",
        "none": None,
        "shared": [1],
        "again": [1],
    }


@pytest.mark.parametrize(
    "text, said",
    [
        (BOMB, "aliases"),
        (b"a: &a [*a]\n", "refers to what it stands in"),
        (b"a: !!python/object/apply:os.system [[echo]", "not YAML"),
        (b"- 1\n", "expected a mapping"),
        (b"a: !!int x\n", "not YAML"),
        (b"x: " + b"y" * 300_000, "expected at most"),
        (b"[" * 20_000, "nests more than 200 brackets"),
        (b"a: 1\na: 2\n", "'a' stands twice"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_yaml__hostile_documents__are_errors_of_the_house(text, said):
    with pytest.raises(RecordError, match=said):
        parse_yaml(text, "h.yaml")


def test_json__nan_and_repeats():
    assert math.isnan(parse_json('{"a": NaN}')["a"])
    with pytest.raises(RecordError, match="'a' stands twice"):
        parse_json('{"a": 1, "a": 2}')
    with pytest.raises(RecordError, match="not JSON"):
        parse_json("[" * 100_000)


def test_literal__what_pandas_writes__is_plain_data():
    text = (
        "{'lr': 0.001, 'n': -3, 'x': nan, 'y': np.float64(2.5), 'flag': True, "
        "'none': None, 'l': [1, (2, 3)], 'at': datetime.date(2025, 1, 2)}"
    )
    found = parse_literal(text)
    assert math.isnan(found.pop("x"))
    assert found == {
        "lr": 0.001,
        "n": -3,
        "y": 2.5,
        "flag": True,
        "none": None,
        "l": [1, [2, 3]],
        "at": "datetime.date(2025, 1, 2)",
    }


@pytest.mark.parametrize("text", ["{'a': 1", "{" * 5_000, "{**x}", "{'a': 1}}"])
def test_literal__what_is_none__is_an_error(text):
    with pytest.raises(RecordError):
        parse_literal(text)


def test_mapping_text__other_cells__are_none():
    assert parse_mapping_text("adamw") is None
    assert parse_mapping_text("{1, 2}") is None
    assert parse_mapping_text('{"a": {"b": 1}}') == {"a": {"b": 1}}
    with pytest.raises(RecordError, match="cut off"):
        parse_mapping_text("{'a': 1, 'b': ")


def test_parse_yaml__no_pyyaml__reads_what_is_plain_else_names_the_extra(
    monkeypatch,
):
    monkeypatch.setattr(documents, "absent", list)
    with pytest.raises(
        RecordError, match=r"hparams needs yaml.*'autollm\[yaml\]'"
    ):
        parse_yaml(b"lr: &rate 1\n", "hparams")
    assert parse_yaml(b"lr: 1\nmodel:\n  depth: 2\n", "hparams") == {
        "lr": 1,
        "model": {"depth": 2},
    }
