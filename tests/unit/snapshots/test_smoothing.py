import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.gym.tables.squashing import squash, unsquash
from autollm.snapshots import smoothing
from autollm.snapshots.smoothing import smooth
from tests.unit.gym.tables import MIXED, make_mixed_table


def noisy_bowl(n, d, noise, seed=0):
    rng = np.random.default_rng(seed)
    x = np.round(rng.uniform(-3, 3, (n, d)) * 2) / 2
    surface = 3 + 0.1 * (x**2).sum(axis=1)
    return x, surface, surface + noise * rng.normal(size=n)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_squash__any_losses__is_undone(losses):
    loss = np.array(losses)
    if np.median(loss) > loss.min() + 1e-3:
        assert unsquash(squash(loss), loss) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(120, 2), (120, 4)])
def test_smooth__noisy_bowl__is_nearer_to_the_surface_than_the_rows(n, d):
    x, surface, loss = noisy_bowl(n, d, 0.05)
    smoothed = smooth(x, loss, np.ones(n))
    better = surface <= np.median(surface)
    assert np.std((smoothed - surface)[better]) < 0.8 * np.std(
        (loss - surface)[better]
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_smooth__any_order_of_rows__gives_the_same(seed):
    x, _, loss = noisy_bowl(40, 3, 0.05, seed)
    order = np.random.default_rng(seed).permutation(40)
    assert smooth(x[order], loss[order], np.ones(40)) == pytest.approx(
        smooth(x, loss, np.ones(40))[order]
    )


def test_smooth__many_rows__agrees_with_the_whole_process(monkeypatch):
    x, surface, loss = noisy_bowl(300, 3, 0.05)
    exact = smooth(x, loss, np.ones(300), np.zeros(3, bool))
    monkeypatch.setattr(smoothing, "EXACT_ROWS", 299)
    local = smooth(x, loss, np.ones(300), np.zeros(3, bool))
    assert not np.array_equal(local, exact)
    better = surface <= np.median(surface)
    assert (
        np.corrcoef((local - loss)[better], (exact - loss)[better])[0, 1] > 0.9
    )
    assert np.std((local - surface)[better]) < np.std((loss - surface)[better])


def test_smooth__noise_free_surrogate_of_many_rows__keeps_its_best_row():
    x, surface, _ = noisy_bowl(1600, 30, 0.0)
    smoothed = smooth(x, surface, np.ones(1600), np.zeros(30, bool))
    assert np.argmin(smoothed) in np.argsort(surface)[:3]


def test_smooth__beyond_the_largest_table__is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(smoothing, "MAX_ROWS", 50)
    loss = np.arange(51.0)
    begin = time.perf_counter()
    assert np.array_equal(
        smooth(np.arange(51.0)[:, None], loss, np.ones(51)), loss
    )
    assert time.perf_counter() - begin < 1


def test_smooth__mixtures__have_lengths_in_natural_units():
    table = make_mixed_table()
    loss = table.losses(0) + 0.05 * np.random.default_rng(0).normal(size=40)
    by_step, by_unit = (
        smooth(table.points[0], loss, np.ones(40), g)
        for g in (None, MIXED.gridded)
    )
    assert (
        np.corrcoef(by_unit, table.losses(0))[0, 1]
        > np.corrcoef(by_step, table.losses(0))[0, 1]
    )
