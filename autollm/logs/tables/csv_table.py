"""CSV tables: one row a run, columns named by the header.

    a quoted cell may hold separators, quotes and line breaks
    a quote that is not closed ends before the first line that again has the header's
    number of fields; the lines that it swallowed are set aside as one entry
    the header once more in mid-file (a log that was resumed) counts as read, with a note
    an empty cell is null; cells are stripped

Invariant: header, blank lines and what stands before the header count as read; every
other line belongs to a row or is set aside.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from autollm.core.errors import RecordError
from autollm.logs.reading import decode_line, split_lines, too_long
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, OpenedFile, Relation
from autollm.logs.tables.blocks import (
    HEAD_BYTES,
    Account,
    Block,
    ahead,
    binary_problem,
    blocks_of,
    parsed,
)
from autollm.logs.tables.columns import numbered, repeated
from autollm.logs.tables.dialect import (
    ANSI,
    INDEX,
    Dialect,
    as_utf8,
    cells_of,
    dialect_of,
    holds_table,
)

MAX_CELL_LINES = 2000
"""Lines that a quoted cell may go on over; beyond, its quote counts as not closed."""
SUFFIXES = (".csv", ".tsv")
TEXTS = (".txt", ".text", ".dat", ".tab", ".asc", ".data")
"""What tables are called that were saved as text."""


class CsvTable:
    """CSV, with its dialect told from the first lines."""

    format = "csv"

    def matches(self, name: str, head: bytes) -> bool:
        """By its name alone, as any text may be CSV; a text of another name by its look."""
        is_text = name.lower().endswith(TEXTS)
        return name.endswith(SUFFIXES) or (is_text and holds_table(head))

    def read(self, opened: OpenedFile) -> Iterator[Relation]:
        """See `FileReader.read`."""
        with opened.open() as stream:
            head = stream.read(HEAD_BYTES)
        dialect = self._dialect(head)
        if dialect is None:
            yield Relation(self.format, _empty(), n_lines=head.count(b"\n"))
            return
        with opened.open() as raw:
            yield from _Rows(dialect, opened.name).read(
                as_utf8(raw, dialect.encoding)
            )

    def _dialect(self, head: bytes) -> Dialect | None:
        dialect = dialect_of(head) if head else None
        if dialect is None or not dialect.encoding.startswith("utf-16"):
            problem = binary_problem(head, "a CSV table")
            if problem:
                raise RecordError(problem)
        return dialect


def _empty() -> pa.Table:
    return pa.table({FILE_COLUMN: pa.nulls(0, pa.string())})


class _Rows:
    """The rows of one table, a relation a block."""

    def __init__(self, dialect: Dialect, name: str):
        self._dialect, self._name = dialect, name
        self._header = list(dialect.header)
        names = cells_of(dialect.printed, dialect.separator)
        self._printed = [name.strip() for name in names]
        quoted = [f'"{name}"' for name in self._printed]
        spellings = [self._printed, quoted]
        joined = [dialect.separator.join(names) for names in spellings]
        self._header_lines = [h.encode() for h in (dialect.printed, *joined)]
        self._pending: list[tuple[int, bytes]] = []
        self._notes: list[str] = []
        if dialect.encoding == ANSI:
            self._notes.append("no UTF-8: read as Windows-1252")

    def read(self, stream: io.BufferedIOBase) -> Iterator[Relation]:
        account = Account(self._dialect.first_row - 1)
        for _ in range(account.n_lines):
            stream.readline()
        blocks = blocks_of(stream, self._dialect.first_row)
        for block, parts in ahead(blocks, self._parts):
            account.n_lines += block.n_lines
            tables: list[pa.Table] = []
            for part, table in parts:
                tables += self._placed(part, table, account)
            yield self._relation(tables, account)
            account = Account()
        if self._pending:
            yield self._relation([self._finish(account)], account)
        elif account.n_lines:
            yield self._relation([], account)

    def _relation(self, tables: list[pa.Table], account: Account) -> Relation:
        rows = pa.concat_tables(
            [t for t in tables if t.num_rows] or [self._rows([])]
        )
        rows = rows.append_column(FILE_COLUMN, repeated(self._name, len(rows)))
        notes, self._notes = tuple(self._notes), []
        roles = {INDEX: "measured"} if INDEX in self._header else {}
        return Relation(
            "csv",
            rows,
            roles=roles,
            bad=tuple(account.bad),
            n_lines=account.n_lines,
            notes=notes,
        )

    def _parts(self, block: Block) -> list[tuple[Block, pa.Table | None]]:
        """The block's parts as tables, as if no quote were open before it."""
        return list(parsed(block, self._whole))

    def _placed(
        self, part: Block, table: pa.Table | None, account: Account
    ) -> list[pa.Table]:
        """The rows of a part, after all that came before it."""
        if table is None:
            return [self._cut(part, account)]
        if not self._pending:
            return [table]
        tables = []
        for one, found in parsed(part, self._after_quote):
            tables.append(self._cut(one, account) if found is None else found)
        return tables

    def _after_quote(self, block: Block) -> pa.Table | None:
        return None if self._pending else self._whole(block)

    def _whole(self, block: Block) -> pa.Table | None:
        """The block as one table, None where its lines and rows do not add up."""
        has_quotes = b'"' in block.data
        if any(line in block.data for line in self._header_lines):
            return None
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(block.data),
                pa_csv.ReadOptions(
                    column_names=self._header, block_size=len(block.data) + 1
                ),
                pa_csv.ParseOptions(
                    delimiter=self._dialect.separator,
                    quote_char='"' if has_quotes else False,
                    newlines_in_values=False,
                    ignore_empty_lines=False,
                ),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self._header, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if table.num_rows != block.n_lines:
            return None
        may_be_blank = all(column.null_count for column in table.columns)
        if may_be_blank and self._has_blank_lines(block.data):
            return None
        if self._has_spaces(block.data):
            table = _stripped(table)
        return numbered(table, block.line)

    def _has_blank_lines(self, data: bytes) -> bool:
        if data[:1] in b"\r\n" or b"\n\n" in data:
            return True
        return b"\r" in data and b"\n\r\n" in data

    def _has_spaces(self, data: bytes) -> bool:
        """Whether a cell may begin or end with a space."""
        if b'"' in data:
            return True
        mark = self._dialect.separator.encode()
        if b"\t" in data and mark != b"\t":
            return True
        if b" " not in data:
            return False
        near = (b" " + mark, mark + b" ", b" \n", b"\n ", b" \r")
        return data[:1] == b" " or any(bytes_ in data for bytes_ in near)

    def _cut(self, block: Block, account: Account) -> pa.Table:
        """The lines of a block one by one."""
        if block.is_cut:
            rows = self._give_up(account)
            account.set_aside(block.line, too_long(), block.data)
            return self._rows(rows)
        rows: list[tuple[int, list[str]]] = []
        for number, line in enumerate(
            split_lines(block.data), start=block.line
        ):
            rows += self._take(number, line, account)
        return self._rows(rows)

    def _take(
        self, number: int, line: bytes, account: Account
    ) -> list[tuple[int, list[str]]]:
        """The rows that are whole with this line."""
        if self._pending:
            joined = self._joined(line)
            if joined is not None:
                first = self._pending[0][0]
                self._pending = []
                return [(first, joined)]
            alone = self._right(line)
            if alone is None and len(self._pending) < MAX_CELL_LINES:
                self._pending.append((number, line))
                return []
            rows = self._give_up(account)
            return [*rows, *self._take(number, line, account)]
        return self._row(number, line, account) if line.strip() else []

    def _row(
        self, number: int, line: bytes, account: Account
    ) -> list[tuple[int, list[str]]]:
        try:
            cells = self._cells(decode_line(line))
        except RecordError as error:
            account.set_aside(number, str(error), line)
            return []
        if cells is None:
            self._pending = [(number, line)]
            return []
        if [cell.strip() for cell in cells] == self._printed:
            self._notes.append(
                f"line {number} is the header once more: was the log resumed there?"
            )
            return []
        if len(cells) != len(self._header):
            account.set_aside(number, self._wrong_count(number, cells), line)
            return []
        return [(number, cells)]

    def _wrong_count(self, number: int, cells: list[str]) -> str:
        reason = f"{len(cells)} fields, the header has {len(self._header)}"
        if 2 * len({*cells} & {*self._header}) > len(self._header):
            self._notes.append(
                f"line {number} is a second header with other columns"
            )
            return f"a second header: {reason}"
        return reason

    def _cells(self, text: str) -> list[str] | None:
        """The fields of a record; None where a quote is not closed.

        Raises:
            RecordError: the record cannot be cut.
        """
        mark = self._dialect.separator
        try:
            reader = csv.reader([text], delimiter=mark, strict=True)
            return next(reader, [])
        except csv.Error as error:
            if "end of data" in str(error):
                return None
        try:
            reader = csv.reader([text], delimiter=mark)
            return next(reader, [])
        except csv.Error as error:
            raise RecordError(f"not a CSV record: {error}") from None

    def _joined(self, line: bytes) -> list[str] | None:
        """The row that the open lines and this one make."""
        if b'"' not in line:
            return None
        parts = [part for _, part in self._pending]
        return self._right(b"\n".join([*parts, line]))

    def _right(self, data: bytes) -> list[str] | None:
        """The cells where there are as many as in the header."""
        try:
            text = decode_line(data)
            reader = csv.reader(
                io.StringIO(text, newline=""),
                delimiter=self._dialect.separator,
                strict=True,
            )
            records = list(reader)
        except (RecordError, csv.Error):
            return None
        is_right = len(records) == 1 and len(records[0]) == len(self._header)
        return records[0] if is_right else None

    def _give_up(self, account: Account) -> list[tuple[int, list[str]]]:
        """Set aside the line whose quote is not closed, and take the others again."""
        if not self._pending:
            return []
        (number, line), *others = self._pending
        self._pending = []
        text = line.split(b'"')[0].decode("utf-8", "replace")
        at = text.count(self._dialect.separator)
        column = self._header[at] if at < len(self._header) else "?"
        account.set_aside(
            number,
            f"not a CSV record: a quoted cell of column {column!r} goes on over line "
            f"{number} and is not closed before a line that is a row again",
            line,
            1 + len(others),
        )
        return []

    def _finish(self, account: Account) -> pa.Table:
        return self._rows(self._give_up(account))

    def _rows(self, rows: list[tuple[int, list[str]]]) -> pa.Table:
        """Rows that were cut one by one, as a table."""
        columns = {}
        for index, name in enumerate(self._header):
            cells = [row[index].strip() or None for _, row in rows]
            columns[name] = pa.array(cells, pa.string())
        columns[LINE_COLUMN] = pa.array(
            [number for number, _ in rows], pa.int64()
        )
        return pa.table(columns)


def _stripped(table: pa.Table) -> pa.Table:
    """Cells without the spaces around them; what is left of blank ones is null."""
    columns = []
    for column in table.columns:
        cells = pc.utf8_trim_whitespace(column)
        is_empty = pc.equal(cells, "")
        columns.append(pc.if_else(is_empty, None, cells))
    return pa.table(columns, names=table.column_names)
