"""The shared response: what it must give back, and what it must not care about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
CURVATURE = np.array([[0.02, 0.004], [0.004, 0.01]])
FEW = settings(max_examples=15, deadline=None)
INSIDE = st.tuples(st.floats(-10.5, -7.5), st.floats(5.5, 8.5))


def bowl(optimum, floor=2.0, noise=0.0, seed=0, keep=None, scale=1.0):
    """Rows of an exact quadratic around an optimum, on the whole grid."""
    rng = np.random.default_rng(seed)
    points = SPACE.grid
    if keep is not None:
        points = points[np.sort(rng.choice(len(points), keep, replace=False))]
    off = points - np.asarray(optimum)
    height = np.einsum("ni,ij,nj->n", off, CURVATURE, off)
    loss = floor + scale * height + noise * rng.normal(size=len(points))
    return Rows("e", np.zeros(1), points, loss, np.zeros(len(points), bool))


@FEW
@given(INSIDE, INSIDE, st.floats(0.5, 4), st.floats(0.5, 4))
def test_fit_response__two_exact_bowls__optima_and_floors_come_back(
    a, b, floor_a, floor_b
):
    found = fit_response(SPACE, [bowl(a, floor_a), bowl(b, floor_b)])
    for level, optimum, floor in zip(
        found.levels, (a, b), (floor_a, floor_b), strict=True
    ):
        assert level.optimum == pytest.approx(optimum, abs=0.1)
        assert level.reached == pytest.approx(floor, abs=0.01)
        assert level.bracketed and level.reached_sd >= 0


@FEW
@given(INSIDE, st.floats(0.01, 100), st.floats(-50, 50))
def test_fit_response__loss_in_another_unit__moves_along(optimum, scale, shift):
    here = fit_response(SPACE, [bowl(optimum, noise=0.005)]).levels[0]
    rows = bowl(optimum, noise=0.005)
    moved = replace(rows, loss=rows.loss * scale + shift)
    there = fit_response(SPACE, [moved]).levels[0]
    assert there.optimum == pytest.approx(here.optimum, abs=0.02)
    assert there.reached == pytest.approx(
        here.reached * scale + shift, rel=1e-4, abs=5e-4 * scale
    )
    assert there.reached_sd == pytest.approx(here.reached_sd * scale, rel=0.05)


@FEW
@given(INSIDE, st.integers(0, 100))
def test_fit_response__rows_in_another_order__is_the_same(optimum, seed):
    rows = bowl(optimum, noise=0.01, seed=seed, keep=40)
    order = np.random.default_rng(seed).permutation(len(rows.loss))
    moved = replace(
        rows,
        points=rows.points[order],
        loss=rows.loss[order],
        diverged=rows.diverged[order],
    )
    one = fit_response(SPACE, [rows]).levels[0]
    other = fit_response(SPACE, [moved]).levels[0]
    assert one.optimum == pytest.approx(other.optimum, abs=1e-6)
    assert one.reached == pytest.approx(other.reached, abs=1e-9)


@FEW
@given(st.permutations(range(3)))
def test_fit_response__experiments_in_another_order__is_the_same(order):
    optima = ((-9.0, 7.0), (-8.5, 7.5), (-8.0, 8.0))
    rows = [bowl(o, noise=0.01, seed=i) for i, o in enumerate(optima)]
    plain = fit_response(SPACE, rows)
    moved = fit_response(SPACE, [rows[i] for i in order])
    for place, i in enumerate(order):
        assert moved.levels[place].optimum == pytest.approx(
            plain.levels[i].optimum, abs=1e-6
        )
    assert moved.curvature == pytest.approx(plain.curvature, abs=1e-6)


@FEW
@given(INSIDE, st.integers(0, 1000), st.integers(3, 60))
def test_fit_response__any_rows__optimum_lies_within_them(optimum, seed, keep):
    rows = bowl(optimum, noise=0.05, seed=seed, keep=keep)
    found = fit_response(SPACE, [rows])
    columns = list(found.columns)
    level = found.levels[0]
    low, high = rows.points.min(axis=0), rows.points.max(axis=0)
    assert (level.optimum >= low[columns] - 1e-9).all()
    assert (level.optimum <= high[columns] + 1e-9).all()
    assert level.raw_best == rows.loss.min()
    assert level.n_rows == keep
    assert np.isfinite(level.reached) and level.reached_sd >= 0
    if len(columns):
        assert np.linalg.eigvalsh(found.curvature)[0] > 0


def test_fit_response__noise_that_grows__is_told_as_a_wider_minimum():
    widths = []
    for noise in (0.002, 0.01, 0.05):
        level = fit_response(SPACE, [bowl((-9, 7), noise=noise)]).levels[0]
        widths.append(level.reached_sd)
    assert widths[0] < widths[1] < widths[2]


def test_fit_response__its_standard_error__is_about_the_real_one():
    """Over redrawn noise the error of the minimum is what the fit says, within two."""
    errors, told = [], []
    for seed in range(30):
        level = fit_response(
            SPACE, [bowl((-9, 7), noise=0.02, seed=seed)]
        ).levels[0]
        errors.append(level.reached - 2.0)
        told.append(level.reached_sd)
    real = float(np.std(errors))
    assert real / 2 < float(np.mean(told)) < 2 * real


def test_fit_response__one_bad_outlier__hardly_moves_the_optimum():
    rows = bowl((-9.0, 7.0), noise=0.002)
    near = int(np.argmin(rows.loss))
    spoiled = rows.loss.copy()
    spoiled[near] += 0.02
    found = fit_response(SPACE, [replace(rows, loss=spoiled)]).levels[0]
    assert found.optimum == pytest.approx((-9.0, 7.0), abs=0.2)


def test_fit_response__cliff_of_diverged_runs__does_not_move_the_optimum():
    rows = bowl((-9.0, 7.0))
    cliff = rows.points[:, 0] > -7.5
    loss = np.where(cliff, 50.0, rows.loss)
    found = fit_response(SPACE, [replace(rows, loss=loss, diverged=cliff)])
    assert found.levels[0].optimum == pytest.approx((-9.0, 7.0), abs=0.15)


def test_fit_response__knob_of_two_values__has_no_optimum():
    rows = bowl((-9.0, 7.0))
    two = np.isin(rows.points[:, 1], (6.0, 7.0))
    few = Rows(
        "e", rows.z, rows.points[two], rows.loss[two], rows.diverged[two]
    )
    found = fit_response(SPACE, [few])
    assert found.names == ("lr",) and found.columns == (0,)


def test_fit_response__every_knob_constant__still_answers():
    rows = bowl((-9.0, 7.0))
    same = np.tile(rows.points[:1], (4, 1))
    found = fit_response(
        SPACE,
        [
            Rows(
                "e",
                rows.z,
                same,
                np.array([2.0, 2.1, 1.9, 2.0]),
                np.zeros(4, bool),
            )
        ],
    )
    assert found.names == () and found.curvature.shape == (0, 0)
    assert found.levels[0].reached == pytest.approx(2.0, abs=0.1)


def test_fit_response__all_losses_equal__is_flat_and_finite():
    rows = bowl((-9.0, 7.0))
    flat = replace(rows, loss=np.full(len(rows.loss), 3.0))
    level = fit_response(SPACE, [flat]).levels[0]
    assert level.reached == pytest.approx(3.0, abs=0.01)
    assert np.isfinite(level.optimum).all()


def test_fit_response__few_rows_beside_many__lean_on_the_shared_curvature():
    wanted = np.array((-8.2, 7.6))
    together, alone = [], []
    for seed in range(20):
        few = bowl(wanted, keep=9, noise=0.005, seed=seed)
        many = bowl((-9, 7), noise=0.005, seed=100 + seed)
        beside = fit_response(SPACE, [many, few]).levels[1].optimum
        own = fit_response(SPACE, [few]).levels[0].optimum
        together.append(np.abs(beside - wanted).max())
        alone.append(np.abs(own - wanted).max())
    assert np.median(together) < 0.6 * np.median(alone)
    assert np.median(together) < 0.2
