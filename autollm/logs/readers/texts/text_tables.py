"""Tables within texts, as people print and paste them: Markdown, grids of bars and boxes
(psql, rich), LaTeX, and columns that blanks align (pandas, `column -t`).

Of several tables in one document the one with most rows is read, and a note names how
many others there are. Emphasis, code marks, links and LaTeX's commands are taken off the
cells.

Invariant: a line is a row, is set aside, or is text that says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from autollm.core.errors import RecordError
from autollm.core.values import is_nothing, parse_number
from autollm.logs.readers.rows import RelationBuilder, read_whole
from autollm.logs.readers.words import LATEX_SIGNS
from autollm.logs.relation import OpenedFile, Relation

_BARS = str.maketrans("│┃║", "|||")
_RULE = re.compile(r"[\s|+:=\-_┄╌─━═┌┬┐├┼┤└┴┘┏┳┓┡╇┩┗┻┛┠╂┨╞╪╡╒╤╕╘╧╛╔╦╗╠╬╣╚╩╝]+")
_DASH = re.compile(r"[-=─━═┄╌]{2}")
_LATEX_END = re.compile(
    r"(\\\\|\\tabularnewline)\s*(\[[^\]]*\])?(\s*\\\w+.*)?$"
)
_LATEX_BAR = re.compile(r"(?<!\\)&")
_LATEX_RULE = re.compile(r"\s*\\(hline|(top|mid|bottom|cmid)rule|cline)")
_WRAPPED = re.compile(
    r"\\(?:textbf|textit|texttt|textsc|textrm|text|emph|underline|mathbf|mathrm"
    r"|multirow\{[^{}]*\}\{[^{}]*\}|multicolumn\{1\}\{[^{}]*\})\{([^{}]*)\}"
)
_GREEK = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|eta|lambda|mu|sigma|tau|rho|omega)(?![a-zA-Z])"
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"\*\*|__|`|~~|^\*|\*$|<br\s*/?>")
_GAP = re.compile(r"\s+")
_WIDE_GAP = re.compile(r"\s{2,}")
_COUNT = re.compile(r"\d+")
LEAST_COLUMNS = 2
LEAST_ALIGNED = 3
"""Columns and rows of a table that nothing but blanks aligns: fewer may be prose."""


@dataclass
class _Table:
    """The names, and the rows with their lines."""

    names: list[str]
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    is_wrapped: bool = False
    """Whether more columns follow, as pandas prints a wide table."""

    @classmethod
    def named(cls, cells: list[str]) -> _Table | None:
        """A table of these names; None where they are none."""
        is_one = LEAST_COLUMNS <= len(cells) == len(set(cells))
        return cls(cells) if is_one else None


class TextTableReader:
    """A text with a table of runs."""

    format = "text-table"
    suffixes = (".txt", ".text", ".tex", ".dat", ".out", ".log", ".rst", ".org")

    def matches(self, name: str, head: bytes) -> bool:
        """See `FileReader.matches`: by its suffix, and where it holds a table."""
        if not name.lower().endswith(self.suffixes) or b"\x00" in head:
            return False
        lines = head.decode("utf-8-sig", "replace").splitlines()
        return len(tables_of(lines)) > 0

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """See `FileReader.read`.

        Raises:
            RecordError: it holds no table with a row.
        """
        text = read_whole(opened).decode("utf-8-sig", "replace")
        lines = text.splitlines()
        tables = tables_of(lines)
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


class MarkdownReader(TextTableReader):
    """A Markdown document with a table of runs."""

    format = "markdown"
    suffixes = (".md", ".markdown", ".mdx", ".qmd")


def tables_of(lines: list[str]) -> list[_Table]:
    """The tables of a document that have a row."""
    found = [*_barred(lines), *_latex(lines), *_aligned(lines)]
    return [table for table in found if table.rows]


def _barred(lines: list[str]) -> list[_Table]:
    """Tables of bars with a rule below their names."""
    found: list[_Table] = []
    is_inside = False
    names: list[str] = []
    for number, raw in enumerate(lines, start=1):
        line = raw.translate(_BARS).strip()
        if _RULE.fullmatch(line):
            is_split = line.strip("|+").count("|") + line.count("+") > 0
            is_split = is_split or not line.isascii()
            table = _Table.named(names)
            if not is_inside and table and is_split and _DASH.search(line):
                found.append(table)
                is_inside = True
            names = []
        elif "|" in line:
            names = _cells(line)
            if is_inside and names != found[-1].names:
                found[-1].rows.append((number, names))
        else:
            is_inside = False
            names = []
    return found


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    parts = re.split(r"(?<!\\)\|", inner)
    return [_plain(part.replace("\\|", "|")) for part in parts]


def _plain(cell: str) -> str:
    return _MARKS.sub("", _LINK.sub(r"\1", cell.strip())).strip()


def _latex(lines: list[str]) -> list[_Table]:
    """Tables of LaTeX: cells between `&`, rows that end in a double backslash."""
    found: list[_Table] = []
    is_inside = False
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        end = _LATEX_END.search(line)
        if end is None or not _LATEX_BAR.search(line):
            is_inside = is_inside and bool(_LATEX_RULE.match(line))
            continue
        parts = _LATEX_BAR.split(line[: end.start()])
        cells = [_without_commands(part) for part in parts]
        table = None if is_inside else _Table.named(cells)
        if is_inside:
            found[-1].rows.append((number, cells))
        elif table:
            found.append(table)
            is_inside = True
    return found


def _without_commands(cell: str) -> str:
    """A cell of LaTeX as plain text."""
    text = _LATEX_RULE.sub("", cell) if cell.lstrip().startswith("\\") else cell
    n_wrapped = 1
    while n_wrapped:
        text, n_wrapped = _WRAPPED.subn(r"\1", text)
    for command, sign in LATEX_SIGNS:
        text = text.replace(command, sign)
    text = _GREEK.sub(r"\1", text)
    return re.sub(r"\\[a-zA-Z]+\s?", "", text).strip()


def _aligned(lines: list[str]) -> list[_Table]:
    """Tables whose columns nothing but blanks part."""
    found: list[_Table] = []
    block: list[tuple[int, str]] = []
    for number, raw in enumerate([*lines, ""], start=1):
        line = raw.rstrip()
        if line and not ("|" in line or "\t" in line):
            if not (_RULE.fullmatch(line) and _DASH.search(line)):
                block.append((number, line))
            continue
        if found and found[-1].is_wrapped and _has_joined(found[-1], block):
            block = []
        table = _table_of_block(block)
        found += [table] if table else []
        block = []
    return found


def _has_joined(table: _Table, block: list[tuple[int, str]]) -> bool:
    """Whether a block's columns are the next ones of a wrapped table: it has them now."""
    for gap in (_WIDE_GAP, _GAP) if len(block) == len(table.rows) + 1 else ():
        first, *rows = [gap.split(line.strip()) for _, line in block]
        names = [name for name in first if name != "\\"]
        n = len(names)
        if not all(len(cells) == n + 1 for cells in rows):  # and a count
            continue
        table.is_wrapped = len(first) > n
        table.names += names
        for (_, cells), more in zip(table.rows, rows, strict=True):
            cells += more[1:]
        return True
    return False


