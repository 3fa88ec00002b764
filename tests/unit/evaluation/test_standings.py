"""Mean ranks, the critical difference, and what is said over several suites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.evaluation.protocol import EpisodeResult, play
from autollm.evaluation.standings import overall, standing
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
PLAYED = play(make_policy("random"), make_task(TABLE), TABLE, 0)


def results(
    policy: str, regret: np.ndarray, suite: str = "a", **changes: object
) -> list[EpisodeResult]:
    """Episodes of a policy with the given regrets [tasks, seeds] at every k, target i
    for task i.
    """
    return [
        replace(
            PLAYED,
            policy=policy,
            suite=suite,
            task_id=f"{suite}/{i}",
            target=f"t{i}",
            seed=s,
            regret=[float(v)] * 3,
            **changes,
        )
        for i, row in enumerate(regret)
        for s, v in enumerate(row)
    ]


def test_standing__one_policy_always_better__is_told_apart_and_equal_ones_are_not() -> (
    None
):
    noise = np.random.default_rng(0).random((6, 20)) / 2
    scores = {
        "good": noise / 10,
        "even-1": 0.5 + noise,
        "even-2": 0.5 + np.random.default_rng(1).random((6, 20)) / 2,
    }
    found = standing({p: results(p, v) for p, v in scores.items()}, 1)
    assert found["rows"][0].policy == "good" and found["rows"][0].rank == 1
    assert found["over"] == "experiments and seeds" and 0 < found["cd"] < 1
    assert [set(c) for c in found["cliques"]] == [{"even-1", "even-2"}]


def test_standing__ties__share_their_rank() -> None:
    found = standing(
        {p: results(p, np.full((5, 4), 0.2)) for p in ("a", "b", "c")}, 1
    )
    assert (
        [r.rank for r in found["rows"]] == [2, 2, 2]
        and found["cd"] == 0
        and found["cliques"] == (("a", "b", "c"),)
    )


def test_standing__equal_policies__are_rarely_told_apart() -> None:
    """Family-wise: any of the six pairs, at most about one time in twenty; bootstrap
    over ten targets is a little narrow.
    """
    rng = np.random.default_rng(2)
    wrong = [
        len(
            standing({p: results(p, rng.random((10, 4))) for p in "abcd"}, 1)[
                "cliques"
            ][0]
        )
        < 4
        for _ in range(25)
    ]
    assert np.mean(wrong) <= 0.2


def test_standing__few_targets__are_resampled_over_seeds_alone() -> None:
    rng = np.random.default_rng(3)
    assert (
        standing({p: results(p, rng.random((4, 6))) for p in "ab"}, 1)["over"]
        == "seeds"
    )
    assert (
        standing({p: results(p, rng.random((4, 1))) for p in "ab"}, 1)["cd"]
        is None
    )


def test_standing__episode_that_one_did_not_play__counts_for_nobody() -> None:
    first, second = (
        results("a", np.array([[0.1, 0.9]] * 5)),
        results("b", np.array([[0.2, 0.2]] * 5)),
    )
    found = standing({"a": first, "b": [r for r in second if r.seed == 0]}, 1)
    assert found["n_seeds"] == 1 and found["rows"][0].model_dump() == {
        **found["rows"][0].model_dump(),
        "policy": "a",
        "rank": 1.0,
        "regret_mean": pytest.approx(0.1),
    }


def test_overall__target_in_two_suites__counts_once() -> None:
    both = results("p", np.array([[0.0], [0.4]])) + results(
        "p", np.array([[0.2]]), suite="b"
    )
    (found,) = overall(both, [1])
    assert found.suites == ("a", "b") and found.n_targets == 2
    assert found.rows[0].regret_mean == pytest.approx((0.1 + 0.4) / 2)


def test_overall__policy_that_missed_a_suite__is_left_out_and_named() -> None:
    some = (
        results("p", np.zeros((2, 2)))
        + results("p", np.zeros((2, 2)), suite="b")
        + results("q", np.zeros((2, 2)))
    )
    (found,) = overall(some, [1])
    assert found.left_out == ("q",) and [r.policy for r in found.rows] == ["p"]
    assert overall(results("p", np.zeros((2, 2))), [1]) == [], (
        "one suite needs no summary"
    )
