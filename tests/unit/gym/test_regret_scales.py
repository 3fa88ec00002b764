"""Regret by hand and by brute force; what an episode makes of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autollm.gym.tables.outcome_table import oriented
from autollm.gym.tables.squashing import squash, unsquash
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.regret import best_so_far, expected_random_regret, regret
from tests.unit.gym.tables import make_rich_table, make_table, make_task

LOSS = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))
LOSSES = st.lists(LOSS, min_size=1, max_size=25).map(np.array)
NOISY = make_table(noise=0.05)
RICH = make_rich_table(noise=0.05)


@pytest.mark.parametrize(
    ("losses", "value", "expected"),
    [
        ([1.0, 2.0, 3.0], 1.0, 0.0),
        ([1.0, 2.0, 3.0], 2.0, 1.0),
        ([1.0, 2.0, 3.0], 1.5, 0.5),
        ([1.0, 2.0, 3.0], 3.0, 1.0),
        ([1.0, 2.0, 3.0], 0.0, 0.0),
        ([4.0, 1.0, 2.0, 3.0], 1.75, 0.5),
        ([1.0], 1.0, 0.0),
        ([1.0], 1.1, 1.0),
        ([1.0, 1.0, 1.0, 9.0], 1.0, 0.0),
        ([1.0, 1.0, 1.0, 9.0], 9.0, 1.0),
        ([-3.0, -2.0, -1.0], -2.5, 0.5),
        ([2.0, 2.5, 1e300], 2.25, 0.5),
    ],
)
def test_regret__small_tables__are_worked_out_by_hand(losses, value, expected):
    assert regret(value, np.array(losses)) == pytest.approx(expected)


def test_regret__infinite_value__is_one():
    assert regret(math.inf, np.array([1.0, 2.0, 3.0])) == 1.0
    assert regret(math.inf, np.array([1.0, 1.0])) == 1.0


@given(LOSSES, st.randoms(use_true_random=False))
def test_regret__rows_in_another_order__is_the_same(losses, random):
    order = list(range(len(losses)))
    random.shuffle(order)
    moved = regret(losses[order], losses[order])
    assert np.array_equal(moved, np.asarray(regret(losses, losses))[order])


@given(LOSSES, LOSS, LOSS)
def test_regret__lower_value__is_no_worse(losses, a, b):
    low, high = min(a, b), max(a, b)
    assert regret(low, losses) <= regret(high, losses)


@given(LOSSES)
def test_regret__half_the_table__is_at_least_as_bad_as_the_median(losses):
    values = np.asarray(regret(losses, losses))
    assume(np.median(losses) > losses.min())
    assert (values[losses >= np.median(losses)] == 1.0).all()
    assert (values[losses < np.median(losses)] < 1.0).all()


@given(
    st.lists(st.sampled_from([math.nan, 1.0, 2.0, 3.0, math.inf]), max_size=12)
)
def test_best_so_far__any_trials__is_the_first_of_the_lowest(losses):
    found = best_so_far(np.array(losses))
    for k, index in enumerate(found):
        seen = [x for x in losses[: k + 1] if not math.isnan(x)]
        if not seen:
            assert index == -1
        else:
            assert index == losses[: k + 1].index(min(seen))


def test_best_so_far__no_trials__is_empty():
    assert best_so_far(np.array([])).shape == (0,)


@settings(max_examples=40)
@given(st.lists(LOSS, min_size=1, max_size=7).map(np.array), st.integers(1, 9))
def test_expected_random_regret__any_table__is_the_mean_over_all_draws(
    losses, k
):
    taken = min(k, len(losses))
    draws = []
    for chosen in itertools.combinations(losses.tolist(), taken):
        draws.append(float(regret(min(chosen), losses)))
    assert expected_random_regret(losses, k) == pytest.approx(
        np.mean(draws), abs=1e-12
    )


@given(LOSSES)
def test_expected_random_regret__more_trials__is_never_worse(losses):
    curve = [expected_random_regret(losses, k) for k in range(1, 8)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(curve))


@given(LOSSES)
def test_expected_random_regret__all_rows__is_zero(losses):
    assert expected_random_regret(losses, len(losses)) == pytest.approx(0.0)


@given(LOSSES)
def test_squash__any_losses__is_undone(losses):
    scale = np.median(losses) - losses.min()
    assume(scale == 0 or scale > 1e-3)
    back = unsquash(squash(losses), losses)
    if scale:
        assert back == pytest.approx(losses, rel=1e-6, abs=1e-6)
    else:
        assert (back == losses.min()).all()


@given(LOSSES)
def test_squash__order__is_kept_and_the_best_is_zero_the_median_one(losses):
    u = squash(losses)
    assert u.min() == 0.0
    assert (np.diff(u[np.argsort(losses)]) >= -1e-12).all()
    if np.median(losses) > losses.min():
        assert squash(np.append(losses, np.median(losses)))[-1] == (
            pytest.approx(1.0)
        )


def test_squash__a_cliff__grows_as_its_logarithm():
    losses = np.array([0.0, 1.0, math.e, math.e**3])
    low, high = np.min(losses), np.median(losses)
    u = (losses - low) / (high - low)
    expected = [v if v <= 1 else 1 + math.log(v) for v in u]
    assert squash(losses) == pytest.approx(expected)


@given(
    st.lists(
        st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf]),
        min_size=1,
        max_size=10,
    ).map(np.array),
    st.sampled_from(["min", "max"]),
)
def test_oriented__any_objective__is_finite_and_its_order_is_turned(
    objective, direction
):
    loss = oriented(objective, direction)
    finite = np.isfinite(objective)
    assert np.isfinite(loss).all()
    sign = 1.0 if direction == "min" else -1.0
    assert np.array_equal(loss[finite], sign * objective[finite])
    if finite.any():
        assert (loss[~finite] == loss[finite].max()).all()
    else:
        assert (loss == 0.0).all()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(-1, 36), min_size=1, max_size=6),
    st.booleans(),
)
def test_regret_curve__any_play__is_that_of_the_best_row_tried_so_far(
    seed, calls, latent
):
    task = make_task(NOISY, trials=len(calls))
    episode = start(task, NOISY, seed)
    tried = []
    expected = []
    values = episode.latent if latent else episode.losses
    for call in calls:
        trial = episode.run_candidate(call)
        if trial.row >= 0:
            tried.append((trial.loss, len(tried), trial.row))
        best = min(tried, default=None)
        expected.append(
            1.0 if best is None else float(regret(values[best[2]], values))
        )
    assert episode.regret_curve(latent) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 27))
def test_inference_regret__submitted_row__is_its_smoothed_regret(seed, row):
    episode = start(make_task(NOISY), NOISY, seed)
    space = episode.drawn.view.space
    assert episode.submit(space.decode(episode.points[row])) == row
    latent = episode.latent
    low, middle = latent.min(), np.median(latent)
    by_hand = min(max((latent[row] - low) / (middle - low), 0.0), 1.0)
    assert episode.inference_regret() == pytest.approx(by_hand)


def test_inference_regret__nothing_submitted__is_the_incumbents():
    episode = start(make_task(NOISY), NOISY, 3)
    for row in (5, 11, 20):
        episode.run_candidate(row)
    latent = episode.latent
    row = episode.incumbent.row
    assert episode.inference_regret() == pytest.approx(
        float(regret(latent[row], latent))
    )


@pytest.mark.parametrize("objective", ["", "val_loss", "accuracy"])
def test_episode__losses_in_play__are_the_objectives_rows_of_the_draw(
    objective,
):
    task = make_task(RICH, objective=objective)
    episode = start(task, RICH, 1)
    name = objective or "val_loss"
    recorded = RICH.metric(3, name)[episode.drawn.rows]
    sign = -1.0 if objective == "accuracy" else 1.0
    finite = np.isfinite(recorded)
    assert np.array_equal(episode.losses[finite], sign * recorded[finite])
    assert np.isfinite(episode.losses).all()


def test_episode__row_without_its_metric__counts_as_the_worst():
    task = make_task(
        RICH, objective="accuracy", target_rows="all", setting="pool-visible"
    )
    episode = start(task, RICH, 0)
    trial = episode.run_candidate(0)
    assert math.isnan(trial.objective)
    assert trial.loss == episode.losses.max()
    assert episode.regret_curve()[0] == 1.0
