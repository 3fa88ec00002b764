from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.statistics.response import fit_response
from autollm.advisor.statistics.rows import Rows
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

SPACE = Space(
    (
        Knob("lr", "log", tuple(2.0 ** np.arange(-12, -5.9, 0.5)), step=0.5),
        Knob("bs", "log", tuple(2.0 ** np.arange(4, 10.1))),
    )
)


def experiment(optimum, n=None, noise=0.0, seed=0, floor=2.0) -> Rows:
    """A quadratic bowl around `optimum`, of `n` rows of the grid drawn at random."""
    rng = np.random.default_rng(seed)
    points = SPACE.grid
    if n is not None:
        points = points[rng.choice(len(points), n, replace=False)]
    off = points - np.asarray(optimum)
    loss = floor + 0.02 * off[:, 0] ** 2 + 0.01 * off[:, 1] ** 2
    loss = loss + noise * rng.normal(size=len(points))
    return Rows("e", np.zeros(1), points, loss, np.zeros(len(points), bool))


def test_fit_response__bowls_without_noise__optima_and_minima_are_found():
    wanted = [(-9.0, 7.0), (-8.3, 7.6)]
    found = fit_response(SPACE, [experiment(o) for o in wanted])
    for level, optimum in zip(found.levels, wanted, strict=True):
        np.testing.assert_allclose(level.optimum, optimum, atol=0.02)
        assert abs(level.reached - 2.0) < 0.001
        assert level.bracketed


def test_fit_response__many_and_few_noisy_rows__minimum_is_not_the_raw_best():
    rng = np.random.default_rng(3)
    gaps = []
    for seed in rng.integers(1e6, size=20):
        many = experiment((-9, 7), noise=0.02, seed=int(seed))
        few = experiment((-9, 7), n=14, noise=0.02, seed=int(seed) + 1)
        levels = fit_response(SPACE, [many, few]).levels
        gaps.append([level.reached - 2 for level in levels])
        assert levels[1].reached_sd > levels[0].reached_sd
        assert levels[0].raw_best < levels[0].reached
    many_gap, few_gap = np.mean(gaps, axis=0)
    assert abs(many_gap - few_gap) < 0.01  # the raw bests differ by .02


def test_fit_response__optimum_beyond_the_rows__is_an_edge():
    found = fit_response(SPACE, [experiment((-4.5, 7)), experiment((-4.8, 7))])
    assert [level.edge[0] for level in found.levels] == [1, 1]
    assert not found.levels[0].bracketed
    assert found.levels[0].optimum[0] <= -6  # within its own rows


def test_fit_response__saddle__curvature_is_made_positive():
    rows = experiment((-9, 7))
    saddle = Rows("s", rows.z, rows.points, rows.loss * 0 + 1, rows.diverged)
    off = rows.points - np.array([-9, 7])
    bent = 2 + 0.02 * off[:, 0] ** 2 - 0.005 * off[:, 1] ** 2
    saddle = Rows("s", rows.z, rows.points, bent, rows.diverged)
    found = fit_response(SPACE, [saddle])
    assert np.linalg.eigvalsh(found.curvature)[0] > 0


def test_fit_response__one_row__is_answered():
    rows = experiment((-9, 7), n=1)
    level = fit_response(SPACE, [rows]).levels[0]
    assert np.isfinite(level.reached) and level.n_rows == 1


RATES = (1e-4, 3e-4, 1e-3, 3e-3)
BATCHES = (128.0, 256.0, 512.0)
SIZES = (125e6, 350e6, 760e6, 1.5e9)
COARSE = Space((Knob("lr", "log", RATES), Knob("bs", "log", BATCHES)))


def best_at(params: float) -> np.ndarray:
    """Where the loss of `coarse_sweep` is least: log2 of rate and batch."""
    octaves = np.log2(params / 350e6)
    return np.array([np.log2(6e-4) - 0.25 * octaves, 8 + 0.3 * octaves])


