"""Expressions of mappings mean what Python means by the same text, and nothing else is
let in.
"""

from __future__ import annotations

import ast
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import MappingError
from autollm.core.mappings.computed import computed
from autollm.core.mappings.expressions import (
    ARITY,
    MAX_CHARACTERS,
    MAX_DEPTH,
    Call,
    Name,
    Number,
    Operation,
    Text,
    parse_expression,
)

NUMBERS = ("a", "b", "config.lr")
TEXTS = ("opt", "config.name")
ROW = {
    "a": 3.0,
    "b": 0.5,
    "config.lr": 8.0,
    "opt": "adam",
    "config.name": "x y",
}
FUNCTIONS = {
    "log2": math.log2,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "round": round,
    "min": min,
    "max": max,
    "mean": lambda *values: sum(values) / len(values),
}
BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Dotted:
    """`config.lr` for Python's own evaluation."""

    lr = ROW["config.lr"]
    name = ROW["config.name"]


SCOPE = {"a": 3.0, "b": 0.5, "opt": "adam", "config": Dotted, **FUNCTIONS}


def value_of(node):
    """What a checked tree means on ROW."""
    match node:
        case Number(value=value) | Text(value=value):
            return value
        case Name(name=name):
            return ROW[name]
        case Call(function=function, arguments=arguments):
            return FUNCTIONS[function](*map(value_of, arguments))
        case Operation(operator="and", operands=operands):
            return all(bool(value_of(o)) for o in operands)
        case Operation(operator="or", operands=operands):
            return any(bool(value_of(o)) for o in operands)
        case Operation(operator="not", operands=(operand,)):
            return not value_of(operand)
        case Operation(operator="-", operands=(operand,)):
            return -value_of(operand)
        case Operation(operator="+", operands=(operand,)):
            return +value_of(operand)
        case Operation(operator=sign, operands=(left, right)):
            return BINARY[sign](value_of(left), value_of(right))
    raise AssertionError(node)


def outcome(compute):
    """A number or truth value, or the kind of arithmetic error."""
    try:
        found = compute()
    except (ArithmeticError, ValueError) as error:
        return type(error).__name__ != "", "error"
    if isinstance(found, complex):
        return True, "error"
    return True, found


ATOMS = st.one_of(
    st.integers(0, 20).map(str),
    st.floats(0.01, 100).map(lambda v: f"{v:.3f}"),
    st.sampled_from(NUMBERS),
    st.sampled_from(["1e-3", "2.5e2", ".5", "True"]),
)


@st.composite
def sums(draw, inner):
    """An arithmetic expression over smaller ones."""
    kind = draw(st.sampled_from(["binary", "call", "minus", "brackets"]))
    if kind == "binary":
        sign = draw(st.sampled_from(["+", "-", "*", "/"]))
        return f"{draw(inner)} {sign} {draw(inner)}"
    if kind == "call":
        name = draw(st.sampled_from(["min", "max", "mean", "sqrt", "round"]))
        low, _ = ARITY[name]
        arguments = [draw(inner) for _ in range(low)]
        return f"{name}({', '.join(arguments)})"
    return f"-({draw(inner)})" if kind == "minus" else f"({draw(inner)})"


FORMULAS = st.recursive(ATOMS, sums, max_leaves=6)


@st.composite
def conditions(draw, inner):
    kind = draw(st.sampled_from(["and", "or", "not", "brackets"]))
    if kind in ("and", "or"):
        return f"({draw(inner)}) {kind} ({draw(inner)})"
    return f"not ({draw(inner)})" if kind == "not" else f"({draw(inner)})"


@st.composite
def comparisons(draw):
    kind = draw(st.sampled_from(["plain", "chain", "text", "in", "not in"]))
    sign = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    if kind == "plain":
        return f"{draw(FORMULAS)} {draw(sign)} {draw(FORMULAS)}"
    if kind == "chain":
        return f"{draw(ATOMS)} {draw(sign)} {draw(ATOMS)} {draw(sign)} {draw(ATOMS)}"
    word = draw(st.sampled_from(["adam", "sgd", "x y", "it's"]))
    name = draw(st.sampled_from(TEXTS))
    if kind == "text":
        return f"{name} {draw(st.sampled_from(['==', '!=']))} {word!r}"
    return f'{name} {kind} ("sgd", {word!r})'


CONDITIONS = st.recursive(comparisons(), conditions, max_leaves=4)


@settings(max_examples=150, deadline=None)
@given(FORMULAS | CONDITIONS)
def test_parse_expression__any_allowed_text__means_what_python_means(text):
    tree = parse_expression(text).tree
    ours = outcome(lambda: value_of(tree))
    theirs = outcome(lambda: eval(text, {"__builtins__": {}}, SCOPE))
    if isinstance(theirs[1], float) and not isinstance(theirs[1], bool):
        assert ours[1] == pytest.approx(theirs[1], rel=1e-9, nan_ok=True)
    else:
        assert ours == theirs


