"""What the expression language of mappings accepts."""

import pytest

from autollm.core.errors import MappingError
from autollm.core.mappings.expressions import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    parse_expression,
)


def test_parse_expression__dotted_name__is_one_name():
    assert parse_expression("cost.flops / 2 + n").names == ("cost.flops", "n")


@pytest.mark.parametrize(
    "text",
    [
        'state == "crashed"',
        '"crashed" != state',
        'state in ("crashed", "killed")',
        'state not in ["crashed"] and loss < 3',
        "depth in (1, 2)",
        "1 < a <= 2",
    ],
)
def test_parse_expression__comparisons__are_accepted(text):
    assert parse_expression(text).text == text


def test_parse_expression__text_comparison__reads_the_name_as_text():
    left, right = parse_expression('state == "crashed"').tree.operands
    assert left.is_text and right.value == "crashed"
    assert not parse_expression("state == 1").tree.operands[0].is_text


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
        "'a' + 'b'",
        "'a' == 'b'",
        "a < 'b'",
        "a == b == 'c'",
        "a + 1 == 'b'",
        "a in b",
        "a in ()",
        "a is b",
        "a if b else c",
        "min(*a)",
        "max(a, key=b)",
        "a := 1",
        "f'{a}'",
        "a @ b",
        "",
        "1 +",
        3,
        "a\0",
        "-" * (MAX_DEPTH + 2) + "a",
        "a" * (MAX_CHARACTERS + 1),
        "10 ** 1" + "0" * 400,
    ],
)
def test_parse_expression__anything_else__is_refused(text):
    with pytest.raises(MappingError):
        parse_expression(text)


def test_parse_expression__misspelt_function__suggests_the_near_one():
    with pytest.raises(MappingError, match="Did you mean 'log2'"):
        parse_expression("log(a)")
    with pytest.raises(MappingError, match="takes 1 to 1 arguments"):
        parse_expression("log2(a, b)")