def coarse_sweep(noise: float, seed: int, narrowing: float = 0.0) -> list[Rows]:
    """Three or four rates and three batches a size, as teams have them: the optimum
    drifts out of the grid's middle, and the highest rate crashes at the large sizes.
    """
    rng = np.random.default_rng(seed)
    found = []
    for params in SIZES:
        rates = RATES if params < 7e8 else RATES[:-1]
        runs = [{"lr": r, "bs": b} for r in rates for b in BATCHES]
        points = np.array([COARSE.encode(run) for run in runs])
        off = points - best_at(params)
        curvature = np.array([0.0096, 0.0048]) * (params / 350e6) ** -narrowing
        loss = 2.0 + off**2 @ curvature + noise * rng.normal(size=len(points))
        none = np.zeros(len(points), bool)
        found.append(
            Rows(str(params), np.array([np.log2(params)]), points, loss, none)
        )
    return found


def errors_of(noise: float, narrowing: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of optima and their claimed sds [seeds, levels, 2]; where the optimum lies
    at an edge, not a number.
    """
    errors = []
    claimed = []
    for seed in range(20):
        levels = fit_response(
            COARSE, coarse_sweep(noise, seed, narrowing)
        ).levels
        off = np.array([level.optimum for level in levels])
        off = off - np.array([best_at(params) for params in SIZES])
        inside = np.array([level.edge == 0 for level in levels])
        errors.append(np.where(inside, off, np.nan))
        claimed.append([level.optimum_sd for level in levels])
    return np.array(errors), np.array(claimed)


def test_fit_response__optimum_off_the_middle_of_a_coarse_grid__is_found():
    errors, _ = errors_of(noise=0.002, narrowing=0.0)
    spread = np.sqrt(np.nanmean(errors**2, axis=0))
    assert spread[:, 0].max() < 0.1  # octaves of the rate, at every size
    assert spread[:, 1].max() < 0.25


@pytest.mark.parametrize("narrowing", [0.0, 0.5])
@pytest.mark.parametrize("noise", [0.002, 0.006])
def test_fit_response__noisy_sweeps__optima_lie_within_their_errors(
    noise, narrowing
):
    errors, claimed = errors_of(noise, narrowing)
    known = np.isfinite(errors)
    covered = np.abs(errors[known]) < 1.645 * claimed[known]
    assert 0.8 <= covered.mean() <= 0.98  # nominal 90 %


def test_fit_response__row_on_a_cliff__moves_no_optimum():
    clean = experiment((-9, 7), noise=0.001)
    loss = clean.loss.copy()
    highest = clean.points[:, 0] >= -6.5
    loss[highest] += 3.0
    cliff = Rows("c", clean.z, clean.points, loss, clean.diverged)
    level = fit_response(SPACE, [cliff]).levels[0]
    np.testing.assert_allclose(level.optimum, (-9, 7), atol=0.1)


@pytest.mark.parametrize(("n_rows", "least"), [(6, 0.6), (8, 0.8), (14, 0.75)])
def test_fit_response__few_rows__minimum_lies_within_its_error_as_often_as_told(
    n_rows, least
):
    inside = []
    for seed in range(60):
        rows = experiment((-9, 7), n=n_rows, noise=0.01, seed=seed)
        (level,) = fit_response(SPACE, [rows]).levels
        if level.bracketed:
            inside.append(abs(level.reached - 2) < 1.645 * level.reached_sd)
    assert len(inside) > 30
    assert np.mean(inside) >= least  # nominal .9; .4 to .75 by residuals alone


def test_fit_response__one_value_in_the_largest_experiment__is_no_edge():
    whole = experiment((-9.0, 7.0))
    held = experiment((-9.0, 7.0))
    rows = held.points[:, 1] == 8.0
    held = replace(
        held,
        points=held.points[rows],
        loss=held.loss[rows],
        diverged=held.diverged[rows],
    )
    *_, last = fit_response(SPACE, [whole, whole, held]).levels
    assert last.alone.tolist() == [False, True]
    assert last.edge[1] == 0 and not last.tells(1)
