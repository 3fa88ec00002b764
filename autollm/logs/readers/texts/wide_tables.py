"""Tables of two settings, as papers print them: one down the rows, the other across the
columns, an outcome in each cell.

    lr \\ size,50M,125M        lr,size,value
    1e-4,3.61,3.30      ->    1e-4,50M,3.61
    3e-4,3.52,3.21            1e-4,125M,3.30 ...

The columns' setting is known by their names: `lr=1e-4,lr=3e-4`, or numbers alone, whose
word then stands in the corner. The cells are called `value`, or as the file is, where
that is an outcome's name.

Columns that are repeats, `seed 1,seed 2,seed 3`, or one outcome at several settings, `loss @
lr=1e-4,loss @ lr=3e-4`, become rows as well, beside any others; a sheet whose runs are its
columns is turned.

Invariant: every cell of such a table becomes a row of its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from autollm.core.values import is_nothing, parse_number
from autollm.logs.readers.cells import Cells, table_of
from autollm.logs.readers.words import pattern
from autollm.logs.relation import FILE_COLUMN, OWN_COLUMNS, Relation

MOST_ROWS = 1_000
"""A table that somebody laid out in two directions is read by eye."""
OUTCOME = pattern("outcome")
_SIZE = re.compile(r"\d+(?:\.\d+)?\s?[MB]", re.IGNORECASE)
_NAMED = (
    re.compile(r"\s*([A-Za-z][\w .-]*?)\s*[=:]\s*(\S+)\s*"),  # lr=1e-4
    pattern("spoken"),
    re.compile(rf"(.*?)[\s_@(,/-]*({_SIZE.pattern})\)?", re.IGNORECASE),
)
_REPEAT = re.compile(
    r"(?:(.*?)[ _/(-]*)?\b(seed|run|rep(?:lica|eat)?|trial|fold)[ _#=]*(\d+)\)?",
    re.IGNORECASE,
)
_AT_SETTING = re.compile(
    r"(.*?[\w)\]])\s*(?:@|\||,|\(|\[|\bat\b)\s*([A-Za-z][\w .-]*?)\s*=\s*([^)\]]+?)\s*[)\]]?"
)
_CHOSEN = pattern("setting")
_CORNER = re.compile(r"\s*(?:\\|/|\||×|\bvs\.?\s|\s[x↓→]\s)\s*")


def one_setting(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The word and the values that these names are made of: `lr=1e-4`, `lr=3e-4`; an
    outcome beside sizes, `loss 50M`, `loss 125M`; an empty word where they are numbers
    alone. None where they are none.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        return None
    for named in _NAMED:
        found = [match for name in names if (match := named.fullmatch(name))]
        words = {match[1].lower() for match in found}
        if len(found) == len(names) and len(words) == 1:
            return found[0][1], [match[2] for match in found]
    if any(parse_number(name) is None for name in names):
        return None
    return "", list(names)


def with_rows(relation: Relation) -> Relation:
    """The relation with one row a cell, where some columns hold one outcome's repeats, or
    one outcome at several settings.
    """
    names = _names_of(relation)
    for named in (_REPEAT, _AT_SETTING):
        found: dict[str, re.Match[str]] = {}
        for name in names:
            plain = name.replace("_", " ") if named is _REPEAT else name
            match = named.fullmatch(plain.strip())
            if match:
                found[name] = match
        heads = {(m[1], m[2].lower()) for m in found.values()}
        numbers = _numbers(relation.runs.select(list(found)))
        is_whole = all(number == int(number) for number in numbers)  # seeds are
        if len(found) < 2 or len(heads) != 1 or is_whole:
            continue
        outcome, word = heads.pop()
        cells: Cells = {name: match[3] for name, match in found.items()}
        value = outcome or ""
        column = next(iter(found.values()))[2]
        if named is _REPEAT:
            cells = {name: int(text) for name, text in cells.items()}
            value = value.strip().replace(" ", "_") or _value_of(relation.runs)
            column = "seed" if word == "seed" else "replica"
        if {value, column} & set(names):
            return relation
        said = "repeats of" if named is _REPEAT else f"{column} of"
        note = f"{', '.join(found)} are {said} {value}: a row each"
        return _melted(relation, cells, column, value, note)
    return relation


def turned(relation: Relation) -> Relation:
    """The relation with a row a run, where the sheet has a column a run: its first column
    names settings and outcomes.
    """
    corner, *others = _names_of(relation) or [""]
    runs = relation.runs
    if len(others) < 2:
        return relation
    words = [str(cell).strip() for cell in runs[corner].to_pylist()]
    are_names = len(set(words)) == len(words) and not any(
        parse_number(word) is not None for word in words
    )
    has_outcome = any(map(OUTCOME.search, words))
    has_setting = any(_CHOSEN.search(word.replace(" ", "_")) for word in words)
    if not (are_names and has_outcome and has_setting):
        return relation
    if not _numbers(runs.select(others)):
        return relation
    rows = []
    first = runs.slice(0, 1).to_pylist()[0]
    for name in others:
        cells = runs[name].to_pylist()
        own = {n: v for n, v in first.items() if n in OWN_COLUMNS}
        rows.append(
            {
                corner or "run": name,
                **dict(zip(words, cells, strict=True)),
                **own,
            }
        )
    note = "a sheet with a column a run: it is read as rows"
    notes = (*relation.notes, note)
    return replace(relation, runs=table_of(rows), notes=notes)


def unpivoted(relation: Relation) -> Relation:
    """The relation with one row a cell, where it is such a table."""
    corner, *others = _names_of(relation) or [""]
    setting = one_setting(others)
    if setting is None or not _numbers(relation.runs.select(others)):
        return relation
    word, values = setting
    row, *second = _CORNER.split(corner, maxsplit=1)
    value = "value"
    if OUTCOME.search(word):
        value, word = word, ""
    elif OUTCOME.search(row) and not second:
        value, row = row, "row"
    if value == "value":
        value = _value_of(relation.runs)
    are_sizes = all(_SIZE.fullmatch(text.strip()) for text in values)
    across = word or "".join(second) or ("params" if are_sizes else "across")
    row, across = row.strip() or "row", across.strip()
    if len({row, across, value}) < 3:
        return relation
    note = (
        f"a table of two settings: {row} down its rows, {across} across its "
        f"columns; each cell is a run and its {value}"
    )
    runs = relation.runs.rename_columns({corner: row})
    cells = dict(zip(others, values, strict=True))
    return _melted(replace(relation, runs=runs), cells, across, value, note)


def _names_of(relation: Relation) -> list[str]:
    """The columns of a table that may be such a one; else none."""
    if not 2 <= relation.runs.num_rows <= MOST_ROWS:
        return []
    return [n for n in relation.runs.column_names if n not in OWN_COLUMNS]


def _melted(
    relation: Relation,
    cells: Mapping[str, Any],
    column: str,
    value: str,
    note: str,
) -> Relation:
    """One row a column of `cells`, whose cell of the new `column` it gives."""
    parts = []
    for name, cell in cells.items():
        part = relation.runs.drop_columns([n for n in cells if n != name])
        part = part.rename_columns({name: value})
        cells_of_part = pa.array([cell] * part.num_rows)
        at = part.column_names.index(value)
        parts.append(part.add_column(at, column, cells_of_part))
    long = pa.concat_tables(parts, promote_options="permissive")
    return replace(relation, runs=long, notes=(*relation.notes, note))


def _value_of(runs: pa.Table) -> str:
    """What cells without a name of their own are called."""
    file = (
        runs[FILE_COLUMN][0].as_py() if FILE_COLUMN in runs.column_names else ""
    )
    stem = (file or "").rsplit("/", 1)[-1].split(".")[0]
    found = OUTCOME.search(stem)
    return stem[: found.end()] if found else "value"


def _numbers(cells: pa.Table) -> list[float]:
    """The numbers in these columns, where nearly all cells are some; else none."""
    n_filled = 0
    numbers = []
    for column in cells.columns:
        for cell in column.to_pylist():
            n_filled += not is_nothing(cell)
            number = parse_number(cell)
            if number is not None:
                numbers.append(number)
    return numbers if len(numbers) >= 0.8 * n_filled else []
