"""Values of an expression (expressions.py) over columns in memory, as `logs/` has them
computed by SQL over files.

Invariant: what is undefined (a division by zero, a root of less than nothing) is NaN,
and a comparison with NaN does not hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autollm.core.mappings.expressions import (
    Call,
    Expression,
    Name,
    Node,
    Number,
    Text,
)


def _defined(values: Any) -> Any:
    """NaN where a result is not finite."""
    return np.where(np.isfinite(values), values, np.nan)


def _differ(left: Any, right: Any) -> Any:
    """Whether two values differ; what is undefined differs from nothing."""
    return (left != right) & (left == left) & (right == right)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: _defined(np.divide(left, right)),
    "**": lambda left, right: _defined(np.power(left, right)),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": _differ,
    "and": np.logical_and,
    "or": np.logical_or,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log2": lambda values: _defined(np.log2(values)),
    "exp": lambda values: _defined(np.exp(values)),
    "sqrt": lambda values: _defined(np.sqrt(values)),
    "round": np.round,
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "mean": lambda *values: np.mean(np.broadcast_arrays(*values), axis=0),
}


def computed(expression: Expression, columns: Mapping[str, Any]) -> np.ndarray:
    """The expression for every row; `columns`: a number, a text or an array [n] for
    each of its names.

    Raises:
        KeyError: a name has no column.
    """
    with np.errstate(all="ignore"):
        return np.asarray(_value(expression.tree, columns))


def _value(node: Node, columns: Mapping[str, Any]) -> Any:
    if isinstance(node, Number | Text):
        return node.value
    if isinstance(node, Name):
        values = np.asarray(columns[node.name])
        return values.astype(str) if node.is_text else values.astype(float)
    if isinstance(node, Call):
        values = [_value(argument, columns) for argument in node.arguments]
        return _FUNCTIONS[node.function](*values)
    values = [_value(operand, columns) for operand in node.operands]
    if node.operator == "not":
        return np.logical_not(values[0])
    if len(values) == 1:
        return -values[0] if node.operator == "-" else values[0]
    total = values[0]
    for value in values[1:]:
        total = _OPERATORS[node.operator](total, value)
    return total
