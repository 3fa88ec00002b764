"""Two files that make one table: waiting for the other one, and joining their rows.

Invariant: a held file comes out once, with its partner or without; of the joined file
every row is used or set aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping
from autollm.logs.mapped.sheet import key_text, per_cell
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, BadLines, Relation
from autollm.logs.tables.columns import stack


@dataclass(frozen=True)
class WaitingFile:
    """A file of a pair: `unit` is what the session landed of it, `folder` where it
    lay; `main` and `partner` are the names of both.
    """

    unit: Any
    folder: str
    mapping: Mapping
    main: str
    partner: str
    is_main: bool


class Waiting:
    """Files that wait for their partner: first for the one in the same folder, at the
    end for the only one there is.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], list[WaitingFile]] = {}

    def add(self, held: WaitingFile) -> tuple[WaitingFile, WaitingFile] | None:
        """The pair (main, partner) that the file completes, if it does."""
        key = (held.folder, held.mapping.source, held.main)
        others = self._held.setdefault(key, [])
        match = next((h for h in others if h.is_main != held.is_main), None)
        if match is None:
            others.append(held)
            return None
        others.remove(match)
        return (held, match) if held.is_main else (match, held)

    def rest(self) -> Iterator[tuple[WaitingFile, WaitingFile | str]]:
        """Pairs over folders, where there is one file of each name only; and the
        others, with the reason.
        """
        left: dict[tuple[str, str], list[WaitingFile]] = {}
        for (_, source, main), held in self._held.items():
            left.setdefault((source, main), []).extend(held)
        self._held = {}
        for held in left.values():
            mains = [h for h in held if h.is_main]
            partners = [h for h in held if not h.is_main]
            if len(mains) == len(partners) == 1:
                yield mains[0], partners[0]
                continue
            for one in held:
                yield one, _alone(one, len(mains), len(partners))


def _alone(one: WaitingFile, n_mains: int, n_partners: int) -> str:
    other = one.partner if one.is_main else one.main
    if not (n_partners if one.is_main else n_mains):
        return f"it belongs to {other}, which is not there. Fix: land both files together."
    return (
        f"{n_mains} files are called {one.main} and {n_partners} {one.partner}: which "
        "belong together? Fix: land each pair from a folder of its own."
    )


class JoinedRows:
    """The second file of a pair, by the columns that both share."""

    def __init__(self, mapping: Mapping, name: str, relations: list[Relation]):
        self.name, self._on = name, mapping.join.on
        self._rows = stack([r.runs for r in relations])
        self.n_lines = sum(r.n_lines for r in relations)
        self.bad = [bad for r in relations for bad in r.bad]
        self._at: dict[str, int] = {}
        self._used: set[str] = set()
        if self._rows.num_rows:
            self._check()
        for index, key in enumerate(self._keys(self._rows)):
            if key is None:
                self._set_aside(index, self._missing(self._rows, index))
            elif key in self._at:
                line = self._line(self._at[key])
                self._set_aside(
                    index,
                    f"{self._named(key)} stands in {name} already (line {line}); the "
                    "first row is kept",
                )
            else:
                self._at[key] = index

    def _check(self) -> None:
        missing = [c for c in self._on if c not in self._rows.column_names]
        if missing:
            raise MappingError(
                f"{self.name} has no column {missing[0]!r}, on which it is joined. "
                f"Columns: {', '.join(self.columns)}."
            )

    @property
    def columns(self) -> list[str]:
        """What the file brings."""
        return [n for n in self._rows.column_names if not n.startswith("_")]

    def _keys(self, rows: pa.Table) -> list[str | None]:
        if not rows.num_rows:
            return []
        parts = []
        for column in self._on:
            cells = rows[column].combine_chunks()
            parts.append(per_cell(cells, key_text)[0].to_pylist())
        keys = []
        for row in zip(*parts, strict=True):
            keys.append(None if None in row else "\0".join(row))
        return keys

    def _named(self, key: str) -> str:
        pairs = zip(self._on, key.split("\0"), strict=True)
        return ", ".join(f"{column}={value}" for column, value in pairs)

    def _missing(self, rows: pa.Table, index: int) -> str:
        empty = next(c for c in self._on if rows[c][index].as_py() is None)
        return f"{empty}, on which the files are joined, is missing or empty"

    def _line(self, index: int) -> int:
        return self._rows[LINE_COLUMN][index].as_py()

    def _set_aside(self, index: int, reason: str) -> None:
        self.bad.append(BadLines(self._line(index), 1, reason, ""))

    def join(self, relation: Relation) -> Relation:
        """The rows of the main file with their partners' columns beside them; those
        without a partner are bad.

        Raises:
            MappingError: a column stands in both files.
        """
        rows = relation.runs
        taken = [n for n in self.columns if n not in self._on]
        twice = [n for n in taken if n in rows.column_names]
        if twice:
            raise MappingError(
                f"the column {twice[0]!r} stands in {rows[FILE_COLUMN][0]} and in "
                f"{self.name}. Fix: rename one of them, or join on it too."
            )
        keep, partners, bad = [], [], list(relation.bad)
        for index, key in enumerate(self._keys(rows)):
            if key in self._at:
                self._used.add(key)
                keep.append(index)
                partners.append(self._at[key])
                continue
            reason = (
                f"no row of {self.name} has {self._named(key)}" if key else ""
            )
            line = rows[LINE_COLUMN][index].as_py()
            bad.append(
                BadLines(line, 1, reason or self._missing(rows, index), "")
            )
        found = rows.take(pa.array(keep, pa.int64()))
        partner_rows = self._rows.take(pa.array(partners, pa.int64()))
        for name in taken:
            found = found.append_column(name, partner_rows[name])
        return replace(relation, runs=found, bad=tuple(bad))

    def finish(self, main: str) -> Relation:
        """The account of this file's lines, once `main` has been read: a row that
        nobody took is set aside.
        """
        for key, index in self._at.items():
            if key not in self._used:
                reason = f"no usable row of {main} has {self._named(key)}"
                self._set_aside(index, reason)
        bad = tuple(self.bad)
        return Relation("", pa.table({}), bad=bad, n_lines=self.n_lines)
