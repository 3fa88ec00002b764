"""Settings that stand in names of runs alone, as columns of their own.

Teams without a tracker name their runs `lr3e-4_bs256-seed2` and write one table of names
and losses. Words that mean a setting are data (`[run_names]` of names.toml); after an
equals sign any word counts that is no metric, place or time. A setting that a column
tells, too, is read from that column.

Invariant: what is read out of names is said, and stands in the mapping's [[name_parts]].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autollm.core.mappings.mapping_entries import NameParts
from autollm.core.mappings.name_parts import REST, parts_reader
from autollm.core.values import parse_number
from autollm.logs.proposals.columns import Column, Table, columns_of
from autollm.logs.proposals.names import Name, metric_of, read_name, tables
from autollm.logs.proposals.notes import Notebook
from autollm.logs.proposals.options import TableOptions
from autollm.logs.proposals.roles import NAMED_ROLES, listed

USUAL = 0.6
"""Share of the names in which at least one setting stands, if they are such names."""
RARE = 0.1
"""Share of the names in which each further one stands."""
LEAST_NAMES = 2
MOST_CHARACTERS = 300
"""Of a name; longer texts are notes."""
ALIKE = 0.05
"""Share by which a rounded number in a name may differ from the column's."""
TEXTS = ("optimizer", "schedule")
"""Settings whose values are names, never numbers."""
MOST_RESTS = 12
"""Variants that are told by what is left of a name; more are labels."""
Words = Mapping[str, Sequence[str]]
"""The spellings of each setting."""
_SAID = re.compile(
    r"(?:^|[-_/\s,;|(\[])([A-Za-z][A-Za-z0-9_.]*?)[=:](?=[^=:/\s])"
)
_NO_SETTING = re.compile(
    r"(step|epoch|iter|iteration|v|ver|version|id|job|trial|run|exp|node|gpu|gpus|host"
    r"|port|rev|commit|sha|file|https?|part|shard|fold|ckpt|checkpoint|time|date)"
)
_IS_ID = re.compile(r"(^|_)(id|uuid|hash|sha|commit)$")
_ID = re.compile(r"[0-9a-f]{6,}|[\d_T-]{6,}")


def with_name_parts(table: Table, said: TableOptions, book: Notebook) -> Table:
    """The table with a column for each setting that its names alone tell."""
    found = []
    columns = dict(table.columns)
    taken = set(columns)
    for name, column in table.columns.items():
        if not _is_name(table, column) or name in said.columns:
            continue
        words = _words_of(column, taken)
        added = _columns_of(column, words, columns, table)
        if added:
            found.append(NameParts(column=name, words=words))
            columns |= added
            taken |= words.keys()
            _say(book, column, added)
    return replace(table, columns=columns, name_parts=tuple(found))


def _is_name(table: Table, column: Column) -> bool:
    if column.kind != "text" or len(column.levels) < LEAST_NAMES:
        return False
    if _IS_ID.search(column.name.full) or table.is_setting(column):
        return False
    return max(map(len, column.levels)) <= MOST_CHARACTERS


def _long_words(words: Sequence[str]) -> list[str]:
    return [word for word in words if len(word) > 1]


def _words_of(column: Column, taken: set[str]) -> dict[str, tuple[str, ...]]:
    """The words that stand in the names, by the column that each becomes; empty where
    these are no names of settings.
    """
    meanings = _meanings(column)
    read = parts_reader(meanings)
    for word in _SAID.findall("\n".join(column.levels)):
        # `lr0.1_wd` of `lr0.1_wd=0.1` holds a known one
        if not read(f"{word}=1") and _is_setting_word(word):
            meanings.setdefault(word, (word,))
    usual = max(LEAST_NAMES, USUAL * len(column.levels))
    # a single letter may stand for anything
    sure = {key: _long_words(words) for key, words in meanings.items()}
    if max(_counted(column, sure).values(), default=0) < usual:
        return {}
    words: dict[str, tuple[str, ...]] = {}
    rare = max(LEAST_NAMES, RARE * len(column.levels))
    for key, count in _counted(column, meanings).items():
        is_model = key in TEXTS and _holds_numbers(column, meanings, key)
        if count >= rare and not is_model:  # `opt-125m`
            words[_free(key, taken)] = tuple(meanings[key])
    alone = [key for key in ("params", "tokens") if key not in words]
    counted = _counted(column, {**words, **dict.fromkeys(alone, ())})
    for key in alone:
        if counted[key] >= USUAL * len(column.levels):
            words[_free(key, taken)] = ()
    words[_free("rest_of_name", taken)] = (REST,)
    return words