ROWS = st.lists(
    st.tuples(
        st.floats(-4, 4).map(lambda v: round(v, 2)),
        st.floats(0, 4).map(lambda v: round(v, 2)),
    ),
    min_size=1,
    max_size=4,
)


def python_on(text, a, b):
    """Python's number of a formula on one row; NaN where there is none."""
    scope = {**SCOPE, "a": a, "b": b}
    try:
        found = eval(text, {"__builtins__": {}}, scope)
    except (ArithmeticError, ValueError):
        return math.nan
    return math.nan if isinstance(found, complex) else float(found)


@settings(max_examples=100, deadline=None)
@given(FORMULAS, ROWS)
def test_computed__any_formula_over_rows__is_pythons_number_or_nan(text, rows):
    a, b = np.array(rows).T
    columns = {"a": a, "b": b, "config.lr": ROW["config.lr"]}
    found = np.broadcast_to(
        computed(parse_expression(text), columns), len(rows)
    )
    for value, row in zip(found, rows, strict=True):
        wanted = python_on(text, *row)
        if math.isnan(wanted):
            # min and max of Python drop a NaN that came before, ours keep it
            assert math.isnan(value) or "m" in text
        else:
            assert value == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    FORMULAS,
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    FORMULAS,
    ROWS,
)
def test_computed__comparison_with_what_is_undefined__does_not_hold(
    left, sign, right, rows
):
    a, b = np.array(rows).T
    columns = {"a": a, "b": b, "config.lr": ROW["config.lr"]}
    sides = []
    for text in (left, right):
        value = computed(parse_expression(text), columns)
        sides.append(np.broadcast_to(value, len(rows)))
    holds = computed(parse_expression(f"({left}) {sign} ({right})"), columns)
    for i, held in enumerate(np.broadcast_to(holds, len(rows))):
        one, other = float(sides[0][i]), float(sides[1][i])
        known = not (math.isnan(one) or math.isnan(other))
        assert held == (known and BINARY[sign](one, other))


@settings(max_examples=100, deadline=None)
@given(FORMULAS | CONDITIONS)
def test_parse_expression__names__are_those_that_it_reads_in_order(text):
    found = parse_expression(text)
    read = []
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Attribute):
            read.append(ast.unparse(node))
        elif isinstance(node, ast.Name) and node.id not in (*ARITY, "config"):
            read.append(node.id)
    assert set(found.names) == set(read)
    assert len(set(found.names)) == len(found.names)
    assert set(found.text_names) == set(found.names) & set(TEXTS)


@pytest.mark.parametrize(
    ("text", "names", "texts"),
    [
        ('opt == "adam"', ("opt",), ("opt",)),
        ('"adam" == opt', ("opt",), ("opt",)),
        ('opt == "adam" and opt > 3', ("opt",), ()),
        ('opt in ("a", 3)', ("opt",), ()),
        ("a + b * a", ("a", "b"), ()),
        ("1 < a < b", ("a", "b"), ()),
        ("True", (), ()),
    ],
)
def test_parse_expression__text_names__are_compared_as_text_and_nothing_else(
    text, names, texts
):
    found = parse_expression(text)
    assert (found.names, found.text_names) == (names, texts)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "().a",
        "(1).real",
        "a[0]",
        "[a]",
        "{a}",
        "a if b else 1",
        "lambda: 1",
        "a @ b",
        "a // b",
        "a % b",
        "a & b",
        "~a",
        "a is b",
        "a == b == 'x'",
        "'a' + 'b'",
        "'x'",
        "'x' == 'y'",
        "opt < 'x'",
        "a in b",
        "a in ()",
        "a in ('x',) in ('y',)",
        "min(a)",
        "min(a, key=b)",
        "min(*a)",
        "log(a)",
        "open('x')",
        "a; b",
        "a = 1",
        "a := 1",
        "f'{a}'",
        "yield a",
        "await a",
        "...",
        "None",
        "1j",
        "b'x'",
        "a\x00",
        "",
        "   ",
        "1" * (MAX_CHARACTERS + 1),
        "(" * 400,
        "10 ** 1" + "0" * 400,
    ],
)
def test_parse_expression__anything_else__is_a_mapping_error_with_the_text(
    text,
):
    with pytest.raises(MappingError):
        parse_expression(text)


@pytest.mark.parametrize("value", [None, 3, True, ["a"], {"a": 1}, b"a"])
def test_parse_expression__no_text__is_a_mapping_error(value):
    with pytest.raises(MappingError, match="expected an expression"):
        parse_expression(value)


def test_parse_expression__nested_up_to_the_limit__is_taken_and_beyond_is_not():
    assert parse_expression("-" * (MAX_DEPTH - 1) + "a")
    with pytest.raises(MappingError, match="nested too deeply"):
        parse_expression("-" * (MAX_DEPTH + 5) + "a")


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_parse_expression__any_text__is_checked_or_a_mapping_error(text):
    try:
        found = parse_expression(text)
    except MappingError:
        return
    assert found.text == text
