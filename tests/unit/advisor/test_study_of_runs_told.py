"""What runs at the target change of a study, and what a study says of its own record,
for a policy and a law that are known.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.decide import Backtest, chance_of_best, choose
from autollm.advisor.study import Noise, Study, Tried, after
from autollm.core.knobs import Knob
from autollm.core.space import Space
from tests.unit.advisor.stand_ins import KnownPolicy, law_of

FEW = settings(max_examples=40)
SPACE = Space((Knob("lr", "log", tuple(2.0**k for k in range(-12, -3))),))
SPREAD = 0.4


class Listening(KnownPolicy):
    """Keeps what it is told."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.told = []

    def tell(self, trial):
        self.told.append(trial)


def bowl(points):
    return 0.25 * (points[:, 0] - -8.0) ** 2


def study(law=None, noise_sd=0.05, shifts=(0.0,), direction="min", **changes):
    """A study of nothing but a policy, a law and a noise."""
    nothing = dict.fromkeys(Study.__dataclass_fields__)
    view = SimpleNamespace(direction=direction)
    fields = nothing | {
        "question": SimpleNamespace(space=SPACE, view=view, levels=(0, 1)),
        "policy": Listening(bowl, shifts),
        "loss_law": law or law_of(mean=2.0, sd=0.1),
        "noise": Noise(noise_sd, "replicas"),
        "backtests": (),
        "ends": (),
        "tried": (),
    }
    found = Study(**(fields | changes))
    found.__dict__["spread"] = SPREAD
    return found


def tried(octaves, loss, status="finished"):
    return Tried(np.array([-8.0 + octaves]), loss, status)


def test_after__run_at_the_optimum__is_two_normals_multiplied():
    found = after(study(), [tried(0.0, 1.8)]).loss_law.forecast
    share = 0.1**2 / (0.1**2 + 0.05**2)
    assert found.mean == pytest.approx(2.0 + share * (1.8 - 2.0))
    assert found.sd == pytest.approx(0.1 * math.sqrt(1 - share))


@pytest.mark.parametrize("octaves", [-2.0, 1.0, 1.5])
def test_after__run_off_the_optimum__shows_its_loss_less_what_it_was_to_lose(
    octaves,
):
    lost = SPREAD * 0.25 * octaves**2
    off = after(study(), [tried(octaves, 1.8 + lost)]).loss_law.forecast
    at = after(study(), [tried(0.0, 1.8)]).loss_law.forecast
    assert off.mean == pytest.approx(at.mean)
    assert off.sd == pytest.approx(at.sd)


def test_after__draws_that_differ__a_run_says_less():
    sure = after(study(), [tried(0.0, 1.8)]).loss_law.forecast
    unsure = after(study(shifts=(-0.5, 0.5)), [tried(0.0, 1.8)])
    forecast = unsure.loss_law.forecast
    variance = 0.05**2 + (SPREAD * 0.5) ** 2
    share = 0.1**2 / (0.1**2 + variance)
    assert forecast.mean == pytest.approx(2.0 - share * 0.2)
    assert forecast.sd > sure.sd


def test_after__noise_that_nobody_measured__is_a_tenth_of_the_spread():
    found = after(study(noise_sd=None), [tried(0.0, 1.8)]).loss_law.forecast
    share = 0.1**2 / (0.1**2 + (0.1 * SPREAD) ** 2)
    assert found.mean == pytest.approx(2.0 - share * 0.2)


@FEW
@given(st.lists(st.floats(1.0, 3.0), min_size=1, max_size=6))
def test_after__several_runs__are_the_posterior_of_all_in_any_order(losses):
    runs = [tried(0.0, loss) for loss in losses]
    found = after(study(), runs).loss_law.forecast
    precision = 1 / 0.1**2 + len(losses) / 0.05**2
    mean = (2.0 / 0.1**2 + sum(losses) / 0.05**2) / precision
    assert found.mean == pytest.approx(mean)
    assert found.sd == pytest.approx(precision**-0.5)
    again = after(study(), runs[::-1]).loss_law.forecast
    assert again.mean == pytest.approx(found.mean)


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
    (trial,) = found.policy.told
    assert math.isnan(trial.loss)
    assert trial.diverged == (run.status == "diverged")


def test_after__no_law__the_policy_is_told_all_the_same():
    found = study()
    found = after(
        Study(
            **(
                {n: getattr(found, n) for n in Study.__dataclass_fields__}
                | {"loss_law": None}
            )
        ),
        [tried(1.0, 2.0)],
    )
    assert found.loss_law is None
    (trial,) = found.policy.told
    assert trial.number == 1 and trial.point == (-7.0,)
    assert trial.configuration == {"lr": 0.0078125}
    assert trial.loss == trial.objective == 2.0


def test_after__objective_to_be_maximized__is_told_in_its_own_sign():
    found = after(study(direction="max"), [tried(0.0, -0.8)])
    assert found.sign == -1.0
    (trial,) = found.policy.told
    assert (trial.loss, trial.objective) == (-0.8, 0.8)


def test_after__policy_that_cannot_be_told__still_corrects_the_law():
    found = after(study(policy=KnownPolicy(bowl)), [tried(0.0, 1.8)])
    assert found.loss_law.forecast.mean < 2.0


def test_tried_points__none_and_some__have_their_width():
    assert study().tried_points.shape == (0, 1)
    found = after(study(), [tried(0.0, 1.8), tried(1.0, 1.9)])
    assert found.tried_points.tolist() == [[-8.0], [-7.0]]


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


def test_choose__candidate_that_was_run__is_not_proposed_again():
    found = choose(
        Particles(), view_of([0.0, 1.0, 4.0]), 1, tried=np.array([[0.01]])
    )
    assert found.points[0, 0] == 4.0  # the world in which 0 was run has it


def test_choose__everything_was_run__proposes_nothing():
    every = np.array([[0.0], [4.0]])
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
