"""Numbers written in every way that people write them come back as the number they were:
each spelling is made from a value, and read again.
"""

import math
import string
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.value_words import (
    BINARY_POWERS,
    NOTHING,
    NOUNS,
    POWERS,
    SECONDS,
)
from autollm.core.values import (
    Style,
    decimal_of,
    is_instant,
    is_nothing,
    numbers_of,
    parse_number,
    parse_value,
    style_of,
    styles_of,
)

WHOLE = st.integers(0, 10**12)
TENTHS = st.integers(0, 99_999).map(lambda n: n / 10)


@given(WHOLE, st.sampled_from([",", " ", "'", "’", "_", "\u202f", "\u00a0"]))
def test_number__digits_in_groups_of_three__are_one_number(number, mark):
    text = f"{number:,}".replace(",", mark)
    assert parse_number(text) == number


@given(st.integers(1_000_000, 10**12))
def test_number__groups_by_points__are_a_whole_number(number):
    assert parse_number(f"{number:,}".replace(",", ".")) == number


@given(st.integers(0, 10**9), st.integers(0, 999_999))
def test_number__european__is_read_by_its_marks(whole, fraction):
    text = f"{whole:,}".replace(",", ".") + f",{fraction:06d}"
    expected = float(f"{whole}.{fraction:06d}")
    assert parse_number(text) == expected


@given(st.integers(0, 10**9), st.integers(0, 999_999))
def test_number__english__is_read_by_its_marks(whole, fraction):
    text = f"{whole:,}.{fraction:06d}"
    assert parse_number(text) == float(f"{whole}.{fraction:06d}")


@given(st.integers(0, 99_999), st.sampled_from(["%", " %", " percent", "pct"]))
def test_percent__is_a_share_rounded_once(hundredths, mark):
    value = parse_value(f"{hundredths / 100:.2f}{mark}")
    assert value.unit == "share"
    assert value.number == float(f"{hundredths}e-4")


@given(st.integers(1, 99_999), st.sampled_from(sorted(POWERS)))
def test_power__letter_or_word__multiplies(tenths, word):
    if word == "m":
        return  # a minute or a million: the column says
    text = f"{tenths / 10:.1f} {word}"
    value = parse_value(text)
    assert value is not None, text
    assert math.isclose(value.number, tenths / 10 * POWERS[word])


@given(st.integers(1, 9_999), st.sampled_from(sorted(BINARY_POWERS)))
def test_power__of_two__multiplies(number, word):
    assert (
        parse_number(f"{number}{word.title()}") == number * BINARY_POWERS[word]
    )


@given(st.integers(1, 9_999), st.sampled_from(sorted(SECONDS)))
def test_duration__number_and_unit__is_in_seconds(number, unit):
    value = parse_value(f"{number} {unit}")
    assert value.unit == "s"
    assert math.isclose(value.number, number * SECONDS[unit])


@given(st.timedeltas(timedelta(0), timedelta(days=30)))
def test_duration__as_python_prints_it__is_in_seconds(duration):
    whole = timedelta(seconds=round(duration.total_seconds()))
    value = parse_value(str(whole))
    assert (value.number, value.unit) == (whole.total_seconds(), "s")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_duration__hours_minutes_seconds__in_three_spellings(
    hours, minutes, seconds
):
    total = 3600 * hours + 60 * minutes + seconds
    for text in (
        f"{hours:02d}:{minutes:02d}:{seconds:02d}",
        f"{hours}h {minutes}m {seconds}s",
        f"{hours}h{minutes}m{seconds}s",
    ):
        assert parse_value(text).number == total, text


@given(st.integers(1, 9_999), st.sampled_from(sorted(NOUNS)))
def test_noun__behind_a_number__is_its_unit(number, noun):
    value = parse_value(f"{number} {noun}")
    assert (value.number, value.unit) == (number, NOUNS[noun])


@given(st.integers(1, 999), st.sampled_from(["k", "M", "B"]))
def test_noun__behind_a_power__keeps_both(number, letter):
    value = parse_value(f"{number}{letter} tokens")
    assert value.number == number * POWERS[letter.lower()]
    assert value.unit == "tokens"


@given(st.integers(1, 9), st.integers(-30, 30))
def test_power_of_ten__in_four_spellings__is_one_number(digit, exponent):
    expected = float(f"{digit}e{exponent}")
    for text in (
        f"{digit}e{exponent}",
        f"{digit}E{exponent:+d}",
        f"{digit}x10^{exponent}",
        f"{digit}·10**{exponent}",
    ):
        assert math.isclose(parse_number(text), expected), text


@given(WHOLE, st.sampled_from(["-", "−", "+", ""]))
def test_sign__in_front__is_kept(number, sign):
    expected = -number if sign in ("-", "−") else number
    assert parse_number(f"{sign}{number}") == expected


@pytest.mark.parametrize("text", ["nan", "NaN", "NAN", "1.#QNAN", "1.#IND"])
def test_nan__in_all_spellings__is_nan(text):
    assert math.isnan(parse_number(text))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("inf", math.inf),
        ("Inf", math.inf),
        ("INFINITY", math.inf),
        ("∞", None),
        ("+inf", math.inf),
        ("-inf", -math.inf),
        ("−Infinity", -math.inf),
        ("1.#INF", math.inf),
        ("-1.#INF", -math.inf),
    ],
)
def test_infinity__in_all_spellings__has_its_sign(text, number):
    if number is None:
        assert parse_number(text) in (None, math.inf)
        return
    assert parse_number(text) == number


