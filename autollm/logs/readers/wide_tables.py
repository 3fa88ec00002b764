"""Tables of two settings, as papers print them: one down the rows, the other across the
columns, an outcome in each cell.

    lr \\ size,50M,125M        lr,size,value
    1e-4,3.61,3.30      ->    1e-4,50M,3.61
    3e-4,3.52,3.21            1e-4,125M,3.30 ...

The columns' setting is known by their names: `lr=1e-4,lr=3e-4`, or numbers alone, whose
word then stands in the corner. The cells are called `value`, or as the file is, where
that is an outcome's name.

Columns that are repeats, `seed 1,seed 2,seed 3`, become rows as well, beside any others.

Invariant: every cell of such a table becomes a row of its line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from autollm.core.values import is_nothing, parse_number
from autollm.logs.relation import OWN_COLUMNS, Relation

MOST_ROWS = 1_000
"""A table that somebody laid out in two directions is read by eye."""
_SETTING = re.compile(r"\s*([A-Za-z][\w .-]*?)\s*[=:]\s*(\S+)\s*")
_SPOKEN = re.compile(
    r"(lr|learning[ _]rate|bs|batch[ _]size|wd|width|depth|seed|n|d|params|tokens|steps)"
    r"[ _]?(\d\S*)",
    re.IGNORECASE,
)
"""Words of settings that need no sign before their value."""
_OF_SIZE = re.compile(
    r"(.*?)[\s_@(,/-]*(\d+(?:\.\d+)?\s?[MB])\)?", re.IGNORECASE
)
_CORNER = re.compile(r"\s*(?:\\|/|\||×|\bvs\.?\s|\s[x↓→]\s)\s*")
_SIZE = re.compile(r"\d+(?:\.\d+)?\s?[MB]", re.IGNORECASE)
OUTCOME = re.compile(
    r"(?<![a-z])(loss|ppl|perplexity|acc(?:uracy)?|bpb|nll|error|f1|score|reward|bleu)"
    r"(?![a-z])",
    re.IGNORECASE,
)
"""Words of outcomes in the name of a file or in a corner."""


def one_setting(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The word and the values that these names are made of: `lr=1e-4`, `lr=3e-4`; an
    outcome beside sizes, `loss 50M`, `loss 125M`; an empty word where they are numbers
    alone. None where they are none.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        return None
    for pattern in (_SETTING, _SPOKEN, _OF_SIZE):
        found = [match for name in names if (match := pattern.fullmatch(name))]
        words = {match[1].lower() for match in found}
        if len(found) == len(names) and len(words) == 1:
            return found[0][1], [match[2] for match in found]
    if all(parse_number(name) is not None for name in names):
        return "", list(names)
    return None


_REPEAT = re.compile(
    r"(?:(.*?)[ _/(-]*)?\b(seed|run|rep(?:lica|eat)?|trial|fold)[ _#=]*(\d+)\)?",
    re.I,
)


def _repeats(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Columns of one outcome in several repeats: (outcome, word, number) by name."""
    spelled = {n: _REPEAT.fullmatch(n.replace("_", " ").strip()) for n in names}
    found = {n: match for n, match in spelled.items() if match}
    heads = {(m[1] or "", m[2].lower()) for m in found.values()}
    if len(found) < 2 or len(heads) != 1:
        return {}
    return {n: (m[1] or "", m[2].lower(), m[3]) for n, m in found.items()}


def with_repeats(relation: Relation) -> Relation:
    """The relation with one row a repeat, where columns hold an outcome's repeats."""
    runs = relation.runs
    names = [name for name in runs.column_names if name not in OWN_COLUMNS]
    found = _repeats(names)
    is_small = 2 <= runs.num_rows <= MOST_ROWS
    if relation.points is not None or not is_small or not found:
        return relation
    cells = runs.select(list(found))
    if not _hold_numbers(cells) or not _hold_fractions(cells):
        return relation
    outcome, word, _ = next(iter(found.values()))
    value_name = outcome.strip().replace(" ", "_") or _value_of(runs)
    column = "seed" if word == "seed" else "replica"
    if {value_name, column} & set(names):
        return relation
    parts = []
    for name, (_, _, number) in found.items():
        part = runs.drop_columns([n for n in found if n != name])
        part = part.rename_columns({name: value_name})
        repeat = pa.array([int(number)] * part.num_rows, pa.int64())
        parts.append(part.append_column(column, repeat))
    note = f"{', '.join(found)} are repeats of {value_name}: a row each"
    long = pa.concat_tables(parts, promote_options="permissive")
    return replace(relation, runs=long, notes=(*relation.notes, note))


def _hold_fractions(cells: pa.Table) -> bool:
    """Whether there are numbers that are not whole: seeds are."""
    for column in cells.columns:
        for cell in column.to_pylist():
            number = parse_number(cell)
            if number is not None and number != int(number or 0):
                return True
    return False


def _value_of(runs: pa.Table) -> str:
    """What cells without a name of their own are called."""
    file = runs["_file"][0].as_py() if "_file" in runs.column_names else ""
    stem = (file or "").rsplit("/", 1)[-1].split(".")[0]
    found = OUTCOME.search(stem)
    return stem[: found.end()] if found else "value"


def unpivoted(relation: Relation) -> Relation:
    """The relation with one row a cell, where it is such a table."""
    runs = relation.runs
    names = [name for name in runs.column_names if name not in OWN_COLUMNS]
    is_small = 2 <= runs.num_rows <= MOST_ROWS
    if relation.points is not None or not is_small or len(names) < 3:
        return relation
    corner, *others = names
    setting = one_setting(others)
    if setting is None or not _hold_numbers(runs.select(others)):
        return relation
    word, values = setting
    row_name, column_name, value_name = _names(corner, word, values, runs)
    if len({row_name, column_name, value_name}) < 3:
        return relation
    parts = []
    for name, value in zip(others, values, strict=True):
        part = runs.drop_columns([n for n in others if n != name])
        part = part.rename_columns({corner: row_name, name: value_name})
        cells = pa.array([value] * part.num_rows, pa.string())
        parts.append(part.add_column(1, column_name, cells))
    note = (
        f"a table of two settings: {row_name} down its rows, {column_name} across its "
        f"columns; each cell is a run and its {value_name}"
    )
    long = pa.concat_tables(parts, promote_options="permissive")
    return replace(relation, runs=long, notes=(*relation.notes, note))


def _hold_numbers(cells: pa.Table) -> bool:
    """Whether the columns hold numbers, nearly all of them."""
    n_numbers = 0
    n_filled = 0
    for column in cells.columns:
        for cell in column.to_pylist():
            n_filled += not is_nothing(cell)
            n_numbers += parse_number(cell) is not None
    return n_filled > 0 and n_numbers >= 0.8 * n_filled


def _names(
    corner: str, word: str, values: Sequence[str], runs: pa.Table
) -> tuple[str, str, str]:
    """What rows, columns and cells are called."""
    row_name, *second = _CORNER.split(corner, maxsplit=1)
    value_name = "value"
    if OUTCOME.search(word):
        value_name, word = word, ""
    elif OUTCOME.search(row_name) and not second:
        value_name, row_name = row_name, "row"
    if value_name == "value":
        value_name = _value_of(runs)
    are_sizes = all(_SIZE.fullmatch(value.strip()) for value in values)
    column_name = (
        word or "".join(second) or ("params" if are_sizes else "across")
    )
    return row_name.strip() or "row", column_name.strip(), value_name
