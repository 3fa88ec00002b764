"""The small expression language of mapping files: numbers, names, arithmetic,
comparisons, a few functions, and texts that are compared.

An expression is parsed once with Python's own parser and checked node by node against a
whitelist. What comes out is a tree of five kinds of nodes; `logs/` turns it into SQL.
Nothing is ever handed to `eval`.

Invariant: only the listed nodes and functions are accepted, so that text found in a
mapping can compute a number or a truth value and do nothing else.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autollm.core.errors import MappingError

MAX_CHARACTERS = 500
MAX_DEPTH = 60
"""Deepest nesting: far beyond what anybody writes, far below Python's own limit."""
ARITY = {
    "log2": (1, 1),
    "exp": (1, 1),
    "sqrt": (1, 1),
    "round": (1, 1),
    "min": (2, 9),
    "max": (2, 9),
    "mean": (1, 99),
}
"""Functions, with the fewest and most arguments that they take."""
_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}
_COMPARE = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_UNARY = {ast.USub: "-", ast.UAdd: "+", ast.Not: "not"}


@dataclass(frozen=True)
class Number:
    """A number, or a truth value."""

    value: float | bool


@dataclass(frozen=True)
class Text:
    """A text; it stands only beside `==`, `!=` and in the list of `in`."""

    value: str


@dataclass(frozen=True)
class Name:
    """What a row says under this name. `is_text`: compared as text, not as a number."""

    name: str
    is_text: bool = False


@dataclass(frozen=True)
class Operation:
    """`operator` is one of + - * / ** not and or, or a comparison (two operands)."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """A function of ARITY."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Text | Name | Operation | Call


@dataclass(frozen=True)
class Expression:
    """A checked expression; `names` are those it reads, in order of first use, and
    `text_names` those of them that it compares as texts and reads as nothing else.
    """

    text: str
    tree: Node
    names: tuple[str, ...]
    text_names: tuple[str, ...] = ()


def parse_expression(text: Any) -> Expression:
    """Check an expression.

    Raises:
        MappingError: not an expression, longer than MAX_CHARACTERS, nested deeper than
            MAX_DEPTH, or anything outside the whitelist.
    """
    if (
        not isinstance(text, str)
        or not text.strip()
        or len(text) > MAX_CHARACTERS
    ):
        raise MappingError(
            f"expected an expression of 1 to {MAX_CHARACTERS} characters, got "
            f"{text!r:.80}"
        )
    try:
        parsed = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MappingError(
            f"cannot parse the expression {text!r}: {error}"
        ) from None
    tree = _Checker(text).check(parsed.body)
    is_text: dict[str, bool] = {}
    for node in _walk(tree):
        if isinstance(node, Name):
            is_text[node.name] = node.is_text and is_text.get(node.name, True)
    texts = tuple(name for name, value in is_text.items() if value)
    return Expression(text, tree, tuple(is_text), texts)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    children: tuple[Node, ...] = ()
    if isinstance(node, Operation):
        children = node.operands
    elif isinstance(node, Call):
        children = node.arguments
    for child in children:
        yield from _walk(child)


class _Checker:
    """Python's tree to ours, or the reason why not."""

    def __init__(self, text: str):
        self._text = text

    def check(self, node: ast.expr, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise MappingError(
                f"the expression {self._text!r:.80} is nested too deeply"
            )
        inner = depth + 1
        match node:
            case ast.Constant(value=bool() as value):
                return Number(value)
            case ast.Constant(value=int() | float() as value):
                return Number(self._literal(value))
            case ast.Name() | ast.Attribute():
                return Name(self._dotted(node))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return Operation(
                    _UNARY[type(op)], (self.check(operand, inner),)
                )
            case ast.BinOp(left=left, op=op, right=right) if (
                type(op) in _BINARY
            ):
                operands = (self.check(left, inner), self.check(right, inner))
                return Operation(_BINARY[type(op)], operands)
            case ast.Compare():
                return self._comparison(node, inner)
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                return Operation(
                    name, tuple(self.check(v, inner) for v in values)
                )
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, inner)
            case ast.Constant(value=str()):
                raise MappingError(
                    f"a text may only be compared (== != in), in {self._text!r}"
                )
        raise MappingError(
            f"{type(node).__name__} is not allowed in the expression {self._text!r}. "
            "Allowed: numbers, names, + - * / **, comparisons, texts beside == and !=, "
            f"in, and, or, not, {', '.join(ARITY)}."
        )

    def _literal(self, value: float) -> float:
        try:
            return float(value)
        except OverflowError:
            raise MappingError(
                f"a number in the expression {self._text!r} is beyond float64"
            ) from None

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        raise MappingError(
            f"only dotted names may be read with '.', in the expression {self._text!r}"
        )

    def _call(self, name: str, arguments: list[ast.expr], depth: int) -> Node:
        if name not in ARITY:
            close = difflib.get_close_matches(name, ARITY, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise MappingError(
                f"unknown function {name!r} in {self._text!r}.{hint} Known: "
                f"{', '.join(ARITY)}."
            )
        low, high = ARITY[name]
        if not low <= len(arguments) <= high:
            raise MappingError(
                f"{name} takes {low} to {high} arguments, got {len(arguments)} in "
                f"{self._text!r}"
            )
        return Call(name, tuple(self.check(a, depth) for a in arguments))

    def _comparison(self, node: ast.Compare, depth: int) -> Node:
        """`a < b <= c` as `a < b and b <= c`; `x in ("a", "b")` as `x == "a" or ...`."""
        operands = [node.left, *node.comparators]
        if any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
            return self._membership(node, depth)
        if any(_is_text(operand) for operand in operands):
            return self._text_comparison(node, operands)
        if not all(type(op) in _COMPARE for op in node.ops):
            raise MappingError(
                f"only == != < <= > >= compare, in {self._text!r}"
            )
        nodes = [self.check(operand, depth) for operand in operands]
        pairs = []
        for op, left, right in zip(node.ops, nodes, nodes[1:], strict=False):
            pairs.append(Operation(_COMPARE[type(op)], (left, right)))
        return pairs[0] if len(pairs) == 1 else Operation("and", tuple(pairs))

    def _text_comparison(
        self, node: ast.Compare, operands: list[ast.expr]
    ) -> Node:
        is_equality = len(node.ops) == 1 and isinstance(
            node.ops[0], (ast.Eq, ast.NotEq)
        )
        if not is_equality or all(_is_text(operand) for operand in operands):
            raise MappingError(
                f"a text is compared with one name, by == or !=, in {self._text!r}"
            )
        sides = tuple(self._text_side(operand) for operand in operands)
        return Operation(_COMPARE[type(node.ops[0])], sides)

    def _text_side(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return Text(node.value)
        return Name(self._dotted(node), is_text=True)

    def _membership(self, node: ast.Compare, depth: int) -> Node:
        listed = node.comparators[0]
        if len(node.ops) != 1 or not isinstance(
            listed, (ast.Tuple, ast.List, ast.Set)
        ):
            raise MappingError(
                f"write `name in (...)` with a list of values, in {self._text!r}"
            )
        pairs: list[Node] = []
        for element in listed.elts:
            equal = ast.Compare(node.left, [ast.Eq()], [element])
            pairs.append(self._comparison(equal, depth))
        if not pairs:
            raise MappingError(f"an empty list after `in`, in {self._text!r}")
        found = pairs[0] if len(pairs) == 1 else Operation("or", tuple(pairs))
        if isinstance(node.ops[0], ast.NotIn):
            return Operation("not", (found,))
        return found


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
