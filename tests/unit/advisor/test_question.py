import pytest

from autollm.advisor.question import further_level
from autollm.core.knobs import Knob


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
