"""The mapping's expression language computes numbers and does nothing else."""

import math

import pytest

from autollm.core.errors import MappingError, RecordError
from autollm.logs.expressions import MAX_CHARACTERS, parse_expression


def value(text: str, **names: float):
    return parse_expression(text)(names.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6 * params * tokens", 6 * 2.0 * 3.0),
        ("-params ** 2", -4.0),
        ("log2(8) + exp(0) + sqrt(9)", 7.0),
        ("min(params, tokens, 1) + max(1, tokens)", 4.0),
        ("round(2.5)", 3.0),
        ("mean(params, tokens, 4)", 3.0),
        ("params < tokens <= 3 and not params == 3", True),
        ("params > 3 or tokens > 5", False),
    ],
)
def test_expression__arithmetic_and_comparisons__equals_python(text, expected):
    assert value(text, params=2.0, tokens=3.0) == expected


def test_expression__large_integers__are_floats_that_cannot_explode():
    assert value("6 * n * d", n=1073741824.0, d=100_000_000_000.0) == pytest.approx(
        6.44e20, rel=1e-3
    )
    with pytest.raises(RecordError, match="cannot compute"):
        value("9 ** 9 ** 9 ** 9")


def test_expression__dotted_name__is_looked_up_whole():
    expression = parse_expression("cost.flops / 2")
    assert expression.names == ("cost.flops",)
    assert expression({"cost.flops": 8.0}.__getitem__) == 4.0


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "(1).__class__",
        "[x for x in y]",
        "lambda: 1",
        "a[0]",
        "'text'",
        "a if b else c",
        "min(*a)",
        "max(a, key=b)",
        "a := 1",
        "f'{a}'",
        "a @ b",
        "",
        "1 +",
        "a" * (MAX_CHARACTERS + 1),
        "10 ** 1" + "0" * 400,
    ],
)
def test_parse_expression__anything_else__is_refused(text):
    with pytest.raises((MappingError, RecordError)):
        parse_expression(text)(lambda name: 1.0)


def test_parse_expression__misspelt_function__suggests_the_near_one():
    with pytest.raises(MappingError, match="Did you mean 'log2'"):
        parse_expression("log(a)")
    with pytest.raises(MappingError, match="takes 1 to 1 arguments"):
        parse_expression("log2(a, b)")


@pytest.mark.parametrize("text", ["1 / x", "log2(x)", "sqrt(x - 1)", "exp(1000 + x)"])
def test_expression__undefined_result__is_a_record_error(text):
    with pytest.raises(RecordError, match="cannot compute"):
        value(text, x=0.0)


def test_expression__nan__compares_as_false():
    assert value("x > 3.5", x=math.nan) is False
