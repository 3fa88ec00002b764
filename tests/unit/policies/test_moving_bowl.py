"""The teacher: where it looks first, what trials change, what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Trial, start
from autollm.policies.registry import make_policy
from autollm.policies.surrogates.moving_bowl import SHIFT_SD, MovingBowl
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=5, noise=0.01)
OPTIMUM = np.array([-7.5 - 0.5 * 4, 7.0 + 0.5 * 4])
"""Of the most expensive experiment, as make_table moves it."""


def begin(**changes) -> tuple[MovingBowl, object]:
    episode = start(make_task(TABLE, trials=5, **changes), TABLE, 0)
    policy = MovingBowl()
    policy.reset(episode.drawn.view, np.random.default_rng(0))
    return policy, episode


def told(policy: MovingBowl, n: int, point: np.ndarray, loss: float) -> None:
    policy.tell(
        Trial(
            n,
            "ok",
            policy.view.space.decode(point),
            tuple(point.tolist()),
            n,
            loss=loss,
        )
    )


def test_reset__optimum_moves_half_an_octave_a_step__extrapolates_it() -> None:
    policy, _ = begin()
    assert policy.target_optimum == pytest.approx(OPTIMUM, abs=0.25)
    assert policy.optima == pytest.approx(
        np.array([[-7.5 - 0.5 * i, 7.0 + 0.5 * i] for i in range(4)]), abs=0.25
    )
    assert policy.slopes.sum(axis=1) == pytest.approx(
        [-0.25, 0.25], abs=0.06
    ), "per octave along the ladder"


def test_ask__first__is_the_candidate_nearest_to_the_extrapolated_optimum() -> (
    None
):
    policy, _ = begin()
    first = policy.view.space.encode(policy.ask()[0])
    assert np.abs(first - OPTIMUM).max() <= 0.5


def test_tell__better_to_one_side__moves_the_posterior_there() -> None:
    policy, _ = begin()
    before = policy.posterior_optimum.copy()
    told(policy, 1, OPTIMUM, 2.30)
    assert policy.posterior_optimum == pytest.approx(before), (
        "one outcome has no reference yet"
    )
    told(policy, 2, OPTIMUM + np.array([0.5, 0.0]), 2.20)
    assert policy.posterior_optimum[0] > before[0] + 0.05
    left, right = policy.predict(
        [
            policy.view.space.decode(OPTIMUM + np.array([side, 0.0]))
            for side in (-0.5, 0.5)
        ]
    )[0]
    assert right < left


def test_tell__trials__shrink_the_spread_of_the_particles() -> None:
    def spread():
        around = (policy.particles - policy.posterior_optimum) ** 2
        return policy.weights @ around

    policy, episode = begin()
    before = spread()
    while not episode.done:
        policy.tell(episode.run(policy.ask()[0]))
    assert np.all(spread() < before)
    assert policy.weights.sum() == pytest.approx(1.0)


def test_reset__shift_sd__stays_within_its_bounds() -> None:
    policy, _ = begin()
    assert np.all(policy.shift_sd >= 0.2 * 0.99) and np.all(
        policy.shift_sd <= SHIFT_SD[1]
    )
    lone, _ = begin(evidence=("toy:0",))
    assert np.all(lone.shift_sd >= policy.shift_sd), (
        "one experiment cannot tell its own error"
    )


def test_explain__numbers__are_the_computed_ones() -> None:
    policy, _ = begin()
    text = policy.explain()
    assert f"{policy.slopes[0, 0]:+.2f} octaves per octave of params" in text
    assert "4 experiments" in text and "after" not in text
    told(policy, 1, OPTIMUM, 2.3)
    assert "after 1 trials" in policy.explain()


def test_moving_bowl_gp__a_wall_beside_the_optimum__is_predicted_where_it_moved_to() -> (
    None
):
    losses = TABLE.columns["objective"].copy()
    for i, points in enumerate(
        TABLE.points
    ):  # half a nat, from an octave right of the optimum on
        losses[TABLE.offsets[i] : TABLE.offsets[i + 1]] += 0.5 * (
            points[:, 0] - (-7.5 - 0.5 * i) > 0.75
        )
    table = replace(TABLE, columns={**TABLE.columns, "objective": losses})
    true = squash(table.loss[table.offsets[4] : table.offsets[5]])
    wrong = {}
    for policy_id in ("moving-bowl", "moving-bowl-gp"):
        view, policy = (
            start(make_task(table), table, 0).drawn.view,
            make_policy(policy_id),
        )
        policy.reset(view, np.random.default_rng(0))
        said, _ = policy.predict(
            [view.space.decode(x) for x in table.points[4]]
        )
        wrong[policy_id] = np.abs(said - true)[true < 1].mean()
    assert wrong["moving-bowl-gp"] < 0.8 * wrong["moving-bowl"]
