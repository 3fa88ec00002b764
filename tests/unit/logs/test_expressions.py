"""Expressions as SQL compute what Python's own evaluation does."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.mappings.expressions import parse_expression
from autollm.logs.mapped.mapper import Mapper
from tests.unit.logs.expression_oracle import evaluate

SQL = Mapper().connection


def value(text: str, **names: float | str | None):
    """The expression over one row, as the mapping's query computes it."""
    from autollm.logs.mapped.expression_sql import ExpressionSql
    from autollm.logs.mapped.query import Query

    columns = {name: pa.array([v], _type(v)) for name, v in names.items()}
    SQL.register("base", pa.table({"row_": [0], **columns}))
    query = Query("base")
    sql = ExpressionSql(query, lambda name, is_text: name)
    number = query.let(sql.number(parse_expression(text).tree))
    return SQL.execute(query.select({"x": number})).fetchall()[0][0]


def _type(cell):
    return pa.string() if isinstance(cell, str) else pa.float64()


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
    assert value(
        "6 * n * d", n=1073741824.0, d=100_000_000_000.0
    ) == pytest.approx(6.44e20, rel=1e-3)
    assert value("9 ** 9 ** 9 ** 9") is None


@pytest.mark.parametrize(
    "text",
    [
        "1 / x",
        "log2(x)",
        "sqrt(x - 1)",
        "exp(1000 + x)",
        "x ** -1",
        "min(5, 1 / x)",
    ],
)
def test_expression__undefined_result__has_no_value(text):
    assert value(text, x=0.0) is None


def test_expression__nan__compares_as_false_and_unequal():
    assert value("x > 3.5", x=math.nan) == 0
    assert value("x != 3.5", x=math.nan) == 1


def test_expression__text__is_compared_as_written():
    assert value('state == "crashed"', state="crashed") == 1
    assert value('state in ("crashed", "o\'k")', state="o'k") == 1
    assert value('state != "crashed" and x > 1', state="done", x=2.0) == 1


def test_expression__missing_name__makes_a_comparison_unknown():
    assert value("x > 1 or y > 1", x=None, y=2.0) == 1
    assert value("x > 1 and y > 1", x=None, y=2.0) is None
    assert value("x + 1", x=None) is None


NUMBERS = st.one_of(
    st.sampled_from(
        [0.0, 1.0, -1.0, 0.5, 2.0, 1e9, 1e-9, 1e300, math.inf, math.nan]
    ),
    st.floats(),
)
LEAVES = st.one_of(
    st.sampled_from(["a", "b", "c"]),
    st.floats(0, 1e6, allow_subnormal=False).map(repr),
)


def grow(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.flatmap(
            lambda p: st.sampled_from(
                ["+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!="]
            ).map(lambda op: f"({p[0]} {op} {p[1]})")
        ),
        pair.map(lambda p: f"min({p[0]}, {p[1]})"),
        pair.map(lambda p: f"max({p[0]}, {p[1]}, 2)"),
        st.tuples(inner, inner, inner).map(
            lambda p: f"mean({p[0]}, {p[1]}, {p[2]})"
        ),
        pair.map(lambda p: f"({p[0]} and not {p[1]})"),
        pair.map(lambda p: f"({p[0]} or {p[1]})"),
        st.tuples(
            st.sampled_from(["log2", "sqrt", "exp", "round", "-"]), inner
        ).map(lambda p: f"{p[0]}({p[1]})"),
    )


@settings(max_examples=400, deadline=None)
@given(
    text=st.recursive(LEAVES, grow, max_leaves=6).filter(
        lambda t: len(t) < 400
    ),
    cells=st.tuples(NUMBERS, NUMBERS, st.one_of(st.none(), NUMBERS)),
)
def test_expression__any_text_over_any_cells__is_what_python_computes(
    text, cells
):
    names = dict(zip("abc", cells, strict=True))
    expected = evaluate(parse_expression(text).tree, names)
    found = value(text, **names)
    if expected is None or found is None or math.isnan(expected):
        assert (found is None) == (expected is None), (
            text,
            names,
            found,
            expected,
        )
        assert expected is None or math.isnan(found)
    elif "mean" in text or "**" in text or "exp" in text or "log2" in text:
        assert found == pytest.approx(expected, rel=1e-15, abs=0)
    else:
        assert found == expected


def test_expression__sixty_derived_terms_of_each_other__cost_no_more_than_their_number():
    text = " + ".join(["a"] * 60)
    from autollm.logs.mapped.expression_sql import ExpressionSql
    from autollm.logs.mapped.query import Query

    SQL.register("base", pa.table({"a": [1.0]}))
    query, name = Query("base"), "a"
    for _ in range(4):
        sql = ExpressionSql(query, lambda _, is_text, now=name: now)
        name = query.let(sql.number(parse_expression(text).tree))
    assert SQL.execute(query.select({"x": name})).fetchall()[0] == (60.0**4,)
