"""One SELECT built of named steps: each value is computed once and may be used often.

SQL has no variables; an expression that needs an operand twice (a division that looks
at its divisor) would double at each nesting. So every such operand becomes a column of
an inner SELECT, layer over layer.

Invariant: a step refers to columns of the base and to earlier steps alone.
"""

from __future__ import annotations

import re

_STEP = re.compile(r"\bs\d+\b")


class Query:
    """Steps over a base relation. Names of steps are `s1`, `s2` ...: the base has none
    of that form.
    """

    def __init__(self, base: str):
        self._base = base
        self._layers: list[list[tuple[str, str]]] = []
        self._layer_of: dict[str, int] = {}
        self._known: dict[str, str] = {}

    def let(self, sql: str) -> str:
        """A name for an expression. Equal expressions have one name."""
        if sql in self._known or sql in self._layer_of:
            return self._known.get(sql, sql)
        used = (self._layer_of.get(name, -1) for name in _STEP.findall(sql))
        layer = max(used, default=-1) + 1
        if layer == len(self._layers):
            self._layers.append([])
        name = f"s{len(self._layer_of) + 1}"
        self._layers[layer].append((name, sql))
        self._layer_of[name] = layer
        self._known[sql] = name
        return name

    def select(self, outputs: dict[str, str]) -> str:
        """The SELECT that gives `outputs` (name -> expression)."""
        source = self._base
        for layer in self._layers:
            columns = ", ".join(f"{sql} AS {name}" for name, sql in layer)
            source = f"(SELECT *, {columns} FROM {source})"
        columns = ", ".join(
            f"{sql} AS {quoted(n)}" for n, sql in outputs.items()
        )
        return f"SELECT {columns} FROM {source}"


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text literal in SQL."""
    return "'" + value.replace("'", "''") + "'"


def number(value: float) -> str:
    """A DOUBLE literal in SQL, equal to the float."""
    return f"'{float(value)!r}'::DOUBLE"  # a literal with a point would be a DECIMAL


def joined(*parts: str) -> str:
    """Texts one after the other; NULL where one is."""
    return "(" + " || ".join(parts) + ")"
