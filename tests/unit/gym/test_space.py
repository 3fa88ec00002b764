import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.errors import SpaceError
from autollm.gym.space import Knob, Space, nearest
from tests.unit.gym.tables import SPACE


@given(st.tuples(st.integers(-20, -14), st.integers(6, 10)))
def test_space__grid_configuration__survives_decode_and_encode(half_octaves):
    point = np.array([half_octaves[0] / 2, float(half_octaves[1])])
    assert np.array_equal(SPACE.encode(SPACE.decode(point)), point)


@given(st.floats(1e-8, 1e8), st.floats(1e-8, 1e8))
def test_space__any_positive_configuration__round_trips_to_nine_digits(a, b):
    configuration = {"learning_rate": a, "batch_tokens": b}
    back = SPACE.decode(SPACE.encode(configuration))
    assert back == pytest.approx(configuration, rel=1e-3)


@pytest.mark.parametrize(("configuration", "said"), [
    ({"learning_rate": 0.1}, "missing knob 'batch_tokens'"),
    ({"learning_rate": 0.1, "batch_tokens": 64, "lr": 1}, "unknown knob 'lr'"),
    ({"learning_rate": -1, "batch_tokens": 64}, "must be positive"),
    ({"learning_rate": float("nan"), "batch_tokens": 64}, "not a finite number"),
    ({"learning_rate": "0.1", "batch_tokens": 64}, "not a finite number"),
    (["learning_rate"], "is an object of"),
])
def test_space__bad_configuration__says_what_is_wrong(configuration, said):
    with pytest.raises(SpaceError, match=said):
        SPACE.encode(configuration)


def test_space__json__round_trips():
    assert Space.from_json(SPACE.to_json()).grid == pytest.approx(SPACE.grid)


def test_knob__descending_levels__refused():
    with pytest.raises(SpaceError, match="ascending"):
        Knob("lr", "log", (2.0, 1.0))


@pytest.mark.parametrize(("scale", "value", "point"), [("linear", 0.3, 3.0), ("ordinal", 20, 1.0)])
def test_knob__other_scales__encode_to_comparable_units(scale, value, point):
    knob = Knob("k", scale, (0.1, 0.2, 0.3) if scale == "linear" else (10, 20, 40), step=0.1)
    assert knob.encode(value) == pytest.approx(point)
    assert knob.decode(point) == pytest.approx(value)


def test_nearest__tie__lowest_row_wins():
    index, distance = nearest(np.array([[0.0], [1.0], [3.0]]), np.array([2.0]))
    assert (index, distance) == (1, 1.0)