def _table_of_block(block: list[tuple[int, str]]) -> _Table | None:
    """The table that lines without a gap make, from the first line that can be its names
    on; None where they make none.
    """
    for at, (_, line) in enumerate(block[:LEAST_ALIGNED]):
        for gap in (_WIDE_GAP, _GAP):
            words = gap.split(line.strip())
            names = [word for word in words if word != "\\"]
            table = _Table.named(names)
            is_text = all(parse_number(name) is None for name in names)
            if len(names) < LEAST_ALIGNED or not table or not is_text:
                continue
            table.is_wrapped = len(words) > len(names)
            rows = [(n, gap.split(row.strip())) for n, row in block[at + 1 :]]
            if _has_filled(table, rows):
                return table
    return None


def _has_filled(table: _Table, rows: list[tuple[int, list[str]]]) -> bool:
    """Whether nearly all rows have a cell for each name, and numbers among them: the
    table has them now. pandas writes a count before each row.
    """
    n_columns = len(table.names)
    counted = [cells for _, cells in rows if len(cells) == n_columns + 1]
    is_counted = all(_COUNT.fullmatch(cells[0]) for cells in counted)
    for number, cells in rows:
        is_cut = is_counted and len(counted) > len(rows) / 2
        is_cut = is_cut and len(cells) == n_columns + 1
        table.rows.append((number, cells[1:] if is_cut else cells))
    right = [cells for _, cells in table.rows if len(cells) == n_columns]
    is_table = len(right) >= max(LEAST_ALIGNED, 0.8 * len(rows))
    return is_table and _hold_numbers(right)


def _hold_numbers(rows: list[list[str]]) -> bool:
    """Whether at least two columns hold nothing but numbers."""
    n_numeric = 0
    for cells in zip(*rows, strict=True):
        n_numbers = sum(parse_number(cell) is not None for cell in cells)
        n_empty = sum(map(is_nothing, cells))
        is_numeric = n_numbers + n_empty >= 0.8 * len(cells)
        n_numeric += n_numbers > 0 and is_numeric
    return n_numeric >= LEAST_COLUMNS
