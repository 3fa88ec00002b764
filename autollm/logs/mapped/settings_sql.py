"""What was chosen, as SQL over the distinct settings of a sheet: knobs, contexts and
fidelity as canonical JSON, with their ids.

Invariant: of several reasons the first in the order of the mapping is given: knobs,
contexts, fidelity.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from autollm.core.mappings.mapping import Context, KnobRule, Quantity
from autollm.core.records import canonical_json
from autollm.core.values import is_nothing
from autollm.logs.mapped.query import joined, number, text
from autollm.logs.mapped.sheet import plain, speller
from autollm.logs.mapped.values_sql import ValuesSql, json_object, quoted_cell


class SettingsSql(ValuesSql):
    """The settings of one mapping."""

    def select(self) -> str:
        """The SELECT: canonical texts, ids, `reason` (null where the settings fit)."""
        config = self._query.let(self._config())
        contexts = [self._context(entry) for entry in self._mapping.context]
        context = self._query.let(json_object(contexts))
        coordinates, labels = [], []
        for quantity in self._mapping.fidelity:
            value = self._coordinate(quantity)
            coordinates.append((quantity.name, self._json_number(value)))
            labels.append(f"{text(f'{quantity.name}=')} || {_short(value)}")
        fidelity = self._query.let(json_object(coordinates))
        added = f"CASE WHEN {context} = '{{}}' THEN '' ELSE {context} END"
        hashed = f"sha256({fidelity} || {added})"
        return self._select(
            {
                "config_json": config,
                "config_id": f"left(sha256({config}), 16)",
                "context_json": context,
                "context_id": f"left(sha256({context}), 16)",
                "fidelity_json": fidelity,
                "fidelity_label": f"concat_ws(',', {', '.join(labels)})",
                "level_id": f"left({hashed}, 8)",
            }
        )

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
            self.problems.append(problem)
        return json_object(list(pieces.items()))

    def _knob(self, knob: KnobRule) -> tuple[str, str]:
        """(canonical JSON of the value, problem)."""
        if knob.scale == "simplex":
            return self._simplex(knob)
        if knob.scale in ("log", "linear", "integer"):
            return self._on_grid(knob)
        if knob.column in self._formulas:
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

    def _rank(self, knob: KnobRule) -> tuple[str, str]:
        """A category that an expression gives."""
        derived = self._value(knob.column)
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
        if knob.missing is not None and knob.column not in self._formulas:
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

    def _simplex(self, knob: KnobRule) -> tuple[str, str]:
        """Weights by part, renormalized to sum 1: published tables round them to a few
        decimals.
        """
        names = [n for n in self._sheet.names if is_part(knob, n)]
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
                    quoted_cell(self._sheet.column(name)),
                )
                + " END"
            )
        total = self._query.let(f"({' + '.join(weights)})")
        for name, weight in zip(names, weights, strict=True):
            wrong = joined(
                text(f"{name}="),
                quoted_cell(self._sheet.column(name)),
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
        slack = number(tolerance * knob.total)
        is_near = f"abs({total} - {number(knob.total)}) <= {slack}"
        reasons.append(f"CASE WHEN NOT ({is_near}) THEN {far} END")
        shares = []
        for name, weight in zip(names, weights, strict=True):
            share = self._json_number(
                f"({weight} / CASE WHEN {total} <> 0 THEN {total} END)"
            )
            shares.append((name.removeprefix(knob.prefix), share))
        return json_object(shares), f"coalesce({', '.join(reasons)})"

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
            self.problems.append(problem)
        else:
            self.problems.append(self._or_missing(entry.column, problem))
        return entry.name, value

    def _coordinate(self, quantity: Quantity) -> str:
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
        self.problems.append(f"coalesce({', '.join(reasons)})")
        return value.number


def is_part(knob: KnobRule, column: str) -> bool:
    """Whether a column is a part of a mixture."""
    return any(fnmatchcase(column, pattern) for pattern in knob.columns)


def _short(sql: str) -> str:
    """1.07e9, 25000, 2e10: for people, at most three digits beyond 10,000."""
    return f"replace(replace(printf('%.3g', {sql}), 'e+0', 'e'), 'e+', 'e')"
