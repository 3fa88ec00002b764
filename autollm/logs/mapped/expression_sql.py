"""Expressions of a mapping as SQL over double columns.

Arithmetic is that of IEEE doubles, but what Python refuses is NULL: division by zero,
logarithm and root of what has none, a power or exponential beyond float64. A comparison
with NaN is false (`!=`: true), as in Python, not as in DuckDB. A missing name makes a
comparison unknown: `and`, `or` and `not` take it by SQL's three-valued logic.

Invariant: no operand is written twice unless it is a name or a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from autollm.core.mappings.expressions import (
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
)
from autollm.logs.mapped.query import Query, number, text

_COMPARISONS = {
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "==": "=",
    "!=": "<>",
}
_ARITHMETIC = ("+", "-", "*")
_LEAF = re.compile(r"\w+|'[^']*'::DOUBLE")


class ExpressionSql:
    """Turns trees into SQL. `read(name, is_text)` gives the column of a name."""

    def __init__(self, query: Query, read: Callable[[str, bool], str]):
        self._query, self._read = query, read

    def number(self, node: Node) -> str:
        """The node as a DOUBLE."""
        sql = self._sql(node)
        return f"({sql})::DOUBLE" if _is_truth(node) else sql

    def truth(self, node: Node) -> str:
        """The node as a BOOLEAN: a number is true where it is not zero."""
        sql = self._sql(node)
        return sql if _is_truth(node) else f"({sql} <> 0)"

    def _sql(self, node: Node) -> str:
        match node:
            case Number(value=bool() as value):
                return str(value).lower()
            case Number(value=value):
                return number(value)
            case Name(name=name, is_text=is_text):
                return self._read(name, is_text)
            case Text(value=value):
                return text(value)
            case Call(function=function, arguments=arguments):
                return self._call(function, [self.number(a) for a in arguments])
            case Operation(operator="not", operands=(operand,)):
                return f"(NOT {self.truth(operand)})"
            case Operation(
                operator="and" | "or" as operator, operands=operands
            ):
                parts = [self.truth(operand) for operand in operands]
                return "(" + f" {operator.upper()} ".join(parts) + ")"
            case Operation(operator=operator, operands=operands):
                if operator in _COMPARISONS:
                    return self._comparison(_COMPARISONS[operator], operands)
                return self._arithmetic(
                    operator, [self.number(o) for o in operands]
                )
        raise TypeError(f"no SQL for {node!r}")

    def _arithmetic(self, operator: str, operands: list[str]) -> str:
        if len(operands) == 1:
            return f"({operator}{operands[0]})"
        left, right = operands
        if operator in _ARITHMETIC:
            return f"({left} {operator} {right})"
        right = self._once(right)
        if operator == "/":
            return f"({left} / CASE WHEN {right} <> 0 THEN {right} END)"
        left = self._once(left)
        # 0 to a negative power and a root of a negative number are undefined in Python
        is_defined = f"({left} > 0 OR ({left} = 0 AND {right} >= 0) OR {right} = floor({right}))"
        power = f"CASE WHEN {is_defined} THEN pow({left}, {right}) END"
        return self._finite(power, (left, right))

    def _comparison(self, operator: str, operands: tuple[Node, ...]) -> str:
        if any(isinstance(operand, Text) for operand in operands):
            left, right = (self._sql(operand) for operand in operands)
            return f"({left} {operator} {right})"
        left, right = (self._once(self.number(operand)) for operand in operands)
        if operator == "<>":
            return f"({left} <> {right} OR isnan({left}) OR isnan({right}))"
        return f"({left} {operator} {right} AND NOT isnan({left}) AND NOT isnan({right}))"

    def _call(self, function: str, arguments: list[str]) -> str:
        if function == "mean":
            return self._mean(arguments)
        arguments = [self._once(argument) for argument in arguments]
        first = arguments[0]
        match function:
            case "log2":
                return f"log2(CASE WHEN {first} > 0 THEN {first} END)"
            case "sqrt":
                return f"sqrt(CASE WHEN {first} >= 0 THEN {first} END)"
            case "exp":
                return self._finite(f"exp({first})", (first,))
            case "round":
                return f"floor({first} + 0.5::DOUBLE)::DOUBLE"
        name = {"min": "least", "max": "greatest"}[function]
        nulls = " OR ".join(f"{a} IS NULL" for a in arguments)
        nans = " OR ".join(f"isnan({a})" for a in arguments)
        chosen = f"{name}({', '.join(arguments)})"
        return f"CASE WHEN {nulls} THEN NULL WHEN {nans} THEN 'nan'::DOUBLE ELSE {chosen} END"

    def _mean(self, arguments: list[str]) -> str:
        """The mean of a sum that is rounded once (Neumaier's)."""
        arguments = [self._once(argument) for argument in arguments]
        nulls = " OR ".join(f"{a} IS NULL" for a in arguments)
        pairs = ", ".join(f"{{'s': {a}, 'e': 0.0::DOUBLE}}" for a in arguments)
        lost = (
            "CASE WHEN abs(p.s) >= abs(q.s) THEN (p.s - (p.s + q.s)) + q.s "
            "ELSE (q.s - (p.s + q.s)) + p.s END"
        )
        step = f"lambda p, q: {{'s': p.s + q.s, 'e': p.e + {lost}}}"
        total = self._query.let(
            f"CASE WHEN {nulls} THEN NULL ELSE list_reduce([{pairs}], {step}) END"
        )
        n = number(len(arguments))
        exact = f"CASE WHEN isfinite({total}.e) THEN {total}.s + {total}.e ELSE {total}.s END"
        return f"(({exact}) / {n})"

    def _finite(self, sql: str, operands: tuple[str, ...]) -> str:
        """NULL where finite operands give a result that is not."""
        result = self._query.let(sql)
        odd = " OR ".join(f"NOT isfinite({operand})" for operand in operands)
        return f"CASE WHEN isfinite({result}) OR {odd} THEN {result} END"

    def _once(self, sql: str) -> str:
        """The expression where it is a name or a number, else a step that holds it."""
        return sql if _LEAF.fullmatch(sql) else self._query.let(sql)


def _is_truth(node: Node) -> bool:
    if isinstance(node, Number):
        return isinstance(node.value, bool)
    comparisons = {*_COMPARISONS, "not", "and", "or"}
    return isinstance(node, Operation) and node.operator in comparisons
