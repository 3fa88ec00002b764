"""The columns of a relation as the mapping's SQL needs them: numbers, texts, look-ups.

What SQL cannot spell as we do is made here, column by column and once a distinct cell:
numbers as people write them, values and keys as canonical JSON spells them, look-ups of
lists. Everything else is left to the query.

Invariant: a cell that gives no value gives a problem, unless it is empty.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import RecordError
from autollm.core.mappings.mapping import (
    KnobRule,
    Lookup,
    Mapping,
    Scalar,
    State,
)
from autollm.core.mappings.mapping_entries import NameParts
from autollm.core.mappings.name_parts import parts_reader
from autollm.core.records import canonical_json
from autollm.core.statuses import status_of
from autollm.core.values import Style, is_nothing, numbers_of, styles_of
from autollm.logs.relation import FILE_COLUMN


class Sheet:
    """A relation's cleaned runs with derived columns beside them, under short names.

    `styles` are those of earlier chunks of the same file; new columns are added to it.
    `whole` are the runs of which these are the distinct ones: all cells say how numbers
    are written.
    """

    def __init__(
        self,
        mapping: Mapping,
        runs: pa.Table,
        styles: dict[str, Style],
        whole: pa.Table | None = None,
    ):
        self.mapping, self._styles = mapping, styles
        self._runs = runs
        self._whole = runs if whole is None else whole
        self.n_rows = runs.num_rows
        self.columns: dict[str, pa.Array] = {}
        self._names: dict[tuple[str, ...], str] = {}
        self._raw: dict[str, pa.Array] = {}
        self._lookup_problems: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """The columns that there are, those of look-ups and names included."""
        made = (*self.mapping.lookup_of, *self.mapping.name_parts_of)
        return [*self._runs.column_names, *made]

    def lookup_problem(self, column: str) -> str | None:
        """Why a look-up gives no value in this column, in SQL; None where it is no
        look-up's.
        """
        if column not in self.mapping.lookup_of:
            return None
        self._cells(column)
        return self._lookup_problems[column]

    def table(self) -> pa.Table:
        """What the query reads: the columns that were asked for."""
        columns = {
            **self.columns,
            "row_": pa.array(np.arange(self.n_rows)),
        }
        return pa.table(columns)

    def column(self, name: str) -> str:
        """A raw column, empty texts as nulls."""
        return self._named(("raw", name), lambda: self._cells(name))

    def text(self, name: str) -> str:
        """A raw column as text, in SQL."""
        return f"{self.column(name)}::VARCHAR"

    def number(self, name: str, missing: Scalar | None = None) -> str:
        """A column as doubles: null where a cell is empty or no number. `missing`
        stands for cells that say "nothing".
        """
        key = ("number", name, repr(missing))
        return self._named(key, lambda: self._numbers(name, missing))

    def whole(self, name: str) -> str:
        """A column as text of whole numbers of any size, null where a cell is none."""
        cell = self.text(name)
        is_whole = f"regexp_full_match({cell}, '[+-]?[0-9]+')"
        return f"CASE WHEN {is_whole} THEN TRY_CAST({cell} AS HUGEINT) END"

    def spelled(
        self, name: str, spell: Callable[[Any], str], what: str
    ) -> tuple[str, str]:
        """(values, problems) of a column: each distinct cell spelled once; `what` names
        the way of spelling.
        """
        keys = ("value", name, what), ("problem", name, what)
        if keys[0] not in self._names:
            values, problems = per_cell(self._cells(name), spell)
            self._named(keys[0], lambda: values)
            self._named(keys[1], lambda: problems)
        return self._names[keys[0]], self._names[keys[1]]

    def ended(self, name: str) -> str:
        """The status that a cell says where a number is expected (`OOM`, `diverged`; what
        says nothing, `N/A`, failed), null elsewhere.
        """

        def words() -> pa.Array:
            numbers = self.columns[self.number(name)]
            cells = self._cells(name)
            odd = pc.if_else(pc.is_null(numbers), cells, None)
            return per_cell(odd, _ending_of)[0]

        return self._named(("ended", name), words)

    def _named(self, key: tuple[str, ...], make: Callable[[], pa.Array]) -> str:
        if key not in self._names:
            cells = make()  # a look-up makes columns of its own
            name = f"c{len(self.columns)}_"
            self.columns[name] = cells
            self._names[key] = name
        return self._names[key]

    def _cells(self, name: str) -> pa.Array:
        if name not in self._raw:
            lookup = self.mapping.lookup_of.get(name)
            parts = self.mapping.name_parts_of.get(name)
            if lookup is not None:
                self._look_up(lookup)
            elif parts is not None:
                self._read_names(parts)
            elif name in self._runs.column_names:
                self._raw[name] = one_piece(self._runs.column(name))
            else:
                self._raw[name] = pa.nulls(self.n_rows, pa.string())
        return self._raw[name]

    def _numbers(self, name: str, missing: Scalar | None) -> pa.Array:
        cells = self._cells(name)
        if pa.types.is_boolean(cells.type):
            numbers = pa.nulls(self.n_rows, pa.float64())
        elif pa.types.is_string(cells.type):
            numbers = self._parsed(name, cells)
        else:
            numbers = cells.cast(pa.float64(), safe=False)
        if missing is None:
            return numbers
        absent = per_cell(cells, lambda cell: "1" if is_nothing(cell) else "")[
            0
        ]
        absent = pc.or_kleene(pc.is_null(cells), pc.equal(absent, "1"))
        return pc.if_else(absent, pa.scalar(float(missing)), numbers)

    def _parsed(self, name: str, cells: pa.Array) -> pa.Array:
        if name not in self._styles:
            try:
                return cells.cast(pa.float64())
            except pa.ArrowInvalid:
                self._decide_styles(name)
        return numbers_of(cells, self._styles[name])

    def _decide_styles(self, name: str) -> None:
        """How numbers are written is told by all columns that are not plain."""
        distinct = {name: pc.unique(self._cells(name)).to_pylist()}
        for other in self._whole.column_names:
            if other in (FILE_COLUMN, name):
                continue
            cells = self._whole.column(other)
            if pa.types.is_string(cells.type):
                distinct[other] = pc.unique(cells).to_pylist()
        found = styles_of(distinct, self.mapping.decimal)
        self._styles[name] = found[name]

    def _read_names(self, parts: NameParts) -> None:
        read = parts_reader(parts.words)
        encoded = (
            self._cells(parts.column).cast(pa.string()).dictionary_encode()
        )
        found = [read(name) for name in encoded.dictionary.to_pylist()]
        for column in parts.words:
            values = pa.array([f.get(column) for f in found], pa.string())
            self._raw[column] = values.take(encoded.indices)

    def _look_up(self, lookup: Lookup) -> None:
        keys = []
        for column in lookup.columns:
            keys.append(per_cell(self._cells(column), key_text)[0])
        if lookup.separator:
            keys[-1] = self._cells(lookup.columns[-1])
        mark = pa.scalar("|", pa.string())
        combined = keys[0] if len(keys) == 1 else _together(keys, mark)
        found: dict[str, tuple[Any, ...] | str] = {}
        for key in pc.unique(combined).to_pylist():
            if key is not None:
                found[key] = _outputs(lookup, key)
        encoded = combined.dictionary_encode()
        per_key = [found[key] for key in encoded.dictionary.to_pylist()]
        problems = [
            entry if isinstance(entry, str) else None for entry in per_key
        ]
        taken = pa.array(problems, pa.string()).take(encoded.indices)
        problem = self._named(("lookup", *lookup.columns), lambda: taken)
        for index, name in enumerate(lookup.outputs):
            cells = [None if isinstance(e, str) else e[index] for e in per_key]
            self._raw[name] = _typed(cells).take(encoded.indices)
            self._lookup_problems[name] = problem


def cleaned(runs: pa.Table) -> pa.Table:
    """A table of raw cells, each column in one piece; empty texts are nulls."""
    columns = []
    for column in runs.columns:
        cells = one_piece(column)
        if pa.types.is_null(cells.type):
            cells = cells.cast(pa.string())
        elif pa.types.is_string(cells.type) and _may_hold_empty(cells):
            cells = pc.if_else(pc.equal(cells, ""), None, cells)
        columns.append(cells)
    return pa.table(columns, names=runs.column_names)


def _may_hold_empty(texts: pa.Array) -> bool:
    """Whether a text ends where it begins, as null and empty ones do."""
    offsets = np.frombuffer(texts.buffers()[1] or b"", np.int32)
    here = offsets[texts.offset : texts.offset + len(texts) + 1]
    return bool((here[1:] == here[:-1]).any())


def one_piece(column: pa.ChunkedArray) -> pa.Array:
    """The cells of a column as one array."""
    chunks = column.chunks
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.nulls(0, column.type)


def _together(keys: list[pa.Array], mark: pa.Scalar) -> pa.Array:
    texts = [key.cast(pa.string()) for key in keys]
    return pc.binary_join_element_wise(*texts, mark)


def _typed(cells: list[Any]) -> pa.Array:
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float}:
        return pa.array(
            [None if c is None else float(c) for c in cells], pa.float64()
        )
    if kinds == {bool}:
        return pa.array(cells, pa.bool_())
    texts = [
        c if c is None or isinstance(c, str) else json.dumps(c) for c in cells
    ]
    return pa.array(texts, pa.string())


def _outputs(lookup: Lookup, key: str) -> tuple[Any, ...] | str:
    """The new columns' values of one key, or why there are none."""
    *before, last = key.split("|", len(lookup.columns) - 1)
    if not lookup.separator:
        row = lookup.rows.get(key)
        return _no_row(lookup, key) if row is None else tuple(row.values())
    rows = []
    for item in list_items(last, lookup.separator):
        item_key = "|".join([*before, key_text(item)])
        row = lookup.rows.get(item_key)
        if row is None:
            return _no_row(lookup, item_key)
        rows.append(row)
    return tuple(list(map(itemgetter(n), rows)) for n in lookup.outputs)


