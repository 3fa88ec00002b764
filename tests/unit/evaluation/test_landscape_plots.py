import re

import numpy as np

from autollm.core.spaces.space import Space
from autollm.evaluation.landscape_plots import (
    Landscape,
    landscape_pictures,
    moving_optimum,
    shares_over_compute,
)
from tests.unit.gym.tables import MIXED, SPACE, make_mixed_table, make_table

MIX = Space((MIXED.knobs[3],))
WEIGHTS = np.array(
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.2, 0.4, 0.4]]
)


def mixtures(best, held_out=False):
    """Four mixtures of code, text and web; row `best` has the lowest loss."""
    points = np.array(
        [
            MIX.encode(
                {
                    "mixture": dict(
                        zip(("code", "text", "web"), w.tolist(), strict=True)
                    )
                }
            )
            for w in WEIGHTS
        ]
    )
    return Landscape(
        "t1" if held_out else "a1",
        1e12 if held_out else 1e10,
        points,
        np.where(np.arange(4) == best, 0.0, 1.0),
        held_out,
    )


def test_moving_optimum__numbers__have_a_panel_each():
    svg = moving_optimum(
        make_table(), [f"toy:{i}" for i in range(4)], ["toy:3"]
    )
    assert (
        svg.startswith("<svg")
        and "learning_rate" in svg
        and "batch_tokens (tokens)" in svg
    )


def test_moving_optimum__mixed_space__draws_its_numbers_only():
    svg = moving_optimum(make_mixed_table(), ["mixed:0", "mixed:1"], [])
    assert "momentum" in svg and "mixture" not in svg and "optimizer" not in svg


def test_moving_optimum__nothing_but_a_mixture__is_empty():
    table = make_mixed_table()
    only = Space(MIXED.knobs[3:])
    for experiment in table.experiments:
        object.__setattr__(experiment, "space", only)
    assert moving_optimum(table, ["mixed:0"], []) == ""


def test_shares_over_compute__mixture__has_a_panel_an_objective_and_a_line_a_part():
    svg = shares_over_compute(
        MIX,
        {
            "code_loss": [mixtures(0), mixtures(1, True)],
            "mean_loss": [mixtures(2), mixtures(2, True)],
        },
    )
    assert all(
        name in svg
        for name in ("code_loss", "mean_loss", ">code<", ">text<", ">web<")
    )
    assert svg != shares_over_compute(
        MIX,
        {
            "code_loss": [mixtures(3), mixtures(1, True)],
            "mean_loss": [mixtures(2), mixtures(2, True)],
        },
    )
    assert shares_over_compute(SPACE, {"x": []}) == ""


def test_shares_over_compute__rows_beyond_the_best_three__do_not_count():
    one, other = mixtures(0), mixtures(0)
    other.losses[3] = 50.0
    assert shares_over_compute(MIX, {"x": [one]}) == shares_over_compute(
        MIX, {"x": [other]}
    )
    other.losses[1] = 60.0
    assert shares_over_compute(MIX, {"x": [one]}) != shares_over_compute(
        MIX, {"x": [other]}
    )


def test_landscape_pictures__two_numbers__are_planes_cheapest_first_and_held_out_is_said():
    table = make_table()
    drawn = [
        Landscape(
            f"e{i}", 6e9 * 16.0**i, table.points[i], table.losses(i), i == 3
        )
        for i in (3, 0, 1)
    ]
    svg = landscape_pictures(SPACE, drawn)
    titles = re.findall(r">(e\d, [^<]*)<", svg)
    assert titles == [
        "e0, 6.0e9 FLOPs",
        "e1, 9.6e10 FLOPs",
        "e3, 2.5e13 FLOPs, held out",
    ]
    assert (
        "batch_tokens (tokens)" in svg
        and "regret (0 best row, 1 median)" in svg
    )


def test_landscape_pictures__other_spaces__have_a_panel_a_knob_or_part():
    table = make_mixed_table()
    svg = landscape_pictures(
        MIXED, [Landscape("m", 1e9, table.points[0], table.losses(0), False)]
    )
    assert all(
        f">{name}<" in svg
        for name in (
            "optimizer",
            "momentum",
            "heads",
            "code",
            "text",
            "web",
            "sgd",
        )
    )


def test_landscape_pictures__a_cliff__does_not_hide_the_valley():
    pictures = []
    for cliff in (1e3, 1e9):
        drawn = mixtures(0)
        drawn.losses[3] = cliff
        pictures.append(landscape_pictures(MIX, [drawn]))
    assert pictures[0] == pictures[1] != landscape_pictures(MIX, [mixtures(0)])
