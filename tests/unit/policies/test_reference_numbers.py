"""The protocol reproduced on Step Law's public table: pool-visible, all target rows, as
docs/protocol.md states it.

Limits are the published reference plus 0.03 or two standard errors, whichever is
larger.
"""

from __future__ import annotations

import numpy as np
import pytest

from autollm.evaluation.bounds import (
    noise_bound,
    random_expectation,
    smoothed_oracle,
)
from autollm.evaluation.protocol import play
from autollm.evaluation.results import score_matrix
from autollm.gym.tasks.suites import load_suite
from autollm.policies.registry import make_policy
from tests.unit.policies.steplaw import SKIP, csv_path, load_table

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(csv_path() is None, reason=SKIP),
]

SUITES = ("top", "hard", "roll4x")
SEEDS = {"gp": 8, "moving-bowl": 6, "trees": 8}
"""20 where a policy is fast; docs/protocol.md has all of them at 20."""
REFERENCE = {
    "pool-centre": (
        (0.198, 0.054, 0.000),
        (0.261, 0.061, 0.000),
        (0.153, 0.074, 0.049),
    ),
    "copy-nearest": (
        (0.236, 0.053, 0.027),
        (0.648, 0.459, 0.244),
        (0.317, 0.169, 0.089),
    ),
    "power-law": (
        (0.108, 0.037, 0.012),
        (0.220, 0.155, 0.091),
        (0.069, 0.018, 0.005),
    ),
    "moving-bowl": (
        (0.063, 0.009, 0.006),
        (0.147, 0.047, 0.003),
        (0.061, 0.020, 0.004),
    ),
    "successive-halving": (
        (0.467, 0.196, 0.099),
        (0.653, 0.241, 0.132),
        (0.313, 0.131, 0.107),
    ),
    "gp": ((0.032, 0.016, 0.003), (0.224, 0.156, 0.041), (0.546, 0.205, 0.067)),
    "trees": (
        (0.167, 0.035, 0.007),
        (0.566, 0.314, 0.098),
        (0.292, 0.095, 0.070),
    ),
    "oracle": (
        (0.045, 0.008, 0.000),
        (0.068, 0.012, 0.000),
        (0.033, 0.004, 0.001),
    ),
}
STEP_LAW = ((0.058, 0.045, 0.045), (0.068, 0.068, 0.068), (0.043, 0.034, 0.019))
"""Of the published formula, which draws nothing: met to the last digit."""
# Published; ours are analytic (checked against 4,000 draws a target) and differ by up
# to .005.
RANDOM = ((0.722, 0.426, 0.294), (0.724, 0.424, 0.286), (0.729, 0.431, 0.293))


def posed(suite: str):
    return [
        t.with_(setting="pool-visible", target_rows="all")
        for t in load_suite(f"steplaw-dense-{suite}-v1").tasks
    ]


def scores(policy_id: str, suite: str, n_seeds: int, table) -> list[np.ndarray]:
    """[tasks, seeds] at k = 1, 3, 5."""
    results = [
        play(make_policy(policy_id), task, table, seed)
        for task in posed(suite)
        for seed in range(n_seeds)
    ]
    assert not any(r.error for r in results)
    return [score_matrix(results, "regret", k) for k in (1, 3, 5)]


@pytest.mark.parametrize("policy_id", sorted(REFERENCE))
def test_policy__step_law__is_no_worse_than_the_reference(
    policy_id: str,
) -> None:
    n_seeds = SEEDS.get(policy_id, 20)
    table = load_table(latent=policy_id == "oracle")
    for suite, reference in zip(SUITES, REFERENCE[policy_id], strict=True):
        for k, matrix, limit in zip(
            (1, 3, 5),
            scores(policy_id, suite, n_seeds, table),
            reference,
            strict=True,
        ):
            error = matrix.mean(axis=0).std(ddof=1) / np.sqrt(n_seeds)
            assert matrix.mean() <= limit + max(0.03, 2 * error), (
                suite,
                k,
                matrix.mean(),
            )


@pytest.mark.parametrize(
    ("suite", "expected"), list(zip(SUITES, STEP_LAW, strict=True))
)
def test_step_law__step_law__scores_as_published(
    suite: str, expected: tuple[float, ...]
) -> None:
    matrices = scores("step-law", suite, 2, load_table(latent=False))
    assert [m.mean() for m in matrices] == pytest.approx(expected, abs=0.0006)
    assert all(np.ptp(m, axis=1).max() == 0 for m in matrices), (
        "seeds change nothing"
    )


@pytest.mark.parametrize(
    ("suite", "expected"), list(zip(SUITES, RANDOM, strict=True))
)
def test_random__step_law__meets_its_exact_expectation(
    suite: str, expected: tuple[float, ...]
) -> None:
    table = load_table(latent=False)
    matrices = scores("random", suite, 20, table)
    for k, matrix, published in zip((1, 3, 5), matrices, expected, strict=True):
        exact = random_expectation(posed(suite), table, k)
        assert exact == pytest.approx(published, abs=0.006)
        assert abs(matrix.mean() - exact) <= 2 * matrix.std(ddof=1) / np.sqrt(
            matrix.size
        )


def test_bounds__step_law__noise_and_oracle_are_about_as_published() -> None:
    table = load_table()
    mean, sd = noise_bound(
        posed("roll4x"), table, 1, np.random.default_rng(0), n_redraws=200
    )
    assert mean == pytest.approx(0.045, abs=0.025) and 0.005 < sd < 0.04
    assert smoothed_oracle(posed("roll4x"), table, 1) == pytest.approx(
        0.033, abs=0.02
    )
