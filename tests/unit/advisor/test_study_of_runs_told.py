"""What runs at the target change of a study, and what a study says of its own record,
for a policy and a law that are known.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.deciding.decide import Backtest, chance_of_best, choose
from autollm.advisor.deciding.study import Noise, Study, after
from autollm.advisor.statistics.told import Tried
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from tests.unit.advisor.stand_ins import KnownPolicy, law_of

SPACE = Space((Knob("lr", "log", tuple(2.0**k for k in range(-12, -3))),))
SPREAD = 0.4


def bowl(points):
    return 0.25 * (points[:, 0] - -8.0) ** 2


def study(law=None, noise_sd=0.05, shifts=(0.0,), direction="min", **changes):
    """A study of nothing but a policy, a law and a noise."""
    nothing = dict.fromkeys(Study.__dataclass_fields__)
    view = SimpleNamespace(direction=direction)
    fields = nothing | {
        "question": SimpleNamespace(space=SPACE, view=view, levels=(0, 1)),
        "policy": KnownPolicy(bowl, shifts),
        "response": SimpleNamespace(scatter_sd=0.0),
        "narrowed": 1.0,
        "loss_law": law or law_of(mean=2.0, sd=0.1),
        "noise": Noise(noise_sd, "replicas"),
        "backtests": (),
        "ends": (),
        "tried": (),
    }
    found = Study(**(fields | changes))
    known = {"spread": SPREAD, "regret_error": None, "lowest_expected": 0.0}
    found.__dict__.update(known)
    return found


def tried(octaves, loss, status="finished"):
    return Tried(np.array([-8.0 + octaves]), loss, status)


def test_after__run_at_the_optimum__level_follows_it_as_far_as_it_is_surer():
    found = after(study(), [tried(0.0, 1.8)])
    assert 1.8 < found.loss_law.forecast.mean < 1.86
    assert found.loss_law.forecast.sd < 0.07
    assert study().loss_law.forecast.mean == 2.0


@pytest.mark.parametrize("octaves", [-2.0, 1.0, 1.5])
def test_after__run_off_the_optimum__shows_its_loss_less_what_it_was_to_lose(
    octaves,
):
    lost = SPREAD * 0.25 * octaves**2
    off = after(study(), [tried(octaves, 1.8 + lost)]).loss_law.forecast
    at = after(study(), [tried(0.0, 1.8)]).loss_law.forecast
    assert at.mean < off.mean < 2.0  # rows far from an optimum scatter more
    assert off.sd > at.sd


def test_after__draws_that_differ__a_run_says_less():
    sure = after(study(), [tried(0.0, 2.0)]).loss_law.forecast
    unsure = after(study(shifts=(-0.5, 0.5)), [tried(0.0, 2.0)])
    assert unsure.loss_law.forecast.sd > sure.sd


def test_after__worse_than_foretold__draws_that_said_so_weigh_more():
    found = after(study(shifts=(0.0, 0.8)), [tried(0.0, 2.3)])
    assert found.policy.weights[1] > 0.8
    assert found.loss_law.forecast.mean < 2.15


@pytest.mark.parametrize(
    "run",
    [
        tried(0.0, math.nan, "diverged"),
        tried(0.0, 1.0, "killed"),
        tried(0.0, 1.0, "running"),
        tried(0.0, math.nan),
        tried(0.0, math.inf),
    ],
)
def test_after__run_without_an_outcome__moves_no_forecast(run):
    found = after(study(), [run])
    assert found.loss_law.forecast == study().loss_law.forecast
    assert found.tried == (run,)


def test_after__no_law__differences_are_weighed_all_the_same():
    nothing = {"loss_law": None, "policy": Slopes()}
    found = after(study(**nothing), [tried(0.0, 2.0), tried(1.0, 2.4)])
    assert found.loss_law is None
    assert found.policy.weights[0] > 0.9


def test_after__study_before__stays_what_it_was():
    before = study(shifts=(0.0, 0.8))
    after(before, [tried(0.0, 2.3)])
    assert before.policy.weights.tolist() == [0.5, 0.5] and before.tried == ()


class Slopes(KnownPolicy):
    """Two worlds: the rate is best at -8 octaves, or at -7."""

    def __init__(self):
        super().__init__(bowl, (0.0, 0.0))

    def sampled(self, points):
        off = points[:, 0] + np.array([[8.0], [7.0]])
        return off**2


def backtest(u, predicted, policy="known"):
    return Backtest(policy, "t", 8.0, 0.1, 0.1, predicted, u)


@pytest.mark.parametrize(
    ("gaps", "optimism"),
    [
        ((), 0.0),
        ((0.5,), 0.1),
        ((0.5, 0.3), 0.8 / 6),
        ((-0.5,), 0.0),
        ((0.5, -0.1), 0.4 / 6),
    ],
)
def test_optimism__own_backtests__are_shrunk_as_if_four_more_had_shown_none(
    gaps, optimism
):
    tests = [backtest(0.2 + gap, 0.2) for gap in gaps]
    tests.append(backtest(9.0, 0.0, "other"))
    found = study(backtests=tuple(tests))
    assert found.optimism == pytest.approx(optimism)
    assert len(found.own_backtests) == len(gaps)


def test_is_prior__one_level__says_that_nothing_moves_optima():
    one = SimpleNamespace(space=SPACE, view=None, levels=(0,))
    assert study(question=one).is_prior and not study().is_prior


def view_of(points):
    return SimpleNamespace(candidates=np.asarray(points, float)[:, None])


class Particles:
    """Two worlds, in each of which another candidate is best."""

    weights = np.array([0.7, 0.3])

    def sampled(self, points):
        x = points[:, 0]
        return np.array([np.abs(x - 0.0), np.abs(x - 4.0)])


def test_choose__two_worlds__second_proposal_covers_the_other_one():
    found = choose(Particles(), view_of([0.0, 1.0, 4.0]), 2)
    assert found.points[:, 0].tolist() == [0.0, 4.0]
    wanted = chance_of_best(np.array([0.7, 0.3]), 3)
    assert found.probability_best.tolist() == pytest.approx(wanted.tolist())


def test_choose__more_asked_for_than_there_are__is_all_of_them():
    found = choose(Particles(), view_of([0.0, 4.0]), 9)
    assert len(found.points) == 2


def ran(place, loss=2.0, status="finished"):
    return Tried(np.array([place]), loss, status)


def test_choose__candidate_that_was_run__is_not_proposed_again():
    found = choose(Particles(), view_of([0.0, 1.0, 4.0]), 1, tried=[ran(0.01)])
    assert found.points[0, 0] == 4.0  # the world in which 0 was run has it


def test_choose__run_without_an_outcome__is_spent_and_nothing_to_beat():
    killed = [ran(0.0, math.nan, "killed")]
    found = choose(Particles(), view_of([0.0, 1.0, 4.0]), 1, tried=killed)
    assert found.points[0, 0] == 1.0  # the likelier world still needs a run


def test_choose__everything_was_run__proposes_nothing():
    every = [ran(0.0), ran(4.0)]
    found = choose(Particles(), view_of([0.0, 4.0]), 2, tried=every)
    assert found.points.shape == (0, 1)


@pytest.mark.parametrize(("risk", "first"), [(0.0, 0.0), (0.9, 1.0)])
def test_choose__risk_of_divergence__costs_a_whole_regret(risk, first):
    """At 0 the expected u is 1.2 without risk; capped worlds cost 1."""

    class Flat(Particles):
        def sampled(self, points):
            return np.tile(0.1 * points[:, 0], (2, 1))

    p = np.array([risk, 0.0, 0.0])
    found = choose(Flat(), view_of([0.0, 1.0, 4.0]), 1, p_diverge=p)
    assert found.points[0, 0] == first
