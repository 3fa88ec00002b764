"""Transfer without a fitted slope, and what rules that name an optimum expect of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.view import EvidenceTable
from autollm.policies.base import Predictive
from autollm.policies.registry import make_policy
from autollm.policies.rules.parametrization_rule import parametrization_of
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

SPACE = Space(
    (
        Knob(
            "lr",
            "log",
            tuple(2.0 ** np.arange(-14.0, -3.0)),
            step=1.0,
            role="rate",
        ),
        Knob(
            "batch",
            "log",
            tuple(2.0 ** np.arange(4.0, 15.0)),
            step=1.0,
            role="size",
        ),
        Knob("warmup", "linear", (0.0, 0.1, 0.2), step=0.1),
    )
)
OPTIMUM = np.array([-8.0, 8.0, 1.0])
RATE_UP = np.array([1.0, 0.0, 0.0])
TABLE = make_table(noise=0.02)
PREDICTING = [
    "parametrization-rule",
    "power-law",
    "moving-bowl",
    "moving-bowl-gp",
    "gp",
]


def bowl(z, optimum=OPTIMUM, noise=0.0):
    """A cheap experiment at log2 fidelity z whose losses are a bowl."""
    points = SPACE.grid
    loss = 2 + 0.1 * np.sum((points - optimum) ** 2, axis=1)
    loss = loss + noise * np.random.default_rng(0).normal(size=len(loss))
    flops = 6 * 2.0 ** float(np.sum(z))
    return EvidenceTable("e", np.array(z), points, loss, loss > 99, flops)


def reset_on(
    evidence, context=None, target_z=(14.0, 24.0), policy="parametrization-rule"
):
    view = draw(make_task(TABLE), TABLE, 0).view
    view = replace(
        view,
        space=SPACE,
        candidates=SPACE.grid,
        fidelity_names=("params", "tokens"),
        target_z=np.array(target_z),
        evidence=tuple(evidence),
        context=context or {},
    )
    made = make_policy(policy)
    made.reset(view, np.random.default_rng(0))
    return made


@pytest.mark.parametrize(
    ("context", "moved"),
    [
        ({}, [-2.0, 1.0, 0.0]),
        ({"parametrization": "standard"}, [-2.0, 1.0, 0.0]),
        ({"parametrization": "muP"}, [0.0, 1.0, 0.0]),
        ({"Parametrization": "Complete-P"}, [0.0, 1.0, 0.0]),
        ({"optimizer": "mup"}, [-2.0, 1.0, 0.0]),
    ],
)
def test_parametrization_rule__four_octaves_of_params_two_of_tokens__moves_as_declared(
    context, moved
):
    policy = reset_on(
        [bowl((8.0, 20.0), OPTIMUM + 3), bowl((10.0, 22.0))], context
    )
    assert policy.centre == pytest.approx(OPTIMUM + moved, abs=1e-3)
    first = SPACE.encode(policy.ask()[0])
    assert first == pytest.approx(OPTIMUM + moved, abs=1e-6)
    assert ("lr as params^-0.5" in policy.explain()) == (moved[0] != 0)


def test_parametrization_of__spellings__are_one_name():
    for said in ("muP", "mu-P", "\N{GREEK SMALL LETTER MU}P", "maximal update"):
        assert parametrization_of({"parametrization": said}) == "mup"
    assert parametrization_of({}) == ""


def test_parametrization_rule__other_fidelities_or_scales__stay():
    table = make_mixed_table()
    view = replace(draw(make_task(table), table, 0).view, fidelity_names=("x",))
    policy = make_policy("parametrization-rule")
    policy.reset(view, np.random.default_rng(0))
    assert not policy.slopes.any() and "nothing moves" in policy.explain()


def test_parametrization_rule__no_evidence__begins_in_the_middle_and_expects_nothing():
    policy = reset_on([])
    assert policy.centre == pytest.approx(SPACE.window.mean(axis=0))
    assert np.isnan(policy.predict([SPACE.decode(OPTIMUM)])[0]).all()


def test_rule__levels_that_obey_it__is_sure_of_the_place_and_of_the_form():
    levels = [
        bowl((8.0, 20.0), OPTIMUM - [-1, 1, 0], 0.01),
        bowl((10.0, 22.0), noise=0.01),
    ]
    policy = reset_on(levels)
    assert policy.loss_around.shift_sd == pytest.approx([0, 0, 0], abs=0.1)
    here = SPACE.decode(policy.centre)
    away = SPACE.decode(policy.centre + RATE_UP * 2)
    mean, sd = policy.predict([here, away])
    assert abs(mean[0]) < 0.1 and mean[1] - mean[0] > 0.03 and (sd > 0).all()


def test_rule__levels_that_break_it__says_so_in_its_width():
    obeyed = reset_on(
        [bowl((8.0, 20.0), OPTIMUM - [-1, 1, 0]), bowl((10.0, 22.0))]
    )
    broken = reset_on(
        [bowl((8.0, 20.0), OPTIMUM + RATE_UP * 3), bowl((10.0, 22.0))]
    )
    at = [SPACE.decode(obeyed.centre + RATE_UP)]
    assert broken.predict(at)[1][0] > 2 * obeyed.predict(at)[1][0]
    assert broken.predict(at)[0][0] > obeyed.predict(at)[0][0]


@pytest.mark.parametrize("policy_id", PREDICTING)
def test_predictive_policy__any_candidate__mean_and_sd_are_finite_and_order_the_middle(
    policy_id,
):
    view = draw(make_task(TABLE), TABLE, 0).view
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    assert isinstance(policy, Predictive)
    configurations = [view.space.decode(c) for c in view.candidates]
    mean, sd = policy.predict(configurations)
    assert mean.shape == sd.shape == (len(configurations),)
    assert np.isfinite(mean).all() and (sd > 0).all()
    first = view.space.encode(policy.ask()[0])
    expected = policy.predict([view.space.decode(first)])[0][0]
    assert expected <= np.quantile(mean, 0.1), (
        "what comes first is expected to be good"
    )
