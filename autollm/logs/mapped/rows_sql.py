"""A mapping as SQL: every column of a canonical run, and the reason why a row is none.

Invariant: of several reasons the first in the order of the mapping is given: knobs,
contexts, fidelity, objective, secondary metrics, costs, group, seed, run key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase

from autollm.core.expressions import Expression
from autollm.core.mapping import (
    RUN_LOG,
    SOURCE_NAME,
    Context,
    KnobRule,
    Mapping,
    Quantity,
)
from autollm.core.records import canonical_json
from autollm.core.values import is_nothing
from autollm.logs.mapped.expression_sql import ExpressionSql
from autollm.logs.mapped.query import Query, joined, number, text
from autollm.logs.mapped.sheet import Sheet, plain, speller, state_speller
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, Relation

OUTCOMES = ("finished", "diverged")
"""Statuses with which a run is an outcome at landing (docs/mapping-files.md)."""
_DIGITS_OF_METRICS = 9
"""Significant digits of secondary metrics: constraints compare against exact counts."""


@dataclass(frozen=True)
class Value:
    """A value in SQL: the double, whether it is missing, and why there is none."""

    number: str
    is_missing: str
    problem: str


class RowsSql:
    """One mapping over one sheet."""

    def __init__(self, mapping: Mapping, sheet: Sheet, relation: Relation):
        self._mapping, self._sheet, self._relation = mapping, sheet, relation
        self._query = Query("sheet")
        self._derived: dict[str, Value] = {}
        self._expressions = ExpressionSql(self._query, self._read)
        self._problems: list[str] = []

    def select(self) -> str:
        """The SELECT: canonical columns, `reason` (null where the row fits), `row_`."""
        for derived in self._mapping.derived:
            self._derived[derived.name] = self._evaluate(derived.value)
        config = self._config()
        contexts = [self._context(entry) for entry in self._mapping.context]
        context = _json_object(contexts)
        coordinates = [self._coordinate(q) for q in self._mapping.fidelity]
        fidelity = _json_object(
            [(q.name, self._json_number(v)) for q, v in coordinates]
        )
        labels = [
            f"{text(f'{q.name}=')} || {_short(v)}" for q, v in coordinates
        ]
        objective = self._optional(self._mapping.objective)
        secondary = []
        for metric in self._mapping.secondary:
            value = self._query.let(self._optional(metric))
            piece = self._json_number(value, _DIGITS_OF_METRICS)
            is_there = f"CASE WHEN isfinite({value}) THEN {piece} END"
            secondary.append((metric.name, is_there))
        outputs = {
            "config_json": self._query.let(config),
            "context_json": self._query.let(context),
            "fidelity_json": self._query.let(fidelity),
            "fidelity_label": f"concat_ws(',', {', '.join(labels)})",
            "objective_value": self._query.let(objective),
            "secondary_json": _json_object(secondary),
        }
        outputs |= self._costs()
        outputs |= self._names(outputs)
        outputs["seed"] = self._seed()
        outputs |= self._identity(outputs)
        outputs |= self._status(outputs["objective_value"])
        outputs["reason"] = f"coalesce({', '.join(self._problems)}, NULL)"
        outputs["row_"] = "row_"
        return self._query.select(outputs)

    def _names(self, outputs: dict[str, str]) -> dict[str, str]:
        """Ids, labels and what stands beside them."""
        mapping = self._mapping
        group = self._group()
        source = text(mapping.source)
        if mapping.group:
            source = joined(source, "'/'", group)
        context = outputs["context_json"]
        added = f"CASE WHEN {context} = '{{}}' THEN '' ELSE {context} END"
        hashed = f"({outputs['fidelity_json']} || {added})"
        is_log = mapping.format == RUN_LOG
        trunk = (
            self._sheet.text(mapping.trunk.column) if mapping.trunk else "''"
        )
        return {
            "group": group,
            "config_id": f"left(sha256({outputs['config_json']}), 16)",
            "context_id": f"left(sha256({context}), 16)",
            "experiment_id": joined(
                source, "':'", f"left(sha256({hashed}), 8)"
            ),
            "trunk_id": f"coalesce({trunk}, '')",
            "schedule_share": self._share(),
            "data_sha256": self._plain_text("data.sha256") if is_log else "''",
            "created_at": self._plain_text("created_at") if is_log else "''",
            "raw_file": self._plain_text(FILE_COLUMN),
            "line": f"coalesce({self._sheet.column(LINE_COLUMN)}, 0)",
        }

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
        return f"coalesce({self._sheet.text(column)}, '')"

    def _read(self, name: str, is_text: bool) -> str:
        """The column that a name in an expression stands for."""
        column = self._mapping.column_of.get(name, name)
        if is_text and column not in self._derived:
            return self._sheet.text(column)
        value = self._value(column)
        return f"{value.number}::VARCHAR" if is_text else value.number

    def _value(self, column: str) -> Value:
        """A column as a number."""
        if column in self._derived:
            return self._derived[column]
        raw = self._sheet.column(column)
        found = self._sheet.number(column)
        problem = (
            f"CASE WHEN {found} IS NOT NULL THEN NULL"
            f" WHEN {raw} IS NULL THEN {text(f'{column} is missing or empty')}"
            f" ELSE {joined(text(f'{column} must be a number, got '), _quoted(raw))} END"
        )
        is_missing = f"({raw} IS NULL)"
        looked_up = self._sheet.lookup_problem.get(column)
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

    def _config(self) -> str:
        pieces: dict[str, str] = {}
        for knob in self._mapping.knobs:
            value, problem = self._knob(knob)
            if knob.when:
                options = ", ".join(
                    text(canonical_json(option)) for option in knob.when.values
                )
                earlier = pieces[knob.when.knob]
                is_chosen = (
                    f"coalesce({earlier} IN ({options or 'NULL'}), false)"
                )
                value = f"CASE WHEN {is_chosen} THEN {value} END"
                problem = f"CASE WHEN {is_chosen} THEN {problem} END"
            pieces[knob.name] = self._query.let(value)
            self._problems.append(problem)
        return _json_object(list(pieces.items()))

    def _knob(self, knob: KnobRule) -> tuple[str, str]:
        """(canonical JSON of the value, problem)."""
        if knob.scale == "simplex":
            return self._simplex(knob)
        if knob.scale in ("log", "linear", "integer"):
            return self._on_grid(knob)
        if knob.column in self._derived:
            return self._rank(knob)
        missing = text(canonical_json(knob.missing))
        value, problem = self._sheet.spelled(
            knob.column, speller(knob), f"k {knob.name}"
        )
        raw = self._sheet.column(knob.column)
        if knob.missing is not None:
            return (
                f"CASE WHEN {raw} IS NULL THEN {missing} ELSE {value} END",
                problem,
            )
        return value, self._or_missing(knob.column, problem)

    def _or_missing(self, column: str, problem: str) -> str:
        """The problem of a column that must be there."""
        raw = self._sheet.column(column)
        looked_up = self._sheet.lookup_problem.get(column)
        first = f"{looked_up}, " if looked_up else ""
        missing = text(f"{column} is missing or empty")
        return f"coalesce({first}CASE WHEN {raw} IS NULL THEN {missing} END, {problem})"

    def _rank(self, knob: KnobRule) -> tuple[str, str]:
        """A category that an expression gives."""
        derived = self._derived[knob.column]
        value = self._query.let(self._json_number(derived.number))
        problem = derived.problem
        if knob.values is not None:
            options = ", ".join(text(canonical_json(v)) for v in knob.values)
            reason = joined(
                text(f"{knob.column}="),
                value,
                text(f" is none of the declared values {list(knob.values)}"),
            )
            problem = f"coalesce({problem}, CASE WHEN {value} NOT IN ({options}) THEN {reason} END)"
        if knob.missing is not None:
            missing = text(canonical_json(knob.missing))
            value = f"CASE WHEN {derived.is_missing} THEN {missing} ELSE {value} END"
            problem = f"CASE WHEN NOT {derived.is_missing} THEN {problem} END"
        return value, problem

    def _on_grid(self, knob: KnobRule) -> tuple[str, str]:
        """A number, moved to the nearest step where the knob has steps."""
        found = self._value(knob.column)
        raw, problem = found.number, found.problem
        if knob.missing is not None and knob.column not in self._derived:
            raw = self._sheet.number(knob.column, knob.missing)
            problem = f"CASE WHEN {raw} IS NULL THEN {problem} END"
        elif knob.missing is not None:
            raw = self._query.let(
                f"CASE WHEN {found.is_missing} THEN {number(knob.missing)} ELSE {raw} END"
            )
            problem = f"CASE WHEN {raw} IS NULL THEN {problem} END"
        reasons = [problem, self._within(knob, raw)]
        is_right = f"isfinite({raw})"
        kind = "finite"
        if knob.scale == "log":
            is_right, kind = f"({is_right} AND {raw} > 0)", "positive finite"
        is_wrong = joined(
            text(f"{knob.column}="),
            f"{raw}::VARCHAR",
            text(f" is not a {kind} number"),
        )
        reasons.append(f"CASE WHEN NOT {is_right} THEN {is_wrong} END")
        if knob.scale == "integer":
            wrong = joined(
                text(f"{knob.column}="),
                f"{raw}::VARCHAR",
                text(
                    ' is no whole number. Fix: scale = "linear", or correct the cell.'
                ),
            )
            reasons.append(f"CASE WHEN {raw} <> floor({raw}) THEN {wrong} END")
        value = raw
        if knob.step is not None:
            value, reason = self._stepped(
                knob, f"CASE WHEN {is_right} THEN {raw} END"
            )
            reasons.append(reason)
        return self._json_number(value), f"coalesce({', '.join(reasons)})"

    def _stepped(self, knob: KnobRule, value: str) -> tuple[str, str]:
        """(the nearest step, why the value is too far from it)."""
        is_log, step = knob.scale == "log", number(knob.step)
        natural = self._query.let(f"log2({value})" if is_log else value)
        rounded = self._query.let(f"floor({natural} / {step} + 0.5) * {step}")
        nearest = f"pow(2.0::DOUBLE, {rounded})" if is_log else rounded
        nearest = self._query.let(nearest)
        if knob.tolerance is None:
            return nearest, "NULL"
        distance = f"abs({natural} - {rounded})"
        measure = "octaves" if is_log else knob.unit
        reason = joined(
            text(f"{knob.column}="),
            f"printf('%g', {value})",
            "' is '",
            f"printf('%.3g', {distance})",
            text(f" {measure} from the nearest step "),
            f"printf('%.6g', {nearest})",
            text(
                f", more than {knob.tolerance:g}. Fix: widen `tolerance` or change "
                f"`step` of {knob.name!r} in the mapping."
            ),
        )
        return (
            nearest,
            f"CASE WHEN {distance} > {number(knob.tolerance)} THEN {reason} END",
        )

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

    def _simplex(self, knob: KnobRule) -> tuple[str, str]:
        """Weights by part, renormalized to sum 1: published tables round them to a few
        decimals.
        """
        names = [n for n in self._sheet.raw if _is_part(knob, n)]
        if not names:
            return "NULL", text(f"no weights of {knob.name!r}")
        reasons, weights = [], []
        for name in names:
            value = self._value(name)
            weights.append(value.number)
            reasons.append(
                f"CASE WHEN {value.number} IS NULL THEN "
                + joined(
                    text(f"{name} must be a number, got "),
                    _quoted(self._sheet.column(name)),
                )
                + " END"
            )
        total = self._query.let(f"({' + '.join(weights)})")
        for name, weight in zip(names, weights, strict=True):
            wrong = joined(
                text(f"{name}="),
                _quoted(self._sheet.column(name)),
                text(
                    f" is no weight of {knob.name!r}: expected a number of at least 0"
                ),
            )
            reasons.append(
                f"CASE WHEN {weight} < 0 OR isnan({weight}) THEN {wrong} END"
            )
        tolerance = knob.tolerance or 0.01
        far = joined(
            text(f"the weights of {knob.name!r} sum to "),
            f"printf('%g', {total})",
            text(
                f" over {len(names)} columns, expected {knob.total:g} within "
                f"{tolerance * knob.total:g}. Fix: "
                f"correct the row, or the `columns` or `tolerance` of {knob.name!r} in "
                "the mapping."
            ),
        )
        is_near = f"abs({total} - {number(knob.total)}) <= {number(tolerance * knob.total)}"
        reasons.append(f"CASE WHEN NOT ({is_near}) THEN {far} END")
        shares = []
        for name, weight in zip(names, weights, strict=True):
            share = self._json_number(
                f"({weight} / CASE WHEN {total} <> 0 THEN {total} END)"
            )
            shares.append((name.removeprefix(knob.prefix), share))
        return _json_object(shares), f"coalesce({', '.join(reasons)})"

    def _context(self, entry: Context) -> tuple[str, str]:
        def spell(cell: object) -> str:
            if entry.missing is not None and is_nothing(cell):
                return canonical_json(entry.missing)
            return canonical_json(plain(cell))

        value, problem = self._sheet.spelled(
            entry.column, spell, f"c {entry.name}"
        )
        raw = self._sheet.column(entry.column)
        if entry.missing is not None:
            missing = text(canonical_json(entry.missing))
            value = f"CASE WHEN {raw} IS NULL THEN {missing} ELSE {value} END"
            self._problems.append(problem)
        else:
            self._problems.append(self._or_missing(entry.column, problem))
        return entry.name, value

    def _coordinate(self, quantity: Quantity) -> tuple[Quantity, str]:
        value = self._value(quantity.column)
        wrong = joined(
            text(f"{quantity.column}="),
            f"{value.number}::VARCHAR",
            text(" is not a positive finite number"),
        )
        is_right = f"isfinite({value.number}) AND {value.number} > 0"
        reasons = [
            value.problem,
            f"CASE WHEN NOT ({is_right}) THEN {wrong} END",
            self._within(quantity, value.number),
        ]
        self._problems.append(f"coalesce({', '.join(reasons)})")
        return quantity, value.number

    def _optional(self, quantity: Quantity) -> str:
        """A number that may be missing or not finite, and no other text than how the
        run ended.
        """
        value = self._value(quantity.column)
        is_said = f"{self._ended(quantity.column)} IS NOT NULL"
        problem = (
            f"CASE WHEN NOT ({value.is_missing} OR {is_said}) "
            f"THEN {value.problem} END"
        )
        self._problems += [problem, self._within(quantity, value.number)]
        return value.number

    def _ended(self, column: str) -> str:
        """The status that stands in a cell instead of an outcome: `OOM`, `diverged`."""
        is_read = column in self._sheet.raw and column not in self._derived
        return self._sheet.ended(column) if is_read else "NULL::VARCHAR"

    def _costs(self) -> dict[str, str]:
        cost, found = self._mapping.cost, {}
        for name in ("device_hours", "flops", "wall_time_s"):
            expression = getattr(cost, name)
            if expression is None:
                found[name] = "NULL::DOUBLE"
                continue
            value = self._evaluate(expression)
            self._problems.append(
                f"CASE WHEN NOT {value.is_missing} THEN {value.problem} END"
            )
            negative = joined(
                text(f"the cost {name} is "), f"printf('%g', {value.number})"
            )
            self._problems.append(
                f"CASE WHEN {value.number} < 0 THEN {negative} END"
            )
            found[name] = (
                f"CASE WHEN isfinite({value.number}) THEN {value.number} END"
            )
        hardware = self._mapping.hardware
        device = (
            text(hardware.device)
            if hardware
            else self._plain_text("hardware.device")
        )
        hours = self._query.let(found["device_hours"])
        return {
            "cost_flops": found["flops"],
            "device": device,
            "device_hours": hours,
            "gpu_hours": f"CASE WHEN {device} = 'cuda' THEN {hours} END",
            "wall_time_s": found["wall_time_s"],
        }

    def _share(self) -> str:
        if self._mapping.schedule is None:
            return "NULL::DOUBLE"
        value = self._evaluate(self._mapping.schedule.share)
        self._problems.append(
            f"CASE WHEN NOT {value.is_missing} THEN {value.problem} END"
        )
        return f"CASE WHEN isfinite({value.number}) THEN {value.number} END"

    def _group(self) -> str:
        if self._mapping.group is None:
            return "''"
        column = self._mapping.group.column
        cell = self._sheet.text(column)
        wrong = joined(
            text(f"{column}="),
            _quoted(cell),
            text(" is no group: expected letters, digits and ._+-"),
        )
        is_right = f"regexp_full_match({cell}, {text(SOURCE_NAME)})"
        problem = f"CASE WHEN NOT {is_right} THEN {wrong} END"
        self._problems.append(self._or_missing(column, problem))
        return cell

    def _seed(self) -> str:
        """A 64-bit integer; beyond 2^63 the number with the same bits."""
        column = self._mapping.replica.column
        if not column:
            return "NULL::BIGINT"
        raw = self._sheet.column(column)
        value = self._value(column)
        real = value.number
        is_whole = f"abs({real}) < 1e19 AND {real} = floor({real})"
        from_real = f"CASE WHEN {is_whole} THEN {real}::HUGEINT END"
        whole = self._query.let(
            f"coalesce({self._sheet.whole(column)}, {from_real})"
            if column not in self._derived
            else from_real
        )
        fits = f"({whole} >= -9223372036854775808 AND {whole} < 18446744073709551616)"
        wrong = joined(
            text(f"{column} must be a 64-bit integer, got "), _quoted(raw)
        )
        self._problems.append(
            f"CASE WHEN {raw} IS NOT NULL AND NOT coalesce({fits}, false) THEN {wrong} END"
        )
        wrapped = (
            f"CASE WHEN {whole} >= 9223372036854775808 "
            f"THEN {whole} - 18446744073709551616 ELSE {whole} END"
        )
        return f"CASE WHEN {fits} THEN ({wrapped})::BIGINT END"

    def _identity(self, outputs: dict[str, str]) -> dict[str, str]:
        columns = self._mapping.run_key.columns
        if not columns:
            columns = (self._relation.key,) if self._relation.key else ()
        if not columns:
            return {"run_id": self._plain_text(FILE_COLUMN)}
        parts = []
        for column in columns:
            cell = self._sheet.text(column)
            parts.append(cell)
            empty = text(f"the run key column {column!r} is empty")
            self._problems.append(f"CASE WHEN {cell} IS NULL THEN {empty} END")
        return {"run_id": " || '|' || ".join(parts)}

    def _status(self, objective: str) -> dict[str, str]:
        """The recorded status, made worse where the objective or a rule says so; never
        better.
        """
        recorded, said = self._recorded()
        is_set_aside = [f"WHEN {recorded} <> 'finished' THEN {recorded}"]
        reasons = [f"WHEN {recorded} <> 'finished' THEN {said}"]
        goal = self._mapping.objective
        ended = self._ended(goal.column)
        is_set_aside.append(f"WHEN {ended} IS NOT NULL THEN {ended}")
        told = joined(text(f"{goal.column}: "), self._sheet.text(goal.column))
        reasons.append(f"WHEN {ended} IS NOT NULL THEN {told}")
        is_set_aside.append(f"WHEN {objective} IS NULL THEN 'failed'")
        reasons.append(
            f"WHEN {objective} IS NULL THEN {text(f'no objective {goal.column!r}')}"
        )
        is_set_aside.append(f"WHEN NOT isfinite({objective}) THEN 'diverged'")
        not_finite = joined(text(f"{goal.name} is "), f"{objective}::VARCHAR")
        reasons.append(f"WHEN NOT isfinite({objective}) THEN {not_finite}")
        for rule in self._mapping.status:
            value = self._evaluate(rule.when)
            holds = f"{value.number} <> 0"
            is_set_aside.append(f"WHEN {holds} THEN {text(rule.status)}")
            reasons.append(f"WHEN {holds} THEN {text(rule.reason_text)}")
            asked = f"{recorded} = 'finished' AND isfinite({objective})"
            self._problems.append(
                f"CASE WHEN {asked} AND NOT {value.is_missing} THEN {value.problem} END"
            )
        status = self._query.let(
            f"CASE {' '.join(is_set_aside)} ELSE 'finished' END"
        )
        outcomes = ", ".join(text(s) for s in OUTCOMES)
        return {
            "status": status,
            "status_reason": f"CASE {' '.join(reasons)} ELSE '' END",
            "is_outcome": f"{status} IN ({outcomes})",
        }

    def _recorded(self) -> tuple[str, str]:
        """(status, reason) that the log itself gives."""
        state = self._mapping.state
        if state is not None:
            value, problem = self._sheet.spelled(
                state.column, state_speller(state), "state"
            )
            raw = self._sheet.text(state.column)
            empty = state.words.get("")
            if empty:
                value = f"coalesce({value}, {text(empty)})"
                self._problems.append(problem)
            else:
                self._problems.append(self._or_missing(state.column, problem))
            return f"{value}", joined(text(f"{state.column}: "), raw)
        column = self._said_by_tool()
        if column is None:
            return "'finished'", "''"
        from autollm.core.mapping import State

        value, problem = self._sheet.spelled(
            column, state_speller(State(column=column)), "state"
        )
        self._problems.append(problem)
        reason = self._plain_text("status_reason")
        if "status_reason" not in self._sheet.raw:
            reason = joined(text(f"{column}: "), self._sheet.text(column))
        return f"coalesce({value}, 'finished')", reason

    def _said_by_tool(self) -> str | None:
        """The column in which a tool's own log says how a run ended."""
        roles = self._relation.roles
        return next((c for c, role in roles.items() if role == "status"), None)


def _is_part(knob: KnobRule, column: str) -> bool:
    return any(fnmatchcase(column, pattern) for pattern in knob.columns)


def _quoted(sql: str) -> str:
    """A cell as Python's repr shows it, at most 80 characters."""
    return f"left('''' || {sql}::VARCHAR || '''', 80)"


def _short(sql: str) -> str:
    """1.07e9, 25000, 2e10: for people, at most three digits beyond 10,000."""
    return f"replace(replace(printf('%.3g', {sql}), 'e+0', 'e'), 'e+', 'e')"


def _json_object(pieces: list[tuple[str, str]]) -> str:
    """A canonical JSON object of (key, JSON text); a piece that is null is left out."""
    parts = []
    for name, sql in sorted(pieces):
        key = json.dumps(name, ensure_ascii=False)
        parts.append(f"{text(f'{key}:')} || {sql}")
    listed = ", ".join(f"({part})" for part in parts) or "NULL"
    return f"('{{' || concat_ws(',', {listed}) || '}}')"