def _no_row(lookup: Lookup, key: str) -> str:
    close = difflib.get_close_matches(key, lookup.rows, n=1, cutoff=0.0)
    nearest = close[0] if close else "none"
    return (
        f"{'|'.join(lookup.columns)}={key!r:.80} has no row in [lookup.rows] of the "
        f"mapping. Nearest: {nearest!r}. Fix: add a row for it."
    )


def per_cell(
    cells: pa.Array, spell: Callable[[Any], str]
) -> tuple[pa.Array, pa.Array]:
    """(values, problems) of cells: each distinct one spelled once, an empty one not."""
    encoded = cells.dictionary_encode()
    values, problems = [], []
    for cell in encoded.dictionary.to_pylist():
        value = problem = None
        try:
            value = spell(cell)
        except RecordError as error:
            problem = str(error)
        values.append(value)
        problems.append(problem)
    return tuple(
        pa.array(found, pa.string()).take(encoded.indices)
        for found in (values, problems)
    )


def plain(cell: Any) -> Any:
    """Text from a table to bool or number where it spells one; other values as they
    are.
    """
    if not isinstance(cell, str):
        return cell
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    try:
        number = float(cell)
    except ValueError:
        return cell
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def key_text(cell: Any) -> str:
    """A value as look-ups and joins spell it: 4, 4.0 and '4.0' alike."""
    value = plain(cell)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def list_items(cell: Any, separator: str) -> list[Any]:
    """The items of a list in one cell: JSON text, or parts between separators."""
    if isinstance(cell, str) and cell.startswith("["):
        try:
            return [plain(item) for item in json.loads(cell)]
        except (ValueError, TypeError):
            pass
    return [plain(item) for item in str(cell).split(separator)]


