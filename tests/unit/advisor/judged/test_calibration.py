from __future__ import annotations

import numpy as np
import pytest

from autollm.advisor.judged.calibration import (
    Chance,
    Prediction,
    brier_skill,
    constant_width,
    coverage,
    interval_score,
    mean_score,
    reliability,
    score_difference,
)


def told(source: str, came: float, half: float = 1.0, **fields) -> Prediction:
    return Prediction(
        source, f"{source}{came}", 0.0, -half, half, came, **fields
    )


def test_interval_score__outside__costs_twenty_times_the_miss():
    assert interval_score(-1.0, 1.0, 0.5) == 2.0
    assert interval_score(-1.0, 1.0, 1.5) == pytest.approx(2.0 + 20 * 0.5)
    assert interval_score(-1.0, 1.0, -1.1) == pytest.approx(2.0 + 20 * 0.1)


def test_coverage__a_source_of_many__weighs_as_one():
    rows = [told("a", 0.5), *(told("b", 2.0 + i) for i in range(9))]
    assert coverage(rows).mean == 0.5


def test_mean_score__scale__is_the_unit():
    assert mean_score([told("a", 0.0, scale=4.0)]).mean == 0.5


def test_constant_width__own_misses__set_no_width_of_their_own():
    rows = [told("a", 5.0), told("b", 0.2), told("c", 0.1)]
    halves = [row.high for row in constant_width(rows)]
    assert halves == pytest.approx([0.2, 5.0, 5.0])
    assert constant_width(rows[:1])[0].high == float("inf")


def test_constant_width__expected_scale__stretches_it():
    rows = [
        told("a", 3.0, expected_scale=3.0),
        told("b", 0.0, expected_scale=2.0),
    ]
    assert constant_width(rows)[1].high == pytest.approx(2.0)


def test_score_difference__narrower_and_right__is_below_zero():
    rows = [told("a", 0.0, half=0.5), told("b", 0.1, half=0.5)]
    wide = [told("a", 0.0, half=2.0), told("b", 0.1, half=2.0)]
    assert score_difference(rows, wide).mean == pytest.approx(1.0 - 4.0)


def test_reliability__classes__hold_what_was_told_and_what_came():
    rng = np.random.default_rng(0)
    chances = []
    for p in (0.02, 0.1, 0.3, 0.8, 1.0):
        for i in range(200):
            chances.append(Chance(f"s{i % 4}", "e", p, bool(rng.random() < p)))
    found = reliability(chances)
    assert [c.n for c in found] == [200, 200, 200, 400]
    assert all(abs(c.told - c.came) < 0.08 and c.n_sources == 4 for c in found)
    assert brier_skill(chances) > 0.3


def test_brier_skill__always_the_base_rate__is_zero():
    chances = [Chance("a", "e", 0.5, came) for came in (True, False)]
    assert brier_skill(chances) == 0.0
    assert brier_skill([Chance("a", "e", 0.5, True)]) is None
