import numpy as np

from autollm.advisor.response import Rows, fit_response
from autollm.core.knobs import Knob
from autollm.core.space import Space

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
