"""Regrets and losses of a configuration, for draws and errors that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.deciding.study import Noise
from autollm.advisor.deciding.worth import (
    NO_DIFFERENCE,
    loses,
    no_regret,
    worth,
)
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.regret_error import RegretError
from autollm.advisor.words import FEW_VALUES, NO_CHOICE

ERROR = RegretError(0.1, 0.2, 5.0, 3)
EVEN = np.full(4, 0.25)


def study_of(**changes):
    """What `worth` reads of a study: a law of 2.0 (reducible .5), one u worth .4."""
    law = SimpleNamespace(
        forecast=Forecast(2.0, 0.05, 1e9),
        parameters={"E": 1.5},
        slope=-0.1,
        at_floors={},
    )
    fields = {
        "regret_error": ERROR,
        "lowest_expected": 0.3,
        "lost_to_constraints": 0.0,
        "has_choice": True,
        "ends": (),
        "spread": 0.4,
        "sign": 1.0,
        "noise": Noise(None, "none"),
        "loss_law": law,
        "policy": SimpleNamespace(weights=EVEN),
    }
    return SimpleNamespace(**{**fields, **changes})


def test_worth__best_candidate__regret_is_the_error_alone():
    found = worth(study_of(), np.full(4, 0.3), EVEN)
    assert found.expected_regret == ERROR.regret(0.0)
    assert found.expected_regret.low == 0.0


def test_worth__another_candidate__counts_from_the_best_one():
    found = worth(study_of(), np.array([0.7, 0.9, 0.7, 0.9]), EVEN)
    wanted = ERROR.regret(0.5)
    assert found.expected_regret.mean == pytest.approx(wanted.mean)
    assert found.expected_regret.low == pytest.approx(wanted.low)
    lost = 0.4 * found.expected_regret.mean
    assert found.predicted.mean == pytest.approx(2.0 + lost)


def test_worth__interval_of_the_outcome__adds_law_regret_and_noise():
    noisy = study_of(noise=Noise(0.06, "replicas"))
    found = worth(noisy, np.full(4, 0.3), EVEN)
    sd = np.sqrt(0.05**2 + (0.4 * 0.1) ** 2 + 0.06**2)
    half = found.predicted.high - found.predicted.mean
    assert half == pytest.approx(1.6449 * sd, rel=1e-3)


def test_worth__nothing_to_choose__has_no_regret_and_the_law_alone_forecasts():
    one = study_of(regret_error=None, has_choice=False)
    found = worth(one, np.zeros(4), EVEN)
    assert found.expected_regret is None and found.compute_equivalent is None
    assert found.predicted.mean == 2.0
    assert no_regret(one) == NO_CHOICE
    two_values = study_of(
        regret_error=None, has_choice=False, ends=("of a rate",)
    )
    assert no_regret(two_values) == FEW_VALUES
    alike = study_of(regret_error=None)
    assert no_regret(alike) == NO_DIFFERENCE and no_regret(study_of()) == ""


def test_loses__the_advice_itself__loses_nothing_for_certain():
    u = np.array([0.1, 0.5, 0.2, 0.9])
    found = loses(study_of(), u, u.copy())
    assert found.mean == found.low == found.high == 0.0


def test_loses__draws_that_go_together__are_surer_than_those_that_do_not():
    best = np.array([0.0, 0.1, 0.2, 0.3])
    together = loses(study_of(), best + 0.2, best)
    apart = loses(study_of(), np.array([0.2, 0.5, 0.5, 0.2]), best)
    assert together.mean == pytest.approx(0.4 * 0.2)
    assert together.high == pytest.approx(together.mean)
    assert apart.mean == pytest.approx(0.4 * 0.2)
    half = 0.4 * ERROR.half_width * np.sqrt(2)
    assert apart.high - apart.mean == pytest.approx(half)


@pytest.mark.parametrize("off", [0.0, 0.2, 0.9, 2.5])
def test_loses__any_plan__is_the_difference_of_what_is_expected(off):
    best = np.array([0.3, 0.4, 0.5, 0.4])
    lost = loses(study_of(), best + off, best)
    plan = worth(study_of(), best + off, EVEN).predicted.mean
    advised = worth(study_of(), best, EVEN).predicted.mean
    assert lost.mean == pytest.approx(plan - advised)
    assert lost.low <= lost.mean <= lost.high
