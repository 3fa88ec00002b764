"""A plan of one's own judged, by a policy and a law that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.deciding.check import check_configuration
from autollm.advisor.deciding.worth import NO_BENCHMARK, NO_LAW
from autollm.core.errors import QuestionError, SpaceError
from autollm.core.spaces.knobs import Knob
from tests.unit.advisor.stand_ins import law_of, study_of

RATES = tuple(2.0**k for k in range(-12, -3))
RATE = Knob("lr", "log", RATES)
OPTIMIZER = Knob("opt", "categorical", ("adamw", "lion"))


class Risk:
    """Rates above 2^-5 diverge with certainty, others as often as told."""

    because = "0 of 9 configurations diverged"

    def __init__(self, often=0.0):
        self._often = often

    def probability(self, points, optimum):
        if self._often is None:
            return None
        return np.where(points[:, 0] > -5.0, 1.0, self._often)

    def nearest(self, point, optimum):
        return None


def bowl(points):
    """A quarter of u an octave away from 2^-8, squared; lion loses .5."""
    off = points[:, 0] - -8.0
    worse = points[:, 2] * np.sqrt(2) if points.shape[1] > 1 else 0.0
    return 0.25 * off**2 + 0.5 * worse


def study(knobs=(RATE,), often=0.0, law=None, **more):
    found = study_of(knobs, bowl, law=law or law_of(), **more)
    space = found.question.space
    found.divergence = Risk(often)
    found.question.view = SimpleNamespace(candidates=space.grid)
    found.response = SimpleNamespace(names=("lr",), columns=(0,))
    found.optimum = np.array([-8.0])
    declared = SimpleNamespace(experiments=[SimpleNamespace(space=space)])
    found.evidence = SimpleNamespace(
        experiment_runs={},
        table=declared,
        constants={"data.tokenizer": "bpe", "depth": 8},
        columns={},
        runs=({"cells": {"data.tokenizer": "bpe", "depth": 8}},),
    )
    found.question.fidelity = {"params": 1e9}
    found.native = lambda name: name
    return found


def test_check_configuration__the_advice_itself__loses_nothing_and_is_fine():
    found = check_configuration(study(), {"lr": 2.0**-8})
    assert found.loses.mean == pytest.approx(0.0, abs=1e-9)
    assert found.compute_equivalent == pytest.approx(1.0)
    assert found.distance_to_optimum == {"lr": pytest.approx(0.0, abs=1e-6)}
    assert found.verdict == "fine"


@pytest.mark.parametrize("octaves", [-3.0, -1.0, 0.5, 2.0])
def test_check_configuration__so_many_octaves_off__loses_by_the_formula(
    octaves,
):
    given = {"lr": 2.0 ** (-8 + octaves)}
    found = check_configuration(study(), given)
    u = 0.25 * octaves**2
    lost = 0.4 * (u if u <= 1 else np.exp(u - 1))
    assert found.loses.mean == pytest.approx(lost, rel=1e-6)
    assert found.expected_regret.mean == pytest.approx(min(u, 1.0), rel=1e-6)
    assert found.distance_to_optimum["lr"] == pytest.approx(octaves, abs=1e-6)
    exponent = 0.05 / 0.5
    wasted = (1 + lost / 0.5) ** (np.log(2) / exponent)
    assert found.compute_equivalent == pytest.approx(wasted, rel=1e-6)
    assert found.verdict == ("fine" if wasted <= 1.05 else "wasteful")


def test_check_configuration__better_than_every_candidate__gains():
    coarse = study(knobs=(Knob("lr", "log", (2.0**-10, 2.0**-6)),))
    found = check_configuration(coarse, {"lr": 2.0**-8})
    assert found.loses.mean == pytest.approx(-0.4)
    assert found.compute_equivalent == 1.0
    assert found.verdict == "fine"


def test_check_configuration__above_the_cliff__is_risky_whatever_it_gives():
    found = check_configuration(study(), {"lr": 2.0**-4.5})
    assert found.p_diverge == 1.0 and found.verdict == "risky"


@pytest.mark.parametrize(
    ("often", "verdict"), [(0.2, "fine"), (0.21, "risky"), (None, "fine")]
)
def test_check_configuration__risk__is_too_large_above_a_fifth(often, verdict):
    found = check_configuration(study(often=often), {"lr": 2.0**-8})
    assert found.verdict == verdict
    assert found.p_diverge == often
    assert ("p_diverge" in found.missing) == (often is None)


@pytest.mark.parametrize("rate", [2.0**-13, 2.0**-20])
def test_check_configuration__beyond_what_was_tried__is_outside(rate):
    found = check_configuration(study(), {"lr": rate})
    assert found.verdict == "outside"


def test_check_configuration__breaks_a_constraint__is_infeasible_before_all():
    found = check_configuration(
        study(keeps=lambda points: points[:, 0] <= -6.0), {"lr": 2.0**-4}
    )
    assert found.p_diverge == 1.0 and found.verdict == "infeasible"


def test_check_configuration__category__has_no_distance_to_an_optimum():
    given = {"lr": 2.0**-8, "opt": "lion"}
    found = check_configuration(study(knobs=(RATE, OPTIMIZER)), given)
    assert found.distance_to_optimum["opt"] is None
    assert found.configuration == {"lr": 0.003906, "opt": "lion"}
    assert found.loses.mean == pytest.approx(0.2)
    assert found.verdict == "wasteful"


@pytest.mark.parametrize(
    ("sign", "reason"), [(1.0, NO_LAW), (-1.0, NO_BENCHMARK)]
)
def test_check_configuration__no_law__says_why_numbers_are_missing(
    sign, reason
):
    given = study()
    given.loss_law = None
    given.sign = sign
    found = check_configuration(given, {"lr": 2.0**-6})
    assert found.predicted is None and found.loses is None
    for name in ("predicted", "loses", "compute_equivalent"):
        assert found.missing[name] == reason
    assert found.verdict == "wasteful"  # more than a quarter of median - best
    near = check_configuration(given, {"lr": 2.0**-7.5})
    assert near.verdict == "fine"


def test_check_configuration__knob_left_out__is_named():
    with pytest.raises(QuestionError, match="lacks lr"):
        check_configuration(study(), {"rate": 0.1})


@pytest.mark.parametrize("rate", [0.0, -0.1, float("inf")])
def test_check_configuration__rate_that_cannot_be__is_refused(rate):
    with pytest.raises(SpaceError, match="lr="):
        check_configuration(study(), {"lr": rate})


def test_check_configuration__category_nobody_tried__names_the_nearest():
    given = {"lr": 0.01, "opt": "adam"}
    with pytest.raises(SpaceError, match="did you mean 'adamw'"):
        check_configuration(study(knobs=(RATE, OPTIMIZER)), given)


def diverged_study(run_config):
    given = study()
    given.divergence.nearest = lambda point, optimum: (0, 1)
    given.rows = (SimpleNamespace(points=np.array([[-8.0], [-4.0]])),)
    first = SimpleNamespace(experiment_id="e", label="s/N=1e8")
    given.question.levels = (0,)
    given.question.table = SimpleNamespace(experiments=[first])
    run = {
        "run_id": "r7",
        "raw_file": "a.csv",
        "status": "diverged",
        "config_json": run_config,
    }
    given.evidence.experiment_runs["e"] = [run | {"status": "finished"}, run]
    return given


def test_check_configuration__diverged_run_nearby__is_named_with_its_file():
    found = check_configuration(
        diverged_study('{"lr": 0.0625}'), {"lr": 2.0**-4}
    )
    near = found.nearest_diverged
    assert (near["run_id"], near["file"]) == ("r7", "a.csv")
    assert near["experiment"] == "s/N=1e8"
    assert near["configuration"] == {"lr": 0.0625}


def test_check_configuration__diverged_place_without_its_run__still_told():
    found = check_configuration(
        diverged_study('{"lr": 0.001}'), {"lr": 2.0**-4}
    )
    near = found.nearest_diverged
    assert near["run_id"] is None and near["file"] is None
    assert near["configuration"] == {"lr": 0.0625}


def test_check_configuration__worse_than_any_run__no_number_and_the_reason():
    found = check_configuration(study(worst_seen=3.0), {"lr": 2.0**-4})
    assert found.predicted is None and found.loses is None
    assert found.compute_equivalent is None
    for name in ("predicted", "loses", "compute_equivalent"):
        assert "it loses more than 3" in found.missing[name]  # .4 e^2
    nearer = check_configuration(study(worst_seen=3.0), {"lr": 2.0**-6})
    assert nearer.loses.mean == pytest.approx(0.4)


def test_check_configuration__plan_and_advice__three_numbers_are_one():
    found = check_configuration(study(), {"lr": 2.0**-6})
    gap = found.predicted.mean - found.advised_predicted.mean
    assert found.loses.mean == pytest.approx(gap)
    assert found.advised == {"lr": 0.003906}
    assert found.optimum == {"lr": 0.003906}


def test_check_configuration__value_beyond_what_was_tried__says_the_ends():
    found = check_configuration(study(), {"lr": 2.0**-13})
    assert found.beyond == {"lr": [pytest.approx(2.0**-12, rel=1e-3), 0.0625]}
    assert check_configuration(study(), {"lr": 2.0**-8}).beyond == {}


def test_check_configuration__centre_beside_the_least_expected__optimum_is_the_latter():
    found = study()
    found.optimum = np.array([-6.0])  # of one fit, where the draws say -8
    told = check_configuration(found, {"lr": 2.0**-8})
    assert told.distance_to_optimum["lr"] == pytest.approx(0.0, abs=1e-6)
    assert told.optimum["lr"] == pytest.approx(2.0**-8, rel=1e-3)


def test_check_configuration__plan_that_says_other_things__is_told_them():
    plan = {"lr": 2.0**-8, "tokenizer": "byte", "depth": 8.0}
    found = check_configuration(study(), plan)
    assert found.otherwise == {"tokenizer": ["byte", "bpe"]}


def test_check_configuration__plan_as_all_runs_were__has_nothing_otherwise():
    plan = {"lr": 2.0**-8, "tokenizer": "BPE", "depth": 8}
    assert check_configuration(study(), plan).otherwise == {}


def test_check_configuration__optimum_at_the_end__may_lie_beyond():
    inside = check_configuration(study(), {"lr": 2.0**-6})
    assert inside.open_end == {}
    low = study((Knob("lr", "log", RATES[5:]),))
    high = study((Knob("lr", "log", RATES[:4]),))
    assert check_configuration(low, {"lr": 2.0**-6}).open_end == {"lr": "below"}
    assert check_configuration(high, {"lr": 2.0**-10}).open_end == {
        "lr": "above"
    }
