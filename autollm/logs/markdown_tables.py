"""Markdown reports to one CSV table: all pipe tables with the first one's columns, and
the headings that they stand under.

Invariant: cells are copied as they are printed.
"""

from __future__ import annotations

import csv
import io
import re

_BOLD = re.compile(r"\*\*(.+?):?\*\*\s*$")
HEADING, SECTION = "model", "section"
"""Names of the columns that say under which `##` heading and which bold line a row
stands.
"""


def tables_to_csv(markdown: bytes) -> bytes:
    """CSV with columns HEADING, SECTION and those of the tables; lines end in CR LF, as
    Python's csv module writes them.

    A document without a table gives only the two columns' header.
    """
    heading, section, columns, is_ours = "", "", None, False
    rows: list[list[str]] = []
    for line in markdown.decode("utf-8", errors="replace").splitlines():
        if line.startswith("## "):
            heading, section = line[3:].strip(), ""
        elif bold := _BOLD.match(line):
            section = bold[1]
        if not line.startswith("|"):
            is_ours = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if columns is None:
            columns = cells
        if cells == columns:
            is_ours = True
        elif is_ours and not all(
            re.fullmatch(r":?-+:?", cell) for cell in cells
        ):
            rows.append([heading, section, *cells])
    out = io.StringIO()
    csv.writer(out).writerows([[HEADING, SECTION, *(columns or [])], *rows])
    return out.getvalue().encode()
