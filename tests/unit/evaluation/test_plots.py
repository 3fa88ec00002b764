from autollm.evaluation.plots import moving_optimum
from autollm.gym.space import Space
from tests.unit.gym.tables import MIXED, make_mixed_table, make_table


def test_moving_optimum__numbers__have_a_panel_each():
    svg = moving_optimum(make_table(), [f"toy:{i}" for i in range(4)], ["toy:3"])
    assert svg.startswith("<svg") and "learning_rate" in svg and "batch_tokens (tokens)" in svg


def test_moving_optimum__mixed_space__draws_its_numbers_only():
    svg = moving_optimum(make_mixed_table(), ["mixed:0", "mixed:1"], [])
    assert "momentum" in svg and "mixture" not in svg and "optimizer" not in svg


def test_moving_optimum__nothing_but_a_mixture__is_empty():
    table = make_mixed_table()
    only = Space(MIXED.knobs[3:])
    for experiment in table.experiments:
        object.__setattr__(experiment, "space", only)
    assert moving_optimum(table, ["mixed:0"], []) == ""
