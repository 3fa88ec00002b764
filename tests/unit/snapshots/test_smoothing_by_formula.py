"""The judge's smoothed table against a Gaussian process written out, and what it must
not care about.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from autollm.gym.tables.squashing import squash, unsquash
from autollm.snapshots import smoothing
from autollm.snapshots.smoothing import LENGTHS, NOISES, smooth

GRID = np.array(list(itertools.product(np.arange(6.0), np.arange(0, 2.0, 0.5))))
FEW = settings(max_examples=10, deadline=None)


def bowl(noise=0.0, seed=0, points=GRID):
    rng = np.random.default_rng(seed)
    loss = 2 + 0.1 * ((points - [2.3, 0.8]) ** 2).sum(axis=1)
    return loss + noise * rng.normal(size=len(points))


def ones(points):
    return np.ones(len(points))


def by_definition(points, loss, n_replicas):
    """Posterior mean at the rows, at the lengths and noise of highest evidence."""
    u = squash(loss)
    centred = u - u.mean()
    steps = []
    for column in points.T:
        steps.append(np.median(np.diff(np.unique(column))))
    best = None
    for lengths in itertools.product(LENGTHS, repeat=points.shape[1]):
        scaled = points / np.array(steps) / np.array(lengths)
        apart = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=2)
        kernel = centred.std() ** 2 * np.exp(-apart / 2)
        for noise in NOISES:
            covariance = kernel + np.diag(noise**2 / n_replicas + 1e-9)
            evidence = multivariate_normal.logpdf(
                centred, np.zeros(len(u)), covariance
            )
            if best is None or evidence > best[0]:
                mean = kernel @ np.linalg.solve(covariance, centred)
                best = evidence, mean
    return unsquash(u.mean() + best[1], loss)


@pytest.mark.parametrize("seed", range(3))
def test_smooth__a_small_table__is_the_process_by_its_definition(seed):
    loss = bowl(noise=0.05, seed=seed)
    replicas = np.random.default_rng(seed).integers(1, 4, len(loss))
    assert smooth(GRID, loss, replicas) == pytest.approx(
        by_definition(GRID, loss, replicas), rel=1e-6
    )


@FEW
@given(st.integers(0, 1000))
def test_smooth__rows_in_another_order__is_the_same(seed):
    loss = bowl(noise=0.05, seed=seed)
    order = np.random.default_rng(seed).permutation(len(loss))
    here = smooth(GRID, loss, ones(GRID))
    there = smooth(GRID[order], loss[order], ones(GRID))
    assert there == pytest.approx(here[order], abs=1e-7)


@FEW
@given(st.floats(0.01, 100), st.floats(-100, 100))
def test_smooth__loss_in_another_unit__moves_along(scale, shift):
    loss = bowl(noise=0.05)
    here = smooth(GRID, loss, ones(GRID))
    there = smooth(GRID, loss * scale + shift, ones(GRID))
    assert there == pytest.approx(
        here * scale + shift, rel=1e-6, abs=1e-6 * scale
    )


@FEW
@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_smooth__knobs_moved_and_stretched__is_the_same(shift, stretch):
    """Lengths are multiples of a knob's own step."""
    loss = bowl(noise=0.05)
    here = smooth(GRID, loss, ones(GRID))
    moved = GRID * [stretch, 1.0] + [shift, 0.0]
    assert smooth(moved, loss, ones(GRID)) == pytest.approx(here, abs=1e-5)


def test_smooth__noise__is_taken_off_and_the_bowl_stays():
    truth = bowl()
    errors, raw = [], []
    for seed in range(8):
        loss = bowl(noise=0.05, seed=seed)
        near = truth <= np.median(truth)
        errors.append(np.std((smooth(GRID, loss, ones(GRID)) - truth)[near]))
        raw.append(np.std((loss - truth)[near]))
    assert np.mean(errors) < 0.8 * np.mean(raw)


def test_smooth__row_of_more_replicas__stays_nearer_to_what_was_recorded():
    loss = bowl(noise=0.05, seed=1)
    row = int(np.argsort(loss)[3])
    moved = []
    for n in (1, 4, 100):
        replicas = ones(GRID)
        replicas[row] = n
        moved.append(abs(smooth(GRID, loss, replicas)[row] - loss[row]))
    assert moved[0] > moved[1] > moved[2]


def test_smooth__one_lucky_row__is_not_the_minimum_any_more():
    loss = bowl()
    far = int(np.argmax(loss <= np.quantile(loss, 0.55)))
    loss[far] = loss.min() - 0.02
    found = smooth(GRID, loss, ones(GRID))
    assert np.argmin(loss) == far and np.argmin(found) != far


@pytest.mark.parametrize("n", [1, 2, 5])
def test_smooth__fewer_than_six_rows__are_as_they_are(n):
    loss = bowl()[:n]
    found = smooth(GRID[:n], loss, np.ones(n))
    assert np.array_equal(found, loss) and found is not loss


def test_smooth__flat_table__is_as_it_is():
    loss = np.full(len(GRID), 3.0)
    assert np.array_equal(smooth(GRID, loss, ones(GRID)), loss)


def test_smooth__more_rows_than_can_be_smoothed__are_as_they_are(monkeypatch):
    monkeypatch.setattr(smoothing, "MAX_ROWS", 20)
    loss = bowl(noise=0.1)
    assert np.array_equal(smooth(GRID, loss, ones(GRID)), loss)


def test_smooth__many_rows__by_their_neighbours_is_about_the_whole_process(
    monkeypatch,
):
    points = np.array(list(itertools.product(np.arange(16.0), np.arange(12.0))))
    rng = np.random.default_rng(0)
    loss = 2 + 0.01 * ((points - [7.0, 5.0]) ** 2).sum(axis=1)
    loss = loss + 0.02 * rng.normal(size=len(points))
    whole = smooth(points, loss, ones(points))
    monkeypatch.setattr(smoothing, "EXACT_ROWS", 150)
    local = smooth(points, loss, ones(points))
    spread = np.median(loss) - loss.min()
    assert np.abs(local - whole).max() < 0.25 * spread
    assert np.corrcoef(local, whole)[0, 1] > 0.98


def test_smooth__knob_that_never_varies__changes_nothing():
    loss = bowl(noise=0.05)
    here = smooth(GRID, loss, ones(GRID))
    wider = np.column_stack([GRID, np.full(len(GRID), 7.0)])
    found = smooth(wider, loss, ones(GRID))
    assert np.isfinite(found).all()
    assert np.corrcoef(found, here)[0, 1] > 0.95


def test_smooth__cliff_of_diverged_rows__leaves_the_good_ones_alone():
    loss = bowl(noise=0.01)
    near = GRID[:, 0] < 4
    cliff = loss.copy()
    cliff[~near] = 50.0
    here, there = (smooth(GRID, x, ones(GRID)) for x in (loss, cliff))
    good = near & (loss <= np.quantile(loss, 0.3))
    assert np.abs(here - there)[good].max() < 0.15
