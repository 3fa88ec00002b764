"""What is possible without playing: random's expectation, the oracle, luck."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autollm.evaluation.bounds import (
    bounds,
    noise_bound,
    random_expectation,
    row_noise_sd,
    smoothed_oracle,
)
from autollm.evaluation.protocol import play
from autollm.gym.tasks.regret import regret
from autollm.gym.tasks.task import Constraint
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_rich_table, make_table, make_task

NOISY = make_table(noise=0.05)
CLEAN = make_table()
RICH = make_rich_table(noise=0.05)


def test_random_expectation__two_trials__is_the_mean_over_all_pairs():
    losses = NOISY.losses(3)
    pairs = itertools.combinations(losses.tolist(), 2)
    expected = np.mean([regret(min(pair), losses) for pair in pairs])
    found = random_expectation([make_task(NOISY)], NOISY, 2)
    assert found == pytest.approx(expected)


def test_random_expectation__two_tasks__is_their_mean():
    tasks = [
        make_task(NOISY),
        make_task(NOISY, target="toy:1", evidence=("toy:0",)),
    ]
    apart = [random_expectation([task], NOISY, 3) for task in tasks]
    assert random_expectation(tasks, NOISY, 3) == pytest.approx(np.mean(apart))


def test_random_expectation__constraint__counts_feasible_rows_alone():
    least = (Constraint("params", most=650.0),)
    found = random_expectation([make_task(RICH, constraints=least)], RICH, 1)
    losses = RICH.losses(3)[RICH.metric(3, "params") <= 650.0]
    assert found == pytest.approx(np.mean(regret(losses, losses)))
    everything = random_expectation([make_task(RICH)], RICH, 1)
    assert found != pytest.approx(everything)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_smoothed_oracle__is_what_the_policy_oracle_gets(k):
    task = make_task(NOISY, setting="pool-visible", target_rows="all", trials=5)
    result = play(make_policy("oracle"), task, NOISY, 0)
    assert smoothed_oracle([task], NOISY, k) == pytest.approx(
        result.regret[k - 1]
    )


def test_smoothed_oracle__of_another_objective__reads_its_smoothed_values():
    task = make_task(RICH, objective="accuracy")
    losses = RICH.losses(3, "accuracy")
    first = int(np.argmin(RICH.latent(3, "accuracy")))
    assert smoothed_oracle([task], RICH, 1) == pytest.approx(
        float(regret(losses[first], losses))
    )


def test_smoothed_oracle__more_trials__is_never_worse():
    curve = [smoothed_oracle([make_task(NOISY)], NOISY, k) for k in range(1, 9)]
    assert all(a >= b for a, b in itertools.pairwise(curve))


def test_row_noise_sd__known_noise__is_measured_on_the_better_half():
    rng = np.random.default_rng(0)
    surface = np.linspace(0, 10, 4001)
    noise = rng.normal(0, 0.02, 4001)
    noise[2500:] = 5.0  # a cliff, which is none of what is measured
    assert row_noise_sd(surface + noise, surface) == pytest.approx(
        0.02, rel=0.1
    )


def test_noise_bound__no_noise__leaves_nothing_to_luck():
    rng = np.random.default_rng(0)
    mean, sd = noise_bound([make_task(CLEAN)], CLEAN, 35, rng, n_redraws=20)
    assert mean == pytest.approx(0.0) and sd == pytest.approx(0.0)


def test_noise_bound__more_trials__leave_less():
    one = noise_bound(
        [make_task(NOISY)], NOISY, 1, np.random.default_rng(0), 200
    )
    five = noise_bound(
        [make_task(NOISY)], NOISY, 5, np.random.default_rng(0), 200
    )
    assert 0 <= five[0] < one[0] <= 1 and one[1] > 0


def test_bounds__each_k__has_all_three_and_random_is_the_worst():
    found = bounds([make_task(NOISY)], NOISY, (1, 3))
    assert [entry["k"] for entry in found] == [1, 3]
    for entry in found:
        assert set(entry) == {
            "k",
            "random",
            "oracle",
            "noise_mean",
            "noise_sd",
        }
        assert entry["oracle"] <= entry["random"]
    assert found == bounds([make_task(NOISY)], NOISY, (1, 3)), "fixed stream"
