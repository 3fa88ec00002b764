"""The small expression language of mapping files: numbers, names, arithmetic,
comparisons, a few functions.

An expression is parsed once with Python's own parser, checked node by node against a
whitelist, and turned into closures; nothing is ever handed to `eval`. A name may be
dotted (`cost.flops`). What does not belong here: where a name's value comes from.

Invariant: only the listed nodes and functions are accepted, so that text found in a
mapping can compute a number or a truth value and do nothing else.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

from autollm.core.errors import MappingError, RecordError

MAX_CHARACTERS = 500
Value = float | bool
Lookup = Callable[[str], float]
_Node = Callable[[Lookup], Value]

FUNCTIONS: dict[str, Callable[..., float]] = {
    "log2": math.log2,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "min": min,
    "max": max,
    "mean": lambda *values: math.fsum(values) / len(values),
    "round": lambda x: float(math.floor(x + 0.5)),
}
_ARITY = {
    "log2": (1, 1),
    "exp": (1, 1),
    "sqrt": (1, 1),
    "round": (1, 1),
    "min": (2, 9),
    "max": (2, 9),
    "mean": (1, 99),
}
_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: lambda a, b: math.pow(a, b),
}
_COMPARE: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression; `names` are those it reads, in order of first use."""

    text: str
    names: tuple[str, ...]
    _evaluate: _Node

    def __call__(self, lookup: Lookup) -> Value:
        """Its value, with `lookup(name)` giving a float.

        Raises:
            RecordError: division by zero, overflow, logarithm or root of what has none.
        """
        try:
            return self._evaluate(lookup)
        except (ArithmeticError, ValueError, RecursionError) as error:
            raise RecordError(f"cannot compute {self.text!r}: {error}") from None


def parse_expression(text: str) -> Expression:
    """Check and compile `text`.

    Raises:
        MappingError: not an expression, longer than MAX_CHARACTERS, or anything outside
            the whitelist.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_CHARACTERS:
        raise MappingError(
            f"expected an expression of 1 to {MAX_CHARACTERS} characters, got "
            f"{text!r:.80}"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MappingError(f"cannot parse the expression {text!r}: {error}") from None
    names: dict[str, None] = {}
    try:
        node = _compile(tree.body, text, names)
    except RecursionError:
        raise MappingError(
            f"the expression {text!r:.80} is nested too deeply"
        ) from None
    return Expression(text, tuple(names), node)


def _compile(node: ast.expr, text: str, names: dict[str, None]) -> _Node:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            number = value if isinstance(value, bool) else _literal(value, text)
            return lambda _: number
        case ast.Name() | ast.Attribute():
            name = _dotted(node, text)
            names[name] = None
            return lambda lookup: lookup(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not() as op, operand=operand):
            return _unary(op, _compile(operand, text, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            apply, a, b = (
                _BINARY[type(op)],
                _compile(left, text, names),
                _compile(right, text, names),
            )
            return lambda lookup: apply(a(lookup), b(lookup))
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _COMPARE for op in ops
        ):
            return _chain(
                [_COMPARE[type(op)] for op in ops],
                [_compile(n, text, names) for n in (left, *others)],
            )
        case ast.BoolOp(op=op, values=values):
            parts, quantifier = (
                [_compile(n, text, names) for n in values],
                all if isinstance(op, ast.And) else any,
            )
            return lambda lookup: quantifier(bool(part(lookup)) for part in parts)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _call(name, [_compile(n, text, names) for n in args], text)
    raise MappingError(
        f"{type(node).__name__} is not allowed in the expression {text!r}. Allowed: "
        "numbers, names, + - * / **, "
        f"comparisons, and, or, not, {', '.join(FUNCTIONS)}."
    )


def _literal(value: float, text: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise MappingError(
            f"a number in the expression {text!r} is beyond float64"
        ) from None


def _dotted(node: ast.expr, text: str) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, text)}.{node.attr}"
    raise MappingError(
        f"only dotted names may be read with '.', in the expression {text!r}"
    )


def _unary(op: ast.unaryop, inner: _Node) -> _Node:
    if isinstance(op, ast.Not):
        return lambda lookup: not inner(lookup)
    sign = -1.0 if isinstance(op, ast.USub) else 1.0
    return lambda lookup: sign * inner(lookup)


def _chain(
    operators: list[Callable[[float, float], bool]], parts: list[_Node]
) -> _Node:
    def evaluate(lookup: Lookup) -> bool:
        values = [part(lookup) for part in parts]
        return all(
            op(a, b) for op, a, b in zip(operators, values, values[1:], strict=False)
        )

    return evaluate


def _call(name: str, arguments: list[_Node], text: str) -> _Node:
    if name not in FUNCTIONS:
        close = difflib.get_close_matches(name, FUNCTIONS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise MappingError(
            f"unknown function {name!r} in {text!r}.{hint} Known: "
            f"{', '.join(FUNCTIONS)}."
        )
    low, high = _ARITY[name]
    if not low <= len(arguments) <= high:
        raise MappingError(
            f"{name} takes {low} to {high} arguments, got {len(arguments)} in {text!r}"
        )
    function = FUNCTIONS[name]
    return lambda lookup: function(*(argument(lookup) for argument in arguments))
