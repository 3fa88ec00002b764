"""What a configuration is worth: by hand, for a policy and a law that are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from autollm.advisor.deciding.study import Noise
from autollm.advisor.deciding.worth import (
    WASTE,
    acceptable,
    affordable_u,
    compute_factor,
    worth,
)
from autollm.advisor.statistics.regret_error import RegretError
from autollm.core.spaces.knobs import Knob
from tests.unit.advisor.stand_ins import law_of, study_of

FEW = settings(max_examples=40)
RATE = Knob("lr", "log", tuple(2.0**k for k in range(-12, -3)))
"""Nine octaves around 2^-8."""
LAYERS = Knob("layers", "integer", (2, 4, 6, 8, 10))
MIXTURE = Knob("mix", "simplex", ("code", "web", "books"))


def bowl(points):
    """u is the squared number of octaves from 2^-8."""
    return (points[:, 0] - -8.0) ** 2


def of(u, weights=None, **changes):
    """Worth of draws under a study whose fields were changed."""
    study = study_of([RATE], bowl, law=law_of())
    for name, value in changes.items():
        setattr(study, name, value)
    u = np.array(u, float)
    if weights is None:
        weights = np.full(len(u), 1 / len(u))
    return worth(study, u, np.array(weights))


def test_worth__no_law__regret_alone_is_told():
    found = of([0.2, 0.4], loss_law=None)
    assert found.predicted is None
    assert found.compute_equivalent is None
    assert found.expected_regret.mean == pytest.approx(0.3)


def test_worth__certain_draws__loss_is_forecast_and_what_is_lost():
    found = of([0.5, 0.5])
    assert found.predicted.mean == pytest.approx(2.0 + 0.4 * 0.5)
    half = norm.ppf(0.95) * 0.1
    assert found.predicted.low == pytest.approx(2.2 - half, rel=1e-4)
    assert found.predicted.high == pytest.approx(2.2 + half, rel=1e-4)


def test_worth__error_of_regret_and_noise__add_their_variances():
    error = RegretError(0.5, 0.5, 1e9, 0)
    found = of([0.0, 1.0], noise=Noise(0.3, "replicas"), regret_error=error)
    sd = math.sqrt(0.1**2 + (0.4 * 0.5) ** 2 + 0.3**2)
    half = found.predicted.high - found.predicted.mean
    assert half == pytest.approx(norm.ppf(0.95) * sd, rel=1e-4)


def test_worth__weights__count_in_the_mean():
    found = of([0.0, 1.0], weights=[0.9, 0.1])
    assert found.expected_regret.mean == pytest.approx(0.1)


def test_worth__best_candidate_loses__is_what_regret_counts_from():
    found = of([0.7, 0.7], lowest_expected=0.4)
    assert found.expected_regret.mean == pytest.approx(0.3)
    assert found.predicted.mean == pytest.approx(2.0 + 0.4 * 0.3)
    best = of([0.4, 0.4], lowest_expected=0.4)
    assert best.expected_regret.mean == pytest.approx(0.0, abs=1e-8)


def test_worth__far_beyond_the_median__regret_is_one_and_loss_goes_on():
    found = of([2.0, 2.0])
    assert found.expected_regret.mean == 1.0 == found.expected_regret.high
    assert found.predicted.mean == pytest.approx(2.0 + 0.4 * math.e)


@FEW
@given(
    st.lists(st.floats(0, 0.9), min_size=2, max_size=30),
    st.floats(0, 0.3),
)
def test_worth__any_draws__intervals_hold_in_order(u, sd):
    error = RegretError(sd, 2 * sd, 3.0, 1)
    found = of(u, regret_error=error)
    for interval in (found.predicted, found.expected_regret):
        assert interval.low <= interval.high + 1e-12
    assert found.expected_regret.high <= 1
    assert found.predicted.low <= found.predicted.mean <= found.predicted.high


@FEW
@given(st.floats(0, 0.3), st.floats(0.05, 1.0), st.floats(0.1, 0.9))
def test_compute_factor__power_law__is_the_compute_that_buys_the_loss(
    excess, exponent, reducible
):
    """loss = E + R (C / C0)^-b: the loss of R + excess at C0 is that of the best at
    C0 / factor."""
    slope = -math.log(2) * exponent * reducible
    study = study_of([RATE], bowl, law=law_of(1.5 + reducible, 1.5, slope))
    found = compute_factor(study, excess)
    bought = 1.5 + reducible * (1 / found) ** -exponent
    # the slope is per octave, its exponent natural: both are one law
    assert bought == pytest.approx(
        1.5 + reducible * (1 + excess / reducible), rel=1e-6
    )


@pytest.mark.parametrize("excess", [0.0, -0.5])
def test_compute_factor__nothing_is_lost__wastes_nothing(excess):
    study = study_of([RATE], bowl, law=law_of())
    assert compute_factor(study, excess) == 1.0


def test_compute_factor__hopeless_configuration__stays_finite():
    study = study_of([RATE], bowl, law=law_of(slope=-1e-6))
    assert compute_factor(study, 1e6) == 2.0**60


@pytest.mark.parametrize(
    "law", [None, law_of(slope=0.0), law_of(slope=0.01), law_of(mean=1.4)]
)
def test_compute_factor__law_that_does_not_fall__is_not_told(law):
    study = study_of([RATE], bowl, law=law)
    assert compute_factor(study, 0.1) is None


def test_affordable_u__one_percent_of_compute__is_the_slope_times_its_octaves():
    study = study_of([RATE], bowl, law=law_of(slope=-0.05), spread=0.25)
    assert affordable_u(study) == pytest.approx(
        0.05 * math.log2(1 + WASTE) / 0.25
    )


@pytest.mark.parametrize("law", [None, law_of(slope=0.0)])
def test_affordable_u__without_a_falling_law__is_none(law):
    assert affordable_u(study_of([RATE], bowl, law=law)) is None


@FEW
@given(st.floats(0.001, 4.0))
def test_acceptable__bowl__ends_where_what_is_allowed_is_spent(allowed):
    study = study_of([RATE], bowl)
    low, high = acceptable(study, np.array([-8.0]), allowed)["lr"]
    step = 8 / 80
    for end in (low, high):
        octaves = abs(math.log2(end) + 8)
        assert octaves <= math.sqrt(allowed) + 1e-3
        assert octaves > min(math.sqrt(allowed) - step - 1e-3, 4 - 1e-3)
    assert low <= 2.0**-8 * 1.001 and high >= 2.0**-8 / 1.001


def test_acceptable__nothing_is_allowed__is_the_value_itself():
    study = study_of([RATE], bowl)
    assert acceptable(study, np.array([-8.0]), 0.0)["lr"] == pytest.approx(
        [2.0**-8] * 2, rel=1e-3
    )


def test_acceptable__point_between_the_steps__is_within_its_own_range():
    study = study_of([RATE], lambda points: np.zeros(len(points)))
    point = np.array([-7.123])
    low, high = acceptable(study, point, 0.0)["lr"]
    assert low == pytest.approx(2.0**-12, rel=1e-3)
    assert high == pytest.approx(2.0**-4, rel=1e-3)
    alone = study_of([RATE], lambda points: np.abs(points[:, 0] + 7.123))
    assert acceptable(alone, point, 0.0)["lr"] == pytest.approx(
        [2.0**-7.123] * 2, rel=1e-3
    )


def test_acceptable__two_valleys__only_the_points_own_one_is_told():
    def valleys(points):
        off = np.abs(points[:, 0] - -8.0)
        return np.where((off > 0.5) & (off < 2.5), 1.0, 0.0)

    study = study_of([RATE], valleys)
    low, high = acceptable(study, np.array([-8.0]), 0.1)["lr"]
    assert math.log2(low) == pytest.approx(-8.5, abs=0.11)
    assert math.log2(high) == pytest.approx(-7.5, abs=0.11)


def test_acceptable__whole_number__has_whole_levels_for_ends():
    study = study_of([LAYERS], lambda points: (points[:, 0] - 6.0) ** 2 / 4)
    assert acceptable(study, np.array([6.0]), 1.0)["layers"] == [4, 8]
    assert acceptable(study, np.array([6.0]), 0.9)["layers"] == [6, 6]


def test_acceptable__category__lists_all_that_are_as_good():
    knob = Knob("optimizer", "categorical", ("adamw", "lion", "sgd"))

    def losses(points):
        return points @ np.array([0.0, 0.1, 5.0])

    study = study_of([knob], losses)
    point = study.question.space.encode({"optimizer": "adamw"})
    assert acceptable(study, point, 0.2)["optimizer"] == ["adamw", "lion"]
    assert acceptable(study, point, 0.0)["optimizer"] == ["adamw"]


def test_acceptable__constraint__is_kept_by_the_whole_range():
    study = study_of(
        [RATE],
        lambda points: np.zeros(len(points)),
        keeps=lambda points: points[:, 0] <= -7.0,
    )
    low, high = acceptable(study, np.array([-8.0]), 1.0)["lr"]
    assert low == pytest.approx(2.0**-12, rel=1e-3)
    assert high == pytest.approx(2.0**-7, rel=1e-3)


def test_acceptable__list__has_no_range_of_its_own():
    knob = Knob("heads", "list", (2, 4, 8), positions=(3, 3))
    study = study_of([knob, RATE], lambda points: np.zeros(len(points)))
    point = np.append(np.ones(3), -8.0)
    assert set(acceptable(study, point, 1.0)) == {"lr"}


def toward(weights):
    """u grows with the Hellinger distance from a mixture."""
    centre = MIXTURE.encode(weights)

    def formula(points):
        return np.sum((points - centre) ** 2, axis=1)

    return formula


HALF = {"code": 0.5, "web": 0.3, "books": 0.2}


def test_acceptable__mixture__a_range_a_part_the_others_in_proportion():
    study = study_of([MIXTURE], toward(HALF))
    point = MIXTURE.encode(HALF)
    found = acceptable(study, point, 0.05)
    assert set(found) == set(HALF)
    for part, (low, high) in found.items():
        assert low < HALF[part] < high
        for share in (low, high):
            rest = (1 - share) / (1 - HALF[part])
            moved = {p: w * rest for p, w in HALF.items()} | {part: share}
            u = study.policy.sampled(MIXTURE.encode(moved)[None])[0, 0]
            assert u <= 0.05 + 1e-2


def test_acceptable__mixture_written_in_percent__is_in_percent():
    cells = {"code": "50", "web": "30", "books": "20"}
    run = {"config_json": json.dumps({"mix": HALF}), "cells": cells}
    columns = {f"mix.{part}": part for part in HALF}
    study = study_of([MIXTURE], toward(HALF), columns=columns, runs=[run])
    shown = study.names.show({"mix": HALF})
    assert shown == {"code": 50.0, "web": 30.0, "books": 20.0}
    for column, (low, high) in acceptable(
        study, MIXTURE.encode(HALF), 0.05
    ).items():
        assert low < shown[column] < high
        assert high - low > 1  # percent, no shares


def test_acceptable__mixture_of_one_part__is_answered():
    pure = {"code": 1.0, "web": 0.0, "books": 0.0}
    study = study_of([MIXTURE], toward(pure))
    found = acceptable(study, MIXTURE.encode(pure), 5.0)
    assert found["code"][1] == 1.0
    assert found["code"][0] < 1.0
    assert found["web"][0] == found["books"][0] == 0.0
    nothing = acceptable(study, MIXTURE.encode(pure), 0.0)
    assert nothing["code"] == [1.0, 1.0]


def test_worth__forecast_of_few_levels__is_wider_by_students_t():
    wide = replace(law_of(), forecast=replace(law_of().forecast, df=2.0))
    plain, heavy = of([0.1, 0.1]), of([0.1, 0.1], loss_law=wide)
    assert heavy.predicted.mean == pytest.approx(plain.predicted.mean)
    ratio = (heavy.predicted.high - heavy.predicted.mean) / (
        plain.predicted.high - plain.predicted.mean
    )
    assert ratio == pytest.approx(2.919986 / 1.644854, rel=1e-3)