def _meanings(column: Column) -> dict[str, Sequence[str]]:
    """The words that are known, with the letters that these names' numbers explain."""
    known: dict[str, Sequence[str]] = dict(tables()["run_names"])
    letters = tables()["run_letters"]
    single = [w for words in known.values() for w in words if len(w) == 1]
    read = parts_reader({letter: (letter,) for letter in (*letters, *single)})
    parts = [read(level) for level in column.levels]
    for letter, meanings in letters.items():
        texts = [part.get(letter) for part in parts]
        numbers = [parse_number(text) for text in texts if text]
        largest = max((n for n in numbers if n is not None), default=None)
        if largest is None:
            continue
        for key, most in meanings.items():
            if largest <= most:
                known[key] = [*known[key], letter]
                break
    return known


def _holds_numbers(column: Column, words: Words, key: str) -> bool:
    texts = map(parts_reader(words), column.levels)
    return any(parse_number(found.get(key)) is not None for found in texts)


def _counted(column: Column, words: Words) -> Counter[str]:
    """In how many names each setting stands."""
    read = parts_reader(words)
    return Counter(key for level in column.levels for key in read(level))


def _is_setting_word(word: str) -> bool:
    name = read_name(word)
    if metric_of(name) is not None or _NO_SETTING.fullmatch(name.last):
        return False
    return not name.is_a(*(entry for entry, _, _ in NAMED_ROLES))


def _free(key: str, taken: set[str]) -> str:
    while key in taken:
        key = f"{key}_in_name"
    return key


def _columns_of(
    column: Column,
    words: dict[str, tuple[str, ...]],
    known: dict[str, Column],
    table: Table,
) -> dict[str, Column]:
    """The columns that say something which no other column says."""
    if not words:
        return {}
    read = parts_reader(words)
    rows = [{} if c is None else read(str(c)) for c in column.cells]
    cells = {}
    for key in words:
        cells[key] = [row.get(key) for row in rows]
    found = {}
    for key, made in columns_of(cells).items():
        path = key.replace("_in_name", "")
        part = replace(made, name=Name(key, "setting", path))
        if REST in words[key]:
            if _tells_variants(part, column):
                found[key] = part
        elif not _is_told(part, known, table):
            found[key] = part
    # what stands in every name tells nothing alone, but a depth beside a width does
    telling = [key for key, part in found.items() if not part.is_constant]
    is_rest_alone = all(REST in words[key] for key in telling)
    return {} if is_rest_alone else found


def _is_told(part: Column, known: dict[str, Column], table: Table) -> bool:
    """Whether a column means the same by its name, or holds the same values."""
    for column in known.values():
        if table.roles.get(column.raw) in ("measured", "result"):
            continue  # what was logged of a rate while it decayed
        is_namesake = column.name.core == part.name.core
        if is_namesake and column.present and not column.is_constant:
            return True
        if part.finite and _are_alike(part, column):
            return True
    return False


def _are_alike(part: Column, column: Column) -> bool:
    """Whether a column holds each number of the part, give or take its rounding."""
    is_there = ~np.isnan(part.array)
    same = np.isclose(part.array, column.array, rtol=ALIKE, atol=0)
    return bool(np.all(same[is_there]))


def _tells_variants(rest: Column, column: Column) -> bool:
    """Whether what is left of the names is one of a few words for several rows each."""
    if rest.is_numeric or not 1 < rest.n_distinct <= min(
        MOST_RESTS, len(column.cells) / 2
    ):
        return False
    return not any(_ID.search(level) for level in rest.levels)


def _say(book: Notebook, column: Column, added: dict[str, Column]) -> None:
    shown = []
    for key, part in added.items():
        row = next(r for r, cell in enumerate(part.cells) if cell is not None)
        shown.append(f"{key} ({part.cells[row]} of {column.cells[row]!r:.60})")
    book.say(
        "name-parts",
        f"settings were read out of {column.raw}, since no column says them: "
        f"{listed(shown)}. Correct the words of [[name_parts]] where that is wrong.",
        *added,
    )
