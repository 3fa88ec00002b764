"""A mapping as SQL, row by row: what a run gave and cost, how it ended, its names; and
the reason why a row is none.

What its settings are stands beside it already (settings_sql.py). Invariant: of several
reasons the first in the order of the mapping is given: settings, objective, secondary
metrics, costs, group, seed, run key.
"""

from __future__ import annotations

from autollm.core.mappings.mapping import (
    RUN_LOG,
    SOURCE_NAME,
    Mapping,
    Quantity,
    State,
)
from autollm.core.statuses import OUTCOMES
from autollm.logs.mapped.query import joined, text
from autollm.logs.mapped.sheet import Sheet, state_speller
from autollm.logs.mapped.values_sql import ValuesSql, json_object, quoted_cell
from autollm.logs.relation import FILE_COLUMN, Relation

_DIGITS_OF_METRICS = 9
"""Significant digits of secondary metrics: constraints compare against exact counts."""


class RowsSql(ValuesSql):
    """One mapping over one sheet."""

    def __init__(self, mapping: Mapping, sheet: Sheet, relation: Relation):
        self._relation = relation
        super().__init__(mapping, sheet, "sheet")

    def select(self) -> tuple[str, dict[str, str]]:
        """The SELECT (canonical columns, `reason`, null where the row fits, `row_`), and
        the columns that hold one text.
        """
        objective = self._query.let(self._optional(self._mapping.objective))
        secondary = []
        for metric in self._mapping.secondary:
            value = self._query.let(self._optional(metric))
            piece = self._json_number(value, _DIGITS_OF_METRICS)
            is_there = f"CASE WHEN isfinite({value}) THEN {piece} END"
            secondary.append((metric.name, is_there))
        outputs = {
            "objective_value": objective,
            "secondary_json": json_object(secondary),
        }
        outputs |= self._costs()
        outputs |= self._names()
        outputs["seed"] = self._seed()
        outputs |= self._identity()
        outputs |= self._status(objective)
        texts = self._texts(outputs)
        return self._select(outputs), texts

    def _names(self) -> dict[str, str]:
        """Labels and what stands beside them."""
        is_log = self._mapping.format == RUN_LOG
        trunk = self._mapping.trunk
        return {
            "group": self._group(),
            "trunk_id": self._plain_text(trunk.column) if trunk else "''",
            "schedule_share": self._share(),
            "data_sha256": self._plain_text("data.sha256") if is_log else "''",
            "created_at": self._plain_text("created_at") if is_log else "''",
        }

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
        self.problems += [problem, self._within(quantity, value.number)]
        return value.number

    def _ended(self, column: str) -> str:
        """The status that stands in a cell instead of an outcome: `OOM`, `diverged`."""
        is_read = column in self._sheet.names and column not in self._formulas
        return self._sheet.ended(column) if is_read else "NULL::VARCHAR"

    def _costs(self) -> dict[str, str]:
        cost, found = self._mapping.cost, {}
        for name in ("device_hours", "flops", "wall_time_s"):
            expression = getattr(cost, name)
            if expression is None:
                found[name] = "NULL::DOUBLE"
                continue
            value = self._evaluate(expression)
            self.problems.append(
                f"CASE WHEN NOT {value.is_missing} THEN {value.problem} END"
            )
            negative = joined(
                text(f"the cost {name} is "), f"printf('%g', {value.number})"
            )
            self.problems.append(
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
        self.problems.append(
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
            quoted_cell(cell),
            text(" is no group: expected letters, digits and ._+-"),
        )
        is_right = f"regexp_full_match({cell}, {text(SOURCE_NAME)})"
        problem = f"CASE WHEN NOT {is_right} THEN {wrong} END"
        self.problems.append(self._or_missing(column, problem))
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
            if column not in self._formulas
            else from_real
        )
        fits = f"({whole} >= -9223372036854775808 AND {whole} < 18446744073709551616)"
        wrong = joined(
            text(f"{column} must be a 64-bit integer, got "), quoted_cell(raw)
        )
        self.problems.append(
            f"CASE WHEN {raw} IS NOT NULL AND NOT coalesce({fits}, false) THEN {wrong} END"
        )
        wrapped = (
            f"CASE WHEN {whole} >= 9223372036854775808 "
            f"THEN {whole} - 18446744073709551616 ELSE {whole} END"
        )
        return f"CASE WHEN {fits} THEN ({wrapped})::BIGINT END"

    def _identity(self) -> dict[str, str]:
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
            self.problems.append(f"CASE WHEN {cell} IS NULL THEN {empty} END")
        return {"run_id": " || '|' || ".join(parts)}

    def _status(self, objective: str) -> dict[str, str]:
        """The recorded status, made worse where the objective or a rule says so; never
        better. A tool calls a run crashed that its script ended at a loss of NaN: it
        diverged. Our own logs tell the two apart.
        """
        recorded, said = self._recorded()
        goal = self._mapping.objective
        not_finite = joined(text(f"{goal.name} is "), f"{objective}::VARCHAR")
        is_blown_up = f"{objective} IS NOT NULL AND NOT isfinite({objective})"
        if self._mapping.format == RUN_LOG:
            is_blown_up += f" AND {recorded} = 'finished'"
        is_set_aside = [f"WHEN {is_blown_up} THEN 'diverged'"]
        reasons = [f"WHEN {is_blown_up} THEN {not_finite}"]
        is_set_aside.append(f"WHEN {recorded} <> 'finished' THEN {recorded}")
        reasons.append(f"WHEN {recorded} <> 'finished' THEN {said}")
        ended = self._ended(goal.column)
        is_set_aside.append(f"WHEN {ended} IS NOT NULL THEN {ended}")
        told = joined(text(f"{goal.column}: "), self._sheet.text(goal.column))
        reasons.append(f"WHEN {ended} IS NOT NULL THEN {told}")
        is_set_aside.append(f"WHEN {objective} IS NULL THEN 'failed'")
        reasons.append(
            f"WHEN {objective} IS NULL THEN {text(f'no objective {goal.column!r}')}"
        )
        for rule in self._mapping.status:
            value = self._evaluate(rule.when)
            holds = f"{value.number} <> 0"
            is_set_aside.append(f"WHEN {holds} THEN {text(rule.status)}")
            reasons.append(f"WHEN {holds} THEN {text(rule.reason_text)}")
            asked = f"{recorded} = 'finished' AND isfinite({objective})"
            self.problems.append(
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
                self.problems.append(problem)
            else:
                self.problems.append(self._or_missing(state.column, problem))
            return f"{value}", joined(text(f"{state.column}: "), raw)
        column = self._said_by_tool()
        if column is None:
            return "'finished'", "''"
        value, problem = self._sheet.spelled(
            column, state_speller(State(column=column)), "state"
        )
        self.problems.append(problem)
        reason = self._plain_text("status_reason")
        if "status_reason" not in self._sheet.names:
            reason = joined(text(f"{column}: "), self._sheet.text(column))
        return f"coalesce({value}, 'finished')", reason

    def _said_by_tool(self) -> str | None:
        """The column in which a tool's own log says how a run ended."""
        roles = self._relation.roles
        return next((c for c, role in roles.items() if role == "status"), None)
