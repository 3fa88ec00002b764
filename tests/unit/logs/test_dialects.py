"""One table in every dialect of CSV: the reader gives the same cells."""

import codecs
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.values import numbers_of, style_of
from tests.unit.logs.mapped_rows import relations
from tests.unit.logs.readers.opened import Opened

ROWS = [
    {"run": "a", "lr": 0.0003, "loss": 3.4195, "note": "first"},
    {"run": "b", "lr": 0.001, "loss": 3.25, "note": "größer"},
    {"run": "c", "lr": 0.003, "loss": 3.5, "note": "x y"},
]
NAMES = list(ROWS[0])


def cells_of(data, name="t.csv"):
    """All rows of a file, and what was set aside."""
    rows = []
    bad = []
    n_lines = 0
    for relation in relations("csv", data, name):
        rows += relation.runs.to_pylist()
        bad += relation.bad
        n_lines += relation.n_lines
    return rows, bad, n_lines


def spelled(value, decimal):
    return (
        str(value).replace(".", decimal) if isinstance(value, float) else value
    )


def written(separator=",", decimal=".", quote="", end="\n", before=()):
    lines = [*before, separator.join(f"{quote}{n}{quote}" for n in NAMES)]
    for row in ROWS:
        cells = (spelled(row[n], decimal) for n in NAMES)
        lines.append(separator.join(f"{quote}{c}{quote}" for c in cells))
    return end.join(lines) + end


def assert_same(data, decimal="."):
    rows, bad, _ = cells_of(data)
    assert not bad and len(rows) == 3
    for found, row in zip(rows, ROWS, strict=True):
        assert (found["run"], found["note"]) == (row["run"], row["note"])
    for name in ("lr", "loss"):
        cells = [row[name] for row in rows]
        style = style_of([*cells, "0,5" if decimal == "," else "0.5"])
        numbers = numbers_of(_array(cells), style).to_pylist()
        assert numbers == [row[name] for row in ROWS]


def _array(cells):
    import pyarrow as pa

    return pa.array(cells, pa.string())


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv__separators_quotes_and_line_ends__give_the_same_cells(
    separator, quote, end
):
    assert_same(written(separator, quote=quote, end=end).encode())


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_csv__encodings__give_the_same_cells(encoding):
    text = written()
    data = text.encode(encoding)
    if encoding == "utf-16-le":
        data = codecs.BOM_UTF16_LE + data
    assert_same(data)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv__decimal_commas__are_numbers_by_their_column(separator):
    assert_same(written(separator, decimal=",").encode(), decimal=",")


def test_csv__decimal_commas_in_quotes__are_numbers():
    assert_same(written(",", decimal=",", quote='"').encode(), decimal=",")


@pytest.mark.parametrize(
    "before",
    [
        ("sep=,",),
        ('"sep=,"',),
        ("# made by hand",),
        ("// made by hand",),
        ("", ""),
        ("# one", "# two, with a comma", ""),
    ],
)
def test_csv__lines_before_the_header__are_passed_over(before):
    data = written(before=before).encode()
    assert_same(data)
    assert cells_of(data)[2] == 4 + len(before)


def test_csv__unnamed_first_column__is_the_index():
    lines = written().splitlines()
    data = "\n".join(
        [f",{lines[0]}", *(f"{i},{x}" for i, x in enumerate(lines[1:]))]
    )
    rows, bad, _ = cells_of(data.encode() + b"\n")
    assert not bad and [row["_index"] for row in rows] == ["0", "1", "2"]
    assert [row["run"] for row in rows] == ["a", "b", "c"]


def test_csv__line_break_in_a_cell__is_one_row():
    data = b'run,note,loss\na,"one\ntwo",3\nb,"x, y",4\nc,"say ""hi""",5\n'
    rows, bad, n_lines = cells_of(data)
    assert not bad and n_lines == 5
    assert [row["note"] for row in rows] == ["one\ntwo", "x, y", 'say "hi"']
    assert [row["_line"] for row in rows] == [2, 4, 5]


def test_csv__quote_that_is_not_closed__costs_its_own_line():
    data = b'run,note,loss\na,"open,3\nb,x,4\nc,y,5\n'
    rows, bad, n_lines = cells_of(data)
    assert [row["run"] for row in rows] == ["b", "c"]
    assert [(b.line, b.n_lines) for b in bad] == [(2, 1)] and n_lines == 4
    assert "column 'note'" in bad[0].reason


def test_csv__last_line_cut__is_set_aside_with_its_line():
    data = written().encode()[:-12]
    rows, bad, n_lines = cells_of(data)
    assert len(rows) + len(bad) == 3 and n_lines == 4
    assert not bad or bad[0].line == 4


@pytest.mark.parametrize("cell", ["", " ", "\t"])
def test_csv__blank_cell__is_null(cell):
    rows, _, _ = cells_of(f"a,b\n1,{cell}\n{cell},2\n".encode())
    assert rows[0]["b"] is None and rows[1]["a"] is None


def test_csv__spaces_around_cells__are_taken_off():
    rows, _, _ = cells_of(b"a , b\n 1 , x y \n2,z\n")
    assert rows[0]["a"] == "1" and rows[0]["b"] == "x y"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,a\n1,2\n", "stands in the header twice"),
        (b"1,2,3\n4,5,6\n", "no header"),
        (b"a,b\x00c\n1,2\n", "binary data"),
    ],
)
def test_csv__unusable_header__is_one_entry_with_all_lines(data, words):
    rows, bad, n_lines = cells_of(data)
    assert not rows and n_lines == data.count(b"\n")
    assert words in bad[0].reason
    assert sum(b.n_lines for b in bad) == n_lines


CELLS = st.one_of(
    st.integers(-999, 999).map(str),
    st.floats(0, 1, width=32).map(str),
    st.text(
        st.characters(
            codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")
        ),
        max_size=8,
    ),
)


def is_plain(text):
    """Whether a cell comes back as it was written: not blank, no spaces at its ends."""
    return bool(text) and text == text.strip() and "\ufeff" not in text


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(CELLS.filter(is_plain), min_size=3, max_size=3), max_size=8
    ),
    st.sampled_from([",", ";", "\t"]),
)
def test_csv__any_cells_in_quotes__come_back(rows, separator):
    names = ["name", "setting", "outcome"]
    rows = [
        ["1", "2", "3"],
        *rows,
    ]  # else the first one may be units of the names
    lines = [separator.join(names)]
    for row in rows:
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in row]
        lines.append(separator.join(quoted))
    found, bad, n_lines = cells_of("\n".join(lines).encode() + b"\n")
    assert n_lines == len(lines) and not bad
    assert [[row[n] for n in names] for row in found] == rows


def test_jsonl_and_csv__the_same_rows__have_the_same_numbers():
    from autollm.logs.tables.json_table import JsonTable

    data = "\n".join(json.dumps(row) for row in ROWS).encode() + b"\n"
    found = []
    for relation in JsonTable().read(Opened("t.jsonl", data)):
        found += relation.runs.to_pylist()
    for row, other in zip(found, ROWS, strict=True):
        assert math.isclose(float(row["loss"]), other["loss"])
        assert (row["run"], row["note"]) == (other["run"], other["note"])
