"""The belief on runs that nobody made, against a Gaussian conditioned by hand; and where
cheap runs are looked for.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from autollm.advisor.deciding.belief import (
    CENTRE_SD,
    FLOOR_SD,
    LEAST_NOISE,
    NOISE_GROWTH,
    Belief,
    Runs,
)
from autollm.advisor.deciding.cheap_runs import MOST_COST, batches_of, places_of
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from tests.unit.advisor.studies import study_of as sweep_study

RATES = tuple(2.0**k for k in range(-12, -3))
SPACE = Space((Knob("lr", "log", RATES),))
TARGET_Z = np.array([30.0])
Z = (24.0, 26.0, 28.0)


def optimum_at(z):
    """Half an octave lower for each octave of size."""
    return -8.0 - 0.5 * (z - 26.0)


def study(noise=0.0, shift=(0.0, 0.0, 0.0), factor=1.0, curvature=0.2):
    """Three levels of noise-free bowls u = curvature x^2, told as their own fit."""
    rng = np.random.default_rng(0)
    rows = []
    levels = []
    for z, moved in zip(Z, shift, strict=True):
        points = np.log2(RATES)[:, None]
        u = curvature * (points[:, 0] - optimum_at(z)) ** 2
        loss = factor * (u + noise * rng.normal(size=len(u))) + moved
        rows.append(SimpleNamespace(points=points, loss=loss, z=np.array([z])))
        levels.append(
            SimpleNamespace(
                scale=factor, stretch=1.0, raw_best=float(loss.min())
            )
        )
    response = SimpleNamespace(
        columns=(0,),
        names=("lr",),
        levels=levels,
        scatter_sd=factor * max(noise, 1e-6),
        curvature=np.array([[curvature]]),
    )
    view = SimpleNamespace(space=SPACE, fidelity_names=("params",))
    question = SimpleNamespace(space=SPACE, view=view, target_z=TARGET_Z)
    return SimpleNamespace(
        rows=rows, response=response, question=question, trends={}
    )


@pytest.fixture(scope="module")
def belief():
    return Belief(study(noise=0.02))


def runs_at(z, *points):
    return Runs.at(np.array(points, float)[:, None], np.array([z]))


def conditioned(belief, factor, length, runs):
    """Mean and covariance of runs by the textbook, from the belief's own prior."""
    seen, u = belief.evidence
    levels = np.searchsorted(Z, seen.z[:, 0])
    noise = belief.noise(levels, u)
    prior = belief.prior_covariance(seen, seen, factor, length)
    across = belief.prior_covariance(runs, seen, factor, length)
    solver = cho_factor(prior + np.diag(noise**2))
    off = u - belief.prior_mean(seen, factor)
    mean = belief.prior_mean(runs, factor) + across @ cho_solve(solver, off)
    own = belief.prior_covariance(runs, runs, factor, length)
    return mean, own - across @ cho_solve(solver, across.T)


def test_belief__any_runs__are_the_gaussian_conditioned_on_the_rows(belief):
    runs = Runs.joined(
        [runs_at(30.0, -11.0, -9.0), runs_at(26.0, -8.0), runs_at(22.0, -5.0)]
    )
    outlooks = belief.of(runs)
    assert sum(o.weight for o in outlooks) == pytest.approx(1.0, abs=5e-3)
    found = []
    for factor in (0.5, 0.7, 1.0, 1.4, 2.0):
        mean, covariance = conditioned(belief, factor, 1.0, runs)
        for outlook in outlooks:
            if np.allclose(outlook.mean, mean, atol=1e-6):
                assert outlook.covariance == pytest.approx(covariance, abs=1e-6)
                found.append(outlook)
    assert len(found) == len(outlooks)


def test_belief__bowls_of_the_fitted_curvature__weigh_its_factor_most(belief):
    outlooks = belief.of(runs_at(30.0, -10.0, -9.0))
    best = max(outlooks, key=lambda o: o.weight)
    mean, _ = conditioned(belief, 1.0, 1.0, runs_at(30.0, -10.0, -9.0))
    assert best.mean == pytest.approx(mean)


@pytest.mark.parametrize("z", [24.0, 26.0, 28.0, 30.0])
def test_centre__levels_and_target__is_the_optimum_that_moves(belief, z):
    assert belief.centre(np.array([z]))[0] == pytest.approx(
        optimum_at(z), abs=0.4
    )


def test_belief__run_that_was_made__is_expected_as_it_came_out(belief):
    seen, u = belief.evidence
    mean = sum(o.weight * o.mean for o in belief.of(seen))
    assert mean == pytest.approx(u, abs=0.1)


def test_belief__size_where_nothing_was_run__has_a_floor_of_its_own(belief):
    """Alone such a run says nothing; two of them differ by what the bowl says."""
    (outlook,) = [
        max(belief.of(runs_at(22.0, -9.0, -8.0)), key=lambda o: o.weight)
    ]
    alone = np.sqrt(np.diag(outlook.covariance))
    assert (alone > 0.9 * FLOOR_SD).all()
    a, b = outlook.covariance[0, 0], outlook.covariance[1, 1]
    between = a + b - 2 * outlook.covariance[0, 1]
    assert between < 0.1 * FLOOR_SD**2


