"""The promotion gate: a function of a validation leaderboard."""

import pytest

from autollm.evaluation.scores import Pair
from autollm.stages.promotion import verdict


def _pair(
    baseline="copy-nearest",
    k=1,
    difference=-0.1,
    policy="agent-tiny-sft-rl",
    measure="latent_regret",
):
    return Pair(
        suite="s",
        setting="declared",
        target_rows="redraw",
        masked=False,
        policy=policy,
        baseline=baseline,
        measure=measure,
        k=k,
        difference=difference,
        low=None,
        high=None,
        seed_low=-0.2,
        seed_high=0.0,
        includes_zero=False,
        n_pairs=4,
    )


def _changed(pair, **changes):
    return pair.model_copy(update=changes)


WINS = [_pair(b, k) for b in ("copy-nearest", "pool-centre") for k in (1, 3)]


def test_verdict__better_than_every_baseline__passes():
    found = verdict(WINS, "agent-tiny-sft-rl")
    assert (
        found.passed and "beats" in found.words and len(found.comparisons) == 4
    )


@pytest.mark.parametrize("lost", range(4))
def test_verdict__behind_at_one_k__does_not_pass_and_says_where(lost):
    pairs = list(WINS)
    pairs[lost] = _changed(WINS[lost], difference=0.02)
    found = verdict(pairs, "agent-tiny-sft-rl")
    assert (
        not found.passed
        and f"{pairs[lost].baseline} at k={pairs[lost].k}" in found.words
    )


def test_verdict__several_suites__count_once_each():
    other = [_changed(p, suite="t", difference=0.05) for p in WINS]
    found = verdict(WINS + other, "agent-tiny-sft-rl")
    assert found.passed and found.comparisons[0].difference == pytest.approx(
        -0.025
    )
    assert found.comparisons[0].by_suite == "s -0.100, t +0.050"
    assert not verdict(
        WINS + [_changed(p, difference=0.15) for p in other],
        "agent-tiny-sft-rl",
    ).passed


def test_verdict__nothing_to_compare__does_not_pass():
    assert not verdict([], "agent-tiny-sft-rl").passed


def test_verdict__realised_regret_and_other_agents__are_not_looked_at():
    other = [
        _pair(difference=0.5, measure="regret"),
        _pair(difference=0.5, policy="agent-tiny-base"),
        _pair("moving-bowl", difference=0.5),
    ]
    assert verdict(WINS + other, "agent-tiny-sft-rl").passed
