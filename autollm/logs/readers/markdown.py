"""Tables in Markdown, as people write results into a README or a notebook.

Of several tables in one document the one with most rows is read, and a note names how
many others there are. Emphasis, code marks and links are taken off the cells.

Invariant: a line is a row, is set aside, or is text that says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from autollm.core.errors import RecordError
from autollm.logs.readers.rows import RelationBuilder, read_whole
from autollm.logs.relation import OpenedFile, Relation

_RULE = re.compile(r"\|?(\s*:?-{2,}:?\s*\|)+\s*(:?-{2,}:?\s*)?")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"\*\*|__|`|~~|^\*|\*$|<br\s*/?>")
LEAST_COLUMNS = 2


@dataclass
class _Table:
    """The names, and the rows with their lines."""

    names: list[str]
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


class MarkdownReader:
    """A document with a table of runs."""

    format = "markdown"

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`: by its suffix, else where it begins with a table."""
        lines = head.decode("utf-8", "replace").splitlines()
        if not name.lower().endswith((".md", ".markdown")):
            lines = [line for line in lines if line.strip()][:2]
            if not lines or not lines[0].lstrip().startswith("|"):
                return False
        return any(tables_of(lines))

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: it holds no table with a row.
        """
        text = read_whole(opened).decode("utf-8-sig", "replace")
        lines = text.splitlines()
        tables = [table for table in tables_of(lines) if table.rows]
        if not tables:
            raise RecordError(
                f"{opened.name} holds no table with a row. Expected `| a | b |`, a line "
                "of dashes, and rows. Fix: land the table itself."
            )
        table = max(tables, key=lambda t: len(t.rows))
        builder = RelationBuilder(self.format)
        builder.n_lines = len(lines)
        if len(tables) > 1:
            builder.note(
                f"{len(tables)} tables: the one of {len(table.rows)} rows is read"
            )
        for line, cells in table.rows:
            if len(cells) == len(table.names):
                pairs = zip(table.names, cells, strict=True)
                row = {name: cell or None for name, cell in pairs}
                builder.add_run(row, opened.name, line)
            elif cells != table.names:
                reason = (
                    f"{len(cells)} fields, the header has {len(table.names)}"
                )
                builder.add_bad(line, reason, lines[line - 1])
        return [builder.relation()]


def tables_of(lines: list[str]) -> list[_Table]:
    """The tables of a document, those without a row too."""
    found: list[_Table] = []
    is_inside = False
    for number, line in enumerate(lines, start=1):
        is_row = "|" in line
        if number > 1 and _RULE.fullmatch(line.strip()) and not is_inside:
            names = _cells(lines[number - 2])
            if len(names) >= LEAST_COLUMNS and len(set(names)) == len(names):
                found.append(_Table(names))
                is_inside = True
        elif is_inside and is_row:
            is_again = _cells(line) == found[-1].names
            if not _RULE.fullmatch(line.strip()) and not is_again:
                found[-1].rows.append((number, _cells(line)))
        else:
            is_inside = False
    return found


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    parts = re.split(r"(?<!\\)\|", inner)
    return [_plain(part.replace("\\|", "|")) for part in parts]


def _plain(cell: str) -> str:
    return _MARKS.sub("", _LINK.sub(r"\1", cell.strip())).strip()