@given(st.sampled_from(sorted(NOTHING)), st.sampled_from(["", " ", "\t"]))
def test_nothing__in_all_spellings__is_no_value(word, space):
    for text in (word, word.upper(), word.title()):
        assert is_nothing(f"{space}{text}{space}")
        assert parse_number(text) is None


@pytest.mark.parametrize(
    "cell",
    [0, 0.0, False, "0", "no", "false", "nano", "n", "nothing", math.nan],
)
def test_nothing__values_that_only_look_empty__are_values(cell):
    assert not is_nothing(cell)


@given(
    st.dates(),
    st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d"]),
)
def test_date__in_four_spellings__is_a_moment_and_no_number(date, form):
    if date.year < 1000:
        return
    text = date.strftime(form)
    assert is_instant(text)


@given(st.datetimes())
def test_moment__as_iso__is_a_moment_and_no_number(moment):
    if moment.year < 1000:
        return
    text = moment.replace(microsecond=0).isoformat()
    assert is_instant(text) and is_instant(text.replace("T", " "))
    assert parse_number(text) is None


@given(
    st.lists(st.integers(1_000, 10**9), min_size=2, max_size=8), st.booleans()
)
def test_column__with_one_cell_that_decides__reads_all_alike(
    numbers, is_european
):
    """`1,234` alone is open; a cell such as `1.234,5` in its column decides."""
    texts = [f"{n:,}" for n in numbers]
    decider = "1,234.5"
    if is_european:
        texts = [t.replace(",", ".") for t in texts]
        decider = "1.234,5"
    style = style_of([*texts, decider])
    assert style.decimal == ("," if is_european else ".")
    assert [parse_number(t, style) for t in texts] == numbers
    assert parse_number(decider, style) == 1234.5


@given(st.lists(st.integers(0, 999_999), min_size=1, max_size=6))
def test_table__one_column_decides_for_the_silent_one(thousandths):
    table = {
        "loss": ["4,1955"],
        "other": [f"{n // 1000},{n % 1000:03d}" for n in thousandths],
    }
    styles = styles_of(table)
    for text, number in zip(table["other"], thousandths, strict=True):
        assert parse_number(text, styles["other"]) == number / 1000


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("1,234", "either"),
        ("1.234", "either"),
        ("0,123", ","),
        ("12,34", ","),
        ("1,234,567", "."),
        ("1.234.567", ","),
        ("1,234.5", "."),
        ("1.234,5", ","),
        ("1234", "."),
        ("1,23,456", ""),
        ("1.2,3,4", ""),
        ("0.5", "."),
    ],
)
def test_decimal_of__marks__say_what_they_can_mean(text, mark):
    assert decimal_of(text) == mark


@given(st.lists(st.integers(1, 64), min_size=2, max_size=6, unique=True))
def test_column__k_beside_multiples_of_1024__is_1024(numbers):
    cells = [f"{n}K" for n in numbers] + ["2048", "65536"]
    style = style_of(cells)
    assert style.kilo == 1024
    assert [parse_number(f"{n}K", style) for n in numbers] == [
        1024 * n for n in numbers
    ]


@pytest.mark.parametrize(
    ("name", "cells", "seconds"),
    [
        ("train_time", ["5m", "10m"], [300, 600]),
        ("runtime", ["5m", "1h 2m"], [300, 3720]),
        ("elapsed", ["30s", "2m"], [30, 120]),
        ("params", ["5m", "10m"], [5e6, 1e7]),
        ("x", ["90s", "5m"], [90, 300]),
    ],
)
def test_column__lone_m__is_a_minute_where_time_is_spoken_of(
    name, cells, seconds
):
    style = style_of(cells, name)
    assert [parse_number(cell, style) for cell in cells] == seconds


SPELLED = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.integers(0, 10**7).map("{:,}".format),
    st.sampled_from(["", "None", "n/a", "x", "nan", "inf", "12 %", "3k", "1h"]),
    st.text(string.printable, max_size=6),
)


@given(st.lists(SPELLED, max_size=12))
def test_numbers_of__a_column__is_each_cell_read_alone(cells):
    found = numbers_of(pa.array(cells, pa.string()), Style()).to_pylist()
    for cell, number in zip(cells, found, strict=True):
        alone = parse_number(cell)
        if alone is None:
            assert number is None
        elif math.isnan(alone):
            assert math.isnan(number)
        else:
            assert number == float(alone)


@given(st.integers(2**63, 2**64 - 1))
def test_seed__of_64_bits__keeps_all_digits(seed):
    value = parse_number(str(seed))
    assert isinstance(value, int) and value == seed
    assert parse_number(f"{seed:,}") == seed


@given(st.integers(0, 10**6), st.integers(1, 999))
def test_spread__behind_a_mean__is_left_out(mean, spread):
    for mark in ("±", " ± ", "+/-", " +- "):
        assert parse_number(f"{mean}{mark}{spread}") == mean


@pytest.mark.parametrize(
    "text",
    [
        "gpt2",
        "7B-A1B",
        "v1.2.3",
        "10.0.0.1",
        "0x1F",
        "1/2",
        "3 of 4",
        "1e",
        "e5",
        "--3",
        "+-3",
        "1 2",
        "1,,000",
        "1..5",
        "1_0",
        "(3)",
        "[1]",
        "3;4",
        "NaN%",
        "ten",
        "Ⅷ",
        "٣x",
        "½",
    ],
)
def test_number__what_is_none__is_not_half_read(text):
    assert parse_number(text) is None
