"""Knobs: each scale's values, its coordinates, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import SpaceError
from autollm.core.spaces.knobs import SIMPLEX_UNIT, Knob
from autollm.core.spaces.scales import SCALES

RATE = Knob("rate", "log", (0.001, 0.01, 0.1), unit="1")
HALF_OCTAVES = Knob("rate", "log", (0.25, 0.5, 1.0), step=0.5)
DROPOUT = Knob("dropout", "linear", (0.0, 0.1, 0.2), step=0.1)
LAYERS = Knob("layers", "integer", (2, 4, 8), unit="layers")
BATCH = Knob("batch", "integer", (64, 128), step=64.0)
SIZE = Knob("size", "ordinal", ("small", "medium", "large"))
HEADS = Knob("heads", "ordinal", (1, 4, 16))
OPTIMIZER = Knob("optimizer", "categorical", ("adam", "sgd", True, 1))
PATTERN = Knob("pattern", "list", ("m", "a", "f"), positions=(1, 4))
MIXTURE = Knob("mixture", "simplex", ("code", "text", "web"))
ALL = (RATE, DROPOUT, LAYERS, BATCH, SIZE, HEADS, OPTIMIZER, PATTERN, MIXTURE)
A_VALUE = {
    "rate": 0.01,
    "dropout": 0.1,
    "layers": 4,
    "batch": 64,
    "size": "medium",
    "heads": 4,
    "optimizer": "sgd",
    "pattern": ["m", "a"],
    "mixture": {"code": 0.5, "text": 0.25, "web": 0.25},
}
BEYOND_FLOAT = 10**400


def test_knobs_of_this_file__scales__are_all_there_are():
    assert {knob.scale for knob in ALL} == set(SCALES)


@pytest.mark.parametrize(
    ("knob", "value", "point"),
    [
        (RATE, 0.25, -2.0),
        (RATE, 1, 0.0),
        (HALF_OCTAVES, 2**0.5, 0.5),
        (DROPOUT, 0.2, 2.0),
        (DROPOUT, 0, 0.0),
        (DROPOUT, -0.1, -1.0),
        (LAYERS, 4, 4.0),
        (LAYERS, 4.0, 4.0),
        (BATCH, 192, 3.0),
        (SIZE, "large", 2.0),
        (HEADS, 16, 2.0),
    ],
)
def test_knob__one_coordinate__is_worked_out_by_hand(knob, value, point):
    assert knob.encode(value) == pytest.approx(point, abs=1e-12)
    assert knob.decode(point) == pytest.approx(value) or knob is SIZE


def test_knob__categories__are_one_apart_whichever_two():
    points = [OPTIMIZER.encode(level) for level in OPTIMIZER.levels]
    for i, one in enumerate(points):
        for other in points[i + 1 :]:
            assert math.dist(one, other) == pytest.approx(1.0)


def test_knob__true_and_one_as_categories__are_two_values():
    assert OPTIMIZER.decode(OPTIMIZER.encode(True)) is True
    assert OPTIMIZER.decode(OPTIMIZER.encode(1)) == 1
    assert OPTIMIZER.decode(OPTIMIZER.encode(1)) is not True
    assert OPTIMIZER.decode(OPTIMIZER.encode(1.0)) == 1


def test_knob__whole_list_one_rank_up__is_one_unit():
    fixed = Knob("heads", "list", (1, 2, 3), positions=(4, 4))
    low, high = fixed.encode([1, 1, 1, 1]), fixed.encode([2, 2, 2, 2])
    assert len(low) == fixed.width == 4
    assert math.dist(low, high) == pytest.approx(1.0)
    one_up = fixed.encode([1, 1, 1, 2])
    assert math.dist(low, one_up) == pytest.approx(1 / math.sqrt(4))


def test_knob__list_of_another_length__has_its_length_as_a_coordinate():
    short, long = PATTERN.encode(["m"]), PATTERN.encode(["m"] * 4)
    assert PATTERN.width == 5 and short[-1] == 0.0 and long[-1] == 2.0
    assert np.array_equal(short[:4], long[:4])


def test_knob__list_that_may_be_empty__round_trips_empty():
    knob = Knob("skips", "list", ("a", "b"), positions=(0, 3))
    assert knob.decode(knob.encode([])) == []
    assert knob.decode(knob.encode(["b"])) == ["b"]


def test_knob__mixture_distance__is_that_of_hellinger():
    p = {"code": 0.5, "text": 0.3, "web": 0.2}
    q = {"code": 0.1, "text": 0.6, "web": 0.3}
    total = 0.0
    for part in p:
        total += (math.sqrt(p[part]) - math.sqrt(q[part])) ** 2
    apart = math.dist(MIXTURE.encode(p), MIXTURE.encode(q))
    assert apart == pytest.approx(SIMPLEX_UNIT * math.sqrt(total))


def test_knob__mixture_rounded_by_its_authors__is_renormalized():
    rounded = {"code": 0.333, "text": 0.333, "web": 0.333}
    back = MIXTURE.decode(MIXTURE.encode(rounded))
    assert np.linalg.norm(MIXTURE.encode(rounded)) == pytest.approx(
        SIMPLEX_UNIT
    )
    assert sum(back.values()) == pytest.approx(1.0)
    assert back["code"] == pytest.approx(1 / 3)


def test_knob__point_of_a_mixture_with_no_weight__is_even():
    assert MIXTURE.decode([0.0, 0.0, 0.0]) == pytest.approx(
        {"code": 1 / 3, "text": 1 / 3, "web": 1 / 3}
    )
    assert MIXTURE.decode([-1.0, 2.0, -3.0]) == {
        "code": 0.0,
        "text": 1.0,
        "web": 0.0,
    }


@given(st.floats(1e-12, 1e12))
def test_log_knob__any_positive_number__round_trips(value):
    assert RATE.decode(RATE.encode(value)) == pytest.approx(value, rel=1e-8)


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_log_knob__ratio__is_the_distance_in_octaves(a, b):
    apart = RATE.encode(a) - RATE.encode(b)
    assert apart == pytest.approx(math.log2(a / b), abs=1e-9)


@given(st.integers(-(10**8), 10**8))
def test_integer_knob__any_whole_number__round_trips_whole(value):
    for knob in (LAYERS, BATCH):
        back = knob.decode(knob.encode(value))
        assert back == value and type(back) is int


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_linear_knob__order_of_values__is_that_of_points(a, b):
    assert (DROPOUT.encode(a) <= DROPOUT.encode(b)) == (a <= b) or (
        math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300)
    )


@given(st.floats(-1e3, 1e3))
def test_log_knob__any_point__decodes_to_what_encodes_there(point):
    value = RATE.decode(point)
    assert RATE.encode(value) == pytest.approx(point, abs=1e-7)


@given(st.sampled_from([SIZE, HEADS]), st.floats(-1e6, 1e6))
def test_ordinal_knob__any_point__is_a_level(knob, point):
    value = knob.decode(point)
    assert value in knob.levels
    expected = min(max(point, 0.0), 2.0)
    assert abs(knob.encode(value) - expected) <= 0.5


def test_log_knob__value_off_by_its_printed_rounding__is_on_the_grid():
    """0.35355 is the half octave 2 ** -1.5 as tables print it."""
    assert HALF_OCTAVES.encode(0.35355) == -1.5
    assert HALF_OCTAVES.encode(0.36) != -1.5


@given(st.sampled_from([2.0, 0.5, 1024.0]), st.floats(1e-6, 1e6))
def test_knob__factor__shifts_values_and_no_coordinate(factor, value):
    """A masked knob shows other numbers for the same points."""
    for scale, levels in (("log", (1.0, 2.0)), ("linear", (0.0, 1.0))):
        plain = Knob("k", scale, levels)
        masked = Knob(
            "k", scale, tuple(v * factor for v in levels), factor=factor
        )
        assert masked.encode(value * factor) == pytest.approx(
            plain.encode(value), rel=1e-12, abs=1e-12
        )
        assert np.array_equal(masked.window, plain.window)


@pytest.mark.parametrize("knob", ALL, ids=lambda k: f"{k.name}-{k.scale}")
def test_knob__window_and_width__fit_its_coordinates(knob):
    assert knob.window.shape == (2, knob.width)
    assert len(knob.coordinates) == knob.width
    assert (knob.window[0] <= knob.window[1]).all()
    point = np.atleast_1d(knob.encode(A_VALUE[knob.name]))
    assert point.shape == (knob.width,)
    assert (point >= knob.window[0] - 1e-9).all()
    assert (point <= knob.window[1] + 1e-9).all()


@pytest.mark.parametrize("knob", ALL, ids=lambda k: f"{k.name}-{k.scale}")
def test_knob__grid__is_its_levels_or_none(knob):
    if knob.scale in ("list", "simplex"):
        assert knob.grid is None
        return
    assert len(knob.grid) == len(knob.levels)
    for point, level in zip(knob.grid, knob.levels, strict=True):
        assert knob.decode(point) == pytest.approx(level)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.just(BEYOND_FLOAT),
    st.just(-BEYOND_FLOAT),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers() | st.text(max_size=2), max_size=4),
    st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
    st.fixed_dictionaries(
        {
            "code": st.floats() | st.just(BEYOND_FLOAT),
            "text": st.floats() | st.booleans(),
            "web": st.floats() | st.none(),
        }
    ),
)


@given(st.sampled_from(ALL), ANYTHING)
def test_knob__anything_at_all__is_a_finite_point_or_a_space_error(knob, value):
    """What a model proposes is data: no value may end in a foreign error."""
    try:
        point = knob.encode(value)
    except SpaceError as refused:
        assert str(refused).startswith(f"{knob.name}=")
        return
    assert np.isfinite(point).all()


@pytest.mark.parametrize("value", [2**63, 10**300])
def test_ordinal_knob__more_than_an_int64_holds__is_the_largest_level(value):
    assert HEADS.encode(value) == HEADS.encode(HEADS.levels[-1])


@pytest.mark.parametrize("knob", [RATE, DROPOUT, LAYERS, BATCH, HEADS])
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, BEYOND_FLOAT, True, None, "1", [1], {}],
    ids=repr,
)
def test_number_knob__no_finite_number__is_refused_by_name(knob, value):
    with pytest.raises(SpaceError) as refused:
        knob.encode(value)
    said = str(refused.value)
    assert said.startswith(f"{knob.name}=") and "not a finite number" in said
    assert said.endswith(f"Declared: {knob.window_text}.")


@pytest.mark.parametrize("value", [0, -1, -1e-300, -0.0])
def test_log_knob__nothing_or_less__must_be_positive(value):
    with pytest.raises(SpaceError, match="must be positive"):
        RATE.encode(value)


@pytest.mark.parametrize("value", [2**53 + 1, 2**62 + 1, 10**17 + 1])
def test_integer_knob__whole_beyond_what_floats_hold__is_still_whole(value):
    """A Python int is whole, whatever float64 makes of it."""
    assert LAYERS.encode(value) == pytest.approx(float(value))


def test_linear_knob__finite_number_over_a_small_step__stays_finite():
    with pytest.raises(SpaceError, match="too large for this knob's step"):
        DROPOUT.encode(1e308)


@pytest.mark.parametrize(
    ("knob", "text"),
    [
        (RATE, "0.001 to 0.1"),
        (LAYERS, "2 to 8 layers"),
        (SIZE, "small, medium, large"),
        (HEADS, "1 to 16"),
        (OPTIMIZER, "adam, sgd, True, 1"),
        (PATTERN, "a list of 1 to 4 of m, a, f"),
        (MIXTURE, "weights of code, text, web that sum to 1"),
        (Knob("x", "linear", (5,), unit="s"), "5 to 5 s"),
        (Knob("x", "list", (1,), positions=(2, 2)), "a list of 2 of 1"),
    ],
)
def test_knob__window_text__is_what_a_person_reads(knob, text):
    assert knob.window_text == text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scale": "log", "levels": (2.0, 1.0)}, "ascending"),
        ({"scale": "log", "levels": ()}, "not empty"),
        ({"scale": "log", "levels": (0.0, 1.0)}, "positive levels, got 0"),
        ({"scale": "log", "levels": (-1.0, 1.0)}, "positive levels, got -1"),
        ({"scale": "log", "levels": (1.0, math.inf)}, "must be finite"),
        ({"scale": "linear", "levels": (math.nan,)}, "must be finite"),
        ({"scale": "linear", "levels": (-math.inf, 0.0)}, "must be finite"),
        ({"scale": "linear", "levels": ("a",)}, "needs numbers"),
        ({"scale": "integer", "levels": (True, 2)}, "needs numbers"),
        ({"scale": "linear", "levels": (1, 1.0)}, "distinct"),
        ({"scale": "categorical", "levels": ("a", "a")}, "distinct"),
        ({"scale": "list", "levels": (1, 2)}, "positions"),
        ({"scale": "list", "levels": (1,), "positions": (3, 2)}, "positions"),
        ({"scale": "list", "levels": (1,), "positions": (-1, 2)}, "positions"),
        ({"scale": "log", "levels": (1.0,), "positions": (1, 2)}, "positions"),
        ({"scale": "linear", "levels": (0.0,), "step": -0.1}, "step -0.1"),
        ({"scale": "linear", "levels": (0.0,), "step": math.nan}, "step nan"),
        ({"scale": "log", "levels": (1.0,), "step": math.inf}, "step inf"),
        ({"scale": "log", "levels": (1.0,), "factor": 0.0}, "factor 0"),
        ({"scale": "log", "levels": (1.0,), "factor": -2.0}, "factor -2"),
        ({"scale": "logarithmic", "levels": (1.0,)}, "scale 'logarithmic'"),
        ({"scale": "log", "levels": (1.0,), "role": "pace"}, "role 'pace'"),
    ],
)
def test_knob__declaration_that_contradicts_itself__says_what(fields, said):
    with pytest.raises(SpaceError, match=said):
        Knob(name="k", **fields)


@pytest.mark.parametrize(
    ("knob", "value", "near"),
    [
        (SIZE, "smal", "did you mean 'small'"),
        (OPTIMIZER, "adan", "did you mean 'adam'"),
        (SIZE, "zzz", "is none of the declared values. Declared"),
    ],
)
def test_knob__misspelt_level__names_the_near_one_or_none(knob, value, near):
    with pytest.raises(SpaceError, match=near):
        knob.encode(value)
