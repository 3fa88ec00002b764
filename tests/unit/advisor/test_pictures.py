"""The pictures of an advice: what is drawn, and that equal studies give equal bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.deciding.hindsight import Hindcast
from autollm.advisor.showing.pictures import (
    foretold_picture,
    landscape,
    law_along,
    optima,
    outcome,
    pictures,
)
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.loss_law import LossLaw
from tests.unit.advisor.studies import study_of

TOLD = [
    Hindcast("N=1e8,D=2e9", 3.0, 2.8, 3.2, 3.1, 0.01),
    Hindcast("N=2e8,D=4e9", 2.8, 2.7, 2.9, 2.95, 0.01),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("sweep"), params=7e9, tokens=1.4e11)


@pytest.fixture(scope="module")
def advised(found):
    best = found.policy.target_optimum
    return np.array([best, best + 0.5])


def test_pictures__whole_study__are_four_that_load_nothing(found, advised):
    drawn = pictures(found, advised, TOLD)
    assert list(drawn) == ["optima", "outcome", "landscape", "foretold"]
    for svg in drawn.values():
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert 'href="http' not in svg and "<script" not in svg


def test_pictures__nothing_foretold__leaves_that_one_out(found, advised):
    assert "foretold" not in pictures(found, advised)


def test_pictures__same_study_twice__are_the_same_bytes(found, advised):
    assert pictures(found, advised, TOLD) == pictures(found, advised, TOLD)


def test_optima__each_knob__has_a_panel_in_the_users_words(found, advised):
    svg = optima(found, advised)
    for name in ("lr", "batch_size", "advice", "law, 90 %"):
        assert f">{name}<" in svg


def test_optima__no_knob_with_an_optimum__is_no_picture(found, advised):
    flat = replace(found.response, names=(), columns=())
    bare = replace(found, response=flat)
    assert optima(bare, advised) == "" == landscape(bare, advised)
    assert "optima" not in pictures(bare, advised)


def test_outcome__no_law__shows_what_was_reached_alone(found):
    with_law, without = outcome(found), outcome(replace(found, loss_law=None))
    assert "forecast, 90 %" in with_law and "forecast" not in without
    for svg in (with_law, without):
        assert "could have reached" in svg and "best recorded" in svg


def test_foretold_picture__names_of_logs__stay_text():
    evil = "<script>alert(1)</script> $x^2$"
    told = [replace(TOLD[0], label=evil)]

    class Study:
        """What the picture asks of one."""

        sign = 1.0
        question = type("Q", (), {"view": type("V", (), {"objective": "loss"})})

        def native(self, name):
            return evil

    svg = foretold_picture(Study(), told)
    assert "<script>" not in svg and "&lt;script&gt;" in svg


def law(form, parameters, names):
    return LossLaw(
        form, parameters, Forecast(2.0, 0.1, 5.0), {}, -0.1, 0.0, 6, names=names
    )


def test_law_along__power_law__is_its_formula():
    found = law(
        "power", {"E": 1.5, "A": 0.5, "exponent_params": 0.3}, ("params",)
    )
    axes = np.array([[0.0], [-10.0], [2.0]])
    wanted = 1.5 + 0.5 * 2.0 ** (-0.3 * axes[:, 0])
    assert law_along(found, axes) == pytest.approx(wanted)


@pytest.mark.parametrize("form", ["sum", "product"])
def test_law_along__two_coordinates__is_a_sum_or_a_product(form):
    parameters = {
        "E": 1.5,
        "A": 0.3,
        "B": 0.2,
        "exponent_params": 0.3,
        "exponent_tokens": 0.4,
    }
    found = law(form, parameters, ("params", "tokens"))
    axes = np.array([[0.0, 0.0], [-4.0, -3.0]])
    n, d = axes.T
    wanted = 1.5 + 0.3 * 2.0 ** (-(0.3 * n + 0.4 * d))
    if form == "sum":
        wanted = 1.5 + 0.3 * 2.0 ** (-0.3 * n) + 0.2 * 2.0 ** (-0.4 * d)
    assert law_along(found, axes) == pytest.approx(wanted)
