import numpy as np
import pytest

from autollm.advisor.asking.window import (
    as_typed,
    further_level,
    level_beyond,
    refined,
)
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space


@pytest.mark.parametrize(
    ("scale", "levels", "side", "expected"),
    [
        ("log", (1e-4, 1e-3), 1, 1e-2),
        ("log", (64, 128, 256), -1, 32),
        ("linear", (1.0, 1.5, 2.5), 1, 3.5),
        ("integer", (4, 8), -1, None),  # nobody ran none of it
        ("linear", (0.0, 0.1, 0.2), -1, None),  # no dropout below 0
        ("linear", (0.5, 0.9), 1, None),  # no share above 1
        ("linear", (0.5, 0.9), -1, 0.1),
        ("linear", (0.0, 2.0, 4.0), 1, 6.0),
        ("linear", (-2.0, -1.0), 1, None),  # 0 is no number below 0
        ("linear", (-2.0, -1.0), -1, -3.0),
        ("linear", (-1.0, 1.0), -1, -3.0),
        ("ordinal", (1, 2, 4), 1, None),
        ("log", (3e-4,), 1, None),
    ],
)
def test_further_level__edge_of_a_window__is_a_step_that_a_run_can_have(
    scale, levels, side, expected
):
    found = further_level(Knob("k", scale, levels), side)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("scale", "levels", "expected"),
    [
        ("log", (1e-4, 3e-4), (1e-4, 1.4e-4, 2.1e-4, 3e-4)),
        ("log", (0.001, 0.0014, 0.002), (0.001, 0.0014, 0.002)),  # fine already
        ("log", (64, 128, 256), (64, 128, 256)),  # batches stay whole
        ("log", (0.25, 1.0), (0.25, 0.35, 0.5, 0.71, 1.0)),
        ("linear", (0.0, 0.1, 0.2), (0.0, 0.05, 0.1, 0.15, 0.2)),
        ("linear", (0.95, 0.99), (0.95, 0.97, 0.99)),
        ("linear", (1.0, 2.0), (1.0, 2.0)),
        ("integer", (4, 12), (4, 12)),
        ("categorical", ("adamw", "muon"), ("adamw", "muon")),
        ("log", (3e-4,), (3e-4,)),
    ],
)
def test_refined__coarse_numbers__have_candidates_between_their_levels(
    scale, levels, expected
):
    knob = Knob("k", scale, levels)
    (found,) = refined(Space((knob,)), [knob.name]).knobs
    assert found.levels == pytest.approx(expected) or found.levels == expected


def test_refined__candidates__lie_at_most_half_an_octave_apart():
    levels = tuple(1e-5 * 10.0**i for i in range(4))
    (found,) = refined(Space((Knob("lr", "log", levels),)), ["lr"]).knobs
    octaves = np.diff(np.log2(found.levels))
    assert octaves.max() <= 0.6
    assert octaves.min() >= 0.4
    assert set(levels) <= set(found.levels)


@pytest.mark.parametrize(
    ("scale", "levels", "value", "expected"),
    [
        ("log", (1e-4, 1e-3), 0.00053013, 0.00053),
        (
            "log",
            (1e-4, 1e-3),
            0.0000991,
            1e-4,
        ),  # a level, but for the fit's digits
        ("log", (64.0, 128.0, 256.0), 138.3, 128.0),
        ("log", (64.0, 128.0, 256.0), 700.0, 512.0),
        ("log", (96.0, 200.0), 138.3, 136.0),
        ("log", (256.0, 384.0, 512.0, 768.0), 540.0, 512.0),
        ("log", (256.0, 384.0, 512.0, 768.0), 1700.0, 1664.0),
        ("linear", (0.0, 0.1), 0.0344, 0.034),
        ("categorical", ("adamw", "muon"), "muon", "muon"),
    ],
)
def test_as_typed__number_of_a_fit__is_what_a_person_would_type(
    scale, levels, value, expected
):
    space = Space((Knob("k", scale, levels),))
    assert as_typed(space, {"k": value}) == {"k": expected}


def test_refined__number_of_unseen_optimum__keeps_its_values():
    knob = Knob("lr", "log", (1e-4, 1e-3))
    assert refined(Space((knob,)), []).knobs == (knob,)


@pytest.mark.parametrize(
    ("scale", "levels", "side", "expected"),
    [
        ("log", (1.0, 2.0**0.5), 1, 2.0**1.5),  # two half octaves
        ("log", (1.0, 4.0), -1, 0.25),
        ("linear", (0.9, 0.95, 0.99), 1, None),  # no share beyond 1
        ("categorical", ("a", "b"), 1, None),
    ],
)
def test_level_beyond__window__is_a_natural_unit_further(
    scale, levels, side, expected
):
    found = level_beyond(Knob("k", scale, levels), side)
    wanted = None if expected is None else pytest.approx(expected, rel=1e-6)
    assert found == wanted
