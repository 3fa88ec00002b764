"""Expressions as Python computes them, row by row: what the SQL is held against."""

from __future__ import annotations

import math

from autollm.core.mappings.expressions import (
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
)

_COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
_ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": math.pow,
}
_CALLS = {
    "log2": math.log2,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "round": lambda x: float(math.floor(x + 0.5)) if math.isfinite(x) else x,
    "min": min,
    "max": max,
    "mean": lambda *values: math.fsum(values) / len(values),
}


def evaluate(tree: Node, names: dict[str, float | str | None]) -> float | None:
    """The value of an expression; None where it is missing or undefined."""
    found = _value(tree, names)
    return None if found is None else float(found)


def _value(node: Node, names: dict[str, float | str | None]):
    match node:
        case Number(value=value) | Text(value=value):
            return value
        case Name(name=name):
            return names[name]
        case Operation(operator="and" | "or" | "not"):
            return _logic(node, names)
        case Operation(operands=(operand,), operator=sign):
            found = _value(operand, names)
            return (
                None if found is None else (-found if sign == "-" else +found)
            )
    inner = node.operands if isinstance(node, Operation) else node.arguments
    values = [_value(operand, names) for operand in inner]
    if isinstance(node, Operation) and node.operator in _COMPARE:
        left, right = values
        is_nan = any(isinstance(v, float) and math.isnan(v) for v in values)
        if is_nan and None in values:
            # SQL: unknown AND false is false
            return None if node.operator == "!=" else False
        return None if None in values else _COMPARE[node.operator](left, right)
    if None in values:
        return None
    is_extreme = isinstance(node, Call) and node.function in ("min", "max")
    if is_extreme and any(math.isnan(v) for v in values):
        return math.nan
    apply = (
        _CALLS[node.function]
        if isinstance(node, Call)
        else _ARITHMETIC[node.operator]
    )
    try:
        return apply(*map(float, values))
    except OverflowError:
        # a sum beyond float64 is infinite, as IEEE has it; a power has no value
        is_mean = isinstance(node, Call) and node.function == "mean"
        return math.inf if is_mean and sum(values) > 0 else None
    except (ArithmeticError, ValueError):
        is_mean = isinstance(node, Call) and node.function == "mean"
        return math.nan if is_mean else None


def _truth(found: object) -> bool | None:
    return None if found is None else bool(found)


def _logic(
    node: Operation, names: dict[str, float | str | None]
) -> bool | None:
    values = [_truth(_value(operand, names)) for operand in node.operands]
    if node.operator == "not":
        return None if values[0] is None else not values[0]
    decisive = node.operator == "or"
    if decisive in values:
        return decisive
    return None if None in values else not decisive