def speller(knob: KnobRule) -> Callable[[Any], str]:
    """How cells of a knob of categories, ranks or lists become canonical JSON."""

    def spell(cell: Any) -> str:
        if knob.missing is not None and is_nothing(cell):
            return canonical_json(knob.missing)
        is_list = knob.scale == "list"
        value = list_items(cell, knob.separator) if is_list else plain(cell)
        _check_declared(knob, cell, value if is_list else [value])
        return canonical_json(value)

    return spell


def _check_declared(knob: KnobRule, cell: Any, items: Iterable[Any]) -> None:
    declared = {canonical_json(value) for value in knob.values or ()}
    spelled = {canonical_json(item) for item in items}
    if knob.values is not None and not spelled <= declared:
        raise RecordError(
            f"{knob.column}={cell!r:.80} is none of the declared values "
            f"{list(knob.values)}. Fix: add it to `values` of {knob.name!r} in the "
            "mapping, or correct the cell."
        )


def _ending_of(cell: Any) -> str:
    status = "failed" if is_nothing(cell) else status_of(cell)
    if status is None or status == "finished":
        raise RecordError(f"{cell!r:.80} says no end of a run")
    return status


def state_speller(state: State) -> Callable[[Any], str]:
    """How the words of a state column become statuses."""
    said = {
        word.strip().lower(): status for word, status in state.words.items()
    }

    def spell(cell: Any) -> str:
        word = str(cell)
        status = said.get(word.strip().lower()) or status_of(word)
        if status is None:
            raise RecordError(
                f"{state.column}={word!r:.80} says no status that is known. Fix: add it "
                "to `words` of [state] in the mapping."
            )
        return status

    return spell
