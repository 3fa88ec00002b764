"""Values of a mapping in SQL: columns and expressions as numbers, texts, canonical JSON.

Invariant: a value that is there or missing has no problem; any other explains itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from autollm.core.mappings.expressions import Expression
from autollm.core.mappings.mapping import KnobRule, Mapping, Quantity
from autollm.logs.mapped.expression_sql import ExpressionSql
from autollm.logs.mapped.query import Query, joined, number, text
from autollm.logs.mapped.sheet import Sheet

_LITERAL = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True)
class Value:
    """A value in SQL: the double, whether it is missing, and why there is none."""

    number: str
    is_missing: str
    problem: str


class ValuesSql:
    """What one query reads of a sheet. `problems`: why a row is none, in order."""

    def __init__(self, mapping: Mapping, sheet: Sheet, table: str):
        self._mapping, self._sheet = mapping, sheet
        self._query = Query(table)
        self._formulas = {d.name: d.value for d in mapping.derived}
        self._derived: dict[str, Value] = {}
        self._expressions = ExpressionSql(self._query, self._read)
        self.problems: list[str] = []

    def _select(self, outputs: dict[str, str]) -> str:
        reason = f"coalesce({', '.join(self.problems)}, NULL)"
        return self._query.select(outputs | {"reason": reason, "row_": "row_"})

    @staticmethod
    def _texts(outputs: dict[str, str]) -> dict[str, str]:
        """Those outputs that are one text in every row, taken out of `outputs`."""
        found = {}
        for name, sql in list(outputs.items()):
            if _LITERAL.fullmatch(sql):
                found[name] = outputs.pop(name)[1:-1].replace("''", "'")
        return found

    def _json_number(self, sql: str, digits: int = 6) -> str:
        """A finite double as canonical JSON writes it (core.records), to significant
        digits.
        """
        value = self._query.let(sql)
        is_short = f"({value} = floor({value}) AND abs({value}) < 1e{digits})"
        exact = f"printf('%.{digits - 1}e', {value})::DOUBLE"
        rounded = self._query.let(f"CASE WHEN NOT {is_short} THEN {exact} END")
        is_whole = f"({rounded} = floor({rounded}) AND abs({rounded}) < 1e15)"
        return self._query.let(
            f"CASE WHEN {is_short} THEN {value}::BIGINT::VARCHAR "
            f"WHEN {is_whole} THEN {rounded}::BIGINT::VARCHAR "
            f"ELSE {rounded}::VARCHAR END"
        )

    def _plain_text(self, column: str) -> str:
        if column not in self._sheet.names:
            return "''"
        return f"coalesce({self._sheet.text(column)}, '')"

    def _read(self, name: str, is_text: bool) -> str:
        """The column that a name in an expression stands for."""
        column = self._mapping.column_of.get(name, name)
        if is_text and column not in self._formulas:
            return self._sheet.text(column)
        value = self._value(column)
        return f"{value.number}::VARCHAR" if is_text else value.number

    def _value(self, column: str) -> Value:
        """A column as a number."""
        if column in self._formulas and column not in self._derived:
            self._derived[column] = self._evaluate(self._formulas[column])
        if column in self._derived:
            return self._derived[column]
        raw = self._sheet.column(column)
        found = self._sheet.number(column)
        problem = (
            f"CASE WHEN {found} IS NOT NULL THEN NULL"
            f" WHEN {raw} IS NULL THEN {text(f'{column} is missing or empty')}"
            f" ELSE {joined(text(f'{column} must be a number, got '), quoted_cell(raw))} END"
        )
        is_missing = f"({raw} IS NULL)"
        looked_up = self._sheet.lookup_problem(column)
        if looked_up:
            problem = f"coalesce({looked_up}, {problem})"
            is_missing = f"({raw} IS NULL AND {looked_up} IS NULL)"
        return Value(found, is_missing, problem)

    def _evaluate(self, expression: Expression) -> Value:
        """An expression's value. With finite operands it is finite, or a problem."""
        result = self._query.let(self._expressions.number(expression.tree))
        numbers, missing, problems = [], [], []
        for name in expression.names:
            column = self._mapping.column_of.get(name, name)
            if self._is_compared_as_text(expression, name):
                missing.append(f"({self._sheet.text(column)} IS NULL)")
                problems.append(
                    f"CASE WHEN {missing[-1]} THEN {text(f'{column} is missing or empty')} END"
                )
                continue
            value = self._value(column)
            numbers.append(f"isfinite({value.number})")
            missing.append(value.is_missing)
            problems.append(value.problem)
        are_finite = " AND ".join(numbers) or "true"
        # an operand that is missing or no number explains itself
        failed = joined(
            text(f"cannot compute {expression.text!r}: the result is "),
            f"coalesce({result}::VARCHAR, 'undefined')",
        )
        is_odd = (
            f"({result} IS NULL OR (NOT isfinite({result}) AND {are_finite}))"
        )
        problem = self._query.let(
            f"CASE WHEN {is_odd} THEN coalesce({', '.join([*problems, failed])}) END"
        )
        any_missing = " OR ".join(missing) or "false"
        return Value(
            self._query.let(f"CASE WHEN {problem} IS NULL THEN {result} END"),
            self._query.let(f"({result} IS NULL AND ({any_missing}))"),
            problem,
        )

    def _is_compared_as_text(self, expression: Expression, name: str) -> bool:
        return name in expression.names and name in expression.text_names

    def _or_missing(self, column: str, problem: str) -> str:
        """The problem of a column that must be there."""
        raw = self._sheet.column(column)
        looked_up = self._sheet.lookup_problem(column)
        first = f"{looked_up}, " if looked_up else ""
        missing = text(f"{column} is missing or empty")
        return f"coalesce({first}CASE WHEN {raw} IS NULL THEN {missing} END, {problem})"

    def _within(self, entry: KnobRule | Quantity, value: str) -> str:
        """Why a value is beyond the bounds."""
        if entry.bounds is None:
            return "NULL"
        low, high = entry.bounds
        unit = f" {entry.unit}" if entry.unit else ""
        reason = joined(
            text(f"{entry.column}="),
            f"printf('%g', {value})",
            text(
                f" is beyond the bounds {low:g} to {high:g}{unit} of {entry.name!r}. "
                "Mixed units? Fix: write every row in the same unit, or widen `bounds` "
                "in the mapping."
            ),
        )
        is_within = f"({value} BETWEEN {number(low)} AND {number(high)})"
        return (
            f"CASE WHEN isfinite({value}) AND NOT {is_within} THEN {reason} END"
        )


def quoted_cell(sql: str) -> str:
    """A cell as Python's repr shows it, at most 80 characters."""
    return f"left('''' || {sql}::VARCHAR || '''', 80)"


def json_object(pieces: list[tuple[str, str]]) -> str:
    """A canonical JSON object of (key, JSON text); a piece that is null is left out."""
    if not pieces:
        return "'{}'"
    parts = []
    for name, sql in sorted(pieces):
        key = json.dumps(name, ensure_ascii=False)
        parts.append(f"{text(f'{key}:')} || {sql}")
    listed = ", ".join(f"({part})" for part in parts)
    return f"('{{' || concat_ws(',', {listed}) || '}}')"
