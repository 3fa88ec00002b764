from __future__ import annotations

from dataclasses import replace

import numpy as np

from autollm.advisor.deciding.decide import (
    LEAST_LEVELS,
    TRUSTED_SHARE,
    backtest,
    chance_of_best,
    cheaper,
    choose,
    hidden_experiments,
    question_of_hidden,
    ready,
)
from tests.unit.gym.tables import make_table

TABLE = make_table(6)
LEVELS = list(range(6))


def test_hidden_experiments__six_levels__those_with_three_cheaper_ones():
    hidden = hidden_experiments(TABLE, LEVELS)
    assert hidden == [5, 4, 3]
    assert all(len(cheaper(TABLE, LEVELS, h)) >= LEAST_LEVELS for h in hidden)


def test_question_of_hidden__view__holds_no_row_of_the_hidden_experiment():
    view = question_of_hidden(TABLE, LEVELS, 4).view
    names = {e.experiment_id for e in view.evidence}
    assert names == {TABLE.experiments[e].experiment_id for e in range(4)}


def test_backtest__moving_optimum__the_bowl_finds_it_and_a_copy_does_not():
    bowl = backtest(TABLE, LEVELS, 5, "moving-bowl")
    copy = backtest(TABLE, LEVELS, 5, "copy-nearest")
    assert bowl.regret < copy.regret
    assert bowl.times_evidence > 1 and np.isfinite(bowl.predicted)


def test_cheaper__times__the_gap_of_the_question_where_three_levels_allow_it():
    flops = [TABLE.experiments[e].compute_flops for e in LEVELS]
    assert flops == sorted(flops)
    assert cheaper(TABLE, LEVELS, 5) == [0, 1, 2, 3, 4]
    times = flops[5] / flops[3]
    assert cheaper(TABLE, LEVELS, 5, times * 1.01) == [0, 1, 2]
    assert cheaper(TABLE, LEVELS, 5, times * 0.99) == [0, 1, 2, 3]
    assert cheaper(TABLE, LEVELS, 5, 1e9) == [0, 1, 2]  # two show no bend
    assert cheaper(TABLE, LEVELS, 3, 1e9) == [0, 1, 2]
    assert cheaper(TABLE, [0, 5], 5, 1e9) == [0]


def test_backtest__times__is_as_far_as_asked():
    near = backtest(TABLE, LEVELS, 5, "moving-bowl")
    far = backtest(TABLE, LEVELS, 5, "moving-bowl", times=1e9)
    assert far.times_evidence > near.times_evidence > 1


def test_chance_of_best__share_of_draws__is_shrunk_to_any_candidate():
    shares = np.array([0.0, 0.5, 1.0])
    found = chance_of_best(shares, 10)
    np.testing.assert_allclose(
        found, TRUSTED_SHARE * shares + (1 - TRUSTED_SHARE) / 10
    )
    assert chance_of_best(np.array([1.0]), 1) == 1.0


def test_choose__three__differ_and_the_first_is_of_lowest_expected_u():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    policy = ready("moving-bowl", view)
    choice = choose(policy, view, 3)
    u = policy.weights @ policy.sampled(view.candidates)
    assert len({tuple(p) for p in choice.points}) == 3
    assert choice.mean(0) <= u.min() + 1e-5
    assert 0 < choice.probability_best.sum() <= 1


def test_choose__price_of_divergence__moves_away_from_the_cliff():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    policy = ready("moving-bowl", view)
    plain = choose(policy, view, 1).points[0]
    p = np.where(view.candidates[:, 1] >= plain[1] - 1e-9, 0.9, 0.0)
    assert choose(policy, view, 1, p).points[0][1] < plain[1]


def test_backtest__policy_that_cannot_play__is_none():
    bare = replace(
        TABLE, experiments=tuple(without_tokens(e) for e in TABLE.experiments)
    )
    assert backtest(TABLE, LEVELS, 5, "step-law") is not None
    assert backtest(bare, LEVELS, 5, "step-law") is None


def without_tokens(experiment):
    """The experiment with parameters as its only coordinate."""
    fidelity = {"params": experiment.fidelity["params"]}
    return replace(experiment, fidelity=fidelity)
