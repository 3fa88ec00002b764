"""Values as people write them: every cell is read whole or not at all, and a column
decides what a cell alone leaves open.
"""

import math

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autollm.core.values import (
    PLAIN,
    Style,
    Value,
    is_instant,
    is_nothing,
    numbers_of,
    parse_number,
    parse_value,
    style_of,
    styles_of,
)


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("1.3B", 1.3e9, ""), ("350M", 3.5e8, ""), ("32k", 32000, ""), ("32K", 32000, ""), ("32Ki", 32768, ""), ("1T", 1e12, ""),
        ("50,000,000", 50_000_000, ""), ("50 000 000", 50_000_000, ""), ("50'000'000", 50_000_000, ""), ("50_000", 50_000, ""),
        ("1e-4", 1e-4, ""), ("1E+07", 1e7, ""), ("3x10^-4", 3e-4, ""), ("2^20", 2**20, ""), ("2**-10", 2**-10, ""),
        ("0,001", 0.001, ""), ("4,1955", 4.1955, ""), ("1.234,56", 1234.56, ""), ("1,234.56", 1234.56, ""), (".5", 0.5, ""),
        ("12.5 %", 0.125, "share"), ("24.70%", 0.247, "share"), ("0%", 0, "share"), ("2.31 ± 0.02", 2.31, ""), ("−3", -3, ""),
        ("7.6s", 7.6, "s"), ("1h 20m", 4800, "s"), ("45 min", 2700, "s"), ("300ms", 0.3, "s"), ("01:20:00", 4800, "s"),
        ("0 days 00:01:54.827170", 114.82717, "s"), ("2d 3h", 183600, "s"), ("20 GB", 2e10, "bytes"), ("12 GiB", 12 * 2**30, "bytes"),
        ("20B tokens", 2e10, "tokens"), ("3.2 TFLOPs", 3.2e12, "flops"), ("1e21flops", 1e21, "flops"), ("48k tok/s", 48000, "rate"), ("100 it/s", 100, "rate"),
        ("18446744073709551615", 2**64 - 1, ""), ("inf", math.inf, ""), ("-Infinity", -math.inf, ""), ("5m", 5e6, ""),
    ],
)  # fmt: skip
def test_parse_value__what_people_write__is_a_number_and_its_unit(
    text, number, unit
):
    value = parse_value(text)
    assert value == Value(number, unit)
    assert parse_value(f"  {text} ") == value


@pytest.mark.parametrize("text", [
    "", "None", "x", "7B-A1B", "r4_a4", "2-2-4", "1,2,3", "10.0.0.1", "1.2.3", "0x1f", "4x", "12:30", "1e400", "5e12345", "1,23,456", "12 apples",
    "2024-01-02", "true", "9" * 5000, "1.3B 4", "50 00", "..", ",", "1e", "10^9999",
])  # fmt: skip
def test_parse_value__no_number__is_none(text):
    assert parse_value(text) is None


def test_parse_value__json_numbers__stay_what_they_are():
    assert parse_number(2**64 - 1) == 2**64 - 1 and parse_number(0.5) == 0.5
    assert parse_value(True) is None and parse_value(10**400) is None
    assert math.isnan(parse_number("NaN")) and parse_value([1]) is None


@pytest.mark.parametrize(
    "cell", ["", " ", "None", "null", "NA", "n/a", "-", "<NA>", None]
)
def test_is_nothing__spellings_of_nothing__are_told_from_values(cell):
    assert is_nothing(cell)
    assert not is_nothing("0") and not is_nothing(0) and not is_nothing("nan")


@pytest.mark.parametrize("cell", ["2024-01-02", "2025-11-22 02:30:19.42", "04-08-2024 14:28", "2026-05-25T14:08:33.000Z", "2024-12-24_17-36-27"])  # fmt: skip
def test_is_instant__dates__are_no_numbers(cell):
    assert is_instant(cell) and parse_value(cell) is None
    assert (
        not is_instant("1-2-3")
        and not is_instant("2024")
        and not is_instant(2024)
    )


def test_styles_of__comma__is_what_its_column_then_the_table_says():
    table = {
        "lr": ["0,001", "0,002"],
        "loss": ["4,195", "3,141"],
    }
    styles = styles_of(table)
    assert parse_number("4,195", styles["loss"]) == 4.195
    assert styles["loss"].decided == "table"
    grouped = styles_of({"batch": ["32,768", "131,072"], "loss": ["3.14"]})[
        "batch"
    ]
    assert parse_number("32,768", grouped) == 32768
    assert style_of(["32,768"]).decided == "nobody"
    assert parse_number("1.234", style_of(["1.234", "1.234.567"])) == 1234
    assert parse_number("1,234", style_of([], decimal=",")) == 1.234


def test_styles_of__column_that_contradicts_itself__leaves_open_cells_unread():
    style = style_of(["0,001", "1,000,000", "1,234"])
    assert style == Style("")
    assert (
        parse_number("1,234", style) is None
        and parse_number("0,001", style) == 0.001
    )


def test_styles_of__k_and_m__are_decided_by_the_column():
    assert parse_number("32K", style_of(["32K", "65536"])) == 32768
    assert parse_number("32K", style_of(["32K", "64000"])) == 32000
    assert parse_number("5m", style_of(["5m"], name="train_time")) == 300
    assert parse_number("5m", style_of(["5m", "1h 2m"])) == 300
    assert parse_number("5m", style_of(["5m", "1B"])) == 5e6


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**64))
def test_parse_number__what_python_writes__comes_back_exactly(number):
    assert parse_number(repr(number)) == number
    assert parse_number(str(number).replace(".", ","), Style(",")) == number


@given(st.integers(1, 10**12))
def test_parse_number__grouped_digits__come_back_in_any_style(number):
    assert parse_number(f"{number:_}") == number
    assert parse_number(f"{number:,}", style_of([f"{number:,}"])) == number
    german = f"{number:,}".replace(",", ".")
    assert parse_number(german, Style(",")) == number


@given(
    st.integers(1, 9999),
    st.sampled_from([("K", 3), ("M", 6), ("B", 9), ("T", 12)]),
)
def test_parse_number__scaled__is_rounded_once(hundredths, scale):
    letter, exponent = scale
    digits = f"{hundredths // 100}.{hundredths % 100:02d}"
    assert parse_number(digits + letter) == float(f"{digits}e{exponent}")


@example(["-0", "-0.0", "0e9999", "1e-999", " -0", "-1e999"])
@given(st.lists(st.none() | st.text(max_size=6) | st.sampled_from(["1.5", "1,5", "2K", "1.234", "1e999", "nan", " 7 ", "-3e-2", "inf"])))  # fmt: skip
def test_numbers_of__columns__are_what_the_cells_are_one_by_one(cells):
    try:
        array = pa.array(cells, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair is no text for Arrow
        return
    for style in (PLAIN, Style(","), Style("")):
        expected = [parse_number(cell, style) for cell in cells]
        found = numbers_of(array, style).to_pylist()
        assert list(map(repr, found)) == [
            repr(None if x is None else float(x)) for x in expected
        ]


def test_numbers_of__typed_columns__are_cast():
    assert numbers_of(pa.chunked_array([[1, None], [2]])).to_pylist() == [
        1.0,
        None,
        2.0,
    ]
    assert numbers_of(pa.array([True, None])).to_pylist() == [None, None]


@given(st.text(max_size=30))
def test_parse_value__any_text__is_a_value_or_none(text):
    value = parse_value(text)
    assert value is None or isinstance(value.number, (int, float))