def test_belief__losses_of_a_level_shifted__changes_nothing():
    """Only differences within an experiment mean something."""
    here = Belief(study(noise=0.02))
    there = Belief(study(noise=0.02, shift=(5.0, -3.0, 100.0)))
    for z in (24.0, 30.0):
        assert there.centre(np.array([z])) == pytest.approx(
            here.centre(np.array([z])), abs=1e-6
        )


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_belief__losses_in_another_unit__changes_nothing(factor):
    here = Belief(study(noise=0.02))
    there = Belief(study(noise=0.02, factor=factor))
    assert there.curvature == pytest.approx(here.curvature)
    assert there.centre(TARGET_Z) == pytest.approx(
        here.centre(TARGET_Z), abs=1e-6
    )


def test_prior_covariance__any_runs__is_a_covariance(belief):
    rng = np.random.default_rng(1)
    points = rng.uniform(-12, -4, (12, 1))
    runs = Runs(points, rng.choice([24.0, 30.0, 33.0], (12, 1)))
    for factor in (0.5, 2.0):
        found = belief.prior_covariance(runs, runs, factor, 1.0)
        assert found == pytest.approx(found.T)
        assert np.linalg.eigvalsh(found).min() > -1e-8


def test_prior_covariance__run_at_the_origin__is_its_floor_alone(belief):
    """There the pull of the unknown centre is nothing, and of any other it is not."""
    origin = belief.prior_centre(TARGET_Z)[0]
    runs = runs_at(30.0, origin, origin + 2.0)
    found = belief.prior_covariance(runs, runs, 1.0, 1.0)
    assert found[0, 0] == pytest.approx(FLOOR_SD**2)
    pull = (2 * 2.0 * belief.curvature[0, 0]) ** 2
    assert found[1, 1] >= FLOOR_SD**2 + pull * CENTRE_SD**2


def test_noise__grows_with_what_is_expected__and_has_a_least(belief):
    levels = np.zeros(3, dtype=int)
    found = belief.noise(levels, np.array([0.0, 1.0, 50.0]))
    least = belief.noise(levels[:1], np.zeros(1))[0]
    assert least >= LEAST_NOISE
    assert found == pytest.approx(
        [least, least + NOISE_GROWTH, least + 2 * NOISE_GROWTH]
    )


def test_runs__joined_and_at__stand_in_order():
    one, other = runs_at(1.0, 3.0), runs_at(2.0, 4.0, 5.0)
    joined = Runs.joined([one, other])
    assert len(joined) == 3
    assert joined.points[:, 0].tolist() == [3.0, 4.0, 5.0]
    assert joined.z[:, 0].tolist() == [1.0, 2.0, 2.0]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    found = sweep_study(
        tmp_path_factory.mktemp("sweep"), params=7e9, tokens=1.4e11
    )
    return found, Belief(found)


def test_places_of__sweep__begin_with_its_levels_and_none_is_expensive(sweep):
    found, _ = sweep
    places = places_of(found)
    kinds = [place.kind for place in places]
    n = len(found.question.levels)
    assert kinds[:n] == ["level"] * n and "level" not in kinds[n:]
    most = MOST_COST * found.question.compute_flops
    for place in places:
        assert 0 < place.cost["flops"] <= most
        assert place.cost["flops"] == pytest.approx(
            6 * place.fidelity["params"] * place.fidelity["tokens"], rel=1e-2
        )
        assert list(place.fidelity) == ["params", "tokens"]


def test_places_of__sweep__are_each_fidelity_once_and_typed_in_three_digits(
    sweep,
):
    found, _ = sweep
    places = places_of(found)
    seen = {tuple(np.round(place.z, 2)) for place in places}
    assert len(seen) == len(places)
    for place in places:
        if place.kind != "level":
            for value in place.fidelity.values():
                assert float(f"{value:.3g}") == value


def test_places_of__off_the_ray__move_one_coordinate_alone(sweep):
    found, _ = sweep
    levels = [rows.z for rows in found.rows]
    rays = [p for p in places_of(found) if p.kind == "ray"]
    assert rays
    for place in rays:
        gaps = [np.abs(place.z - z) for z in levels]
        moved = [np.sort(gap) for gap in gaps]
        assert any(g[0] < 0.01 and abs(g[1] - 2) < 0.01 for g in moved)


def test_batches_of__sweep__are_feasible_runs_that_a_person_can_make(sweep):
    found, belief = sweep
    batches = batches_of(found, belief)
    keys = set()
    for batch in batches:
        assert len(batch.points) >= 1 and len(batch.runs) == len(batch.points)
        for point in batch.points:
            configuration = found.question.space.decode(point)
            assert float(configuration["batch_size"]).is_integer()
        keys.add((batch.place.z.tobytes(), batch.points.tobytes()))
        if batch.place.kind != "level":
            assert len(batch.points) > 1  # alone it would say nothing
    assert len(keys) == len(batches)


def test_batches_of__sweep__cost_so_many_runs(sweep):
    found, belief = sweep
    for batch in batches_of(found, belief)[:20]:
        one = batch.place.cost["flops"]
        assert batch.cost("flops") == pytest.approx(len(batch.points) * one)
        assert batch.cost("device_hours") == np.inf  # nobody logged them
